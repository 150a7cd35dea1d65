package openaichat

import (
	"bytes"

	"github.com/financecommander/tollgate/internal/dialect"
	"github.com/financecommander/tollgate/internal/dialect/wire"
	"github.com/financecommander/tollgate/internal/jsonedit"
	"github.com/financecommander/tollgate/internal/llm"
	"github.com/financecommander/tollgate/internal/sse"
)

// meter walks over each chunk once. It takes what it knows wherever a provider
// puts it and passes over the rest; a chunk that is no JSON is passed over too.
type meter struct {
	reading dialect.Reading
	// begun and finished are the choices seen, a bit each. A stream without
	// [DONE] is whole when each choice that began has finished.
	begun, finished uint64
	done            bool

	mark dialect.Mark // of the event at hand
	// textless: the text is not to be collected.
	textless bool

	ordinary wire.Template
	// What makes the chunk at hand a template: one piece of text, of the first
	// choice, and nothing that ends or counts.
	pieces     int
	start, end int  // of the last one, with its quotes
	kind       kind // what it is
	singular   bool // nothing but text was found so far
	// What a decoder that reads along must know of the event at hand.
	fitted  []byte // the text of an ordinary chunk, with its quotes; nil: it is none
	learned bool   // it became the template
	usual   kind   // what the template's text is
}

// kind is what a piece of generated text is.
type kind byte

const (
	kindText kind = iota
	kindThinking
	kindArguments
)

// NewMeter implements [dialect.Codec].
func (c Codec) NewMeter() dialect.Meter { return &meter{} }

// Event implements [dialect.Meter].
func (m *meter) Event(e sse.Event) dialect.Mark {
	m.mark, m.fitted, m.learned = dialect.Mark{}, nil, false
	switch {
	case e.Data == nil:
		return m.mark
	case string(bytes.TrimSpace(e.Data)) == "[DONE]":
		m.done = true
		m.mark.Terminal = true
		return m.mark
	case string(e.Type) == "error":
		m.fail(e.Data)
		return m.mark
	}
	if quoted, ok := m.ordinary.Fit(e.Data); ok {
		m.fitted = quoted
		m.add(quoted)
		return m.mark
	}
	m.pieces, m.singular = 0, true
	found := m.read(e.Data, "delta")
	m.mark.UsageOnly = found.usage && found.answers == 0
	if found.valid && m.singular && m.pieces == 1 && found.answers == 1 && !found.usage && !m.mark.Failed {
		m.ordinary.Learn(e.Data, m.start, m.end, m.kind == kindThinking)
		m.usual, m.learned = m.kind, true
	}
	return m.mark
}

// Body implements [dialect.Meter]. Its text is for an estimate, so it is
// collected only if there is no usage.
func (m *meter) Body(body []byte) {
	m.textless = true
	found := m.read(body, "message")
	if !m.reading.Reported && found.valid {
		*m = meter{}
		found = m.read(body, "message")
	}
	switch {
	case m.reading.Err != nil:
	case found.valid && found.known:
		m.done = true
	default:
		m.reading.Err = wire.NotUnderstood()
	}
}

// Reading implements [dialect.Meter].
func (m *meter) Reading() dialect.Reading {
	r := m.reading
	whole := m.done || m.begun != 0 && m.begun == m.finished
	r.Complete = whole && r.Err == nil
	return r
}

// found is what one chunk or body had in it.
type found struct {
	valid   bool // it is JSON
	known   bool // it has the list of answers, be it empty
	usage   bool
	answers int // choices, or embeddings
}

// read walks over a chunk or body. message is the member of a choice that holds
// what was generated: "delta" in a stream, where Perplexity sends the message
// so far as well, and "message" else.
func (m *meter) read(data []byte, message string) (f found) {
	s := jsonedit.NewScanner(data)
	failed := false
	for name := range s.Members {
		switch string(name) {
		case "choices":
			f.known = s.Kind() == jsonedit.KindArray
			for range s.Elements {
				f.answers++
				m.choice(&s, message)
			}
		case "data":
			f.known = s.Kind() == jsonedit.KindArray
			for range s.Elements {
				f.answers++
			}
		case "usage":
			f.usage = m.usage(&s) || f.usage
		case "x_groq":
			for inner := range s.Members {
				if string(inner) == "usage" {
					f.usage = m.usage(&s) || f.usage
				}
			}
		case "model":
			if m.reading.Model == "" {
				m.reading.Model = string(s.Text(nil))
			}
		case "service_tier":
			if s.Kind() == jsonedit.KindString {
				m.reading.ServiceTier = string(s.Text(nil))
			}
		case "error":
			failed = failed || s.Kind() != jsonedit.KindNull
		case "object":
			failed = string(s.Skip()) == `"error"` || failed // Mistral
		}
	}
	f.valid = s.End() == nil
	if failed && f.valid {
		m.fail(data)
	}
	return f
}

