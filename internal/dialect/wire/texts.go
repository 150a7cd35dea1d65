package wire

import "strings"

// Texts makes strings that share memory, since a body has very many short ones.
type Texts struct {
	room  strings.Builder
	size  int      // of the body
	words []string // that come again and again
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
