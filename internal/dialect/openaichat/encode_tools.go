package openaichat

import (
	"slices"

	"github.com/financecommander/tollgate/internal/dialect"
	"github.com/financecommander/tollgate/internal/dialect/wire"
	"github.com/financecommander/tollgate/internal/llm"
)

// toolMembers writes everything about tools.
func (e *requestEncoder) toolMembers(r *llm.Request) {
	tools, choice := r.Tools, r.ToolChoice
	if !e.o.StrictChat && choice != nil && allowedSet(choice) {
		// OpenAI alone knows sets of allowed tools. Where no others are sent, the
		// rest cannot be called.
		tools = slices.DeleteFunc(slices.Clone(tools), func(t llm.Tool) bool { return !slices.Contains(choice.Names, t.Name) })
		choice = &llm.ToolChoice{Mode: choice.Mode}
	}
	legacy := legacyTools(r)
	if slices.ContainsFunc(tools, func(t llm.Tool) bool { return !isLegacy(t.Extra) }) {
		e.Name("tools").Array()
		for i := range tools {
			if !isLegacy(tools[i].Extra) {
				e.tool(&tools[i])
			}
		}
		e.EndArray()
	} else if r.Tools != nil && !legacy {
		e.Name("tools").Array()
		e.EndArray()
	}
	if legacy {
		e.functions(tools)
	}
	if choice != nil {
		e.toolChoice(choice, legacy)
	}
	if r.ParallelTools != nil && len(tools) > 0 {
		e.Name("parallel_tool_calls").Bool(*r.ParallelTools)
	}
}

// allowedSet says that a choice names tools that may, but need not all, be
// called.
func allowedSet(c *llm.ToolChoice) bool {
	return len(c.Names) > 1 || len(c.Names) == 1 && c.Mode == llm.ToolAuto
}

func (e *requestEncoder) tool(t *llm.Tool) {
	path := indexed("tools", t.Index)
	if t.Native != nil {
		if t.Native.Format != dialect.OpenAIChat {
			e.note(e.unsaid.Path(path, "it is a tool of another provider's own"))
			return
		}
		e.Raw(t.Native.JSON)
		return
	}
	e.note(e.unsaid.Extra(t.Extra, path))
	extra := t.Extra.In(dialect.OpenAIChat)
	kind := "function"
	if t.Custom {
		kind = "custom"
	}
	e.Object().Name("type").Text(kind)
	e.Name(kind).Object()
	e.Name("name").Text(t.Name)
	e.TextMember("description", t.Description)
	e.RawMember("parameters", t.Schema)
	e.BoolMember("strict", t.Strict)
	e.RawMember("format", nestedGrammar(t.Grammar))
	e.Members(wire.Member(extra, kind))
	e.End()
	e.Members(extra, kind)
	e.cache(t.Cache, llm.Extra{})
	e.End()
}

func (e *requestEncoder) functions(tools []llm.Tool) {
	e.Name("functions").Array()
	for i := range tools {
		t := &tools[i]
		if !isLegacy(t.Extra) {
			continue
		}
		e.Object().Name("name").Text(t.Name)
		e.TextMember("description", t.Description)
		e.RawMember("parameters", t.Schema)
		e.Members(t.Extra.JSON, "functions")
		e.End()
	}
	e.EndArray()
}

func (e *requestEncoder) toolChoice(c *llm.ToolChoice, legacy bool) {
	switch {
	case c.Native != nil && c.Native.Format == dialect.OpenAIChat:
		e.Name("tool_choice").Raw(c.Native.JSON)
	case c.Native != nil:
		e.note(e.unsaid.Field(dialect.FieldToolChoice, "it is of another provider's own"))
	case legacy && len(c.Names) == 1:
		e.Name("function_call").Object().Name("name").Text(c.Names[0]).End()
	case legacy:
		e.Name("function_call").Text(string(c.Mode))
	case allowedSet(c):
		e.Name("tool_choice").Object().Name("type").Text("allowed_tools")
		e.Name("allowed_tools").Object().Name("mode").Text(string(c.Mode))
		e.Name("tools").Array()
		for _, name := range c.Names {
			e.namedTool(name)
		}
		e.EndArray()
		e.End()
		e.End()
	case len(c.Names) == 1:
		e.Name("tool_choice")
		e.namedTool(c.Names[0])
	default:
		e.Name("tool_choice").Text(string(c.Mode))
	}
}

// namedTool writes {"type":"function","function":{"name":…}}.
func (e *requestEncoder) namedTool(name string) {
	kind := "function"
	if slices.ContainsFunc(e.tools, func(t llm.Tool) bool { return t.Name == name && t.Custom }) {
		kind = "custom"
	}
	e.Object().Name("type").Text(kind)
	e.Name(kind).Object().Name("name").Text(name).End()
	e.End()
}

// cache writes a cache mark, where the upstream may know it.
func (e *requestEncoder) cache(mark *llm.CacheMark, wireOnly llm.Extra) {
	switch {
	case mark == nil:
	case wireOnly.In(dialect.OpenAIChat) != nil:
		e.Members(wireOnly.JSON)
	case e.o.StrictChat:
		e.unsaid.Leave(dialect.FieldCache)
	default:
		e.Name("cache_control").Object().Name("type").Text("ephemeral")
		e.TextMember("ttl", mark.TTL)
		e.End()
	}
}
