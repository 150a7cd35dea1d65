// Package wire holds what the codecs share: reading errors, collecting text for
// estimates, recognising the ordinary chunk of a stream.
package wire

import (
	"github.com/financecommander/tollgate/internal/dialect"
	"github.com/financecommander/tollgate/internal/jsonedit"
)

// maxText bounds the generated text a meter keeps.
const maxText = 256 << 10

// CollectText notes generated text in a reading, if the value, a piece of JSON,
// is a string with something in it.
func CollectText(r *dialect.Reading, quoted []byte) bool {
	if len(quoted) <= len(`""`) || quoted[0] != '"' {
		return false
	}
	r.TextBytes += int64(len(quoted) - len(`""`))
	if room := maxText - len(r.Text); room > 0 {
		r.Text = jsonedit.AppendText(r.Text, quoted[:min(len(quoted), room+2)])
	}
	return true
}

// TextCollector gathers a request's text up to a limit, one piece a line. The
// JSON it is given must be valid; nil is passed over.
type TextCollector struct {
	text  []byte
	limit int // of text, whole
}

// NewTextCollector returns a collector that appends at most limit bytes to dst.
func NewTextCollector(dst []byte, limit int) *TextCollector {
	return &TextCollector{text: dst, limit: len(dst) + max(limit, 0)}
}

// Bytes is what was collected, behind what was there before.
func (t *TextCollector) Bytes() []byte { return t.text }

// Text takes a JSON string. Another value is left out.
func (t *TextCollector) Text(value []byte) {
	room := t.limit - len(t.text)
	if room <= 0 || len(value) < 2 || value[0] != '"' {
		return
	}
	// An escape is at most six times as long as what it says.
	t.text = jsonedit.AppendText(t.text, value[:min(len(value), 6*room+2)])
	t.endLine()
}

// Plain takes text that is no JSON.
func (t *TextCollector) Plain(text string) {
	if room := t.limit - len(t.text); room > 0 {
		t.text = append(t.text, text[:min(len(text), room)]...)
		t.endLine()
	}
}

// Raw takes a value's bytes as they stand.
func (t *TextCollector) Raw(value []byte) {
	if room := t.limit - len(t.text); room > 0 && len(value) > 0 {
		t.text = append(t.text, value[:min(len(value), room)]...)
		t.endLine()
	}
}

func (t *TextCollector) endLine() {
	t.text = append(t.text, '\n')
	t.text = t.text[:min(len(t.text), t.limit)]
}

// Messages takes a string, or an array of messages, prompts or tokens.
func (t *TextCollector) Messages(value []byte) {
	if len(value) == 0 || value[0] != '[' {
		t.Text(value)
		return
	}
	s := jsonedit.NewScanner(value)
	for range s.Elements {
		switch s.Kind() {
		case jsonedit.KindObject:
			t.message(&s)
		case jsonedit.KindString:
			t.Text(s.Skip())
		default: // tokens, as numbers
			t.Raw(s.Skip())
		}
	}
}

func (t *TextCollector) message(s *jsonedit.Scanner) {
	for name := range s.Members {
		switch string(name) {
		case "content", "summary", "output":
			t.content(s)
		case "name", "refusal", "reasoning", "reasoning_content", "arguments", "input":
			t.Text(s.Skip())
		case "tool_calls", "function_call":
			t.Raw(s.Skip())
		}
	}
}

// content takes a message's content: a string, or parts, of which images,
// audio and files are left out.
func (t *TextCollector) content(s *jsonedit.Scanner) {
	if s.Kind() != jsonedit.KindArray {
		t.Text(s.Skip())
		return
	}
	for range s.Elements {
		for name := range s.Members {
			switch string(name) {
			case "text", "refusal":
				t.Text(s.Skip())
			}
		}
	}
}
