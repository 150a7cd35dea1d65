package openairesponses

import (
	"encoding/base64"
	"strings"

	"github.com/financecommander/tollgate/internal/dialect"
	"github.com/financecommander/tollgate/internal/dialect/wire"
	"github.com/financecommander/tollgate/internal/llm"
)

// item writes a part that is an item by itself.
func (b *body) item(p llm.Part) {
	base := p.Base()
	switch p := p.(type) {
	case *llm.Thinking:
		appendReasoning(&b.Writer, p)
		return // what is left out of it is nobody's loss
	case *llm.ToolCall:
		b.call(p)
	case *llm.ToolResult:
		b.result(p)
	case *llm.NativePart:
		if p.Format != dialect.OpenAIResponses {
			b.check(b.o.Unsaid.Part(p.Pos, "", "it is another API's own"))
			return
		}
		b.Raw(p.JSON)
	}
	b.lost(base)
}

// appendReasoning writes a reasoning item. One without the provider's state is
// refused where it was not the provider that stored it, so it is left out.
func appendReasoning(w *wire.Writer, t *llm.Thinking) bool {
	own := t.Wire.In(dialect.OpenAIResponses)
	sealed := t.Opaque != nil && t.Opaque.Format == dialect.OpenAIResponses
	if !sealed && wire.Member(own, "type") == nil {
		return false
	}
	w.Object()
	if sealed { // a stream told the type and the id twice
		w.Name("type").Text("reasoning")
		w.TextMember("id", t.Opaque.ItemID)
		w.Members(own, "summary", "content", "type", "id")
	} else {
		w.Members(own, "summary", "content")
	}
	content := wire.Member(own, "content")
	switch summary := wire.Member(own, "summary"); {
	case summary != nil:
		w.Name("summary").Raw(summary)
	case t.Text == "" || content != nil:
		w.Name("summary").Array().EndArray()
	default:
		w.Name("summary")
		appendTexts(w, "summary_text", t.Text)
	}
	switch {
	case string(content) == string(textInPart):
		w.Name("content")
		appendTexts(w, "reasoning_text", t.Text)
	case content != nil:
		w.Name("content").Raw(content)
	}
	if sealed {
		w.TextMember("encrypted_content", t.Opaque.Value)
	}
	w.End()
	return true
}

// appendTexts writes a list of one part of text.
func appendTexts(w *wire.Writer, typ, text string) {
	w.Array()
	w.Object()
	w.Name("type").Text(typ).Name("text").Text(text)
	w.End()
	w.EndArray()
}

func (b *body) call(c *llm.ToolCall) {
	own := c.Wire.In(dialect.OpenAIResponses)
	b.Object()
	typ, text := "function_call", "arguments"
	if c.Custom {
		typ, text = "custom_tool_call", "input"
	}
	b.Name("type").Text(typ)
	if o := c.Opaque; own == nil && o != nil && o.Format == dialect.OpenAIResponses {
		b.TextMember("id", o.ItemID)
	}
	b.Members(own)
	b.Name("call_id").Text(wire.FitID(c.ID, maxCallID))
	b.Name("name").Text(c.Name)
	arguments := c.Arguments
	if arguments == "" && !c.Custom && !b.native {
		arguments = "{}"
	}
	b.Name(text).Text(arguments)
	b.Members(c.Extra.In(dialect.OpenAIResponses))
	b.End()
}

func (b *body) result(r *llm.ToolResult) {
	b.Object()
	typ := "function_call_output"
	if r.Custom || b.custom[r.CallID] {
		typ = "custom_tool_call_output"
	}
	b.Name("type").Text(typ)
	b.Members(r.Wire.In(dialect.OpenAIResponses))
	b.Name("call_id").Text(wire.FitID(r.CallID, maxCallID))
	b.Name("output")
	parts := r.Parts
	if r.IsError && !strings.HasPrefix(strings.ToLower(llm.TextOf(parts)), "error") {
		parts = failed(parts)
	}
	switch {
	case len(parts) == 0:
		b.Text("")
	case len(parts) == 1 && b.plain(parts[0]):
		b.Text(parts[0].(*llm.Text).Text)
	default:
		b.Array()
		for _, p := range parts {
			b.part(p, llm.RoleTool)
		}
		b.EndArray()
	}
	b.Members(r.Extra.In(dialect.OpenAIResponses))
	b.End()
}

// failed says in words that a tool failed, since the format has no member for it.
func failed(parts []llm.Part) []llm.Part {
	const word = "Error: "
	if len(parts) > 0 {
		if first, ok := parts[0].(*llm.Text); ok {
			t := *first
			t.Text = word + t.Text
			return append([]llm.Part{&t}, parts[1:]...)
		}
	}
	return append([]llm.Part{&llm.Text{Text: word}}, parts...)
}

// file writes where a file's content is, or the content.
func (b *body) file(m *llm.Media) {
	name := m.Name
	switch {
	case m.URL != "":
		b.Name("file_url").Text(m.URL)
	case m.Text != "":
		b.Name("file_data").Text(wire.MakeDataURL("text/plain", base64.StdEncoding.EncodeToString([]byte(m.Text))))
		name = orElse(name, "document.txt")
	case m.Data != "" && m.MIME == "": // as it came
		b.Name("file_data").Text(m.Data)
	case m.Data != "":
		b.Name("file_data").Text(wire.MakeDataURL(m.MIME, m.Data))
		if !b.native { // the provider wants a name beside data
			name = orElse(name, "document.pdf")
		}
	}
	b.TextMember("filename", name)
}

func orElse(text, other string) string {
	if text == "" {
		return other
	}
	return text
}
