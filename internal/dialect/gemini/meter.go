package gemini

import (
	"bytes"

	"github.com/financecommander/tollgate/internal/dialect"
	"github.com/financecommander/tollgate/internal/dialect/wire"
	"github.com/financecommander/tollgate/internal/jsonedit"
	"github.com/financecommander/tollgate/internal/llm"
	"github.com/financecommander/tollgate/internal/sse"
)

// meter walks over each chunk once. A chunk has the shape of a whole answer. A
// chunk that is no JSON is passed over.
//
// The format has no event that ends a stream: a stream is whole when each
// candidate that began has said why it stopped, or the prompt was blocked. That
// may be said in every chunk, so only the stream's end tells.
type meter struct {
	reading dialect.Reading
	// begun and finished are the candidates seen, a bit each; calls are those
	// with a function call.
	begun, finished, calls uint64
	blocked                bool

	mark     dialect.Mark // of the event at hand
	textless bool         // the text is not to be collected
	// usage is the last usageMetadata that had a count. Every chunk has one and
	// the last word counts, so it is read when it is asked for.
	usage     []byte
	usageRead bool
	answer    answerSink // gets what was read, if not nil
	// What the chunk at hand says, for the sink.
	members    []member
	candidates []candidateView
}

// answerSink gets what a chunk says of an answer, as raw JSON.
type answerSink interface {
	chunk(data []byte, members []member, candidates []candidateView)
}

// candidateView is what a chunk says of a candidate.
type candidateView struct {
	index    int
	finished []byte // its finishReason, quoted; nil: none
	called   bool   // it calls a function
	parts    []partView
	members  []member
}

type member struct{ name, value []byte }

// inContent begins the names of members that stand in a candidate's content.
const inContent = "content."

// partView is where a part stands in the chunk, and what is in it.
type partView struct {
	start, end int
	text       []byte // quoted; nil: it has none
	plain      []byte // what the text says
	thought    bool
	signature  []byte // quoted; nil: it has none
	other      bool   // it has members besides text, thought and signature
}

// NewMeter implements [dialect.Codec].
func (Generate) NewMeter() dialect.Meter { return &meter{} }

// Event implements [dialect.Meter].
func (m *meter) Event(e sse.Event) dialect.Mark {
	m.mark = dialect.Mark{}
	switch {
	case e.Data == nil:
	case string(e.Type) == "error":
		m.fail(e.Data)
	default:
		m.read(e.Data)
	}
	return m.mark
}

// Body implements [dialect.Meter]. Its text is for an estimate, so it is
// collected only if there is no usage.
func (m *meter) Body(body []byte) {
	m.textless = m.answer == nil
	valid, known := m.read(body)
	if m.textless && m.usage == nil && valid {
		*m = meter{}
		valid, known = m.read(body)
	}
	if m.reading.Err == nil && (!valid || !known) {
		m.reading.Err = wire.NotUnderstood()
	}
}

// Reading implements [dialect.Meter].
func (m *meter) Reading() dialect.Reading {
	m.readUsage()
	r := m.reading
	if r.Finish == llm.FinishStop && m.calls&1 != 0 {
		r.Finish = llm.FinishToolCalls
	}
	if r.Finish == llm.FinishUnknown && m.blocked && m.begun == 0 {
		r.Finish = llm.FinishFilter
	}
	r.Complete = m.whole() && r.Err == nil
	return r
}

func (m *meter) whole() bool {
	return m.begun != 0 && m.begun&^m.finished == 0 || m.begun == 0 && m.blocked
}

func (m *meter) readUsage() {
	if m.usageRead || m.usage == nil {
		return
	}
	m.usageRead = true
	s := jsonedit.NewScanner(m.usage)
	c := readCounts(&s)
	m.reading.Usage, m.reading.Reported = c.usage(), true
	m.reading.ServiceTier = c.serviceTier()
}

