package anthropic

import (
	"bytes"

	"github.com/financecommander/tollgate/internal/dialect"
	"github.com/financecommander/tollgate/internal/dialect/wire"
	"github.com/financecommander/tollgate/internal/jsonedit"
	"github.com/financecommander/tollgate/internal/llm"
)

// DecodeAnswer implements [dialect.Translator].
func (MessagesCodec) DecodeAnswer(body []byte, o dialect.UpstreamOptions) (*llm.Answer, *llm.Error) {
	body = bytes.Clone(body) // parts refer to it
	var m meter
	m.textless = true
	if !m.whole(body) {
		if m.reading.Err != nil {
			return nil, m.reading.Err
		}
		return nil, wire.NotUnderstood()
	}
	a := &llm.Answer{
		Model: m.reading.Model, Usage: m.reading.Usage, Reported: m.reading.Reported, ServiceTier: m.reading.ServiceTier,
	}
	var choice llm.Choice
	var end llm.ChoiceEnd
	var rest, stop wire.Rest
	s := jsonedit.NewScanner(body)
	for name := range s.Members {
		switch string(name) {
		case "id":
			set(&a.ID, &s)
		case "type", "role", "model":
		case "content":
			for range s.Elements {
				choice.Parts = append(choice.Parts, answerPart(s.Skip(), o.Model))
			}
		case "stop_reason", "stop_sequence", "stop_details", "container": // as in message_delta
			readStop(&end, string(name), &s, &stop)
		case "usage":
			a.UsageExtra = extra(usageRest(s.Skip()))
		default:
			if value := s.Skip(); string(value) != "null" {
				rest.Add(name, value)
			}
		}
	}
	choice.Reason, choice.StopSequence, choice.Extra = end.Reason, end.StopSequence, stop.Extra(Format)
	a.Choices, a.Extra = []llm.Choice{choice}, rest.Extra(Format)
	return a, nil
}

// answerPart reads a whole block.
func answerPart(raw []byte, model string) llm.Part {
	if part, known := readBlock(raw, model); known {
		return part
	}
	kind := string(jsonedit.AppendText(nil, wire.Member(raw, "type")))
	return &llm.NativePart{Native: llm.Native{Format: Format, Type: kind, JSON: raw}}
}

// readBlock reads a block of an answer, whole or its start in a stream. known is
// false for one that only this format has.
func readBlock(raw []byte, model string) (part llm.Part, known bool) {
	switch kind := wire.Member(raw, "type"); string(kind) {
	case `"text"`:
		return readText(raw), true
	case `"thinking"`, `"redacted_thinking"`:
		return readThinking(raw, model), true
	case `"tool_use"`:
		return readToolUse(raw), true
	}
	return nil, false
}

func readText(raw []byte) *llm.Text {
	p := &llm.Text{}
	var rest wire.Rest
	s := jsonedit.NewScanner(raw)
	for name := range s.Members {
		switch string(name) {
		case "type":
		case "text":
			set(&p.Text, &s)
		case "citations":
			empty := s.Kind() == jsonedit.KindArray
			for range s.Elements {
				empty = false
				p.Citations = append(p.Citations, readCitation(bytes.Clone(s.Skip())))
			}
			if empty {
				rest.Add(name, []byte("[]"))
			}
		default:
			rest.Add(name, s.Skip())
		}
	}
	p.Wire = rest.Extra(Format)
	return p
}

func readThinking(raw []byte, model string) *llm.Thinking {
	p := &llm.Thinking{}
	var state string
	var rest wire.Rest
	s := jsonedit.NewScanner(raw)
	for name := range s.Members {
		switch string(name) {
		case "type":
		case "thinking":
			set(&p.Text, &s)
		case "signature":
			set(&state, &s)
		case "data":
			p.Redacted = true
			set(&state, &s)
		default:
			rest.Add(name, s.Skip())
		}
	}
	if state != "" {
		p.Opaque = &llm.Opaque{Format: Format, Model: model, Value: state}
	}
	p.Wire = rest.Extra(Format)
	return p
}

func readToolUse(raw []byte) *llm.ToolCall {
	p := &llm.ToolCall{}
	var rest wire.Rest
	s := jsonedit.NewScanner(raw)
	for name := range s.Members {
		switch string(name) {
		case "type":
		case "id":
			set(&p.ID, &s)
		case "name":
			set(&p.Name, &s)
		case "input":
			p.Arguments = string(s.Skip())
		default:
			rest.Add(name, s.Skip())
		}
	}
	p.Wire = rest.Extra(Format)
	return p
}
