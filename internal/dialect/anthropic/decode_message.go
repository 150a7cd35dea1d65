package anthropic

import (
	"slices"
	"strings"

	"github.com/financecommander/tollgate/internal/dialect"
	"github.com/financecommander/tollgate/internal/dialect/wire"
	"github.com/financecommander/tollgate/internal/jsonedit"
	"github.com/financecommander/tollgate/internal/llm"
)

// systemPos is the position of the system prompt, which stands beside the
// messages.
const systemPos = -1

// inPlace marks a system message that stood among the others, as newer models
// take them.
var inPlace = llm.Extra{Format: Format, JSON: []byte(`{"role":"system"}`)}

// system takes the system prompt; it is the first message of all, wherever it
// stands in the body.
func (r *reader) system() {
	m := llm.Message{Role: llm.RoleSystem, Pos: llm.Pos{Message: systemPos, Part: -1}}
	m.Parts = r.content(&m)
	if len(m.Parts) > 0 {
		r.out.Messages = append([]llm.Message{m}, r.out.Messages...)
	}
}

func (r *reader) message(index int32) {
	m := llm.Message{Pos: llm.Pos{Message: index, Part: -1}}
	switch role := r.Peek("role"); role {
	case "user":
		m.Role = llm.RoleUser
	case "assistant":
		m.Role = llm.RoleAssistant
	case "system":
		m.Role, m.Wire = llm.RoleSystem, inPlace
	}
	var rest wire.Rest
	content := false
	for name := range r.Members {
		switch string(name) {
		case "role":
			r.Word("user", "assistant", "system")
		case "content":
			content = true
			m.Parts = r.content(&m)
		default:
			rest.Add(name, r.Raw())
		}
	}
	switch {
	case m.Role == "":
		r.Fail("role", "is required")
	case !content:
		r.Fail("content", "is required")
	}
	m.Extra = rest.Extra(Format)
	r.out.Messages = append(r.out.Messages, m)
}

// content takes a message's content: a text, or blocks.
func (r *reader) content(m *llm.Message) []llm.Part {
	if r.Kind() == jsonedit.KindString {
		return []llm.Part{&llm.Text{Common: llm.Common{Pos: llm.Pos{Message: m.Pos.Message, Part: -1}}, Text: r.Text()}}
	}
	if r.Kind() != jsonedit.KindArray {
		r.Fail("", "must be a string or an array of blocks")
		return nil
	}
	var parts []llm.Part
	for i := range r.Elements {
		pos := llm.Pos{Message: m.Pos.Message, Part: int32(i)}
		switch kind := r.Peek("type"); {
		case kind == "redacted_thinking":
			parts = r.redacted(parts, pos)
		case m.Role == llm.RoleSystem && kind != "text" && m.Pos.Message == systemPos:
			r.Fail("type", "must be text")
		default:
			parts = append(parts, r.block(kind, pos, m.Role))
		}
	}
	return parts
}

// block takes a block of a message.
func (r *reader) block(kind string, pos llm.Pos, role llm.Role) llm.Part {
	switch kind {
	case "":
		r.Fail("type", "is required")
	case "text":
		return r.text(pos)
	case "image", "document":
		return r.media(kind, pos)
	case "thinking":
		return r.thinkingBlock(pos)
	case "tool_use":
		if role != llm.RoleAssistant {
			r.Fail("type", "can be tool_use in messages of the assistant only")
		}
		return r.toolUse(pos)
	case "tool_result":
		if role != llm.RoleUser {
			r.Fail("type", "can be tool_result in messages of the user only")
		}
		return r.toolResult(pos)
	}
	return r.native(kind, pos)
}

// native takes a block that only this format has.
func (r *reader) native(kind string, pos llm.Pos) llm.Part {
	return &llm.NativePart{
		Common: llm.Common{Pos: pos},
		Native: llm.Native{Format: Format, Type: kind, JSON: r.RawObject()},
	}
}

// members loops over a block's members. Those that all blocks may have, and
// those that take says it does not know, go to c.
func (r *reader) members(c *llm.Common, take func(name []byte) (known bool)) {
	var rest wire.Rest
	for name := range r.Members {
		switch string(name) {
		case "type":
			r.Text()
		case "cache_control":
			c.Cache = r.cacheControl(&rest, name)
		default:
			if !take(name) {
				rest.Add(name, r.Raw())
			}
		}
	}
	c.Extra = rest.Extra(Format)
}

func (r *reader) text(pos llm.Pos) llm.Part {
	p := &llm.Text{Common: llm.Common{Pos: pos}}
	found := false
	r.members(&p.Common, func(name []byte) bool {
		switch string(name) {
		case "text":
			p.Text, found = r.Text(), true
		case "citations":
			if r.Kind() != jsonedit.KindArray {
				return false
			}
			for range r.Elements {
				p.Citations = append(p.Citations, readCitation(r.RawObject()))
			}
		default:
			return false
		}
		return true
	})
	if !found {
		r.Fail("text", "is required")
	}
	return p
}

