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

// skipString finds a string's end. It also says whether the string has escapes.
func skipString(src []byte, i int) (end int, escaped bool, reason string) {
	i++
	for plain := i; ; plain = i { // where the run of plain characters began
		for len(src)-i >= 8 {
			x := binary.LittleEndian.Uint64(src[i:])
			found := special(x)
			if found == 0 {
				if i += 8; i-plain >= longRun {
					i = skipRun(src, i)
				}
				continue
			}
			read := skipWord(x, found)
			plain = i + read
			i += read
			escaped = escaped || read > bits.TrailingZeros64(found)/8
			if read < 8 {
				break
			}
		}
		for i < len(src) && src[i] >= ' ' && src[i] != '"' && src[i] != '\\' {
			i++ // one of the last bytes of src
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
}

// longRun is how many plain characters in a row make it likely that many more
// follow, so that searching faster is worth the calls. It begins with firstWindow
// bytes and looks at ever more at once, since what it looks at beyond the run's
// end is looked at in vain.
const (
	longRun     = 64
	firstWindow = 256
	lastWindow  = 8 << 10
)

// skipRun skips plain characters, as far as it is sure of them.
func skipRun(src []byte, i int) int {
	for window := firstWindow; ; window = min(2*window, lastWindow) {
		run := src[i:min(len(src), i+window)]
		whole := len(run)
		if end := bytes.IndexByte(run, '\\'); end >= 0 {
			run = run[:end]
		}
		if end := bytes.IndexByte(run, '"'); end >= 0 {
			run = run[:end]
		}
		if end := control(run); end >= 0 {
			run = run[:end]
		}
		i += len(run)
		if len(run) < whole || whole < window {
			return i
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
	for ; len(b)-i >= 8; i += 8 {
		// The top bit of a byte below a space; after the first it may be wrong.
		x := binary.LittleEndian.Uint64(b[i:])
		if found := (x - spaces) &^ x & tops; found != 0 {
			return i + bits.TrailingZeros64(found)/8
		}
	}
	for ; i < len(b); i++ {
		if b[i] < ' ' {
			return i
		}
	}
	return -1
}

// skipWord says how many of eight bytes come before the first that is no plain
// character nor belongs to an escape of two, which is there as a whole.
func skipWord(x, found uint64) (read int) {
	for found != 0 {
		plain := bits.TrailingZeros64(found) / 8
		read += plain
		x >>= 8 * plain
		if byte(x) != '\\' || escapes[byte(x>>8)] == 0 || read == 7 {
			return read
		}
		read += 2
		x, found = x>>16, found>>(8*plain+16)
	}
	return 8
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
