package tokens

import (
	"unicode"
	"unicode/utf8"
)

// Weights, in thousandths of a token: what the parts of a text contribute to
// its tokens in o200k_base, by least squares over the texts that the package
// comment tells of. What follows the limits is set by hand, against random text.
const (
	weightWord       = 980  // a word, in which an upper case letter after a lower case one begins the next
	weightLetter     = 82   // each letter after the shortLetters-th
	weightLongLetter = 500  // each letter after the longLetters-th: no word of a language
	weightNumber     = 550  // a number
	weightDigits     = 1050 // each three digits of it, begun
	weightMarks      = 810  // a run of punctuation
	weightMark       = 30   // each mark of it after the first
	weightLongMark   = 400  // each mark after the longMarks-th
	weightSpace      = 830  // white space, other than one space before a word
	weightLongSpace  = 20   // each character of it after the longSpaces-th
	weightHan        = 790
	weightKana       = 885
	weightHangul     = 750
	weightForeign    = 400 // a letter of another script
	weightSymbol     = 800 // anything else

	shortLetters = 4
	longLetters  = 16
	longMarks    = 4
	longSpaces   = 16
)

// estimate is how many tokens the family makes of a text; no text is none, any
// text at least one.
func (f *family) estimate(text []byte) int64 {
	const million = 1_000_000 // thousandths of a token, times thousandths of the family
	return (weigh(text)*f.permille + million - 1) / million
}

// weigh adds up the weights of a text.
func weigh(text []byte) int64 {
	var sum int64
	for len(text) > 0 {
		weight, n := weighPart(text)
		sum += weight
		text = text[n:]
	}
	return sum
}

// weighPart weighs the word, number, run of marks or rune that begins a text,
// and says how many bytes it has.
func weighPart(text []byte) (weight int64, n int) {
	switch c := text[0]; {
	case c >= utf8.RuneSelf && !startsLatin(text):
		return weighRune(text)
	case c >= utf8.RuneSelf, isLetter(c):
		n = wordLength(text)
		return weightWord +
			weightLetter*int64(max(0, min(n, longLetters)-shortLetters)) +
			weightLongLetter*int64(max(0, n-longLetters)), n
	case isDigit(c):
		n = run(text, isDigit)
		return weightNumber + weightDigits*int64((n+2)/3), n
	case isSpace(c):
		n = run(text, isSpace)
		if n == 1 && c == ' ' {
			return 0, n
		}
		return weightSpace + weightLongSpace*int64(max(0, n-longSpaces)), n
	default:
		n = run(text, isMark)
		return weightMarks +
			weightMark*int64(min(n, longMarks)-1) +
			weightLongMark*int64(max(0, n-longMarks)), n
	}
}

// weighRune weighs a rune beyond ASCII that is no part of a word.
func weighRune(text []byte) (weight int64, n int) {
	r, n := utf8.DecodeRune(text)
	switch {
	case unicode.Is(unicode.Han, r):
		return weightHan, n
	case unicode.Is(unicode.Hangul, r):
		return weightHangul, n
	case unicode.In(r, unicode.Hiragana, unicode.Katakana):
		return weightKana, n
	case unicode.IsLetter(r), unicode.IsMark(r):
		return weightForeign, n
	default:
		return weightSymbol, n
	}
}

// wordLength is how many bytes a word has: upper case ASCII letters, then lower
// case ones and any with diacritics. Those count double, being two bytes, which
// is about what they cost.
func wordLength(text []byte) int {
	n := run(text, isUpper)
	for n < len(text) {
		if isLower(text[n]) {
			n++
			continue
		}
		r, size := utf8.DecodeRune(text[n:])
		if !isLatin(r) {
			break
		}
		n += size
	}
	return n
}

func run(text []byte, is func(byte) bool) int {
	for i, c := range text {
		if !is(c) {
			return i
		}
	}
	return len(text)
}

func isUpper(c byte) bool  { return 'A' <= c && c <= 'Z' }
func isLower(c byte) bool  { return 'a' <= c && c <= 'z' }
func isLetter(c byte) bool { return isUpper(c) || isLower(c) }
func isDigit(c byte) bool  { return '0' <= c && c <= '9' }
func isSpace(c byte) bool  { return c == ' ' || '\t' <= c && c <= '\r' }

// isMark is every other ASCII character, control characters too.
func isMark(c byte) bool {
	return c < utf8.RuneSelf && !isLetter(c) && !isDigit(c) && !isSpace(c)
}

func startsLatin(text []byte) bool {
	r, _ := utf8.DecodeRune(text)
	return isLatin(r)
}

// isLatin is a Latin letter beyond ASCII: Latin-1's, the Extended A and B and
// the Additional block.
func isLatin(r rune) bool {
	return 0xC0 <= r && r <= 0x24F || 0x1E00 <= r && r <= 0x1EFF
}
