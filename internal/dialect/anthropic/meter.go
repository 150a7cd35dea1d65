package anthropic

import (
	"github.com/financecommander/tollgate/internal/dialect"
	"github.com/financecommander/tollgate/internal/dialect/wire"
	"github.com/financecommander/tollgate/internal/jsonedit"
	"github.com/financecommander/tollgate/internal/sse"
)

// meter walks over each event once. What it does not know, and what is no JSON,
// it passes over.
type meter struct {
	reading dialect.Reading
	counts  counts
	done    bool // message_stop was seen, or the body was whole
	// textless: the text is not to be collected.
	textless bool

	mark dialect.Mark // of the event at hand
	sink sink         // is told what the meter sees, if not nil

	ordinary wire.Template // of a delta that is nothing but a piece of text
	learnt   delta         // what the template's delta is
}

// sink is told of a stream's events as the meter walks over them. Slices are
// valid during the call.
type sink interface {
	start(message []byte)
	blockStart(index int64, block []byte)
	delta(d delta)
	blockStop(index int64)
	messageDelta(event event)
}

// delta is what a content_block_delta adds to a block.
type delta struct {
	index int64
	kind  deltaKind
	text  []byte // quoted; for kinds that add to a text
	raw   []byte // the whole delta; nil for an ordinary event
}

type deltaKind byte

const (
	otherDelta deltaKind = iota
	textDelta
	thinkingDelta
	inputDelta
	signatureDelta
	citationDelta
)

// event is what was found in an event's data.
type event struct {
	kind                         string
	index                        int64
	message, block, delta, usage []byte
	deltaAt                      int // where delta stands in the data
	rest                         wire.Rest
}

// NewMeter implements [dialect.Codec].
func (c Codec) NewMeter() dialect.Meter { return &meter{} }

// Event implements [dialect.Meter].
func (m *meter) Event(e sse.Event) dialect.Mark {
	m.mark = dialect.Mark{}
	if e.Data == nil {
		return m.mark
	}
	if quoted, ok := m.ordinary.Fit(e.Data); ok {
		d := m.learnt
		d.text = quoted
		m.take(d)
		return m.mark
	}
	found, ok := readEvent(e.Data)
	if !ok {
		return m.mark
	}
	if found.kind == "" {
		found.kind = string(e.Type)
	}
	m.walk(&found, e.Data)
	return m.mark
}

// readEvent finds the members of an event.
func readEvent(data []byte) (e event, ok bool) {
	s := jsonedit.NewScanner(data)
	if s.Kind() != jsonedit.KindObject {
		return e, false
	}
	for name := range s.Members {
		switch string(name) {
		case "type":
			e.kind = eventKind(s.Skip())
		case "index":
			e.index, _ = s.Int()
		case "message":
			e.message = s.Skip()
		case "content_block":
			e.block = s.Skip()
		case "delta":
			e.deltaAt = s.Pos()
			e.delta = s.Skip()
		case "usage":
			e.usage = s.Skip()
		default:
			e.rest.Add(name, s.Skip())
		}
	}
	return e, s.End() == nil
}

// eventKind is an event's type; those that are known need no memory of their
// own.
func eventKind(quoted []byte) string {
	switch string(quoted) {
	case `"content_block_delta"`:
		return "content_block_delta"
	case `"content_block_start"`:
		return "content_block_start"
	case `"content_block_stop"`:
		return "content_block_stop"
	}
	if len(quoted) == 0 || quoted[0] != '"' {
		return ""
	}
	return string(jsonedit.AppendText(nil, quoted))
}

func (m *meter) walk(e *event, data []byte) {
	switch e.kind {
	case "message_start":
		m.message(e.message)
		if m.sink != nil {
			m.sink.start(e.message)
		}
	case "content_block_start":
		m.block(e.block)
		if m.sink != nil {
			m.sink.blockStart(e.index, e.block)
		}
	case "content_block_delta":
		d, at := readDelta(e.delta)
		d.index = e.index
		m.take(d)
		if at >= 0 {
			m.learn(d, data, e.deltaAt+at)
		}
	case "content_block_stop":
		if m.sink != nil {
			m.sink.blockStop(e.index)
		}
	case "message_delta":
		m.messageDelta(e)
	case "message_stop":
		m.done, m.mark.Terminal = true, true
	case "error":
		m.mark.Failed = true
		if m.reading.Err == nil {
			m.reading.Err = insideError(data)
		}
	}
}

// learn makes the delta's event the ordinary one.
func (m *meter) learn(d delta, data []byte, at int) {
	m.ordinary.Learn(data, at, at+len(d.text), d.kind == thinkingDelta)
	m.learnt = delta{index: d.index, kind: d.kind}
}

