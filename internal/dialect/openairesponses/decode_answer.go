package openairesponses

import (
	"github.com/financecommander/tollgate/internal/dialect"
	"github.com/financecommander/tollgate/internal/dialect/wire"
	"github.com/financecommander/tollgate/internal/jsonedit"
	"github.com/financecommander/tollgate/internal/llm"
)

// DecodeAnswer implements [dialect.Translator].
func (Codec) DecodeAnswer(body []byte, o dialect.UpstreamOptions) (*llm.Answer, *llm.Error) {
	m := &meter{}
	m.Body(body)
	reading := m.Reading()
	if reading.Err != nil {
		return nil, reading.Err
	}
	var lenient reader
	top := lenient.value(body, place{})
	a := &llm.Answer{
		ID: top.text("id"), Model: reading.Model, Created: created(&top),
		Usage: reading.Usage, Reported: reading.Reported, ServiceTier: reading.ServiceTier,
		UsageExtra: usageExtra(top.get("usage")), Extra: responseExtra(&top, reading),
	}
	choice := llm.Choice{Reason: reading.Finish}
	top.elements("output", func(_ int, value []byte) {
		for _, p := range outputParts(value, o.Model) {
			choice.Parts = append(choice.Parts, p)
			if logprobs := logProbsOf(p); len(choice.LogProbs) == 0 {
				choice.LogProbs = logprobs
			}
		}
	})
	a.Choices = []llm.Choice{choice}
	return a, nil
}

// outputParts are the parts of one item of an answer. What is not as it should
// be counts as absent: an answer is not refused for it.
func outputParts(value []byte, model string) []llm.Part {
	if value[0] != '{' {
		return nil
	}
	var lenient reader
	o := lenient.value(value, place{})
	switch typ := o.text("type"); typ {
	case "message":
		return messageParts(&o)
	case "reasoning":
		t := readThinking(&o)
		if t.Opaque != nil {
			t.Opaque.Model = model
		}
		return []llm.Part{t}
	case "function_call", "custom_tool_call":
		return []llm.Part{answerCall(&o, typ)}
	default:
		return []llm.Part{lenient.nativeItem(&o, typ, value)}
	}
}

func answerCall(o *object, typ string) *llm.ToolCall {
	c := readCall(o, typ)
	if c.ID == "" {
		c.ID = newID("call_")
	}
	return c
}

func messageParts(o *object) []llm.Part {
	var parts []llm.Part
	o.objects("content", func(_ int, part *object, value []byte) {
		parts = append(parts, readPart(part, value, llm.RoleAssistant))
	})
	if len(parts) == 0 {
		parts = []llm.Part{&llm.Text{Common: llm.Common{Wire: own([]byte(`{"empty":true}`))}}}
	}
	markItem(parts[0].Base(), o)
	return parts
}

// logProbsOf reads a text's log probabilities.
func logProbsOf(p llm.Part) []llm.LogProb {
	if _, ok := p.(*llm.Text); !ok {
		return nil
	}
	return readLogProbs(memberOf(p.Base(), "logprobs"))
}

func readLogProbs(list []byte) []llm.LogProb {
	if len(list) <= len("[]") {
		return nil
	}
	var tokens []llm.LogProb
	s := jsonedit.NewScanner(list)
	for range s.Elements {
		tokens = append(tokens, readLogProb(s.Skip()))
	}
	return tokens
}

func readLogProb(value []byte) llm.LogProb {
	var lenient reader
	o := lenient.value(value, place{})
	token := llm.LogProb{Token: o.text("token"), Top: readLogProbs(o.get("top_logprobs"))}
	if f := o.number("logprob"); f != nil {
		token.LogProb = *f
	}
	o.elements("bytes", func(_ int, value []byte) {
		n, _ := jsonedit.ParseInt(value)
		token.Bytes = append(token.Bytes, byte(n))
	})
	token.Extra = own(o.rest())
	return token
}

// created is when an answer began, if that is given in whole seconds.
func created(top *object) int64 {
	at, _ := jsonedit.ParseInt(top.get("created_at"))
	return at
}

// responseExtra are the members of a response object that do not follow from
// what the vocabulary says.
func responseExtra(top *object, reading dialect.Reading) llm.Extra {
	for _, name := range [...]string{"id", "object", "model", "output", "error"} {
		top.get(name)
	}
	if reading.Reported {
		top.get("usage")
	}
	if reading.ServiceTier != "" {
		top.get("service_tier")
	}
	if created(top) == 0 {
		top.leave("created_at")
	}
	status, details := statusOf(reading.Finish)
	if said := top.text("status"); said != status && said != "in_progress" {
		top.leave("status")
	}
	if inner, _ := top.nested("incomplete_details"); inner.text("reason") != details || inner.rest() != nil {
		top.leave("incomplete_details")
	}
	return own(top.rest())
}

// usageExtra are the members of a usage object that are not counted.
func usageExtra(usage []byte) llm.Extra {
	if len(usage) == 0 || usage[0] != '{' {
		return llm.Extra{}
	}
	var lenient reader
	o := lenient.value(usage, place{})
	input, _ := o.nested("input_tokens_details")
	output, _ := o.nested("output_tokens_details")
	o.take("input_tokens", "output_tokens", "total_tokens")
	input.take("cached_tokens", "cache_write_tokens")
	output.take("reasoning_tokens")
	var w wire.Writer
	w.Object().Members(o.rest())
	w.RawMember("input_tokens_details", input.rest())
	w.RawMember("output_tokens_details", output.rest())
	w.End()
	return own(w.Bytes)
}

// statusOf is how an answer that ended for a reason is said to have ended.
func statusOf(reason llm.FinishReason) (status, details string) {
	switch reason {
	case llm.FinishLength:
		return "incomplete", "max_output_tokens"
	case llm.FinishFilter:
		return "incomplete", "content_filter"
	case llm.FinishError:
		return "failed", ""
	default:
		return "completed", ""
	}
}