// read walks over a chunk or body. known says that it has candidates, or says
// why there are none.
func (m *meter) read(data []byte) (valid, known bool) {
	s := jsonedit.NewScanner(data)
	m.members, m.candidates = m.members[:0], m.candidates[:0]
	// Clients that ask for no event stream get an array of chunks.
	failed := false
	each(&s, func() {
		for name := range s.Members {
			switch string(name) {
			case "candidates":
				known = known || s.Kind() == jsonedit.KindArray
				for range s.Elements {
					m.candidate(&s)
				}
			case "usageMetadata":
				m.noteUsage(s.Skip())
			case "modelVersion":
				m.model(s.Skip())
			case "error":
				failed = failed || s.Kind() != jsonedit.KindNull
			case "promptFeedback":
				known = m.feedback(&s, name) || known
			default:
				m.member(name, s.Skip())
			}
		}
	})
	valid = s.End() == nil
	switch {
	case failed && valid:
		m.fail(data)
	case valid && m.answer != nil:
		m.answer.chunk(data, m.members, m.candidates)
	}
	return valid, known
}

func (m *meter) member(name, value []byte) {
	if m.answer != nil {
		m.members = append(m.members, member{name, value})
	}
}

var tokenCount = []byte(`TokenCount"`)

// noteUsage keeps a report that has a count.
func (m *meter) noteUsage(value []byte) {
	if bytes.Contains(value, tokenCount) {
		m.usage, m.usageRead = append(m.usage[:0], value...), false
	}
}

func (m *meter) model(quoted []byte) {
	if m.reading.Model == "" {
		m.reading.Model = string(jsonedit.AppendText(nil, quoted))
	}
}

// feedback reads why a prompt was blocked.
func (m *meter) feedback(s *jsonedit.Scanner, name []byte) bool {
	value := s.Skip()
	m.member(name, value)
	blocked := false
	inner := jsonedit.NewScanner(value)
	for n := range inner.Members {
		blocked = blocked || string(n) == "blockReason" && inner.Kind() == jsonedit.KindString
	}
	m.blocked = m.blocked || blocked
	return blocked
}

func (m *meter) fail(data []byte) {
	m.mark.Failed = true
	if m.reading.Err == nil {
		m.reading.Err = insideError(data)
	}
}

// candidate reads one. Its index may come after its content, so that the parts
// are handed on last.
func (m *meter) candidate(s *jsonedit.Scanner) {
	if len(m.candidates) == cap(m.candidates) {
		m.candidates = append(m.candidates, candidateView{})
	} else {
		m.candidates = m.candidates[:len(m.candidates)+1]
	}
	c := &m.candidates[len(m.candidates)-1]
	*c = candidateView{parts: c.parts[:0], members: c.members[:0]}
	for name := range s.Members {
		switch string(name) {
		case "index":
			n, _ := s.Int()
			c.index = int(max(0, min(n, maxIndex)))
		case "content":
			m.content(s, c)
		case "finishReason":
			if value := s.Skip(); len(value) > 2 && value[0] == '"' {
				c.finished = value
			}
		default:
			if m.answer != nil {
				c.members = append(c.members, member{name, s.Skip()})
			}
		}
	}
	bit := uint64(1) << c.index
	m.begun |= bit
	if c.called {
		m.calls |= bit
	}
	if reason := finishReason(c.finished); reason != llm.FinishUnknown {
		m.finished |= bit
		if c.index == 0 || m.reading.Finish == llm.FinishUnknown {
			m.reading.Finish = reason
		}
	}
}

// maxIndex is more candidates than any call asks for.
const maxIndex = 63

func (m *meter) content(s *jsonedit.Scanner, c *candidateView) {
	for name := range s.Members {
		switch {
		case string(name) == "parts":
			for range s.Elements {
				m.part(s, c)
			}
		case string(name) != "role" && m.answer != nil:
			c.members = append(c.members, member{append([]byte(inContent), name...), s.Skip()})
		}
	}
}

