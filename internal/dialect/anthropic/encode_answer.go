package anthropic

import (
	"strings"

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

// head writes what an answer begins with.
func (e *encoder) head(w *wire.Writer, id, model string) {
	if model == "" {
		model = e.o.Model
	}
	w.Name("id").Text(messageID(id, e.o.RequestID))
	w.Name("type").Text("message")
	w.Name("role").Text("assistant")
	w.Name("model").Text(model)
}

// messageID gives another format's id the look of Anthropic's.
func messageID(id, requestID string) string {
	if id == "" {
		id = requestID
	}
	if strings.HasPrefix(id, "msg_") {
		return id
	}
	return "msg_" + id
}

// appendCounts writes the numbers of tokens as Anthropic counts: input without
// what the cache gave or took.
func appendCounts(w *wire.Writer, u llm.Usage) {
	w.Name("input_tokens").Int(u.InputTotal() - u.Cached() - u.CacheWrite())
	w.Name("cache_creation_input_tokens").Int(u.CacheWrite())
	w.Name("cache_read_input_tokens").Int(u.Cached())
	w.Name("output_tokens").Int(u.OutputTotal())
}

// appendSplit tells apart what was written to the cache.
func appendSplit(w *wire.Writer, u llm.Usage) {
	w.Name("cache_creation").Object()
	w.Name("ephemeral_5m_input_tokens").Int(u.CacheWrite5m)
	w.Name("ephemeral_1h_input_tokens").Int(u.CacheWrite1h)
	w.End()
}

// appendRest writes what usage says beyond the numbers.
func appendRest(w *wire.Writer, u llm.Usage, tier string, extra llm.Extra) {
	rest := extra.In(Format)
	if details := wire.Member(rest, "output_tokens_details"); u.Reasoning > 0 || details != nil {
		w.Name("output_tokens_details").Object()
		w.Name("thinking_tokens").Int(u.Reasoning)
		w.Members(details)
		w.End()
	}
	if tier == "default" { // OpenAI's word
		tier = "standard"
	}
	w.TextMember("service_tier", tier)
	w.Members(rest, "output_tokens_details")
}

// appendStop writes why an answer stopped.
func (e *encoder) appendStop(w *wire.Writer, reason llm.FinishReason, sequence string, extra llm.Extra) {
	switch {
	// Some providers say "stop" where a tool was called, as when one was forced.
	case e.called && sequence == "" && (reason == llm.FinishUnknown || reason == llm.FinishStop):
		reason = llm.FinishToolCalls
	case reason == llm.FinishStop && e.refused: // other formats tell it by the part alone
		reason = llm.FinishFilter
	}
	rest := extra.In(Format)
	if word := wire.Member(rest, "stop_reason"); word != nil {
		w.Name("stop_reason").Raw(word)
	} else {
		w.Name("stop_reason").Text(stopReason(reason, sequence))
	}
	if sequence != "" {
		w.Name("stop_sequence").Text(sequence)
	} else {
		w.Name("stop_sequence").Null()
	}
	w.Members(rest, "stop_reason")
}
