package openaichat

import (
	"strings"

	"github.com/financecommander/tollgate/internal/dialect"
	"github.com/financecommander/tollgate/internal/dialect/wire"
	"github.com/financecommander/tollgate/internal/jsonedit"
	"github.com/financecommander/tollgate/internal/llm"
)

// AppendAnswer implements [dialect.Encoder].
//
// Source: https://platform.openai.com/docs/api-reference/chat/object.
func (e *encoder) AppendAnswer(dst []byte, a *llm.Answer) []byte {
	w := wire.Writer{Bytes: dst}
	w.Bytes = append(w.Bytes, '{')
	head := llm.Started{ID: a.ID, Model: a.Model, Created: a.Created}
	appendHead(&w, &head, e.o, "chat.completion")
	w.Name("choices").Array()
	for i := range a.Choices {
		e.answerChoice(&w, &a.Choices[i])
	}
	w.EndArray()
	if counted(a.Usage, a.Reported) {
		w.Name("usage")
		appendUsage(&w, a.Usage, a.UsageExtra)
	}
	w.TextMember("service_tier", a.ServiceTier)
	w.Members(a.Extra.In(dialect.OpenAIChat), "object")
	w.End()
	return w.Bytes
}

func (e *encoder) answerChoice(w *wire.Writer, c *llm.Choice) {
	extra := c.Extra.In(dialect.OpenAIChat)
	if c.StopSequence != "" {
		extra = withStop(extra, c.StopSequence)
	}
	w.Object().Name("index").Int(int64(c.Index))
	w.Name("message").Object().Name("role").Text("assistant")
	function := e.answerMessage(w, c)
	w.Members(memberOf(extra, "message"))
	w.End()
	w.Name("logprobs")
	appendLogProbs(w, c.LogProbs, extra)
	word := e.word(llm.ChoiceEnd{Choice: -1, Reason: c.Reason}, extra)
	if function && word == "tool_calls" {
		word = "function_call"
	}
	w.Name("finish_reason").Text(word)
	w.Members(extra, "message", "finish_reason", "logprobs")
	w.End()
}

// withStop adds the stop sequence that was met, as vLLM says it.
func withStop(extra []byte, stop string) []byte {
	var w wire.Writer
	w.Object().Name("stop_reason").Text(stop)
	w.Members(extra, "stop_reason")
	w.End()
	return w.Bytes
}

// answerMessage writes the members of a message behind its role.
func (e *encoder) answerMessage(w *wire.Writer, c *llm.Choice) (function bool) {
	state := &choiceState{index: c.Index}
	var calls []*llm.ToolCall
	var refusal strings.Builder
	for _, p := range c.Parts {
		switch p := p.(type) {
		case *llm.Thinking:
			e.noteThinking(state, p)
		case *llm.ToolCall:
			calls = append(calls, p)
		case *llm.Refusal:
			refusal.WriteString(p.Text)
		default: // is written below
		}
	}
	appendAnswerContent(w, c.Parts, len(calls) > 0 || refusal.Len() > 0)
	w.Name("refusal")
	if refusal.Len() > 0 {
		w.Text(refusal.String())
	} else {
		w.Null()
	}
	appendThoughtTexts(w, c.Parts, "reasoning_content")
	e.details(w, c.Parts)
	appendAnnotations(w, c.Parts)
	appendMedia(w, c.Parts)
	return e.answerCalls(w, state, calls)
}

// appendAnswerContent writes what the model said: one string, or parts where
// Mistral's thinking is among them.
func appendAnswerContent(w *wire.Writer, parts []llm.Part, other bool) {
	var text strings.Builder
	said, list := false, false
	for _, p := range parts {
		switch p := p.(type) {
		case *llm.Text:
			text.WriteString(p.Text)
			said = true
		case *llm.Thinking:
			place, own := placeOf(p.Opaque)
			list = list || own && place.in(inContent)
		case *llm.NativePart:
			list = list || p.Format == dialect.OpenAIChat
		case *llm.Media:
			other = true
		default: // has a member of its own
		}
	}
	w.Name("content")
	switch {
	case list:
		appendParts(w, parts)
	case !said && other:
		w.Null()
	default:
		w.Text(text.String())
	}
}

func appendParts(w *wire.Writer, parts []llm.Part) {
	w.Array()
	for _, p := range parts {
		switch p := p.(type) {
		case *llm.Text:
			w.Object().Name("type").Text("text").Name("text").Text(p.Text).End()
		case *llm.Thinking:
			if place, own := placeOf(p.Opaque); own && place.in(inContent) {
				appendMistralThinking(w, p.Text)
			}
		case *llm.NativePart:
			if p.Format == dialect.OpenAIChat {
				w.Raw(p.JSON)
			}
		default: // has a member of its own
		}
	}
	w.EndArray()
}

func appendAnnotations(w *wire.Writer, parts []llm.Part) {
	open := false
	for _, p := range parts {
		text, ok := p.(*llm.Text)
		if !ok {
			continue
		}
		for _, c := range text.Citations {
			if !sayable(c) {
				continue
			}
			if !open {
				w.Name("annotations").Array()
				open = true
			}
			appendCitation(w, c)
		}
	}
	if open {
		w.EndArray()
	}
}

// appendMedia writes images as OpenRouter does, and audio.
func appendMedia(w *wire.Writer, parts []llm.Part) {
	open := false
	for _, p := range parts {
		m, ok := p.(*llm.Media)
		if !ok || m.Kind == llm.MediaAudio {
			continue
		}
		if !open {
			w.Name("images").Array()
			open = true
		}
		w.Object().Name("type").Text("image_url")
		w.Name("image_url").Object().Name("url").Text(urlOf(m)).End()
		w.Members(m.Extra.In(dialect.OpenAIChat))
		w.End()
	}
	if open {
		w.EndArray()
	}
	for _, p := range parts {
		m, ok := p.(*llm.Media)
		if !ok || m.Kind != llm.MediaAudio {
			continue
		}
		own := memberOf(m.Extra.In(dialect.OpenAIChat), "audio")
		w.Name("audio").Object()
		if own == nil {
			w.Name("id").Text("audio_0").Name("expires_at").Int(0).Name("transcript").Text("")
		}
		w.Name("data").Text(m.Data)
		w.Members(own)
		w.End()
		return // there is place for one
	}
}

func (e *encoder) answerCalls(w *wire.Writer, state *choiceState, calls []*llm.ToolCall) (function bool) {
	if len(calls) > 0 && e.isFunction(calls[0], 0) {
		function = true
		w.Name("function_call").Object()
		w.Name("name").Text(calls[0].Name).Name("arguments").Text(calls[0].Arguments)
		w.Members(calls[0].Extra.In(dialect.OpenAIChat))
		w.End()
		calls = calls[1:]
	}
	if len(calls) == 0 {
		return function
	}
	w.Name("tool_calls").Array()
	for _, call := range calls {
		w.Object().Name("id").Text(e.sealedID(state, call))
		appendCall(w, call, true)
		w.End()
	}
	w.EndArray()
	return function
}

func forMembers(object []byte, each func(name, value []byte)) {
	s := jsonedit.NewScanner(object)
	for name := range s.Members {
		each(name, s.Skip())
	}
}
