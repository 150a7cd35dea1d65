package openairesponses

import (
	"github.com/financecommander/tollgate/internal/dialect"
	"github.com/financecommander/tollgate/internal/dialect/wire"
	"github.com/financecommander/tollgate/internal/llm"
)

// announce begins the reasoning item under way. One of another format's begins
// with its first text, since there may be none.
func (e *Encoder) announce() {
	if !e.open.said {
		e.added(func() {
			e.Object().Name("id").Text(e.open.id).Name("type").Text("reasoning").Name("summary").Array().EndArray()
			e.End()
		})
	}
}

// startThought begins the text of the thinking under way: what the model thought
// in full, or a summary of it.
func (e *Encoder) startThought(t *llm.Thinking) {
	e.announce()
	typ, index, part := "response.reasoning_summary_part.added", "summary_index", "summary_text"
	if isRaw(t.Wire) {
		typ, index, part = "response.content_part.added", "content_index", "reasoning_text"
	}
	e.begin(typ)
	e.place(index)
	e.Name("part").Object().Name("type").Text(part).Name("text").Text("")
	e.End()
	e.end()
	if isRaw(t.Wire) {
		e.delta("response.reasoning_text.delta", index, "}\n\n")
	} else {
		e.delta("response.reasoning_summary_text.delta", index, "}\n\n")
	}
}

// isRaw says that a provider tells thinking in full, not a summary of it.
func isRaw(w llm.Extra) bool {
	return wire.Member(w.In(dialect.OpenAIResponses), "content") != nil
}

// endThinking ends a reasoning item.
func (e *Encoder) endThinking(t *llm.Thinking, base *llm.Common) {
	it := &e.open
	text := string(it.text)
	if text != "" {
		e.endThought(text, isRaw(t.Wire))
	}
	whole := &llm.Thinking{Common: *base, Text: text}
	native := base.Wire.In(dialect.OpenAIResponses) != nil || base.Opaque != nil && base.Opaque.Format == dialect.OpenAIResponses
	if !native && base.Opaque == nil && text == "" {
		e.open = openItem{} // nothing to say
		return
	}
	token := ""
	if !native {
		token = dialect.SealState(e.o.Seal, thinkingState(base, text, t.Redacted))
	}
	e.announce()
	e.done(func() {
		if native {
			e.ownReasoning(whole)
			return
		}
		e.Object().Name("id").Text(it.id).Name("type").Text("reasoning").Name("summary")
		if text == "" {
			e.Array().EndArray()
		} else {
			appendTexts(&e.Writer, "summary_text", text)
		}
		e.TextMember("encrypted_content", token)
		e.End()
	})
}

// textOnly marks the sealed state of thinking that has none: its item may not
// pass to a provider of this format as it is, which would look for it among its
// own.
const textOnly = "thinking"

// thinkingState is what is sealed of another provider's thinking.
func thinkingState(base *llm.Common, text string, isRedacted bool) dialect.State {
	switch {
	case base.Opaque == nil:
		return dialect.State{ID: textOnly}
	case text != "":
		return dialect.State{Opaque: base.Opaque}
	}
	t := &llm.Thinking{Common: *base, Redacted: isRedacted}
	return dialect.State{Thinking: []dialect.ThinkingState{dialect.SealThinking(t)}}
}

// ownReasoning writes a reasoning item of this format's own.
func (e *Encoder) ownReasoning(t *llm.Thinking) {
	if !appendReasoning(&e.Writer, t) {
		e.Object().Name("id").Text(e.open.id).Name("type").Text("reasoning").Name("summary").Array().EndArray()
		e.End()
	}
}

// endThought says that the text of the thinking under way is over.
func (e *Encoder) endThought(text string, raw bool) {
	if raw {
		e.begin("response.reasoning_text.done")
		e.place("content_index")
		e.Name("text").Text(text)
		e.end()
		e.begin("response.content_part.done")
		e.place("content_index")
		e.Name("part").Object().Name("type").Text("reasoning_text").Name("text").Text(text)
		e.End()
		e.end()
		return
	}
	e.begin("response.reasoning_summary_text.done")
	e.place("summary_index")
	e.Name("text").Text(text)
	e.end()
	e.begin("response.reasoning_summary_part.done")
	e.place("summary_index")
	e.Name("part").Object().Name("type").Text("summary_text").Name("text").Text(text)
	e.End()
	e.end()
}

// startCall begins the call of a tool.
func (e *Encoder) startCall(c *llm.ToolCall) {
	typ, prefix := "function_call", "fc_"
	if c.Custom {
		typ, prefix = "custom_tool_call", "ctc_"
	}
	e.open = openItem{typ: typ, part: c, id: idOf(c, prefix), text: e.open.text[:0]}
	e.added(func() { e.call(c, &c.Common, "in_progress", "") })
	if c.Custom {
		e.delta("response.custom_tool_call_input.delta", "", "}\n\n")
	} else {
		e.delta("response.function_call_arguments.delta", "", "}\n\n")
	}
	e.text(c.Arguments)
}

// call writes a call. Another provider's state of it goes into its id, which
// comes back with the call and with its result.
func (e *Encoder) call(c *llm.ToolCall, base *llm.Common, status, arguments string) {
	own := base.Wire.In(dialect.OpenAIResponses)
	text := "arguments"
	if c.Custom {
		text = "input"
	}
	id := c.ID
	if o := c.Opaque; o != nil && o.Format != dialect.OpenAIResponses {
		id = dialect.SealID(id, dialect.SealState(e.o.Seal, dialect.State{Opaque: o}))
	}
	e.Object().Name("id").Text(e.open.id).Name("type").Text(e.open.typ)
	if own == nil || status == "in_progress" {
		e.Name("status").Text(status)
		own = nil
	}
	e.Members(own, "id")
	e.Name("call_id").Text(id).Name("name").Text(c.Name).Name(text).Text(arguments)
	e.Members(base.Extra.In(dialect.OpenAIResponses))
	e.End()
}

func (e *Encoder) endCall(c *llm.ToolCall, base *llm.Common) {
	arguments := string(e.open.text)
	if c.Custom {
		e.begin("response.custom_tool_call_input.done")
		e.place("")
		e.Name("input").Text(arguments)
	} else {
		e.begin("response.function_call_arguments.done")
		e.place("")
		e.Name("arguments").Text(arguments)
	}
	e.end()
	e.done(func() { e.call(c, base, "completed", arguments) })
}
