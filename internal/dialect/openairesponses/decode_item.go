package openairesponses

import (
	"slices"
	"strings"

	"github.com/financecommander/tollgate/internal/dialect"
	"github.com/financecommander/tollgate/internal/dialect/wire"
	"github.com/financecommander/tollgate/internal/llm"
)

// item reads one item of the input. What a model said comes as a row of items,
// which become the parts of one message, as do a row of results.
func (d *request) item(_ int, o *object, value []byte) {
	if d.err != nil {
		return
	}
	typ := o.text("type")
	switch {
	case d.err != nil:
	case typ == "message", typ == "" && o.get("role") != nil:
		d.message(o)
	case typ == "reasoning":
		d.thinking(o)
	case typ == "function_call", typ == "custom_tool_call":
		d.call(o, typ)
	case typ == "function_call_output", typ == "custom_tool_call_output":
		d.result(o, typ)
	case typ == "":
		o.missing("type")
	default:
		d.nativeTurn(o, typ, value)
	}
}

func (d *request) message(o *object) {
	role := llm.Role(o.required("role"))
	switch role {
	case llm.RoleSystem, llm.RoleDeveloper, llm.RoleUser, llm.RoleAssistant:
	default:
		d.fail(o.place.member("role"), "must be user, assistant, system or developer")
		return
	}
	parts := d.parts(o, "content", role)
	if role == llm.RoleAssistant {
		d.said(o, parts)
		return
	}
	m := llm.Message{Role: role, Parts: parts, Pos: itemPos(o)}
	m.Wire, m.Extra = own(o.take(state...)), own(o.rest())
	d.r.Messages = append(d.r.Messages, m)
}

// said adds a message of the model's to its turn. What the item says of itself
// stands with its first part, so that items can be told apart again.
func (d *request) said(o *object, parts []llm.Part) {
	if len(parts) == 0 {
		return // says nothing
	}
	markItem(parts[0].Base(), o)
	turn := d.turn(llm.RoleAssistant, o)
	turn.Parts = append(turn.Parts, parts...)
}

// markItem notes with the first part of a message what its item says.
func markItem(first *llm.Common, o *object) {
	var w wire.Writer
	w.Object().Members(first.Wire.JSON)
	for _, name := range [...]string{"type", "role", "content"} {
		o.get(name)
	}
	w.Name("item").Object().Members(o.take(state...))
	w.Members(o.rest())
	w.End()
	w.End()
	first.Wire = own(w.Bytes)
}

// turn is the message that an item joins: the last one, if it has the role.
func (d *request) turn(role llm.Role, o *object) *llm.Message {
	if n := len(d.r.Messages); n > 0 && d.r.Messages[n-1].Role == role {
		return &d.r.Messages[n-1]
	}
	d.r.Messages = append(d.r.Messages, llm.Message{Role: role, Pos: itemPos(o)})
	return &d.r.Messages[len(d.r.Messages)-1]
}

func itemPos(o *object) llm.Pos { return llm.Pos{Message: int32(o.place.index), Part: -1} }

// state is what the provider notes of an item, which no other provider needs,
// and what OpenAI's SDK for JavaScript notes of a call when it parses it.
var state = []string{"type", "id", "status", "phase", "created_by", "parsed_arguments"}

// thinking adds reasoning to the model's turn: this format's own, or another
// provider's state that was sealed into the item.
func (d *request) thinking(o *object) {
	encrypted := o.text("encrypted_content")
	t := readThinking(o)
	if !strings.HasPrefix(encrypted, dialect.SealPrefix) {
		d.think(o, t)
		return
	}
	sealed, _ := dialect.OpenState(d.seal, encrypted)
	switch {
	case len(sealed.Thinking) > 0:
		for _, thought := range sealed.Thinking {
			d.think(o, thought.Part())
		}
	case sealed.ID == afterText:
		d.attach(sealed.Opaque)
	case t.Text != "" || sealed.Opaque != nil:
		d.think(o, &llm.Thinking{Common: llm.Common{Opaque: sealed.Opaque}, Text: t.Text})
	}
}

// attach gives a state to the text before it.
func (d *request) attach(state *llm.Opaque) {
	if len(d.r.Messages) == 0 {
		return
	}
	turn := &d.r.Messages[len(d.r.Messages)-1]
	for _, p := range slices.Backward(turn.Parts) {
		if t, ok := p.(*llm.Text); ok && turn.Role == llm.RoleAssistant {
			t.Opaque = state
			return
		}
	}
}

func (d *request) think(o *object, t *llm.Thinking) {
	t.Pos = itemPos(o)
	turn := d.turn(llm.RoleAssistant, o)
	turn.Parts = append(turn.Parts, t)
}

