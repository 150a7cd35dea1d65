package jsonedit

import (
	"bytes"
	"encoding/binary"
	"math/bits"
)

const (
	reasonComma  = "expected a comma or a closing bracket"
	reasonDepth  = "nested too deep"
	reasonName   = "expected a member's name"
	reasonColon  = "expected a colon"
	reasonValue  = "expected a value"
	reasonString = "invalid character in a string"
	reasonEscape = "invalid escape in a string"
	reasonNumber = "invalid number"
)

// The functions here check one piece of syntax that begins at src[i] and return
// where it ends. A reason that is not empty says what is wrong, at the place
// returned.

func skipValue(src []byte, i, depth int) (end int, reason string) {
	if i >= len(src) {
		return i, reasonValue
	}
	switch c := src[i]; {
	case c == '"':
		end, _, reason = skipString(src, i)
		return end, reason
	case c == '{':
		return skipObject(src, i, depth+1)
	case c == '[':
		return skipArray(src, i, depth+1)
	case c == '-' || isDigit(c):
		return skipNumber(src, i)
	case c == 't':
		return skipLiteral(src, i, "true")
	case c == 'f':
		return skipLiteral(src, i, "false")
	case c == 'n':
		return skipLiteral(src, i, "null")
	}
	return i, reasonValue
}

func skipObject(src []byte, i, depth int) (end int, reason string) {
	if depth > MaxDepth {
		return i, reasonDepth
	}
	i = skipSpace(src, i+1)
	if i < len(src) && src[i] == '}' {
		return i + 1, ""
	}
	for {
		if i >= len(src) || src[i] != '"' {
			return i, reasonName
		}
		if i, _, reason = skipString(src, i); reason != "" {
			return i, reason
		}
		if i = skipSpace(src, i); i >= len(src) || src[i] != ':' {
			return i, reasonColon
		}
		i = skipSpace(src, i+1)
		if i, reason = skipValue(src, i, depth); reason != "" {
			return i, reason
		}
		switch i = skipSpace(src, i); {
		case i < len(src) && src[i] == ',':
			i = skipSpace(src, i+1)
		case i < len(src) && src[i] == '}':
			return i + 1, ""
		default:
			return i, reasonComma
		}
	}
}

func skipArray(src []byte, i, depth int) (end int, reason string) {
	if depth > MaxDepth {
		return i, reasonDepth
	}
	i = skipSpace(src, i+1)
	if i < len(src) && src[i] == ']' {
		return i + 1, ""
	}
	for {
		if i, reason = skipValue(src, i, depth); reason != "" {
			return i, reason
		}
		switch i = skipSpace(src, i); {
		case i < len(src) && src[i] == ',':
			i = skipSpace(src, i+1)
		case i < len(src) && src[i] == ']':
			return i + 1, ""
		default:
			return i, reasonComma
		}
	}
}

// longString is how far a string is read eight bytes at a time; one that goes
// on is worth the calls that search faster.
const longString = 64

// skipString finds a string's end. It also says whether the string has escapes.
func skipString(src []byte, i int) (end int, escaped bool, reason string) {
	i++
	for long := i + longString; i < long; {
		for i+8 <= len(src) {
			found := special(binary.LittleEndian.Uint64(src[i:]))
			if found != 0 {
				i += bits.TrailingZeros64(found) / 8
				break
			}
			if i += 8; i >= long {
				return skipLongString(src, i, escaped)
			}
		}
		for i < len(src) && src[i] >= ' ' && src[i] != '"' && src[i] != '\\' {
			i++ // the last few bytes of src
		}
		switch {
		case i >= len(src):
			return i, escaped, reasonString
		case src[i] == '"':
			return i + 1, escaped, ""
		case src[i] != '\\':
			return i, escaped, reasonString
		}
		escaped = true
		if i, reason = skipEscape(src, i); reason != "" {
			return i, escaped, reason
		}
	}
	return skipLongString(src, i, escaped)
}

