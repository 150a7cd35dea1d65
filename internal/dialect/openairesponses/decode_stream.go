package openairesponses

import (
	"crypto/rand"
	"strings"

	"github.com/financecommander/tollgate/internal/dialect"
	"github.com/financecommander/tollgate/internal/dialect/wire"
	"github.com/financecommander/tollgate/internal/llm"
	"github.com/financecommander/tollgate/internal/sse"
)

// decoder reads an upstream's stream. Providers leave out events that others
// send, so every delta may begin its part, and every whole item and the response
// at the end bring what did not come before.
type decoder struct {
	meter
	model   string // for the provider's state
	events  []llm.Event
	started bool
	items   map[int64]*item // by their place in the output
	last    *item           // the one that the last event was of
	parts   int             // how many began
	final   []byte          // the response object of the terminal event
}

// item is an item of the output under way.
type item struct {
	at   int64
	typ  string
	head []byte // the item as it was added
	done bool

	part      int // the number of the part under way; valid if open
	open      bool
	parts     int64 // of it, begun so far
	index     int64 // of the part under way in the item's content or summary
	said      int   // bytes of the part's text
	citations int
	logprobs  bool // came with the deltas
	raw       bool // thinking in full, not its summary
}

// NewDecoder implements [dialect.Translator].
func (Codec) NewDecoder(o dialect.UpstreamOptions) dialect.Decoder {
	return &decoder{model: o.Model, items: map[int64]*item{}}
}

// Event implements [dialect.Meter].
func (d *decoder) Event(e sse.Event) dialect.Mark {
	d.events = d.events[:0]
	mark := d.meter.Event(e)
	if e.Data != nil {
		d.read(&d.event)
	}
	return mark
}

// Body implements [dialect.Meter], for an upstream that does not stream.
func (d *decoder) Body(body []byte) {
	d.events = d.events[:0]
	d.meter.Body(body)
	if d.reading.Err == nil {
		d.end(body)
	}
}

// Events implements [dialect.Decoder].
func (d *decoder) Events() []llm.Event { return d.events }

func (d *decoder) emit(e llm.Event) { d.events = append(d.events, e) }

// read makes events of an event.
func (d *decoder) read(f *fields) {
	switch string(f.typ) {
	case "response.output_text.delta":
		d.text(f, "output_text")
	case "response.refusal.delta":
		d.text(f, "refusal")
	case "response.reasoning_text.delta":
		d.thought(f, true)
	case "response.reasoning_summary_text.delta":
		d.thought(f, false)
	case "response.function_call_arguments.delta":
		d.arguments(f, "function_call")
	case "response.custom_tool_call_input.delta":
		d.arguments(f, "custom_tool_call")
	case "response.output_item.added":
		d.added(f)
	case "response.content_part.added":
		d.partAdded(f)
	case "response.content_part.done":
		d.partDone(f)
	case "response.reasoning_summary_part.added":
		d.thinking(d.item(f.outputIndex, "reasoning"), f.index, false)
	case "response.output_text.annotation.added":
		d.annotation(f)
	case "response.output_item.done":
		d.done(d.item(f.outputIndex, ""), f.item)
	case "response.created", "response.in_progress", "response.queued":
		d.start(f.response)
	case "response.completed", "response.incomplete", "response.failed":
		d.end(f.response)
	}
}

// start begins the answer, with what is known of it.
func (d *decoder) start(response []byte) {
	if d.started || len(response) == 0 && len(d.items) == 0 {
		return
	}
	d.started = true
	if len(response) == 0 {
		d.emit(llm.Started{})
		return
	}
	var lenient reader
	top := lenient.value(response, place{})
	d.emit(llm.Started{
		ID: top.text("id"), Model: top.text("model"), Created: created(&top),
		Extra: responseExtra(&top, d.reading),
	})
}

// item is the item at a place of the output; typ is what it is where it was not
// announced.
func (d *decoder) item(at int64, typ string) *item {
	if d.last != nil && d.last.at == at {
		return d.last
	}
	it := d.items[at]
	if it == nil {
		it = &item{at: at, typ: typ}
		d.items[at] = it
		d.start(nil)
	}
	d.last = it
	return it
}

func (d *decoder) added(f *fields) {
	it := d.item(f.outputIndex, "")
	var lenient reader
	o := lenient.value(f.item, place{})
	it.typ, it.head = o.text("type"), o.reader.copy(f.item, place{}, "")
	if it.typ == "function_call" || it.typ == "custom_tool_call" {
		d.call(it, &o)
	}
}