// readThinking reads a reasoning item. Text is its summary, or what the model
// thought in full where there is no summary. What does not follow from Text
// stands in Wire.
func readThinking(o *object) *llm.Thinking {
	t := &llm.Thinking{}
	summary, plainSummary := readTexts(o, "summary")
	content, plainContent := readTexts(o, "content")
	if encrypted := o.text("encrypted_content"); encrypted != "" {
		t.Opaque = &llm.Opaque{Format: dialect.OpenAIResponses, Value: encrypted, ItemID: o.text("id")}
		o.get("type")
	} else {
		o.leave("type")
	}
	var w wire.Writer
	w.Object().Members(o.rest())
	if t.Text = strings.Join(summary, "\n\n"); !plainSummary || len(summary) > 0 && len(content) > 0 {
		w.RawMember("summary", o.raw("summary"))
	}
	switch {
	case o.get("content") == nil:
	case len(summary) == 0 && plainContent && len(content) == 1:
		t.Text = content[0]
		w.RawMember("content", textInPart)
	default:
		if len(summary) == 0 {
			t.Text = strings.Join(content, "\n\n")
		}
		w.RawMember("content", o.raw("content"))
	}
	w.End()
	t.Wire = own(w.Bytes)
	return t
}

// textInPart stands for a reasoning item's content that is one part whose text
// is the Thinking's.
var textInPart = []byte(`[{"type":"reasoning_text"}]`)

// readTexts are the texts of a list of parts. It is plain if it follows from
// them: none, or one part that has nothing but a text.
func readTexts(o *object, name string) (texts []string, plain bool) {
	plain = true
	o.objects(name, func(i int, part *object, _ []byte) {
		part.get("type")
		texts = append(texts, part.text("text"))
		if i > 0 || texts[0] == "" || part.rest() != nil {
			plain = false
		}
	})
	return texts, plain
}

func (d *request) call(o *object, typ string) {
	c := readCall(o, typ)
	if d.err != nil {
		return
	}
	id, sealed := dialect.OpenID(d.seal, c.ID)
	c.ID, c.Opaque = id, sealed.Opaque
	if sealed.ID != "" {
		c.ID = sealed.ID
	}
	c.Pos = itemPos(o)
	d.calls[c.ID] = true
	turn := d.turn(llm.RoleAssistant, o)
	turn.Parts = append(turn.Parts, c)
}

// readCall reads a call of a tool that the client runs.
func readCall(o *object, typ string) *llm.ToolCall {
	c := &llm.ToolCall{ID: o.required("call_id"), Name: o.required("name"), Custom: typ == "custom_tool_call"}
	text := "arguments"
	if c.Custom {
		text = "input"
	}
	c.Arguments = o.text(text)
	c.Wire, c.Extra = own(o.take(state[1:]...)), own(o.rest())
	return c
}

func (d *request) result(o *object, typ string) {
	id, sealed := dialect.OpenID(d.seal, o.required("call_id"))
	if sealed.ID != "" {
		id = sealed.ID
	}
	if !d.calls[id] && !d.elsewhere {
		d.fail(o.place.member("call_id"), "is of no tool call before it")
		return
	}
	r := &llm.ToolResult{CallID: id, Custom: typ == "custom_tool_call_output"}
	r.Pos = itemPos(o)
	r.Parts = d.parts(o, "output", llm.RoleTool)
	r.Wire, r.Extra = own(o.take(state[1:]...)), own(o.rest())
	turn := d.turn(llm.RoleTool, o)
	turn.Parts = append(turn.Parts, r)
}

// native adds an item that only this format has: to the results if it is one,
// to the model's turn else.
func (d *request) nativeTurn(o *object, typ string, value []byte) {
	role := llm.RoleAssistant
	switch {
	case o.get("role") != nil:
		role = llm.Role(o.text("role"))
	case strings.HasSuffix(typ, "_output"), typ == "mcp_approval_response":
		role = llm.RoleTool
	case typ == "item_reference":
		d.elsewhere = true
	}
	p := d.nativeItem(o, typ, value)
	p.Pos = itemPos(o)
	turn := d.turn(role, o)
	turn.Parts = append(turn.Parts, p)
}

func (r *reader) nativeItem(o *object, typ string, value []byte) *llm.NativePart {
	return &llm.NativePart{Native: r.native(o.place, typ, value)}
}

// native takes over an object that only this format can say.
func (r *reader) native(at place, typ string, value []byte) llm.Native {
	return llm.Native{Format: dialect.OpenAIResponses, Type: typ, JSON: r.copy(value, at, "")}
}
