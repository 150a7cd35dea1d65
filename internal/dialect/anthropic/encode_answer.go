package anthropic

import (
	"github.com/financecommander/tollgate/internal/dialect"
	"github.com/financecommander/tollgate/internal/dialect/wire"
	"github.com/financecommander/tollgate/internal/llm"
)

// AppendAnswer implements [dialect.Encoder].
func (e *encoder) AppendAnswer(dst []byte, a *llm.Answer) []byte {
	w := &wire.Writer{Bytes: append(dst, '{')}
	e.head(w, a.ID, a.Model)
	var choice llm.Choice
	if len(a.Choices) > 0 {
		choice = a.Choices[0]
	}
	w.Name("content").Array()
	for i, part := range choice.Parts {
		e.appendPart(w, part, i)
	}
	w.EndArray()
	e.appendStop(w, choice.Reason, choice.StopSequence, choice.Extra)
	w.Name("usage").Object()
	appendCounts(w, a.Usage)
	appendSplit(w, a.Usage)
	appendRest(w, a.Usage, a.ServiceTier, a.UsageExtra)
	w.End()
	w.Members(a.Extra.In(Format))
	w.End()
	return w.Bytes
}

// appendPart writes a part of an answer as the blocks it becomes.
func (e *encoder) appendPart(w *wire.Writer, part llm.Part, index int) {
	switch p := part.(type) {
	case *llm.Text:
		appendText(w, p.Text, p.Citations, p.Wire)
		if token := textToken(p, p.Opaque, e.o.Seal); token != "" {
			appendRedacted(w, token)
		}
	case *llm.Refusal:
		e.refused = true
		appendText(w, p.Text, nil, llm.Extra{})
	case *llm.Thinking:
		appendThinking(w, p, e.o.Seal)
	case *llm.ToolCall:
		e.called = true
		w.Object()
		appendCallHead(w, p, e.o.Seal, index)
		w.Name("input").Raw(inputOf(p))
		w.Members(p.Wire.In(Format))
		w.End()
	case *llm.Media:
		appendMedia(w, p)
	case *llm.NativePart:
		if p.Format == Format {
			w.Raw(p.JSON)
		}
	case *llm.ToolResult: // no model's to give
	}
}

func appendText(w *wire.Writer, text string, citations []llm.Citation, own llm.Extra) {
	w.Object().Name("type").Text("text")
	w.Name("text").Text(text)
	appendCitations(w, citations)
	w.Members(own.In(Format), "citations")
	if len(citations) == 0 {
		w.RawMember("citations", wire.Member(own.In(Format), "citations"))
	}
	w.End()
}

func appendCitations(w *wire.Writer, citations []llm.Citation) {
	begun := false
	for _, c := range citations {
		said, ok := appendCitation(nil, c)
		if !ok {
			continue
		}
		if !begun {
			w.Name("citations").Array()
			begun = true
		}
		w.Raw(said)
	}
	if begun {
		w.EndArray()
	}
}

// appendThinking writes thinking of an answer, see [encoder.endThinking].
func appendThinking(w *wire.Writer, p *llm.Thinking, seal dialect.Sealer) {
	own := p.Opaque != nil && p.Opaque.Format == Format
	switch {
	case own && p.Redacted:
		appendRedacted(w, p.Opaque.Value)
	case own:
		appendThought(w, p, p.Opaque.Value)
	case p.Text != "":
		appendThought(w, p, shownToken(p.Opaque, seal))
	case p.Opaque != nil:
		if token := hiddenToken(p, p.Opaque, seal); token != "" {
			appendRedacted(w, token)
		}
	}
}

func appendThought(w *wire.Writer, p *llm.Thinking, signature string) {
	w.Object().Name("type").Text("thinking")
	w.Name("thinking").Text(p.Text)
	w.Name("signature").Text(signature)
	w.Members(p.Wire.In(Format))
	w.End()
}

// inputOf is a call's input, which must be an object: what a model wrote that is
// none becomes a member of one.
func inputOf(p *llm.ToolCall) []byte {
	switch {
	case p.Custom:
		return freeText(p.Arguments)
	case p.Arguments == "":
		return []byte("{}")
	case isObject(p.Arguments):
		return []byte(p.Arguments)
	default:
		return freeText(p.Arguments)
	}
}
