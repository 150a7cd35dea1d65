package openaichat

import (
	"strings"

	"github.com/financecommander/tollgate/internal/dialect"
	"github.com/financecommander/tollgate/internal/dialect/wire"
	"github.com/financecommander/tollgate/internal/llm"
)

// Clients of this format carry other providers' state in reasoning_details, which
// those return that send whole messages back, and in the first tool call's id,
// which all return: it holds the thinking of the turn as well.

// noteThinking keeps thinking with state of another format, for the first tool
// call's id.
func (e *encoder) noteThinking(c *choiceState, t *llm.Thinking) {
	if t.Opaque != nil && t.Opaque.Format != dialect.OpenAIChat {
		c.thinking = append(c.thinking, dialect.SealThinking(t))
	}
}

// sealedID is a tool call's id with the state that is to come back with it.
func (e *encoder) sealedID(c *choiceState, call *llm.ToolCall) string {
	var state dialect.State
	if !c.told {
		c.told, state.Thinking = true, c.thinking
	}
	if call.Opaque != nil && call.Opaque.Format != dialect.OpenAIChat {
		state.Opaque = call.Opaque
	}
	return dialect.SealID(call.ID, dialect.SealState(e.o.Seal, state))
}

// details writes reasoning_details: those of this format as they came, and state
// of others sealed. A text's state is an encrypted detail without thinking.
func (e *encoder) details(w *wire.Writer, parts []llm.Part) {
	open := false
	for _, p := range parts {
		detail := e.detail(p)
		if detail == nil {
			continue
		}
		if !open {
			w.Name(inDetails).Array()
			open = true
		}
		w.Raw(detail)
	}
	if open {
		w.EndArray()
	}
}

// detail is a part's object in reasoning_details; nil: it has none.
func (e *encoder) detail(p llm.Part) []byte {
	o := p.Base().Opaque
	if o == nil {
		return nil
	}
	var w wire.Writer
	place, own := placeOf(o)
	t, thinking := p.(*llm.Thinking)
	_, text := p.(*llm.Text)
	switch {
	case own && thinking && place.detail != "":
		appendDetail(&w, place.detail, t.Text)
	case own || !thinking && !text:
		return nil
	case thinking && !t.Redacted && t.Text != "":
		token := dialect.SealState(e.o.Seal, dialect.State{Opaque: o})
		if token == "" {
			return nil
		}
		w.Object().Name("type").Text(detailText)
		w.Name("text").Text(t.Text).Name("signature").Text(token).End()
	default:
		state := dialect.State{Opaque: o}
		if thinking {
			state = dialect.State{Thinking: []dialect.ThinkingState{dialect.SealThinking(t)}}
		}
		token := dialect.SealState(e.o.Seal, state)
		if token == "" {
			return nil
		}
		w.Object().Name("type").Text(detailEncrypted).Name("data").Text(token).End()
	}
	return w.Bytes
}

// appendThoughtTexts writes the members that hold the text of thinking. foreign is
// the one that takes the text of other formats' thinking; "" for none.
func appendThoughtTexts(w *wire.Writer, parts []llm.Part, foreign string) {
	for _, member := range []string{"reasoning", "reasoning_content"} {
		var text strings.Builder
		for _, p := range parts {
			t, ok := p.(*llm.Thinking)
			if !ok {
				continue
			}
			if place, own := placeOf(t.Opaque); own && place.in(member) || !own && member == foreign {
				text.WriteString(t.Text)
			}
		}
		w.TextMember(member, text.String())
	}
}