// readDelta reads a delta. at is where its text stands in it; -1 where it is
// more than a text.
func readDelta(raw []byte) (d delta, at int) {
	d.raw, at = raw, -1
	members, other := 0, false
	s := jsonedit.NewScanner(raw)
	for name := range s.Members {
		members++
		switch string(name) {
		case "type":
			d.kind = kindOfDelta(s.Skip())
		case "text", "thinking", "partial_json", "signature":
			at = s.Pos()
			d.text = s.Skip()
		default:
			other = true
		}
	}
	ordinary := d.kind == textDelta || d.kind == thinkingDelta || d.kind == inputDelta
	if len(d.text) == 0 || d.text[0] != '"' {
		d.text, at = nil, -1
	}
	if !ordinary || members != 2 || other {
		at = -1
	}
	return d, at
}

func kindOfDelta(quoted []byte) deltaKind {
	switch string(quoted) {
	case `"text_delta"`:
		return textDelta
	case `"thinking_delta"`:
		return thinkingDelta
	case `"input_json_delta"`:
		return inputDelta
	case `"signature_delta"`:
		return signatureDelta
	case `"citations_delta"`:
		return citationDelta
	}
	return otherDelta
}

// take notes what a delta adds.
func (m *meter) take(d delta) {
	switch d.kind {
	case textDelta, thinkingDelta, inputDelta:
		m.add(d.text)
	default:
		m.mark.Content = true
	}
	if m.sink != nil {
		m.sink.delta(d)
	}
}

func (m *meter) add(quoted []byte) {
	if !m.textless && wire.CollectText(&m.reading, quoted) {
		m.mark.Content = true
	}
}

// message takes the head of an answer; in one that is no stream also its
// content. known says whether it is one.
func (m *meter) message(raw []byte) (known bool) {
	s := jsonedit.NewScanner(raw)
	for name := range s.Members {
		switch string(name) {
		case "model":
			if m.reading.Model == "" {
				m.reading.Model = string(s.Text(nil))
			}
		case "content":
			known = s.Kind() == jsonedit.KindArray
			for range s.Elements {
				m.block(s.Skip())
			}
		case "stop_reason":
			m.stop(&s)
		case "usage":
			m.usage(&s)
		}
	}
	return known
}

// block notes what a block begins with; in an answer that is no stream that is
// all of it.
func (m *meter) block(raw []byte) {
	var kind string
	s := jsonedit.NewScanner(raw)
	for name := range s.Members {
		switch string(name) {
		case "type":
			kind = string(s.Text(nil))
		case "text", "thinking", "name":
			m.add(s.Skip())
		case "input":
			if value := s.Skip(); len(value) > len("{}") && !m.textless {
				m.raw(value)
			}
		}
	}
	if kind != "text" && kind != "thinking" {
		m.mark.Content = true
	}
}

// raw notes a tool's input that came at once.
func (m *meter) raw(value []byte) {
	quoted := append(append([]byte{'"'}, value...), '"')
	wire.CollectText(&m.reading, quoted)
}

func (m *meter) messageDelta(e *event) {
	s := jsonedit.NewScanner(e.delta)
	for name := range s.Members {
		if string(name) == "stop_reason" {
			m.stop(&s)
		}
	}
	if e.usage != nil {
		s := jsonedit.NewScanner(e.usage)
		m.usage(&s)
	}
	if m.sink != nil {
		m.sink.messageDelta(*e)
	}
}

func (m *meter) stop(s *jsonedit.Scanner) {
	if s.Kind() == jsonedit.KindString {
		m.reading.Finish = finishReason(string(s.Text(nil)))
	}
}

func (m *meter) usage(s *jsonedit.Scanner) {
	if tier := m.counts.read(s); tier != "" {
		m.reading.ServiceTier = tier
	}
	if m.counts.reported {
		m.reading.Usage, m.reading.Beside, m.reading.Reported = m.counts.usage(), m.counts.besides(), true
	}
}

// Body implements [dialect.Meter]. Its text is for an estimate, so it is
// collected only if there is no usage.
func (m *meter) Body(body []byte) {
	m.textless = m.sink == nil
	ok := m.whole(body)
	if m.textless && !m.reading.Reported && ok {
		*m = meter{}
		m.whole(body)
	}
	if !ok && m.reading.Err == nil {
		m.reading.Err = wire.NotUnderstood()
	}
	m.done = ok
}

// whole takes an answer that is no stream. ok is false for what is none.
func (m *meter) whole(body []byte) (ok bool) {
	s := jsonedit.NewScanner(body)
	failed, counted := false, false
	for name := range s.Members {
		switch string(name) {
		case "error":
			failed = s.Kind() == jsonedit.KindObject
		case "input_tokens": // an answer that counts tokens
			_, counted = s.Int()
		}
	}
	if s.End() != nil {
		return false
	}
	if failed {
		m.mark.Failed = true
		m.reading.Err = insideError(body)
		return false
	}
	return m.message(body) || counted
}

// Reading implements [dialect.Meter].
func (m *meter) Reading() dialect.Reading {
	r := m.reading
	r.Complete = m.done && r.Err == nil
	return r
}
