package anthropic

import (
	"strconv"
	"strings"

	"github.com/financecommander/tollgate/internal/dialect"
	"github.com/financecommander/tollgate/internal/dialect/wire"
	"github.com/financecommander/tollgate/internal/llm"
)

// encoder writes one answer for a client.
type encoder struct {
	o   dialect.AnswerOptions
	seq dialect.Sequence
	dst []byte // during AppendEvent
	at  int    // where the data of the event at hand begins in it

	started bool
	first   llm.Usage // as message_start told it
	next    int       // index of the next block
	open    openBlock
	called  bool // a tool was called
	refused bool // the model declined, in a part of its own
	end     llm.ChoiceEnd
}

// openBlock is the block under way. It begins late where its type depends on
// what follows.
type openBlock struct {
	part   llm.Part // nil: none
	begun  bool
	before []byte // of an ordinary delta, up to its text
	kind   deltaKind
	text   []byte // a custom tool's free text so far
}

// NewEncoder implements [dialect.Translator].
func (MessagesCodec) NewEncoder(o dialect.AnswerOptions) dialect.Encoder {
	if o.Seal == nil {
		o.Seal = dialect.NoSeal{}
	}
	return &encoder{o: o}
}

// Ping implements [dialect.Encoder].
func (e *encoder) Ping() []byte { return []byte("event: ping\ndata: {\"type\": \"ping\"}\n\n") }

// AppendEvent implements [dialect.Encoder].
func (e *encoder) AppendEvent(dst []byte, event llm.Event) []byte {
	if failed, ok := event.(llm.Failed); ok { // not through seq, which would end what is open
		return Messages.AppendErrorEvent(dst, failed.Err, e.o.RequestID)
	}
	e.dst = dst
	e.seq.Add(event, e.event)
	dst, e.dst = e.dst, nil
	return dst
}

func (e *encoder) event(event llm.Event) {
	if !e.started {
		head, _ := event.(llm.Started)
		e.start(head)
	}
	switch event := event.(type) {
	case llm.PartStart:
		if event.Choice == 0 {
			e.partStart(event.Begin)
		}
	case llm.TextDelta:
		e.delta(textDelta, event.Text)
	case llm.ThinkingDelta:
		e.delta(thinkingDelta, event.Text)
	case llm.ArgumentsDelta:
		e.arguments(event.JSON)
	case llm.CitationDelta:
		e.citation(event.Citation)
	case llm.PartEnd:
		e.partEnd(event)
	case llm.ChoiceEnd:
		if event.Choice == 0 {
			e.end = event
		}
	case llm.Finished:
		e.finish(event)
	}
}

// begin writes what stands before an event's data.
func (e *encoder) begin(kind string) *wire.Writer {
	e.dst = append(e.dst, "event: "...)
	e.dst = append(e.dst, kind...)
	e.dst = append(e.dst, '\n')
	e.at = len(e.dst)
	e.dst = append(e.dst, "data: {\"type\":\""...)
	e.dst = append(e.dst, kind...)
	e.dst = append(e.dst, '"')
	return &wire.Writer{Bytes: e.dst}
}

// done ends an event. Its data must be one line: what an upstream's JSON has of
// line ends, which stand between values only, becomes white space of another
// kind.
func (e *encoder) done(w *wire.Writer) {
	w.End()
	for i, c := range w.Bytes[e.at:] {
		if c == '\n' || c == '\r' {
			w.Bytes[e.at+i] = ' '
		}
	}
	e.dst = append(w.Bytes, "\n\n"...)
}

func (e *encoder) start(head llm.Started) {
	e.started, e.first = true, head.Usage
	w := e.begin("message_start")
	w.Name("message").Object()
	e.head(w, head.ID, head.Model)
	w.Name("content").Raw([]byte("[]"))
	w.Name("stop_reason").Null()
	w.Name("stop_sequence").Null()
	w.Name("usage").Object()
	appendCounts(w, head.Usage)
	appendSplit(w, head.Usage)
	w.End()
	w.Members(head.Extra.In(Format))
	w.End()
	e.done(w)
}

func (e *encoder) partStart(part llm.Part) {
	e.open = openBlock{part: part}
	switch p := part.(type) {
	case *llm.Text:
		e.beginBlock(part)
		e.delta(textDelta, p.Text)
		for _, c := range p.Citations {
			e.citation(c)
		}
	case *llm.Refusal:
		e.refused = true
		e.beginBlock(part)
		e.delta(textDelta, p.Text)
	case *llm.Thinking:
		// Whether it can be shown as thinking is known with its first text.
		e.delta(thinkingDelta, p.Text)
	case *llm.ToolCall:
		e.called = true
		e.beginBlock(part)
		e.emptyInput()
		e.arguments(p.Arguments)
	case *llm.Media, *llm.NativePart:
		e.beginBlock(part)
	case *llm.ToolResult: // no model's to give
	}
}

