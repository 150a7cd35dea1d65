package jsonedit

import (
	"bytes"
	"encoding/binary"
	"math/bits"
	"slices"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

// Strings are read and written eight bytes at a time: nearly all of a
// conversation is strings, and source code has an escape in every line.

// special sets the top bit of those of eight bytes that are a quote, a
// backslash or a control character. Adding to seven bits of a byte sets its top
// bit unless the sum is too small, and carries nothing into the next byte.
func special(x uint64) uint64 {
	const (
		ones = 0x0101010101010101
		tops = ones * 0x80
		rest = ones * 0x7F
	)
	quote, slash := x^ones*'"', x^ones*'\\'
	plain := (quote&rest + rest | quote) & (slash&rest + rest | slash) & (x&rest + ones*(0x80-' ') | x)
	return ^plain & tops
}

// ascii says that no byte has its top bit set of those that were joined in seen.
func ascii(seen uint64) bool { return seen&0x8080808080808080 == 0 }

// AppendText appends what a valid JSON string, given with its quotes, says.
// Broken UTF-8 and lone surrogates become U+FFFD where the string has escapes,
// and stay as they are where it has none.
func AppendText(dst, quoted []byte) []byte {
	if len(quoted) < len(`""`) {
		return dst
	}
	inside := quoted[:len(quoted)-1]
	if bytes.IndexByte(inside, '\\') < 0 {
		return append(dst, inside[1:]...)
	}
	// It has no end, as it has no closing quote.
	dst, _, _ = appendString(dst, inside, 0)
	return dst
}

// CutString cuts text behind the JSON string that it begins with; ok is false
// where it begins with none.
func CutString(text []byte) (quoted, rest []byte, ok bool) {
	if len(text) == 0 || text[0] != '"' {
		return nil, nil, false
	}
	end, _, reason := skipString(text, 0)
	if reason != "" {
		return nil, nil, false
	}
	return text[:end:end], text[end:], true
}

// plainString gives the end of the string that begins at src[i] if there are no
// escapes in it; 0: there are, or it is none.
func plainString(src []byte, i int) (end int) {
	for i++; len(src)-i >= 8; i += 8 {
		if found := special(binary.LittleEndian.Uint64(src[i:])); found != 0 {
			i += bits.TrailingZeros64(found) / 8
			break
		}
	}
	for ; i < len(src); i++ {
		switch c := src[i]; {
		case c == '"':
			return i + 1
		case c == '\\' || c < ' ':
			return 0
		}
	}
	return 0
}

// appendString appends what the string says that begins at src[i], and returns
// where it ends. It has escapes, so that its UTF-8 is put right.
func appendString(dst, src []byte, i int) (_ []byte, end int, reason string) {
	start, from := i, len(dst)
	dst, end, seen, reason := unescape(dst, src, i+1)
	if !ascii(seen) && !utf8.Valid(dst[from:]) {
		quoted := append(slices.Clip(src[start:end]), '"')
		if reason == "" {
			quoted = src[start:end]
		}
		dst, _ = jsontext.AppendUnquote(dst[:from], quoted)
	}
	return dst, end, reason
}

// unescape appends what a string says from src[i] on, which is within it. seen
// has every bit that any of its bytes has, and maybe others.
func unescape(dst, src []byte, i int) (_ []byte, end int, seen uint64, reason string) {
	from, n := len(dst), len(dst)
	room := dst[:cap(dst)]
	for i < len(src) {
		if len(room)-n < 16 {
			room = slices.Grow(room[:n], max(n-from, 32))
			room = room[:cap(room)]
		}
		if len(src)-i >= 8 {
			x := binary.LittleEndian.Uint64(src[i:])
			binary.LittleEndian.PutUint64(room[n:], x)
			seen |= x
			found := special(x)
			if found == 0 {
				i, n = i+8, n+8
				continue
			}
			read, written := unescapeWord(room[n:], x, found)
			i, n = i+read, n+written
			if read == 8 {
				continue
			}
		}
		switch c := src[i]; {
		case c == '\\' && i+1 < len(src) && escapes[src[i+1]] != 0:
			room[n] = escapes[src[i+1]]
			i, n = i+2, n+1
		case c == '"':
			return room[:n], i + 1, seen, ""
		case c == '\\':
			if end, reason = skipEscape(src, i); reason != "" {
				return room[:n], end, seen, reason
			}
			r, length := unicodeEscape(src[i:])
			room = utf8.AppendRune(room[:n], r)
			i, n, room = i+length, len(room), room[:cap(room)]
		case c < ' ':
			return room[:n], i, seen, reasonString
		default: // one of the last bytes of src
			room[n] = c
			seen |= uint64(c)
			i, n = i+1, n+1
		}
	}
	return room[:n], i, seen, reasonString
}

// unescapeWord writes what the eight bytes say that dst begins with already, up
// to the first that is no plain character nor begins an escape of two.
func unescapeWord(dst []byte, x, found uint64) (read, written int) {
	for found != 0 {
		plain := bits.TrailingZeros64(found) / 8
		read, written = read+plain, written+plain
		x >>= 8 * plain
		e := escapes[byte(x>>8)]
		if byte(x) != '\\' || e == 0 || read == 7 {
			return read, written
		}
		dst[written] = e
		read, written = read+2, written+1
		x, found = x>>16, found>>(8*plain+16)
		binary.LittleEndian.PutUint64(dst[written:], x)
	}
	return 8, written + 8 - read
}

// escapes is what a letter behind a backslash stands for; 0 where it is none of
// those that stand for one byte.
var escapes = [256]byte{'"': '"', '\\': '\\', '/': '/', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t'}

// unicodeEscape reads the valid `\u` escape that text begins with, and the one
// behind it where the two are a pair. Half a pair is U+FFFD.
func unicodeEscape(text []byte) (r rune, length int) {
	const one = len(`\u0000`)
	r = hex4(text[2:one])
	if !utf16.IsSurrogate(r) {
		return r, one
	}
	if len(text) >= 2*one && text[one] == '\\' && text[one+1] == 'u' {
		for _, c := range text[one+2 : 2*one] {
			if !isHex(c) {
				return utf8.RuneError, one
			}
		}
		if pair := utf16.DecodeRune(r, hex4(text[one+2:2*one])); pair != utf8.RuneError {
			return pair, 2 * one
		}
	}
	return utf8.RuneError, one
}

func hex4(digits []byte) (r rune) {
	for _, c := range digits {
		r <<= 4
		if isDigit(c) {
			r |= rune(c - '0')
		} else {
			r |= rune(c|0x20-'a') + 10
		}
	}
	return r
}

// AppendQuote appends text as a JSON string. Broken UTF-8 becomes U+FFFD. Like
// the other functions that append it may use all of dst's memory.
func AppendQuote[S string | []byte](dst []byte, text S) []byte {
	const most = 8*len(`\u0000`) + 8 // that a word of text becomes, and writing it needs
	from := len(dst)
	dst = append(slices.Grow(dst, len(text)+len(`""`)), '"')
	var seen uint64
	i := 0
	for len(text)-i >= 8 {
		n := len(dst)
		if cap(dst)-n < most {
			dst = slices.Grow(dst, len(text)-i+most)
		}
		x := eight(text[i:])
		seen |= x
		i += 8
		if found := special(x); found != 0 {
			dst = dst[:n+quoteWord(dst[n:cap(dst)], x, found)]
		} else {
			dst = binary.LittleEndian.AppendUint64(dst, x)
		}
	}
	for ; i < len(text); i++ {
		c := text[i]
		seen |= uint64(c)
		if c >= ' ' && c != '"' && c != '\\' {
			dst = append(dst, c)
		} else if e := letters[c]; e != 0 {
			dst = append(dst, '\\', e)
		} else {
			dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		}
	}
	dst = append(dst, '"')
	if !ascii(seen) && !utf8.Valid(dst[from:]) {
		dst, _ = jsontext.AppendQuote(dst[:from], text) // the only errors are of UTF-8
	}
	return dst
}

// quoteWord writes eight bytes with the escapes that they need.
func quoteWord(dst []byte, x, found uint64) (written int) {
	left := 8
	for found != 0 {
		binary.LittleEndian.PutUint64(dst[written:], x)
		plain := bits.TrailingZeros64(found) / 8
		written += plain
		c := byte(x >> (8 * plain))
		dst[written] = '\\'
		if e := letters[c]; e != 0 {
			dst[written+1] = e
			written += 2
		} else {
			written += copy(dst[written+1:], []byte{'u', '0', '0', hex[c>>4], hex[c&15]}) + 1
		}
		x, found = x>>(8*plain+8), found>>(8*plain+8)
		left -= plain + 1
	}
	binary.LittleEndian.PutUint64(dst[written:], x)
	return written + left
}

const hex = "0123456789abcdef"

// letters reverses escapes, but for the slash.
var letters = [256]byte{'"': '"', '\\': '\\', '\b': 'b', '\f': 'f', '\n': 'n', '\r': 'r', '\t': 't'}

func eight[S string | []byte](s S) uint64 {
	_ = s[7]
	return uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 |
		uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
}
