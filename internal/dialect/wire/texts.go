package wire

import (
	"strings"

	"github.com/financecommander/tollgate/internal/jsonedit"
)

// Texts makes strings that share memory, since a body has very many short ones.
// Those of the zero value have memory of their own.
type Texts struct {
	room    strings.Builder
	size    int      // of the body
	words   []string // that come again and again
	scratch []byte
}

// NewTexts makes texts of a body that has a size.
func NewTexts(size int) *Texts { return &Texts{size: size} }

// Texts longer than this have memory of their own.
const longText = 4 << 10

// Of is text as a string.
func (t *Texts) Of(text []byte) string {
	if len(text) > longText {
		return string(text)
	}
	if t.room.Cap()-t.room.Len() < len(text) {
		t.room = strings.Builder{}
		t.room.Grow(max(len(text), min(t.size, 4*longText)))
	}
	from := t.room.Len()
	t.room.Write(text)
	return t.room.String()[from:]
}

// Take takes a string.
func (t *Texts) Take(s *jsonedit.Scanner) string { return t.Of(t.said(s)) }

// Unquote is what a valid JSON string says, given with its quotes; "" for
// another value.
func (t *Texts) Unquote(quoted []byte) string {
	if len(quoted) < len(`""`) || quoted[0] != '"' {
		return ""
	}
	s := jsonedit.NewScanner(quoted)
	return t.Take(&s)
}

// said takes a string. What it says is good until the next one is taken.
func (t *Texts) said(s *jsonedit.Scanner) []byte {
	text, copied := s.TextIn(t.scratch[:0])
	if copied {
		t.scratch = text
	}
	return text
}

// Word is Of for texts of which there are few that come often, such as types.
func (t *Texts) Word(text []byte) string {
	for _, word := range t.words {
		if word == string(text) {
			return word
		}
	}
	word := t.Of(text)
	if len(t.words) < 16 {
		t.words = append(t.words, word)
	}
	return word
}
