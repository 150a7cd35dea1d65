package conversation

import (
	"crypto/hmac"
	"crypto/sha256"
	"strings"
	"unicode"
	"unicode/utf8"
)

// untitled is what a conversation is called before its first message. The
// frontend asks every few seconds while there is one of this name, so nothing
// else may have it.
const untitled = "New conversation"

// unreadable is what stands for a text that does not open any more.
const unreadable = "(cannot be read: the gateway's secret was changed)"

const (
	maxTitle   = 50  // characters, of one made of a message
	maxOwn     = 200 // characters, of one that the user gave
	maxPreview = 120 // characters
)

// titleOf is the title of a conversation that begins with text.
func titleOf(text string) string { return distinct(shorten(text, maxTitle)) }

// distinct is a title that is not the one of conversations without any.
func distinct(title string) string {
	if strings.EqualFold(title, untitled) {
		return "“" + title + "”"
	}
	return title
}

// shorten gives the beginning of a text in one line: n characters at most, cut
// between words where there is more than one.
func shorten(text string, n int) string {
	const enough = 8 << 10 // bytes: more than n characters and the space around them
	text = strings.TrimSpace(text)
	if len(text) > enough {
		cut := enough
		for !utf8.RuneStart(text[cut]) {
			cut--
		}
		text = text[:cut]
	}
	line := []rune(strings.Join(strings.FieldsFunc(text, blank), " "))
	if len(line) <= n {
		return string(line)
	}
	cut := n
	for cut > 0 && line[cut] != ' ' {
		cut--
	}
	if cut == 0 { // one long word, or a script without spaces
		cut = n
		for cut > 1 && joins(line, cut) {
			cut--
		}
	}
	return strings.TrimRight(string(line[:cut]), " ")
}

func blank(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }

// joins says whether what stands before and behind a cut is one character to a
// reader: an accent of its own, an emoji of several.
func joins(line []rune, cut int) bool {
	const joiner = '\u200d'
	return unicode.Is(unicode.M, line[cut]) || line[cut] == joiner || line[cut-1] == joiner ||
		line[cut] >= 0x1f3fb && line[cut] <= 0x1f3ff // skin tones
}

// digest tells texts of one user and role apart, but for the space around them.
// It is keyed: without the key nobody can try texts against it.
type digest [sha256.Size]byte

func (s *Service) digest(owner, role, text string) (d digest) {
	mac := hmac.New(sha256.New, s.key)
	mac.Write([]byte(owner + "\x00" + role + "\x00"))
	mac.Write([]byte(strings.TrimSpace(text)))
	mac.Sum(d[:0])
	return d
}