// begin starts a part of an item, after the one before it.
func (d *decoder) begin(it *item, index int64, p llm.Part) {
	if it.open {
		d.emit(llm.PartEnd{Part: it.part})
	}
	if it.parts == 0 && isContent(p) && it.head != nil {
		var lenient reader
		o := lenient.value(it.head, place{})
		markItem(p.Base(), &o)
	}
	it.part, it.open, it.index, it.said, it.citations, it.logprobs = d.parts, true, index, 0, 0, false
	it.parts++
	d.parts++
	d.emit(llm.PartStart{Part: it.part, Begin: p})
}

func (d *decoder) partAdded(f *fields) {
	it := d.item(f.outputIndex, "message")
	var lenient reader
	o := lenient.value(f.part, place{})
	switch typ := o.text("type"); typ {
	case "reasoning_text":
		d.thinking(it, f.index, true)
	case "output_text", "refusal":
		if !it.done && (!it.open || it.index != f.index) {
			d.begin(it, f.index, head(readPart(&o, f.part, llm.RoleAssistant)))
		}
	}
}

// partDone takes what a text of several in its item says besides the deltas: the
// whole item comes when only the last one is under way.
func (d *decoder) partDone(f *fields) {
	it := d.item(f.outputIndex, "message")
	if it.done || !it.open || it.index != f.index {
		return
	}
	var lenient reader
	o := lenient.value(f.part, place{})
	if o.text("type") != "output_text" {
		return
	}
	text, ok := readPart(&o, f.part, llm.RoleAssistant).(*llm.Text)
	if !ok {
		return
	}
	d.citations(it, text)
	d.logProbs(it, text)
}

// citations tells those of a text that no event of their own told.
func (d *decoder) citations(it *item, t *llm.Text) {
	for _, c := range t.Citations[min(it.citations, len(t.Citations)):] {
		d.emit(llm.CitationDelta{Part: it.part, Citation: c})
		it.citations++
	}
}

// logProbs tells a text's log probabilities, unless they came with its deltas.
func (d *decoder) logProbs(it *item, t *llm.Text) {
	if tokens := logProbsOf(t); len(tokens) > 0 && !it.logprobs {
		it.logprobs = true
		d.emit(llm.LogProbsDelta{Part: it.part, Tokens: tokens})
	}
}

// head is a part without the text that deltas will bring.
func head(p llm.Part) llm.Part {
	switch p := p.(type) {
	case *llm.Text:
		p.Text, p.Citations = "", nil
	case *llm.Refusal:
		p.Text = ""
	}
	return p
}

func (d *decoder) text(f *fields, typ string) {
	it := d.item(f.outputIndex, "message")
	if it.done {
		return
	}
	if !it.open || it.index != f.index {
		var p llm.Part = &llm.Text{}
		if typ == "refusal" {
			p = &llm.Refusal{}
		}
		d.begin(it, f.index, p)
	}
	if len(f.logprobs) > len("[]") {
		it.logprobs = true
		d.emit(llm.LogProbsDelta{Part: it.part, Tokens: readLogProbs(f.logprobs)})
	}
	if text := wire.Unquote(f.delta); text != "" {
		it.said += len(text)
		d.emit(llm.TextDelta{Part: it.part, Text: text})
	}
}

func (d *decoder) annotation(f *fields) {
	it := d.item(f.outputIndex, "message")
	if it.done || !it.open || len(f.annotation) == 0 {
		return
	}
	it.citations++
	var lenient reader
	o := lenient.value(f.annotation, place{})
	d.emit(llm.CitationDelta{Part: it.part, Citation: readCitation(&o, f.annotation)})
}

// thinking makes sure that the thinking of an item is under way. A further part
// of it is a further paragraph.
func (d *decoder) thinking(it *item, index int64, raw bool) (ok bool) {
	switch {
	case it.done || it.open && it.raw != raw:
		return false // what has both is told whole with the item
	case !it.open:
		t := &llm.Thinking{}
		var w wire.Writer
		w.Object()
		if it.head != nil {
			var lenient reader
			o := lenient.value(it.head, place{})
			o.take("summary", "content", "encrypted_content")
			w.Members(o.rest())
		}
		if raw {
			w.RawMember("content", textInPart)
		}
		w.End()
		t.Wire = own(w.Bytes)
		it.raw = raw
		d.begin(it, index, t)
	case index > it.index && it.said > 0:
		it.index = index
		d.emit(llm.ThinkingDelta{Part: it.part, Text: "\n\n"})
	}
	return true
}

func (d *decoder) thought(f *fields, raw bool) {
	it := d.item(f.outputIndex, "reasoning")
	if !d.thinking(it, f.index, raw) {
		return
	}
	if text := wire.Unquote(f.delta); text != "" {
		it.said += len(text)
		d.emit(llm.ThinkingDelta{Part: it.part, Text: text})
	}
}

