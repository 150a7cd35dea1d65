package anthropic

import (
	"bytes"
	"slices"

	"github.com/financecommander/tollgate/internal/dialect"
	"github.com/financecommander/tollgate/internal/dialect/wire"
	"github.com/financecommander/tollgate/internal/jsonedit"
	"github.com/financecommander/tollgate/internal/llm"
	"github.com/financecommander/tollgate/internal/sse"
)

// decoder reads a streamed answer. The meter walks; the decoder, which is the
// meter's sink, makes events of what it sees.
type decoder struct {
	meter
	model  string // as the upstream names it
	events []llm.Event

	started bool
	parts   int     // started so far
	blocks  []block // that are open
	end     llm.ChoiceEnd
	stopped bool // the reason to stop was told
	usage   []byte
	extra   llm.Extra // of the answer, told at its end
	text    []byte    // scratch
}

// block is a block that is open.
type block struct {
	index     int64
	part      int // its part's number; valid if kind is not nativeBlock
	kind      blockKind
	signature []byte
	input     []byte            // of a tool call, as the start has it; used where no delta comes
	fed       bool              // a delta came
	native    []byte            // a nativeBlock as far as it is known
	arguments []byte            // a nativeBlock's input
	texts     map[string][]byte // a nativeBlock's, that came in pieces
	members   map[string][]byte // a nativeBlock's, that came whole
}

type blockKind byte

const (
	nativeBlock blockKind = iota
	textBlock
	thinkingBlock
	toolBlock
	wholeBlock // all of it was in its start
)

// NewDecoder implements [dialect.Translator].
func (MessagesCodec) NewDecoder(o dialect.UpstreamOptions) dialect.Decoder {
	d := &decoder{model: o.Model}
	d.sink = d
	return d
}

// Event implements [dialect.Meter].
func (d *decoder) Event(e sse.Event) dialect.Mark {
	d.events = d.events[:0]
	return d.meter.Event(e)
}

