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
	for i := 0; i < len(text); i++ {
		if plain[text[i]] {
			continue
		}
		dst = append(dst, text[from:i]...)
		dst = appendEscape(dst, text[i])
		from = i + 1
	}
	dst = append(dst, text[from:]...)
	return append(dst, '"')
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
