package wire

import (
	"bytes"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// Unquote is what a valid JSON string says, given with its quotes. Lone
// surrogates become U+FFFD; broken UTF-8 stays as it is. It is
// [jsonedit.AppendText] with one allocation.
func Unquote(quoted []byte) string {
	if len(quoted) < len(`""`) || quoted[0] != '"' {
		return ""
	}
	text := quoted[1 : len(quoted)-1]
	at := bytes.IndexByte(text, '\\')
	if at < 0 {
		return string(text)
	}
	var b strings.Builder
	b.Grow(len(text))
	for ; at >= 0 && at+1 < len(text); at = bytes.IndexByte(text, '\\') {
		b.Write(text[:at])
		c := text[at+1]
		text = text[at+2:]
		if c == 'u' {
			r, n := unicodeEscape(text)
			b.WriteRune(r)
			text = text[n:]
			continue
		}
		b.WriteByte(escaped[c])
	}
	b.Write(text)
	return b.String()
}

// escaped is what stands behind a backslash, by its letter.
var escaped = [256]byte{'"': '"', '\\': '\\', '/': '/', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t'}

// unicodeEscape reads what follows `\u`, and the second half of a pair.
func unicodeEscape(text []byte) (r rune, n int) {
	r = hex4(text)
	if !utf16.IsSurrogate(r) {
		return r, min(4, len(text))
	}
	if len(text) >= 10 && text[4] == '\\' && text[5] == 'u' {
		if pair := utf16.DecodeRune(r, hex4(text[6:])); pair != utf8.RuneError {
			return pair, 10
		}
	}
	return utf8.RuneError, min(4, len(text))
}

func hex4(text []byte) (r rune) {
	for _, c := range text[:min(4, len(text))] {
		r <<= 4
		switch {
		case c <= '9':
			r |= rune(c - '0')
		default:
			r |= rune(c|0x20-'a') + 10
		}
	}
	return r
}
