package wire

import (
	"unicode/utf8"

	"github.com/financecommander/tollgate/internal/jsonedit"
)

// plain says which ASCII characters a JSON string has as they are.
var plain = func() (table [256]bool) {
	for c := range table {
		table[c] = c >= ' ' && c != '"' && c != '\\'
	}
	return table
}()

// AppendQuote appends text as a JSON string. Broken UTF-8 becomes U+FFFD.
func AppendQuote(dst []byte, text string) []byte {
	if !utf8.ValidString(text) {
		return jsonedit.AppendQuote(dst, text)
	}
	dst = append(dst, '"')
	from := 0
	for i := 0; i < len(text); {
		if len(text)-i >= 8 && allPlain(text[i:i+8]) {
			i += 8
			continue
		}
		if c := text[i]; !plain[c] {
			dst = append(dst, text[from:i]...)
			dst = appendEscape(dst, c)
			from = i + 1
		}
		i++
	}
	dst = append(dst, text[from:]...)
	return append(dst, '"')
}

// allPlain says that eight bytes are plain, all at once. It may say no to some
// that are.
func allPlain(s string) bool {
	const ones, highs = 0x0101010101010101, 0x8080808080808080
	x := uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 |
		uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
	quote, slash := x^ones*'"', x^ones*'\\'
	control := (x - ones*' ') &^ x
	return (control|(quote-ones)&^quote|(slash-ones)&^slash)&highs == 0
}

func appendEscape(dst []byte, c byte) []byte {
	switch c {
	case '"', '\\':
		return append(dst, '\\', c)
	case '\n':
		return append(dst, '\\', 'n')
	case '\t':
		return append(dst, '\\', 't')
	case '\r':
		return append(dst, '\\', 'r')
	}
	const hex = "0123456789abcdef"
	return append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
}
