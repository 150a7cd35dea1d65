package wire

import (
	"bytes"

	"github.com/financecommander/tollgate/internal/jsonedit"
)

// A Template is the shape of a stream's ordinary chunk: nearly all chunks of an
// answer are the same bytes but for the text they carry (and the padding that
// OpenAI calls "obfuscation"). A chunk that fits the template means what the
// chunk it was made of meant, so only the text is looked at; one that does not
// is walked over as usual and may become the next template.
type Template struct {
	before   []byte // up to the text
	after    []byte // behind the text; up to the padding, if there is any
	end      []byte // behind the padding
	padded   bool
	Thinking bool // the text is reasoning
}

var padding = []byte(`"obfuscation":`)

// Fit gives the text of a chunk that fits, with its quotes.
func (t *Template) Fit(chunk []byte) (quoted []byte, ok bool) {
	if len(t.before) == 0 || !bytes.HasPrefix(chunk, t.before) {
		return nil, false
	}
	quoted, rest, ok := jsonedit.CutString(chunk[len(t.before):])
	if !ok || !bytes.HasPrefix(rest, t.after) {
		return nil, false
	}
	rest = rest[len(t.after):]
	if t.padded {
		if _, rest, ok = jsonedit.CutString(rest); !ok {
			return nil, false
		}
	}
	return quoted, bytes.Equal(rest, t.end)
}

// Learn makes the template of a chunk whose text, with its quotes, stands at
// chunk[start:end].
func (t *Template) Learn(chunk []byte, start, end int, thinking bool) {
	rest := chunk[end:]
	t.before = append(t.before[:0], chunk[:start]...)
	t.after, t.end, t.padded, t.Thinking = append(t.after[:0], rest...), t.end[:0], false, thinking
	if at := bytes.Index(rest, padding); at >= 0 {
		at += len(padding)
		if _, end, ok := jsonedit.CutString(rest[at:]); ok {
			t.after, t.end, t.padded = t.after[:at], append(t.end, end...), true
		}
	}
}
