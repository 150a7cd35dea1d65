package openairesponses

import (
	"bytes"

	"github.com/financecommander/tollgate/internal/dialect"
	"github.com/financecommander/tollgate/internal/dialect/openaichat"
	"github.com/financecommander/tollgate/internal/dialect/wire"
	"github.com/financecommander/tollgate/internal/jsonedit"
	"github.com/financecommander/tollgate/internal/llm"
	"github.com/financecommander/tollgate/internal/sse"
)

// meter reads the events' types and deltas, and of the response object, which
// several events carry, what it says of the answer as a whole.
type meter struct {
	reading dialect.Reading
	whole   bool
	event   fields // of the event at hand
}

// fields are an event's members, as they stand in it.
type fields struct {
	typ, delta           []byte // the type without its quotes
	response, item, part []byte
	logprobs, annotation []byte
	outputIndex, index   int64 // index is of the content or the summary
}

// NewMeter implements [dialect.Codec].
func (Codec) NewMeter() dialect.Meter { return &meter{} }

// Event implements [dialect.Meter].
func (m *meter) Event(e sse.Event) (mark dialect.Mark) {
	m.event = fields{}
	if e.Data == nil {
		return mark
	}
	f := &m.event
	failed := false
	s := jsonedit.NewScanner(e.Data)
	for name := range s.Members {
		switch string(name) {
		case "type":
			f.typ = unquote(s.Skip())
		case "delta":
			f.delta = s.Skip()
		case "output_index":
			f.outputIndex, _ = s.Int()
		case "content_index", "summary_index":
			f.index, _ = s.Int()
		case "logprobs":
			f.logprobs = s.Skip()
		case "item":
			f.item = s.Skip()
		case "part":
			f.part = s.Skip()
		case "annotation":
			f.annotation = s.Skip()
		case "response":
			start := s.Pos()
			m.response(&s, false)
			f.response = s.Since(start)
		case "error":
			failed = s.Kind() != jsonedit.KindNull
		}
	}
	switch string(f.typ) {
	case "response.completed", "response.incomplete", "response.failed":
		m.whole = true
		mark.Terminal = true
		mark.Failed = m.reading.Err != nil
	case "error":
		failed = true
	case "response.audio.delta", "response.image_generation_call.partial_image":
		mark.Content = true
	default:
		if bytes.HasSuffix(f.typ, []byte(".delta")) {
			mark.Content = wire.CollectText(&m.reading, f.delta)
		}
	}
	if failed {
		mark.Failed = true
		m.fail(e.Data)
	}
	return mark
}

// Body implements [dialect.Meter].
func (m *meter) Body(body []byte) {
	s := jsonedit.NewScanner(body)
	known := m.response(&s, true)
	if s.End() == nil && known {
		m.whole = true
		return
	}
	if m.reading.Err == nil {
		m.reading.Err = wire.NotUnderstood()
	}
}

// Reading implements [dialect.Meter].
func (m *meter) Reading() dialect.Reading {
	r := m.reading
	r.Complete = m.whole && r.Err == nil
	return r
}

func (m *meter) fail(data []byte) {
	if m.reading.Err == nil {
		m.reading.Err = openaichat.InsideError(data)
	}
}

// response reads a response object. Its output is collected where no deltas
// said it before. It reports whether the object looked like one.
func (m *meter) response(s *jsonedit.Scanner, collect bool) (known bool) {
	var status, reason []byte
	callsTool := false
	for name := range s.Members {
		switch string(name) {
		case "status":
			status = unquote(s.Skip())
		case "model":
			if m.reading.Model == "" {
				m.reading.Model = string(s.Text(nil))
			}
		case "service_tier":
			if s.Kind() == jsonedit.KindString {
				m.reading.ServiceTier = string(s.Text(nil))
			}
		case "incomplete_details":
			for inner := range s.Members {
				if string(inner) == "reason" {
					reason = unquote(s.Skip())
				}
			}
		case "usage":
			if usage, ok := openaichat.ParseUsage(s); ok {
				m.reading.Usage, m.reading.CostUSD, m.reading.Reported = usage.Tokens, usage.CostUSD, true
			}
		case "error":
			if s.Kind() != jsonedit.KindNull {
				m.fail(s.Skip())
			}
		case "output":
			known = true
			for range s.Elements {
				callsTool = m.item(s, collect) || callsTool
			}
		}
	}
	m.finish(string(status), string(reason), callsTool)
	return known
}

// item reads one item of the output: a message, reasoning, a call of a tool. It
// reports whether the item waits for the client.
func (m *meter) item(s *jsonedit.Scanner, collect bool) (callsTool bool) {
	for name := range s.Members {
		switch string(name) {
		case "type":
			callsTool = waitsForClient(string(unquote(s.Skip())))
		case "content", "summary":
			for range s.Elements {
				for inner := range s.Members {
					if string(inner) == "text" || string(inner) == "refusal" {
						m.collect(s, collect)
					}
				}
			}
		case "name", "arguments", "input", "code":
			m.collect(s, collect)
		}
	}
	return callsTool
}

func (m *meter) collect(s *jsonedit.Scanner, collect bool) {
	if value := s.Skip(); collect {
		wire.CollectText(&m.reading, value)
	}
}

func waitsForClient(item string) bool {
	switch item {
	case "function_call", "custom_tool_call", "computer_call", "local_shell_call", "apply_patch_call", "mcp_approval_request":
		return true
	}
	return false
}

func (m *meter) finish(status, reason string, callsTool bool) {
	switch status {
	case "completed":
		m.reading.Finish = llm.FinishStop
		if callsTool {
			m.reading.Finish = llm.FinishToolCalls
		}
	case "incomplete":
		switch reason {
		case "max_output_tokens", "max_tokens":
			m.reading.Finish = llm.FinishLength
		case "content_filter":
			m.reading.Finish = llm.FinishFilter
		default:
			m.reading.Finish = llm.FinishOther
		}
	case "failed":
		m.reading.Finish = llm.FinishError
		if m.reading.Err == nil {
			m.reading.Err = openaichat.InsideError(nil)
		}
	case "", "in_progress", "queued":
	default: // "cancelled" is one
		m.reading.Finish = llm.FinishOther
	}
}

// unquote gives the text of a plain string such as a type; escapes stay.
func unquote(quoted []byte) []byte {
	if len(quoted) < 2 || quoted[0] != '"' {
		return nil
	}
	return quoted[1 : len(quoted)-1]
}