// beginBlock begins a block. The ordinary delta of each kind is prepared up to
// its text.
func (e *encoder) beginBlock(part llm.Part) {
	if native, ok := part.(*llm.NativePart); ok && native.Format != Format {
		return // another provider's own; nobody who speaks this format asks for it
	}
	w := e.begin("content_block_start")
	w.Name("index").Int(int64(e.next))
	w.Name("content_block")
	appendStart(w, part, e.o.Seal, e.next)
	e.done(w)
	e.open.begun = true
}

// appendStart writes a block as it begins in a stream.
func appendStart(w *wire.Writer, part llm.Part, seal dialect.Sealer, index int) {
	switch p := part.(type) {
	case *llm.Text:
		w.Object().Name("type").Text("text")
		w.Name("text").Text("")
		w.Members(p.Wire.In(Format))
		w.End()
	case *llm.Refusal:
		w.Raw([]byte(`{"type":"text","text":""}`))
	case *llm.Thinking:
		w.Object().Name("type").Text("thinking")
		w.Name("thinking").Text("")
		w.Name("signature").Text("")
		w.Members(p.Wire.In(Format))
		w.End()
	case *llm.ToolCall:
		w.Object()
		appendCallHead(w, p, seal, index)
		w.Name("input").Raw([]byte("{}"))
		w.Members(p.Wire.In(Format))
		w.End()
	case *llm.Media:
		appendMedia(w, p)
	case *llm.NativePart:
		if input := nativeInput(p); input == nil {
			w.Raw(p.JSON)
		} else {
			w.Object().Members(p.JSON, "input")
			w.Name("input").Raw([]byte("{}"))
			w.End()
		}
	}
}

// nativeInput is the input of a server tool's call, which streams like that of
// any tool; nil for another block.
func nativeInput(p *llm.NativePart) []byte {
	if !strings.HasSuffix(p.Type, "tool_use") {
		return nil
	}
	return wire.Member(p.JSON, "input")
}

func appendCallHead(w *wire.Writer, p *llm.ToolCall, seal dialect.Sealer, index int) {
	w.Name("type").Text("tool_use")
	w.Name("id").Text(clientID(p, seal, index))
	w.Name("name").Text(p.Name)
}

// clientID is the id by which a client knows a call, with the provider's state
// behind it.
func clientID(p *llm.ToolCall, seal dialect.Sealer, index int) string {
	id := p.ID
	if id == "" {
		id = hashID(p.Name + strconv.Itoa(index))
	}
	if p.Opaque == nil || p.Opaque.Format == Format {
		return id
	}
	return dialect.SealID(id, dialect.SealState(seal, dialect.State{Opaque: p.Opaque}))
}

// deltas are the ordinary deltas, up to their text.
var deltas = [...]string{
	textDelta:      `,"delta":{"type":"text_delta","text":`,
	thinkingDelta:  `,"delta":{"type":"thinking_delta","thinking":`,
	inputDelta:     `,"delta":{"type":"input_json_delta","partial_json":`,
	signatureDelta: `,"delta":{"type":"signature_delta","signature":`,
}

// delta adds to the block under way.
func (e *encoder) delta(kind deltaKind, text string) {
	if text == "" || e.open.part == nil {
		return
	}
	if !e.open.begun {
		e.beginBlock(e.open.part)
	}
	e.appendDelta(kind, text)
}

