package openairesponses

import (
	"fmt"

	"github.com/financecommander/tollgate/internal/dialect"
	"github.com/financecommander/tollgate/internal/dialect/wire"
	"github.com/financecommander/tollgate/internal/llm"
)

// tools writes what the model may call, and what it must.
func (b *body) tools() {
	if len(b.r.Tools) > 0 {
		b.Name("tools").Array()
		for i := range b.r.Tools {
			b.tool(&b.r.Tools[i])
		}
		b.EndArray()
	}
	b.choice()
	b.BoolMember("parallel_tool_calls", b.r.ParallelTools)
}

func (b *body) tool(t *llm.Tool) {
	at := fmt.Sprintf("%s[%d]", b.field(dialect.FieldTools), t.Index)
	if t.Native != nil {
		if t.Native.Format != dialect.OpenAIResponses {
			b.check(b.o.Unsaid.Path(at, "it is another API's own tool"))
			return
		}
		b.Raw(t.Native.JSON)
		return
	}
	if t.Cache != nil {
		b.o.Unsaid.Leave(dialect.FieldCache)
	}
	b.check(b.o.Unsaid.Extra(t.Extra, at))
	appendTool(&b.Writer, t, b.native)
}

// appendTool writes a tool that the client runs. This format takes a tool for
// strict that does not say so, and refuses schemas that are too loose for that;
// others do not, so their tools say that they are not.
func appendTool(w *wire.Writer, t *llm.Tool, native bool) {
	w.Object()
	if t.Custom {
		w.Name("type").Text("custom").Name("name").Text(t.Name)
		w.TextMember("description", t.Description)
		w.RawMember("format", t.Grammar)
	} else {
		w.Name("type").Text("function").Name("name").Text(t.Name)
		w.TextMember("description", t.Description)
		schema := t.Schema
		if schema == nil && !native {
			schema = []byte(`{"type":"object","properties":{}}`)
		}
		w.RawMember("parameters", schema)
		if t.Strict == nil && !native {
			w.Name("strict").Bool(false)
		}
		w.BoolMember("strict", t.Strict)
	}
	w.Members(t.Extra.In(dialect.OpenAIResponses))
	w.End()
}

func (b *body) choice() {
	c := b.r.ToolChoice
	switch {
	case c == nil, wire.Member(b.r.Wire.In(dialect.OpenAIResponses), "tool_choice") != nil:
	case c.Native != nil && c.Native.Format != dialect.OpenAIResponses:
		b.check(b.o.Unsaid.Field(dialect.FieldToolChoice, "it is another API's own"))
	default:
		b.Name("tool_choice")
		appendChoice(&b.Writer, c, b.r.Tools)
	}
}

// appendChoice writes a tool choice. Functions and custom tools are named by
// kind.
func appendChoice(w *wire.Writer, c *llm.ToolChoice, tools []llm.Tool) {
	switch {
	case c.Native != nil:
		w.Raw(c.Native.JSON)
	case len(c.Names) == 0:
		w.Text(string(c.Mode))
	case len(c.Names) == 1 && c.Mode == llm.ToolRequired:
		appendNamed(w, c.Names[0], tools)
	default:
		w.Object()
		w.Name("type").Text("allowed_tools").Name("mode").Text(string(c.Mode))
		w.Name("tools").Array()
		for _, name := range c.Names {
			appendNamed(w, name, tools)
		}
		w.EndArray()
		w.End()
	}
}

func appendNamed(w *wire.Writer, name string, tools []llm.Tool) {
	kind := "function"
	for i := range tools {
		if tools[i].Custom && tools[i].Name == name {
			kind = "custom"
		}
	}
	w.Object()
	w.Name("type").Text(kind).Name("name").Text(name)
	w.End()
}