// skipLongString is skipString from the middle of a string on. It looks for the
// next quote once, and up to there for backslashes and control characters.
func skipLongString(src []byte, i int, escaped bool) (end int, _ bool, reason string) {
	quote := i - 1
	for {
		if quote < i {
			if quote = bytes.IndexByte(src[i:], '"'); quote < 0 {
				quote = len(src)
			} else {
				quote += i
			}
		}
		end := quote
		if slash := bytes.IndexByte(src[i:quote], '\\'); slash >= 0 {
			end = i + slash
		}
		switch bad := control(src[i:end]); {
		case bad >= 0:
			return i + bad, escaped, reasonString
		case end == len(src):
			return end, escaped, reasonString
		case end == quote:
			return end + 1, escaped, ""
		}
		escaped = true
		if i, reason = skipEscape(src, end); reason != "" {
			return i, escaped, reason
		}
	}
}

// control finds the first control character; -1: there is none.
func control(b []byte) int {
	const (
		spaces = 0x2020202020202020
		tops   = 0x8080808080808080
	)
	i := 0
	for ; i+32 <= len(b); i += 32 {
		w, x := binary.LittleEndian.Uint64(b[i:]), binary.LittleEndian.Uint64(b[i+8:])
		y, z := binary.LittleEndian.Uint64(b[i+16:]), binary.LittleEndian.Uint64(b[i+24:])
		if ((w-spaces)&^w|(x-spaces)&^x|(y-spaces)&^y|(z-spaces)&^z)&tops != 0 {
			break
		}
	}
	for ; i < len(b); i++ {
		if b[i] < ' ' {
			return i
		}
	}
	return -1
}

// special sets the top bit of those of eight bytes that are a quote, a
// backslash or a control character. Each of the three terms is the usual test
// for bytes below n, (x-n)&^x; bytes above 0x7F never pass it. A borrow may also
// mark a byte above one that passed, so only the lowest mark is sure.
func special(x uint64) uint64 {
	const (
		ones = 0x0101010101010101
		tops = 0x8080808080808080
	)
	quote := x ^ ones*'"'
	slash := x ^ ones*'\\'
	return ((quote-ones)&^quote | (slash-ones)&^slash | (x-ones*' ')&^x) & tops
}

func skipEscape(src []byte, i int) (end int, reason string) {
	if i+1 >= len(src) {
		return len(src), reasonEscape
	}
	switch src[i+1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return i + 2, ""
	case 'u':
		end = i + 2
		for end < len(src) && end < i+6 && isHex(src[end]) {
			end++
		}
		if end == i+6 {
			return end, ""
		}
		return end, reasonEscape
	}
	return i, reasonEscape
}

func skipNumber(src []byte, i int) (end int, reason string) {
	if src[i] == '-' {
		i++
	}
	switch {
	case i < len(src) && src[i] == '0':
		i++
	case i < len(src) && isDigit(src[i]):
		i = skipDigits(src, i)
	default:
		return i, reasonNumber
	}
	if i < len(src) && src[i] == '.' {
		start := i + 1
		if i = skipDigits(src, start); i == start {
			return i, reasonNumber
		}
	}
	if i < len(src) && src[i]|0x20 == 'e' {
		i++
		if i < len(src) && (src[i] == '+' || src[i] == '-') {
			i++
		}
		start := i
		if i = skipDigits(src, start); i == start {
			return i, reasonNumber
		}
	}
	return i, ""
}

func skipDigits(src []byte, i int) int {
	for i < len(src) && isDigit(src[i]) {
		i++
	}
	return i
}

func skipLiteral(src []byte, i int, literal string) (end int, reason string) {
	if len(src)-i >= len(literal) && string(src[i:i+len(literal)]) == literal {
		return i + len(literal), ""
	}
	return i, reasonValue
}

func skipSpace(src []byte, i int) int {
	for i < len(src) && (src[i] == ' ' || src[i] == '\n' || src[i] == '\t' || src[i] == '\r') {
		i++
	}
	return i
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

func isHex(c byte) bool { return isDigit(c) || 'a' <= c|0x20 && c|0x20 <= 'f' }
