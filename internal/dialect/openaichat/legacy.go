package openaichat

import (
	"strings"

	"github.com/go-json-experiment/json"

	"github.com/financecommander/tollgate/internal/dialect"
	"github.com/financecommander/tollgate/internal/jsonedit"
	"github.com/financecommander/tollgate/internal/llm"
	"github.com/financecommander/tollgate/internal/sse"
)

// wireRequest is a chat completion request, as far as package llm can say one.
type wireRequest struct {
	Model       string        `json:"model"`
	Messages    []wireMessage `json:"messages"`
	Temperature *float64      `json:"temperature,omitzero"`
	MaxTokens   int64         `json:"max_completion_tokens,omitzero"`
	Stream      bool          `json:"stream,omitzero"`
}

type wireMessage struct {
	Role    llm.Role `json:"role"`
	Content string   `json:"content"`
}

// EncodeLegacy implements [dialect.RequestEncoder]. To ask a stream for its usage
// is Patch's, since not every provider takes it. A part that is no text is refused.
func (ChatCodec) EncodeLegacy(r *llm.Request) ([]byte, error) {
	w := wireRequest{Model: r.Model, Temperature: r.Temperature, MaxTokens: r.MaxTokens, Stream: r.Stream}
	w.Messages = make([]wireMessage, len(r.Messages))
	for i, m := range r.Messages {
		var content strings.Builder
		for _, part := range m.Parts {
			text, ok := part.(*llm.Text)
			if !ok {
				return nil, &llm.Error{Cause: llm.CauseInvalidRequest, Message: "the upstream can be sent text only"}
			}
			content.WriteString(strings.ToValidUTF8(text.Text, "\uFFFD"))
		}
		w.Messages[i] = wireMessage{Role: m.Role, Content: content.String()}
	}
	return json.Marshal(w)
}

// NewLegacyDecoder returns a legacyDecoder for one answer.
func (ChatCodec) NewLegacyDecoder() dialect.AnswerDecoder {
	d := &legacyDecoder{}
	d.meter.texts = d
	return d
}

// legacyDecoder is a meter that hands on the text it meets.
type legacyDecoder struct {
	meter  meter
	events []llm.Event // of the chunk at hand
	ended  bool
}

// Event implements [dialect.AnswerDecoder].
func (d *legacyDecoder) Event(e sse.Event) []llm.Event {
	d.events = nil
	if d.ended {
		return nil
	}
	mark := d.meter.Event(e)
	if mark.Terminal || mark.Failed {
		d.end()
	}
	return d.events
}

// Body implements [dialect.AnswerDecoder].
func (d *legacyDecoder) Body(body []byte) []llm.Event {
	d.events = nil
	d.meter.Body(body)
	d.end()
	return d.events
}

// End implements [dialect.AnswerDecoder].
func (d *legacyDecoder) End() []llm.Event {
	d.events = nil
	d.end()
	return d.events
}

// end adds the answer's last event, once.
func (d *legacyDecoder) end() {
	if d.ended {
		return
	}
	d.ended = true
	r := d.meter.Reading()
	switch {
	case r.Err != nil:
		d.events = append(d.events, llm.Failed{Err: r.Err})
	case !r.Complete:
		d.events = append(d.events, llm.Failed{Err: &llm.Error{
			Cause:   llm.CauseUpstreamCut,
			Message: "the upstream provider's answer broke off",
		}})
	default:
		d.events = append(d.events, llm.Finished{Reason: r.Finish, Usage: r.Usage, Reported: r.Reported, Model: r.Model})
	}
}

func (d *legacyDecoder) text(quoted []byte) {
	d.events = append(d.events, llm.TextDelta{Text: string(jsonedit.AppendText(nil, quoted))})
}

func (d *legacyDecoder) thinking(quoted []byte) {
	d.events = append(d.events, llm.ThinkingDelta{Text: string(jsonedit.AppendText(nil, quoted))})
}