func (d *decoder) call(it *item, o *object) {
	if it.done || it.open {
		return
	}
	c := answerCall(o, it.typ)
	c.Arguments = ""
	d.begin(it, 0, c)
}

// arguments adds to a call's arguments. Those of a call whose name is not known
// yet come with the whole item.
func (d *decoder) arguments(f *fields, typ string) {
	it := d.item(f.outputIndex, typ)
	if it.done || !it.open {
		return
	}
	if text := wire.Unquote(f.delta); text != "" {
		it.said += len(text)
		d.emit(llm.ArgumentsDelta{Part: it.part, JSON: text})
	}
}

// done ends an item, of which value is the whole.
func (d *decoder) done(it *item, value []byte) {
	if it.done || len(value) == 0 {
		return
	}
	it.done = true
	parts := outputParts(value, d.model)
	for i, p := range parts {
		switch {
		case int64(i) < it.parts-1: // ended before
		case int64(i) == it.parts-1 && it.open:
			d.complete(it, p)
		default:
			it.open = false
			d.whole(p)
		}
	}
	if it.open {
		d.emit(llm.PartEnd{Part: it.part})
		it.open = false
	}
}

// complete ends the part under way, with what the deltas did not say.
func (d *decoder) complete(it *item, p llm.Part) {
	it.open = false
	switch p := p.(type) {
	case *llm.Text:
		if it.said == 0 && p.Text != "" {
			d.emit(llm.TextDelta{Part: it.part, Text: p.Text})
		}
		d.citations(it, p)
		d.logProbs(it, p)
	case *llm.Refusal:
		if it.said == 0 && p.Text != "" {
			d.emit(llm.TextDelta{Part: it.part, Text: p.Text})
		}
	case *llm.Thinking:
		if it.said == 0 && p.Text != "" {
			d.emit(llm.ThinkingDelta{Part: it.part, Text: p.Text})
		}
	case *llm.ToolCall:
		if it.said == 0 && p.Arguments != "" {
			d.emit(llm.ArgumentsDelta{Part: it.part, JSON: p.Arguments})
		}
	}
	base := p.Base()
	d.emit(llm.PartEnd{Part: it.part, Opaque: base.Opaque, Extra: base.Extra, Wire: base.Wire})
}

// whole tells a part that no event told before.
func (d *decoder) whole(p llm.Part) {
	for _, e := range llm.PartEvents(p, d.parts, 0) {
		if _, ends := e.(llm.PartEnd); ends {
			if tokens := logProbsOf(p); len(tokens) > 0 {
				d.emit(llm.LogProbsDelta{Part: d.parts, Tokens: tokens})
			}
		}
		d.emit(e)
	}
	d.parts++
}

// end reads the response object at the end: items that did not come before, and
// what it says of the answer.
func (d *decoder) end(response []byte) {
	if len(response) == 0 || d.final != nil {
		return
	}
	d.start(response)
	d.final = append([]byte(nil), response...)
	var lenient reader
	top := lenient.value(d.final, place{})
	top.elements("output", func(i int, value []byte) { d.done(d.item(int64(i), ""), value) })
}

// End implements [dialect.Decoder].
func (d *decoder) End(err *llm.Error) []llm.Event {
	d.events = d.events[:0]
	reading := d.Reading()
	switch {
	case reading.Err != nil:
		err = reading.Err
	case err == nil && !reading.Complete:
		err = &llm.Error{Cause: llm.CauseUpstreamCut, Message: "the upstream provider's answer broke off"}
	}
	if err != nil {
		d.emit(llm.Failed{Err: err})
		return d.events
	}
	d.start(d.final)
	for part := range d.openParts {
		d.emit(llm.PartEnd{Part: part})
	}
	d.emit(llm.ChoiceEnd{Reason: reading.Finish})
	var lenient reader
	top := lenient.value(d.final, place{})
	d.emit(llm.Finished{
		Reason: reading.Finish, Usage: reading.Usage, Reported: reading.Reported, Model: reading.Model,
		ServiceTier: reading.ServiceTier, UsageExtra: usageExtra(top.get("usage")), Extra: responseExtra(&top, reading),
	})
	return d.events
}

// openParts are the numbers of the parts that did not end, in their order.
func (d *decoder) openParts(yield func(part int) bool) {
	open := make([]bool, d.parts)
	for _, it := range d.items {
		if it.open {
			open[it.part] = true
		}
	}
	for part, is := range open {
		if is && !yield(part) {
			return
		}
	}
}

// newID makes an id that nobody has.
func newID(prefix string) string { return prefix + strings.ToLower(rand.Text()) }
