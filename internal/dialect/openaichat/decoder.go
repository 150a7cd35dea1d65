package openaichat

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"strconv"

	"github.com/financecommander/tollgate/internal/dialect"
	"github.com/financecommander/tollgate/internal/jsonedit"
	"github.com/financecommander/tollgate/internal/llm"
	"github.com/financecommander/tollgate/internal/sse"
)

// decoder reads one answer. It is a meter that walks over chunks a second time,
// but for the ordinary ones, of which the meter gives the text.
type decoder struct {
	meter
	model   string      // as [dialect.UpstreamOptions] has it
	events  []llm.Event // of the chunk or body at hand
	started bool
	head    llm.Started
	parts   int // how many began
	choices []*choice
	extra   members // of chunks
	usage   []byte  // the usage object, as sent

	// usual is what a chunk that fits the meter's template adds to; nil: it must
	// be walked over.
	usual func(text string)
}

// NewDecoder implements [dialect.Translator].
//
// Source: https://platform.openai.com/docs/api-reference/chat-streaming.
func (ChatCodec) NewDecoder(o dialect.UpstreamOptions) dialect.Decoder {
	return &decoder{model: o.Model}
}

// DecodeAnswer implements [dialect.Translator].
func (c ChatCodec) DecodeAnswer(body []byte, o dialect.UpstreamOptions) (*llm.Answer, *llm.Error) {
	d := &decoder{model: o.Model}
	var all llm.Collector
	d.Body(body)
	for _, e := range d.Events() {
		all.Add(e)
	}
	for _, e := range d.End(nil) {
		all.Add(e)
	}
	answer, failed := all.Answer()
	if failed != nil {
		return nil, failed
	}
	return answer, nil
}

// Event implements [dialect.Meter].
func (d *decoder) Event(e sse.Event) dialect.Mark {
	d.events = d.events[:0]
	mark := d.meter.Event(e)
	switch {
	case d.fitted != nil && d.usual != nil:
		if len(d.fitted) > len(`""`) {
			d.usual(string(jsonedit.AppendText(nil, d.fitted)))
		}
	case e.Data == nil, mark.Terminal, mark.Failed:
	default:
		d.chunk(e.Data, "delta")
	}
	return mark
}

// Body implements [dialect.Meter].
func (d *decoder) Body(body []byte) {
	d.events = d.events[:0]
	d.meter.Body(body)
	if d.reading.Err == nil {
		d.chunk(body, "message")
	}
}

// Events implements [dialect.Decoder].
func (d *decoder) Events() []llm.Event { return d.events }

// End implements [dialect.Decoder].
func (d *decoder) End(err *llm.Error) []llm.Event {
	d.events = d.events[:0]
	r := d.Reading()
	switch {
	case err != nil:
	case r.Err != nil:
		err = r.Err
	case !r.Complete:
		err = &llm.Error{Cause: llm.CauseUpstreamCut, Message: "the upstream provider's answer broke off"}
	}
	d.start()
	if err != nil {
		d.emit(llm.Failed{Err: err})
		return d.events
	}
	for _, c := range d.choices {
		c.close()
	}
	for _, c := range d.choices {
		d.emit(c.end())
	}
	d.emit(llm.Finished{
		Reason: r.Finish, Usage: r.Usage, Reported: r.Reported, Model: r.Model, ServiceTier: r.ServiceTier,
		UsageExtra: extraOf(d.usage), Extra: d.extra.extra(),
	})
	return d.events
}

func extraOf(object []byte) llm.Extra {
	if len(object) == 0 {
		return llm.Extra{}
	}
	return llm.Extra{Format: dialect.OpenAIChat, JSON: object}
}

func (d *decoder) emit(e llm.Event) { d.events = append(d.events, e) }

// start begins the answer, once.
func (d *decoder) start() {
	if d.started {
		return
	}
	d.started = true
	d.head.Extra = d.extra.extra()
	d.emit(d.head)
}

// chunk reads a chunk or a body. message is the member of a choice that holds
// what was generated, as for [meter.read]. What is no JSON was passed over by
// the meter, and is here.
func (d *decoder) chunk(data []byte, message string) {
	s := jsonedit.NewScanner(data)
	var choices []byte
	d.extra.changed = false
	for name := range s.Members {
		switch string(name) {
		case "id":
			if d.head.ID == "" {
				d.head.ID = string(s.Text(nil))
			}
		case "created":
			if n, ok := s.Int(); ok && d.head.Created == 0 {
				d.head.Created = n
			}
		case "model":
			if d.head.Model == "" {
				d.head.Model = string(s.Text(nil))
			}
		case "choices":
			choices = s.Skip()
		case "usage":
			d.noteUsage(s.Skip())
		case "object", "service_tier", "error":
		case "obfuscation", "p": // padding: OpenAI's, Mistral's
		default:
			value := s.Skip()
			if string(name) == "x_groq" {
				d.noteUsage(memberOf(value, "usage"))
			}
			d.extra.set(name, value)
		}
	}
	if s.End() != nil {
		return
	}
	d.start()
	before := len(d.events)
	list := jsonedit.NewScanner(choices)
	for range list.Elements {
		d.choice(list.Skip(), message)
	}
	if d.learned {
		d.learnUsual(d.events[before:])
	}
}

func (d *decoder) noteUsage(value []byte) {
	if len(value) > 0 && value[0] == '{' {
		d.usage = append(d.usage[:0:0], value...)
	}
}

// learnUsual notes what chunks like this one add to, if text is all they add.
func (d *decoder) learnUsual(events []llm.Event) {
	d.usual = nil
	var c *choice
	for _, at := range d.choices {
		if at.index == 0 {
			c = at
		}
	}
	deltas := 0
	for _, e := range events {
		switch e.(type) {
		case llm.PartStart, llm.PartEnd:
		default:
			deltas++
		}
	}
	if c == nil || deltas != 1 || c.lists {
		return
	}
	switch e := events[len(events)-1].(type) {
	case llm.TextDelta:
		if c.open.what == openText {
			d.usual = c.text
		}
	case llm.ThinkingDelta:
		if open := c.open; open.what == openThinking && open.key == "" {
			d.usual = func(text string) { c.think(open.members, text) }
		}
	case llm.ArgumentsDelta:
		d.usual = func(text string) { d.emit(llm.ArgumentsDelta{Part: e.Part, JSON: text}) }
	}
}

// callID makes an id for a tool call that came without one.
func (d *decoder) callID(choice, number int) string {
	if d.head.ID == "" {
		return "call_" + rand.Text()
	}
	sum := sha256.Sum256([]byte(d.head.ID + "/" + strconv.Itoa(choice) + "/" + strconv.Itoa(number)))
	return "call_" + hex.EncodeToString(sum[:12])
}