func (e *encoder) appendDelta(kind deltaKind, text string) {
	if e.open.kind != kind || e.open.before == nil {
		e.open.kind = kind
		e.open.before = append(e.open.before[:0], "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":"...)
		e.open.before = strconv.AppendInt(e.open.before, int64(e.next), 10)
		e.open.before = append(e.open.before, deltas[kind]...)
	}
	e.dst = append(e.dst, e.open.before...)
	e.dst = wire.AppendQuote(e.dst, text)
	e.dst = append(e.dst, "}}\n\n"...)
}

// emptyInput is the empty piece that every tool's input begins with.
func (e *encoder) emptyInput() { e.appendDelta(inputDelta, "") }

// arguments adds to a call's input. Free text is kept until it is whole, since
// it must become a string in an object.
func (e *encoder) arguments(piece string) {
	call, ok := e.open.part.(*llm.ToolCall)
	switch {
	case !ok:
	case call.Custom:
		e.open.text = append(e.open.text, piece...)
	default:
		e.delta(inputDelta, piece)
	}
}

func (e *encoder) citation(c llm.Citation) {
	if _, ok := e.open.part.(*llm.Text); !ok {
		return
	}
	said, ok := appendCitation(nil, c)
	if !ok {
		return
	}
	w := e.begin("content_block_delta")
	w.Name("index").Int(int64(e.next))
	w.Name("delta").Object().Name("type").Text("citations_delta")
	w.Name("citation").Raw(said)
	w.End()
	e.done(w)
}

func (e *encoder) partEnd(end llm.PartEnd) {
	part := e.open.part
	if part == nil {
		return
	}
	state := end.Opaque
	if state == nil {
		state = part.Base().Opaque
	}
	switch p := part.(type) {
	case *llm.Thinking:
		e.endThinking(p, state)
	case *llm.ToolCall:
		if p.Custom {
			e.appendDelta(inputDelta, string(freeText(string(e.open.text))))
		}
	case *llm.NativePart:
		if input := nativeInput(p); input != nil && e.open.begun {
			e.emptyInput()
			e.appendDelta(inputDelta, string(input))
		}
	}
	e.stop()
	if token := textToken(part, state, e.o.Seal); token != "" {
		e.redacted(token)
	}
	e.open = openBlock{}
}

// freeText is the input of a custom tool as an object.
func freeText(text string) []byte {
	return append(wire.AppendQuote([]byte(`{"input":`), text), '}')
}

// stop ends the block under way, if it began.
func (e *encoder) stop() {
	if !e.open.begun {
		return
	}
	w := e.begin("content_block_stop")
	w.Name("index").Int(int64(e.next))
	e.done(w)
	e.next++
	e.open.begun = false
}

// endThinking says the state of thinking: as a signature where there is text to
// show or the state is Anthropic's, and else as thinking that cannot be read.
func (e *encoder) endThinking(p *llm.Thinking, state *llm.Opaque) {
	own := state != nil && state.Format == Format
	switch {
	case own && p.Redacted:
		e.redacted(state.Value)
	case own:
		if !e.open.begun {
			e.beginBlock(p)
		}
		e.appendDelta(signatureDelta, state.Value)
	case e.open.begun:
		if token := shownToken(state, e.o.Seal); token != "" {
			e.appendDelta(signatureDelta, token)
		}
	case state != nil:
		if token := hiddenToken(p, state, e.o.Seal); token != "" {
			e.redacted(token)
		}
	}
}

// textOnly marks the token of thinking that has no state: it may not pass to
// Anthropic as it is, which would miss its own signature.
const textOnly = "thinking"

// shownToken is the signature of another model's thinking that has text.
func shownToken(state *llm.Opaque, seal dialect.Sealer) string {
	if state == nil {
		return dialect.SealState(seal, dialect.State{ID: textOnly})
	}
	return dialect.SealState(seal, dialect.State{Opaque: state})
}

// hiddenToken is thinking without text as data that a client gives back.
func hiddenToken(p *llm.Thinking, state *llm.Opaque, seal dialect.Sealer) string {
	hidden := dialect.ThinkingState{Redacted: p.Redacted, Opaque: state}
	return dialect.SealState(seal, dialect.State{Thinking: []dialect.ThinkingState{hidden}})
}

// textToken is the state of a text as data that a client gives back; "" where
// there is none. It follows the text.
func textToken(part llm.Part, state *llm.Opaque, seal dialect.Sealer) string {
	if _, ok := part.(*llm.Text); !ok || state == nil || state.Format == Format {
		return ""
	}
	return dialect.SealState(seal, dialect.State{Opaque: state})
}

// redacted writes a whole block of thinking that cannot be read.
func (e *encoder) redacted(data string) {
	w := e.begin("content_block_start")
	w.Name("index").Int(int64(e.next))
	w.Name("content_block")
	appendRedacted(w, data)
	e.done(w)
	e.open.begun = true
	e.stop()
}

func appendRedacted(w *wire.Writer, data string) {
	w.Object().Name("type").Text("redacted_thinking")
	w.Name("data").Text(data)
	w.End()
}

func (e *encoder) finish(f llm.Finished) {
	w := e.begin("message_delta")
	w.Name("delta").Object()
	if e.end.Reason == llm.FinishUnknown {
		e.end.Reason = f.Reason
	}
	e.appendStop(w, e.end.Reason, e.end.StopSequence, e.end.Extra)
	w.End()
	w.Name("usage").Object()
	appendCounts(w, f.Usage)
	if f.Usage.CacheWrite5m != e.first.CacheWrite5m || f.Usage.CacheWrite1h != e.first.CacheWrite1h {
		appendSplit(w, f.Usage)
	}
	appendRest(w, f.Usage, f.ServiceTier, f.UsageExtra)
	w.End()
	w.Members(f.Extra.In(Format))
	e.done(w)
	e.dst = append(e.dst, "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n"...)
}