// Body implements [dialect.Meter].
func (d *decoder) Body(body []byte) {
	d.events = d.events[:0]
	d.sink = nil
	d.meter.Body(body)
	answer, err := Messages.DecodeAnswer(body, dialect.UpstreamOptions{Model: d.model})
	if err != nil {
		return
	}
	d.started = true
	for e := range answer.Events {
		switch e := e.(type) {
		case llm.ChoiceEnd:
			d.end, d.stopped = e, true
		case llm.Finished:
			d.usage = e.UsageExtra.JSON
		default:
			d.events = append(d.events, e)
		}
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
	if err != nil {
		return append(d.events, llm.Failed{Err: err})
	}
	for len(d.blocks) > 0 {
		d.blockStop(d.blocks[0].index)
	}
	if d.stopped {
		d.emit(d.end)
	}
	d.emit(llm.Finished{
		Reason: r.Finish, Usage: r.Usage, Reported: r.Reported, Model: r.Model, ServiceTier: r.ServiceTier,
		UsageExtra: extra(d.usage), Extra: d.extra,
	})
	return d.events
}

func (d *decoder) emit(e llm.Event) { d.events = append(d.events, e) }

func extra(object []byte) llm.Extra {
	if len(object) == 0 {
		return llm.Extra{}
	}
	return llm.Extra{Format: Format, JSON: object}
}

// start implements sink. A message_start may come twice.
func (d *decoder) start(message []byte) {
	var head struct {
		id    string
		usage []byte
		rest  wire.Rest
	}
	s := jsonedit.NewScanner(message)
	for name := range s.Members {
		switch string(name) {
		case "id":
			set(&head.id, &s)
		case "usage":
			head.usage = s.Skip()
		case "type", "role", "model", "content", "stop_reason", "stop_sequence":
		default:
			if value := s.Skip(); string(value) != "null" {
				head.rest.Add(name, value)
			}
		}
	}
	d.addUsage(head.usage)
	if d.started {
		return
	}
	d.started = true
	d.emit(llm.Started{ID: head.id, Model: d.reading.Model, Usage: d.reading.Usage, Extra: head.rest.Extra(Format)})
}

// maxRest bounds what is kept of a stream's unknown members, in bytes.
const maxRest = 16 << 10

// addUsage keeps what a usage object says beyond llm.Usage.
func (d *decoder) addUsage(usage []byte) {
	if rest := usageRest(usage); rest != nil && len(rest)+len(d.usage) <= maxRest {
		d.usage = merge(d.usage, rest)
	}
}

// usageRest is what a usage object says beyond llm.Usage and the service tier.
func usageRest(usage []byte) []byte {
	var rest wire.Rest
	s := jsonedit.NewScanner(usage)
	for name := range s.Members {
		switch string(name) {
		case "input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens", "cache_creation", "service_tier":
		case "output_tokens_details":
			if details := detailsRest(s.Skip()); details != nil {
				rest.Add(name, details)
			}
		default:
			if value := s.Skip(); string(value) != "null" {
				rest.Add(name, value)
			}
		}
	}
	return rest.JSON()
}

// detailsRest is what output_tokens_details says beyond the thinking.
func detailsRest(details []byte) []byte {
	var rest wire.Rest
	s := jsonedit.NewScanner(details)
	for name := range s.Members {
		if string(name) != "thinking_tokens" {
			rest.Add(name, s.Skip())
		}
	}
	return rest.JSON()
}

// merge puts the members of an object over those of another.
func merge(under, over []byte) []byte {
	if under == nil {
		return over
	}
	var rest wire.Rest
	s := jsonedit.NewScanner(under)
	for name := range s.Members {
		if value := s.Skip(); wire.Member(over, string(name)) == nil {
			rest.Add(name, value)
		}
	}
	s = jsonedit.NewScanner(over)
	for name := range s.Members {
		rest.Add(name, s.Skip())
	}
	return rest.JSON()
}

// maxOpen bounds how many blocks are open at once, many more than any answer
// has.
const maxOpen = 64

// blockStart implements sink.
func (d *decoder) blockStart(index int64, raw []byte) {
	if d.find(index) != nil {
		d.blockStop(index)
	}
	if len(d.blocks) == maxOpen {
		d.blockStop(d.blocks[0].index)
	}
	b := block{index: index}
	part, known := readBlock(raw, d.model)
	if !known {
		b.native = bytes.Clone(raw)
		d.blocks = append(d.blocks, b)
		return
	}
	b.part = d.parts
	d.parts++
	d.begin(&b, part)
	d.blocks = append(d.blocks, b)
}

// begin says a part's start. What a block's start has of its text comes as a
// delta.
func (d *decoder) begin(b *block, part llm.Part) {
	switch p := part.(type) {
	case *llm.Text:
		b.kind = textBlock
		text, citations := p.Text, p.Citations
		p.Text, p.Citations = "", nil
		d.emit(llm.PartStart{Part: b.part, Begin: p})
		if text != "" {
			d.emit(llm.TextDelta{Part: b.part, Text: text})
		}
		for _, c := range citations {
			d.emit(llm.CitationDelta{Part: b.part, Citation: c})
		}
	case *llm.Thinking:
		b.kind = wholeBlock
		text, state := p.Text, p.Opaque
		if !p.Redacted {
			b.kind, p.Text, p.Opaque = thinkingBlock, "", nil
		}
		d.emit(llm.PartStart{Part: b.part, Begin: p})
		if !p.Redacted && state != nil {
			b.signature = append(b.signature, state.Value...)
		}
		if !p.Redacted && text != "" {
			d.emit(llm.ThinkingDelta{Part: b.part, Text: text})
		}
	case *llm.ToolCall:
		b.kind, b.input = toolBlock, []byte(p.Arguments)
		p.Arguments = ""
		d.emit(llm.PartStart{Part: b.part, Begin: p})
	default:
		b.kind = wholeBlock
		d.emit(llm.PartStart{Part: b.part, Begin: part})
	}
}

func (d *decoder) find(index int64) *block {
	for i := range d.blocks {
		if d.blocks[i].index == index {
			return &d.blocks[i]
		}
	}
	return nil
}

// delta implements sink.
func (d *decoder) delta(e delta) {
	b := d.find(e.index)
	if b == nil {
		return
	}
	switch {
	case b.kind == nativeBlock:
		b.addNative(e)
	case b.kind == textBlock && e.kind == textDelta:
		if text := d.unquote(e.text); text != "" {
			d.emit(llm.TextDelta{Part: b.part, Text: text})
		}
	case b.kind == textBlock && e.kind == citationDelta:
		if citation := wire.Member(e.raw, "citation"); len(citation) > 0 && citation[0] == '{' {
			d.emit(llm.CitationDelta{Part: b.part, Citation: readCitation(bytes.Clone(citation))})
		}
	case b.kind == thinkingBlock && e.kind == thinkingDelta:
		if text := d.unquote(e.text); text != "" {
			d.emit(llm.ThinkingDelta{Part: b.part, Text: text})
		}
	case b.kind == thinkingBlock && e.kind == signatureDelta:
		b.signature = jsonedit.AppendText(b.signature, e.text)
	case b.kind == toolBlock && e.kind == inputDelta:
		if text := d.unquote(e.text); text != "" {
			b.fed = true
			d.emit(llm.ArgumentsDelta{Part: b.part, JSON: text})
		}
	}
}

func (d *decoder) unquote(quoted []byte) string {
	if len(quoted) <= len(`""`) {
		return ""
	}
	if bytes.IndexByte(quoted, '\\') < 0 {
		return string(quoted[1 : len(quoted)-1])
	}
	d.text = jsonedit.AppendText(d.text[:0], quoted)
	return string(d.text)
}

// blockStop implements sink.
func (d *decoder) blockStop(index int64) {
	at := slices.IndexFunc(d.blocks, func(b block) bool { return b.index == index })
	if at < 0 {
		return
	}
	b := d.blocks[at]
	d.blocks = slices.Delete(d.blocks, at, at+1)
	end := llm.PartEnd{Part: b.part}
	switch b.kind {
	case nativeBlock:
		raw := b.whole()
		if raw == nil {
			return
		}
		end.Part = d.parts
		d.parts++
		kind := string(jsonedit.AppendText(nil, wire.Member(raw, "type")))
		d.emit(llm.PartStart{Part: end.Part, Begin: &llm.NativePart{Native: llm.Native{Format: Format, Type: kind, JSON: raw}}})
	case thinkingBlock:
		if len(b.signature) > 0 {
			end.Opaque = &llm.Opaque{Format: Format, Model: d.model, Value: string(b.signature)}
		}
	case toolBlock:
		if !b.fed && len(b.input) > 0 {
			d.emit(llm.ArgumentsDelta{Part: b.part, JSON: string(b.input)})
		}
	case textBlock, wholeBlock:
	}
	d.emit(end)
}

// messageDelta implements sink.
func (d *decoder) messageDelta(e event) {
	d.addUsage(e.usage)
	if rest := e.rest.JSON(); rest != nil && len(rest)+len(d.extra.JSON) <= maxRest {
		d.extra = extra(merge(d.extra.JSON, rest))
	}
	var rest wire.Rest
	s := jsonedit.NewScanner(e.delta)
	for name := range s.Members {
		d.stopMember(string(name), &s, &rest)
	}
	d.end.Extra = rest.Extra(Format)
}

// stopMember takes a member of what says why an answer stopped.
func (d *decoder) stopMember(name string, s *jsonedit.Scanner, rest *wire.Rest) {
	readStop(&d.end, name, s, rest)
	if name == "stop_reason" {
		d.stopped = d.stopped || d.end.Reason != llm.FinishUnknown
	}
}

// readStop reads a member of what says why an answer stopped. A reason that
// llm's words would not give back goes to rest as well.
func readStop(end *llm.ChoiceEnd, name string, s *jsonedit.Scanner, rest *wire.Rest) {
	switch name {
	case "stop_reason":
		var reason string
		set(&reason, s)
		end.Reason = finishReason(reason)
		if reason != "" && reason != "stop_sequence" && reason != stopReason(end.Reason, "") {
			rest.Add([]byte(name), jsonedit.AppendQuote(nil, reason))
		}
	case "stop_sequence":
		set(&end.StopSequence, s)
	default:
		if value := s.Skip(); string(value) != "null" {
			rest.Add([]byte(name), value)
		}
	}
}
