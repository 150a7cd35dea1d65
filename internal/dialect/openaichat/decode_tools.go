package openaichat

import (
	"bytes"
	"slices"

	"github.com/financecommander/tollgate/internal/dialect"
	"github.com/financecommander/tollgate/internal/dialect/wire"
	"github.com/financecommander/tollgate/internal/jsonedit"
	"github.com/financecommander/tollgate/internal/llm"
)

func (d *requestDecoder) tools() {
	if d.request.Tools == nil {
		d.request.Tools = []llm.Tool{}
	}
	for i := range d.Elements {
		d.tool(int32(i))
	}
}

// tool reads a function or a custom tool. One of another type is a provider's
// own.
func (d *requestDecoder) tool(index int32) {
	start := d.Pos()
	tool := llm.Tool{Index: index}
	var kind string
	var named []byte
	var rest wire.Rest
	for name := range d.Members {
		switch string(name) {
		case "type":
			kind = d.Text()
		case "function", "custom":
			named = bytes.Clone(name)
			d.toolBody(&tool, &rest, string(named))
		case "cache_control":
			tool.Cache = cacheMark(d.Reader, &rest)
		default:
			rest.Add(name, d.Raw())
		}
	}
	switch {
	case d.Failed():
		return
	case kind == "":
		d.Fail("type", "is required")
	case kind != "function" && kind != "custom":
		tool = llm.Tool{Index: index, Native: &llm.Native{Format: dialect.OpenAIChat, Type: kind, JSON: d.Since(start)}}
	case kind != string(named):
		d.Fail(kind, "is required")
	case tool.Name == "":
		d.Fail(kind+".name", "is required")
	default:
		tool.Extra = rest.Extra(dialect.OpenAIChat)
	}
	d.request.Tools = append(d.request.Tools, tool)
}

// toolBody reads what is under "function" or "custom".
func (d *requestDecoder) toolBody(tool *llm.Tool, outer *wire.Rest, member string) {
	var rest wire.Rest
	tool.Custom = member == "custom"
	for name := range d.Members {
		switch string(name) {
		case "name":
			tool.Name = d.Text()
		case "description":
			tool.Description = d.Text()
		case "parameters":
			tool.Schema = d.RawObject()
		case "strict":
			tool.Strict = new(d.Bool())
		case "format":
			tool.Grammar = flatGrammar(d.RawObject())
		default:
			rest.Add(name, d.Raw())
		}
	}
	outer.Nest(member, &rest)
}

// flatGrammar gives a custom tool's format in the shape that Responses have and
// package llm keeps: what chat completions have under "grammar" beside the type.
func flatGrammar(format []byte) []byte {
	inner := wire.Member(format, "grammar")
	if len(inner) == 0 || inner[0] != '{' {
		return format
	}
	var w wire.Writer
	w.Object()
	w.Members(format, "grammar")
	w.Members(inner, "type")
	w.End()
	return w.Bytes
}

// nestedGrammar reverses flatGrammar.
func nestedGrammar(format []byte) []byte {
	if string(wire.Member(format, "type")) != `"grammar"` || wire.Member(format, "grammar") != nil {
		return format
	}
	var w wire.Writer
	w.Object().Name("type").Text("grammar")
	w.Name("grammar").Object()
	w.Members(format, "type")
	w.End()
	w.End()
	return w.Bytes
}

// functions reads the list that tools had before they were called so.
func (d *requestDecoder) functions() {
	for i := range d.Elements {
		tool := llm.Tool{Index: int32(i)}
		var rest wire.Rest
		rest.Add([]byte("functions"), []byte("{}"))
		for name := range d.Members {
			switch string(name) {
			case "name":
				tool.Name = d.Text()
			case "description":
				tool.Description = d.Text()
			case "parameters":
				tool.Schema = d.RawObject()
			default:
				rest.Add(name, d.Raw())
			}
		}
		if tool.Name == "" {
			d.Fail("name", "is required")
		}
		tool.Extra = rest.Extra(dialect.OpenAIChat)
		d.request.Tools = append(d.request.Tools, tool)
	}
}

// legacyChoice reads function_call, the tool choice of the days of functions.
// Beside a tool_choice it is kept as it is.
func (d *requestDecoder) legacyChoice() {
	if d.choice == nil {
		return
	}
	if d.request.ToolChoice == nil && legacyTools(&d.request) {
		switch name := wire.Member(d.choice, "name"); {
		case d.choice[0] == '"':
			d.request.ToolChoice = &llm.ToolChoice{Mode: llm.ToolMode(jsonedit.AppendText(nil, d.choice))}
			return
		case len(name) > 2 && name[0] == '"':
			d.request.ToolChoice = &llm.ToolChoice{Mode: llm.ToolRequired, Names: []string{string(jsonedit.AppendText(nil, name))}}
			return
		}
	}
	d.rest.Add([]byte("function_call"), d.choice)
}

// legacyTools says whether a client speaks of functions in place of tools.
func legacyTools(r *llm.Request) bool {
	return r != nil && len(r.Tools) > 0 && isLegacy(r.Tools[0].Extra)
}

func (d *requestDecoder) toolChoice() *llm.ToolChoice {
	if d.Kind() == jsonedit.KindString {
		switch mode := d.Word("auto", "none", "required", "any"); mode {
		case "any": // Mistral
			return &llm.ToolChoice{Mode: llm.ToolRequired}
		default:
			return &llm.ToolChoice{Mode: llm.ToolMode(mode)}
		}
	}
	raw := d.RawObject()
	if d.Failed() {
		return nil
	}
	kind := string(jsonedit.AppendText(nil, wire.Member(raw, "type")))
	switch kind {
	case "":
		d.Fail("type", "is required")
		return nil
	case "function", "custom":
		name := namedTool(raw, kind)
		if name == "" {
			d.Fail(kind+".name", "is required")
		}
		return &llm.ToolChoice{Mode: llm.ToolRequired, Names: []string{name}}
	case "allowed_tools":
		if choice := allowedTools(wire.Member(raw, "allowed_tools")); choice != nil {
			return choice
		}
	}
	return &llm.ToolChoice{Native: &llm.Native{Format: dialect.OpenAIChat, Type: kind, JSON: raw}}
}

// namedTool is the name in {"type":"function","function":{"name":…}}.
func namedTool(choice []byte, kind string) string {
	return string(jsonedit.AppendText(nil, wire.Member(wire.Member(choice, kind), "name")))
}

// allowedTools reads a set of tools; nil: it holds what the vocabulary cannot
// say.
func allowedTools(set []byte) *llm.ToolChoice {
	choice := &llm.ToolChoice{Names: []string{}}
	s := jsonedit.NewScanner(set)
	for name := range s.Members {
		switch string(name) {
		case "mode":
			choice.Mode = llm.ToolMode(s.Text(nil))
		case "tools":
			for range s.Elements {
				tool := s.Skip()
				kind := string(jsonedit.AppendText(nil, wire.Member(tool, "type")))
				choice.Names = append(choice.Names, namedTool(tool, kind))
			}
		}
	}
	if slices.Contains(choice.Names, "") {
		return nil
	}
	if choice.Mode != llm.ToolAuto && choice.Mode != llm.ToolRequired || len(choice.Names) == 0 {
		return nil
	}
	return choice
}