func (r *reader) thinkingBlock(pos llm.Pos) llm.Part {
	p := &llm.Thinking{Common: llm.Common{Pos: pos}}
	r.members(&p.Common, func(name []byte) bool {
		switch string(name) {
		case "thinking":
			p.Text = r.Text()
		case "signature":
			p.Opaque = r.opaque(r.Text())
		default:
			return false
		}
		return true
	})
	return p
}

// opaque is the state in a field: the provider's own, or another's that an
// earlier answer of ours put there.
func (r *reader) opaque(value string) *llm.Opaque {
	if value == "" {
		return nil
	}
	if isToken(value) {
		state, _ := dialect.OpenState(r.seal, value)
		return state.Opaque
	}
	return &llm.Opaque{Format: Format, Value: value}
}

// redacted takes thinking that cannot be read. It may be a token of ours: with
// thinking in it, or with state that belongs to the text before.
func (r *reader) redacted(parts []llm.Part, pos llm.Pos) []llm.Part {
	p := &llm.Thinking{Common: llm.Common{Pos: pos}, Redacted: true}
	data := ""
	r.members(&p.Common, func(name []byte) bool {
		if string(name) != "data" {
			return false
		}
		data = r.Text()
		return true
	})
	if !isToken(data) {
		if data != "" {
			p.Opaque = &llm.Opaque{Format: Format, Value: data}
		} else {
			r.Fail("data", "is required")
		}
		return append(parts, p)
	}
	state, _ := dialect.OpenState(r.seal, data)
	for _, t := range state.Thinking {
		thought := t.Part()
		thought.Pos = pos
		parts = append(parts, thought)
	}
	if state.Opaque != nil {
		attach(parts, state.Opaque)
	}
	return parts
}

// attach gives state back to the last text.
func attach(parts []llm.Part, state *llm.Opaque) {
	for _, p := range slices.Backward(parts) {
		if t, ok := p.(*llm.Text); ok {
			t.Opaque = state
			return
		}
	}
}

func (r *reader) toolUse(pos llm.Pos) llm.Part {
	p := &llm.ToolCall{Common: llm.Common{Pos: pos}}
	var own wire.Rest
	r.members(&p.Common, func(name []byte) bool {
		switch string(name) {
		case "id":
			p.ID = r.Text()
		case "name":
			p.Name = r.Text()
		case "input":
			p.Arguments = string(r.RawObject())
		case "caller": // who called: the model itself, or a server tool of this format
			own.Add(name, r.Raw())
		default:
			return false
		}
		return true
	})
	switch {
	case p.ID == "":
		r.Fail("id", "is required")
	case p.Name == "":
		r.Fail("name", "is required")
	case p.Arguments == "":
		r.Fail("input", "is required")
	}
	id, state := dialect.OpenID(r.seal, p.ID)
	p.ID, p.Opaque, p.Wire = id, state.Opaque, own.Extra(Format)
	if state.ID != "" {
		p.ID = state.ID
	}
	r.calls[p.ID] = true
	return p
}

func (r *reader) toolResult(pos llm.Pos) llm.Part {
	p := &llm.ToolResult{Common: llm.Common{Pos: pos}}
	r.members(&p.Common, func(name []byte) bool {
		switch string(name) {
		case "tool_use_id":
			p.CallID = r.callID()
		case "is_error":
			p.IsError = r.Bool()
		case "content":
			p.Parts = r.resultContent(pos)
		default:
			return false
		}
		return true
	})
	if p.CallID == "" {
		r.Fail("tool_use_id", "is required")
	}
	return p
}

// callID takes the id of a call that came before.
func (r *reader) callID() string {
	id, state := dialect.OpenID(r.seal, r.Text())
	if state.ID != "" {
		id = state.ID
	}
	if !r.calls[id] && r.orphan == nil {
		r.orphan = wire.Invalid(r.Path(), "is the id of no tool_use block before")
	}
	return id
}

// resultContent takes what a tool gave. Its blocks have no place of their own
// in errors: that of the result is told.
func (r *reader) resultContent(pos llm.Pos) []llm.Part {
	if r.Kind() == jsonedit.KindString {
		return []llm.Part{&llm.Text{Common: llm.Common{Pos: pos}, Text: r.Text()}}
	}
	if r.Kind() != jsonedit.KindArray {
		r.Fail("", "must be a string or an array of blocks")
		return nil
	}
	parts := []llm.Part{}
	for range r.Elements {
		switch kind := r.Peek("type"); kind {
		case "":
			r.Fail("type", "is required")
		case "text":
			parts = append(parts, r.text(pos))
		case "image", "document":
			parts = append(parts, r.media(kind, pos))
		default:
			parts = append(parts, r.native(kind, pos))
		}
	}
	return parts
}

// isToken says whether a field holds a token of ours.
func isToken(field string) bool { return strings.HasPrefix(field, dialect.SealPrefix) }
