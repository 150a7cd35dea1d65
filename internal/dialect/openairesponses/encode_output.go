package openairesponses

import (
	"bytes"

	"github.com/financecommander/tollgate/internal/dialect"
	"github.com/financecommander/tollgate/internal/dialect/wire"
	"github.com/financecommander/tollgate/internal/llm"
)

// openItem is the item of the output that is under way.
type openItem struct {
	part    llm.Part // the part under way, as it began; nil between two of a message
	id      string
	typ     string // "message"; "" for none
	head    []byte // what a message's item says of itself, in this format
	content wire.Writer
	parts   int64

	said      bool // the item was announced
	text      []byte
	citations wire.Writer
	cited     int64
	tokens    wire.Writer // log probabilities
	pending   int         // where those begin that no delta had yet

	// A delta is what stands before the event's number, what stands between that
	// and the text, and what stands behind it.
	before, between, after []byte
}

// startPart begins a part: in the message under way, or in an item of its own.
func (e *Encoder) startPart(p llm.Part) {
	switch p := p.(type) {
	case *llm.Text, *llm.Refusal:
		if e.open.typ != "message" || itemOf(p) != nil {
			e.close("completed")
			e.openMessage(p)
		}
		e.startContent(p)
	case *llm.Thinking:
		e.close("completed")
		e.open = openItem{typ: "reasoning", part: p, id: idOf(p, "rs_"), text: e.open.text[:0]}
		if len(p.Wire.In(dialect.OpenAIResponses)) > 0 {
			e.announce()
		}
	case *llm.ToolCall:
		e.close("completed")
		e.startCall(p)
	case *llm.NativePart:
		e.close("completed")
		e.open = openItem{typ: "native", part: p}
	case *llm.Media:
		e.close("completed")
		e.open = openItem{typ: "media", part: p}
	}
}

// idOf is the id of a part's item: the provider's, if this format is its own.
func idOf(p llm.Part, prefix string) string {
	if own := memberOf(p.Base(), "id"); own != nil {
		return wire.Unquote(own)
	}
	if o := p.Base().Opaque; o != nil && o.Format == dialect.OpenAIResponses && o.ItemID != "" {
		return o.ItemID
	}
	return newID(prefix)
}

// place writes where the part under way is.
func (e *Encoder) place(index string) {
	e.Name("item_id").Text(e.open.id).Name("output_index").Int(e.index)
	if index != "" {
		e.Name(index).Int(e.open.parts)
	}
}

// delta prepares the events that add to the part under way.
func (e *Encoder) delta(typ, index, after string) {
	it := &e.open
	it.before = append(append(append(it.before[:0], "event: "...), typ...), "\ndata: {\"type\":\""...)
	it.before = append(append(it.before, typ...), `","sequence_number":`...)
	between := wire.Writer{Bytes: it.between[:0]}
	between.Bytes = append(between.Bytes, `,"item_id":`...)
	between.Text(it.id).Name("output_index").Int(e.index)
	if index != "" {
		between.Name(index).Int(it.parts)
	}
	it.between = append(between.Bytes, `,"delta":`...)
	it.after = append(it.after[:0], after...)
}

// text says a piece of the part under way.
func (e *Encoder) text(text string) {
	it := &e.open
	if text == "" || it.part == nil {
		return
	}
	if t, ok := it.part.(*llm.Thinking); ok && len(it.text) == 0 {
		e.startThought(t)
	}
	it.text = append(it.text, text...)
	e.from = len(e.Bytes) + len(it.before)
	e.Bytes = appendInt(append(e.Bytes, it.before...), e.number)
	e.number++
	e.Bytes = wire.AppendQuote(append(e.Bytes, it.between...), text)
	if it.pending < len(it.tokens.Bytes) {
		e.array("logprobs", bytes.TrimPrefix(it.tokens.Bytes[it.pending:], []byte(",")))
		it.pending = len(it.tokens.Bytes)
		e.end()
		return
	}
	e.Bytes = append(e.Bytes, it.after...)
}

// added says that the item under way began.
func (e *Encoder) added(write func()) {
	e.begin("response.output_item.added")
	e.Name("output_index").Int(e.index).Name("item")
	write()
	e.end()
	e.open.said = true
}

// done says that the item under way ended, and makes room for the next one.
func (e *Encoder) done(write func()) {
	e.begin("response.output_item.done")
	e.Name("output_index").Int(e.index).Name("item")
	from := len(e.Bytes)
	write()
	if len(e.output.Bytes) > 0 {
		e.output.Bytes = append(e.output.Bytes, ',')
	}
	e.output.Bytes = append(e.output.Bytes, e.Bytes[from:]...)
	e.end()
	e.index++
	e.open = openItem{before: e.open.before, between: e.open.between, after: e.open.after, text: e.open.text[:0]}
}

// whole says an item that has no steps.
func (e *Encoder) whole(write func()) {
	e.added(write)
	e.done(write)
}

// endPart ends the part under way.
func (e *Encoder) endPart(end llm.PartEnd) {
	it := &e.open
	if it.part == nil {
		return
	}
	base := *it.part.Base()
	if end.Opaque != nil {
		base.Opaque = end.Opaque
	}
	if len(end.Wire.JSON) > 0 {
		base.Wire = end.Wire
	}
	switch p := it.part.(type) {
	case *llm.Text, *llm.Refusal:
		e.endContent(&base)
	case *llm.Thinking:
		e.endThinking(p, &base)
	case *llm.ToolCall:
		e.endCall(p, &base)
	case *llm.NativePart:
		e.endNative(p)
	case *llm.Media:
		e.endMedia(p)
	}
}

// close ends a message that stayed open.
func (e *Encoder) close(status string) {
	it := &e.open
	if it.typ != "message" {
		e.open.typ = ""
		return
	}
	e.done(func() { e.message(status) })
}

// endNative says an item that only this format has. Another format's has no
// words here.
func (e *Encoder) endNative(p *llm.NativePart) {
	if p.Format != dialect.OpenAIResponses {
		e.open = openItem{}
		return
	}
	e.whole(func() { e.Raw(p.JSON) })
}

// endMedia says an image that the model made as the call of the tool that makes
// images does.
func (e *Encoder) endMedia(m *llm.Media) {
	if m.Kind != llm.MediaImage || m.Data == "" {
		e.open = openItem{}
		return
	}
	id := newID("ig_")
	e.whole(func() {
		e.Object()
		e.Name("type").Text("image_generation_call").Name("id").Text(id).Name("status").Text("completed")
		e.Name("result").Text(m.Data)
		e.End()
	})
}