func (m *meter) fail(data []byte) {
	m.mark.Failed = true
	if m.reading.Err == nil {
		m.reading.Err = InsideError(data)
	}
}

func (m *meter) usage(s *jsonedit.Scanner) bool {
	usage, ok := ParseUsage(s)
	if ok {
		m.reading.Usage, m.reading.CostUSD, m.reading.Reported = usage.Tokens, usage.CostUSD, true
	}
	return ok
}

func (m *meter) choice(s *jsonedit.Scanner, message string) {
	index, finished := int64(0), false
	for name := range s.Members {
		switch string(name) {
		case "index":
			index, _ = s.Int()
		case message:
			m.message(s, index)
		case "text": // completions
			m.text(s, index)
		case "finish_reason":
			if s.Kind() == jsonedit.KindString {
				finished, m.singular = true, false
				m.finish(string(s.Text(nil)), index)
			}
		case "usage": // Moonshot
			m.singular = false
			m.usage(s)
		}
	}
	bit := uint64(1) << min(uint64(index), 63)
	m.begun |= bit
	if finished {
		m.finished |= bit
	}
}

func (m *meter) message(s *jsonedit.Scanner, index int64) {
	thought := false
	for name := range s.Members {
		switch string(name) {
		case "content":
			m.content(s, index)
		case "refusal":
			m.text(s, index)
		case "reasoning_content", "reasoning":
			if !thought { // some send both, saying the same
				thought = m.thinking(s, index)
			}
		case "tool_calls":
			for range s.Elements {
				for inner := range s.Members {
					if string(inner) == "function" {
						m.function(s, index)
					}
				}
			}
		case "function_call":
			m.function(s, index)
		case "audio":
			m.singular = false
			m.audio(s, index)
		}
	}
}

// content takes a text, or parts as Mistral sends them: text, or thinking that
// has parts itself.
func (m *meter) content(s *jsonedit.Scanner, index int64) {
	if s.Kind() != jsonedit.KindArray {
		m.text(s, index)
		return
	}
	for range s.Elements {
		for name := range s.Members {
			switch string(name) {
			case "text":
				m.text(s, index)
			case "thinking":
				for range s.Elements {
					for inner := range s.Members {
						if string(inner) == "text" {
							m.thinking(s, index)
						}
					}
				}
			}
		}
	}
}

// function notes a call's arguments, the pieces of which are ordinary chunks too,
// and its name, which begins a call and is none.
func (m *meter) function(s *jsonedit.Scanner, index int64) {
	for name := range s.Members {
		switch string(name) {
		case "name":
			if m.add(s.Skip()) {
				m.singular = false
			}
		case "arguments":
			m.generated(s, index, kindArguments)
		}
	}
}

func (m *meter) audio(s *jsonedit.Scanner, index int64) {
	for name := range s.Members {
		switch string(name) {
		case "transcript":
			m.text(s, index)
		case "data":
			m.mark.Content = m.mark.Content || len(s.Skip()) > len(`""`)
		}
	}
}

func (m *meter) text(s *jsonedit.Scanner, index int64) { m.generated(s, index, kindText) }

func (m *meter) thinking(s *jsonedit.Scanner, index int64) bool {
	return m.generated(s, index, kindThinking)
}

// generated notes a piece of a choice's text.
func (m *meter) generated(s *jsonedit.Scanner, index int64, k kind) bool {
	start := s.Pos()
	quoted := s.Skip()
	if index != 0 {
		m.singular = false
		return m.add(quoted)
	}
	if !m.add(quoted) {
		return false
	}
	m.start, m.end, m.kind = start, start+len(quoted), k
	return true
}

func (m *meter) add(quoted []byte) bool {
	added := !m.textless && wire.CollectText(&m.reading, quoted)
	if added {
		m.pieces++
	}
	m.mark.Content = m.mark.Content || added
	return added
}

// finish notes why the first choice ended, or another one while the first goes
// on.
func (m *meter) finish(reason string, index int64) {
	if index == 0 || m.reading.Finish == llm.FinishUnknown {
		m.reading.Finish = finishReason(reason)
	}
}
