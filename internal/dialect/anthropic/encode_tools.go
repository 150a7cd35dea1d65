package anthropic

import (
	"fmt"
	"slices"

	"github.com/financecommander/tollgate/internal/dialect"
	"github.com/financecommander/tollgate/internal/dialect/wire"
	"github.com/financecommander/tollgate/internal/llm"
)

// allowed are the names to which the choice of tools is restricted where they
// are not one tool that is forced; nil: all may be called. The format cannot say
// such a set, so only the tools in it are sent.
func (w *writer) allowed() []string {
	choice := w.r.ToolChoice
	if choice == nil || choice.Native != nil || choice.Mode == llm.ToolNone || choice.Mode == llm.ToolRequired && len(choice.Names) == 1 {
		return nil
	}
	return choice.Names
}

func (w *writer) writeTools() error {
	if len(w.r.Tools) == 0 {
		return nil
	}
	allowed := w.allowed()
	w.Name("tools").Array()
	for i := range w.r.Tools {
		t := &w.r.Tools[i]
		if allowed != nil && !slices.Contains(allowed, t.Name) {
			continue
		}
		if err := w.writeTool(t); err != nil {
			return err
		}
	}
	w.EndArray()
	return nil
}

func (w *writer) writeTool(t *llm.Tool) error {
	u := w.o.Unsaid
	path := fmt.Sprintf("%s[%d]", u.Name(dialect.FieldTools), t.Index)
	switch {
	case t.Native != nil && t.Native.Format == Format:
		w.Raw(t.Native.JSON)
		return nil
	case t.Native != nil:
		return u.Path(path, "it is another provider's own tool")
	case t.Custom:
		return u.Path(path, "its tools take JSON only")
	}
	if err := w.extra(t.Extra, path); err != nil {
		return err
	}
	w.Object().Name("name").Text(t.Name)
	w.TextMember("description", t.Description)
	w.Name("input_schema")
	w.schema(t.Schema)
	if t.Strict != nil && (*t.Strict || w.native) {
		w.Name("strict").Bool(*t.Strict)
	}
	w.cache(t.Cache)
	w.Members(t.Extra.In(Format))
	w.End()
	return nil
}

// schema writes the schema of a tool's input, which must be one of an object.
func (w *writer) schema(schema []byte) {
	switch {
	case w.native:
		w.Raw(schema)
	case !isObject(string(schema)):
		w.Raw([]byte(`{"type":"object","properties":{}}`))
	case wire.Member(schema, "type") == nil:
		w.Object().Name("type").Text("object")
		w.Members(schema)
		w.End()
	default:
		w.Raw(schema)
	}
}

func (w *writer) writeToolChoice() error {
	choice, rest := w.r.ToolChoice, wire.Member(w.r.Extra.In(Format), "tool_choice")
	if !w.native && len(w.r.Tools) == 0 {
		return nil // the API takes no choice without tools
	}
	single := w.r.ParallelTools != nil && (!*w.r.ParallelTools || w.native)
	if choice == nil && !single {
		return nil
	}
	if choice != nil && choice.Native != nil {
		if choice.Native.Format != Format {
			return w.o.Unsaid.Field(dialect.FieldToolChoice, "it is another provider's own choice")
		}
		w.Name("tool_choice").Raw(choice.Native.JSON)
		return nil
	}
	w.Name("tool_choice").Object()
	w.Name("type").Text(choiceType(choice))
	if choice != nil && choice.Mode == llm.ToolRequired && len(choice.Names) == 1 {
		w.Name("name").Text(choice.Names[0])
	}
	if single && (choice == nil || choice.Mode != llm.ToolNone || w.native) {
		w.Name("disable_parallel_tool_use").Bool(!*w.r.ParallelTools)
	}
	w.Members(rest)
	w.End()
	return nil
}

func choiceType(choice *llm.ToolChoice) string {
	switch {
	case choice == nil:
		return "auto"
	case choice.Mode == llm.ToolNone:
		return "none"
	case choice.Mode == llm.ToolRequired && len(choice.Names) == 1:
		return "tool"
	case choice.Mode == llm.ToolRequired:
		return "any"
	default:
		return "auto"
	}
}