func (m *meter) part(s *jsonedit.Scanner, c *candidateView) {
	p := partView{start: s.Pos()}
	for name := range s.Members {
		switch string(name) {
		case "text":
			p.text = s.Skip()
			p.plain = m.collect(p.text)
		case "thought":
			p.thought = s.Bool()
		case "thoughtSignature":
			p.signature = s.Skip()
		case "functionCall", "executableCode":
			p.other = true
			c.called = c.called || string(name) == "functionCall"
			m.mark.Content = true
			m.generated(s)
		case "inlineData", "fileData", "codeExecutionResult", "toolCall", "toolResponse":
			p.other, m.mark.Content = true, true
		default:
			p.other = true
		}
	}
	if p.end = s.Pos(); m.answer != nil && p.end > p.start {
		c.parts = append(c.parts, p)
	}
}

// collect notes generated text and, for a sink, gives what it says.
func (m *meter) collect(quoted []byte) (plain []byte) {
	if m.textless {
		return nil
	}
	before := len(m.reading.Text)
	if wire.CollectText(&m.reading, quoted) {
		m.mark.Content = true
	}
	switch {
	case m.answer == nil:
		return nil
	case before+len(quoted) < maxText: // it was taken whole
		return m.reading.Text[before:]
	default:
		return jsonedit.AppendText(nil, quoted)
	}
}

// generated collects the text of a call or of code, for an estimate.
func (m *meter) generated(s *jsonedit.Scanner) {
	for name := range s.Members {
		switch string(name) {
		case "args", "partialArgs", "name", "code":
			value := s.Skip()
			if m.textless || len(value) == 0 {
				continue
			}
			if !wire.CollectText(&m.reading, value) && value[0] != '"' {
				// An object's bytes, as if they stood in quotes.
				m.reading.TextBytes += int64(len(value))
				m.reading.Text = append(m.reading.Text, value[:min(len(value), max(0, maxText-len(m.reading.Text)))]...)
			}
		}
	}
}

// maxText bounds the generated text a meter keeps, as in package wire.
const maxText = 256 << 10

// finishReason maps the words of Candidate.FinishReason, given as they stand in
// the JSON. STOP is said of function calls too.
func finishReason(quoted []byte) llm.FinishReason {
	if len(quoted) < 2 {
		return llm.FinishUnknown
	}
	switch string(quoted[1 : len(quoted)-1]) {
	case "", "FINISH_REASON_UNSPECIFIED":
		return llm.FinishUnknown
	case "STOP":
		return llm.FinishStop
	case "FUNCTION_CALL": // not Google's word, but that of some who play its part
		return llm.FinishToolCalls
	case "MAX_TOKENS":
		return llm.FinishLength
	case "SAFETY", "RECITATION", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "MODEL_ARMOR",
		"IMAGE_SAFETY", "IMAGE_PROHIBITED_CONTENT", "IMAGE_RECITATION":
		return llm.FinishFilter
	case "MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL", "TOO_MANY_TOOL_CALLS",
		"MISSING_THOUGHT_SIGNATURE", "MALFORMED_RESPONSE":
		return llm.FinishError
	case "CONTINUATION":
		return llm.FinishPause
	default: // OTHER, LANGUAGE, NO_IMAGE, IMAGE_OTHER
		return llm.FinishOther
	}
}

// finishWord is the word for a reason.
func finishWord(reason llm.FinishReason) string {
	switch reason {
	case llm.FinishStop, llm.FinishToolCalls:
		return "STOP"
	case llm.FinishLength:
		return "MAX_TOKENS"
	case llm.FinishFilter:
		return "SAFETY"
	case llm.FinishError:
		return "MALFORMED_RESPONSE"
	case llm.FinishPause:
		return "CONTINUATION"
	case llm.FinishUnknown, llm.FinishOther:
	}
	return "OTHER"
}
