// Package jsonedit reads JSON in one strict pass without decoding it, and
// changes it by splices that leave every other byte as it was.
//
// It exists because a gateway must see a body exactly as the upstream will:
// libraries that are lenient (duplicate keys, other letter case, trailing
// bytes) or that write a body anew can be made to disagree with it. Syntax is
// that of RFC 8259; only UTF-8 inside strings is not checked, since clients do
// send broken text and it is not ours to lose their request over.
package jsonedit

import (
	"fmt"
	"strconv"
)

// MaxDepth bounds how deep arrays and objects may be nested.
const MaxDepth = 512

// SyntaxError says where a text stops being JSON. It repeats nothing of it.
type SyntaxError struct {
	Offset int    // in bytes
	Reason string // what is wrong there
}

// Error implements error.
func (e *SyntaxError) Error() string { return fmt.Sprintf("%s at byte %d", e.Reason, e.Offset) }

// Kind is the kind of a value, named by the byte it begins with.
type Kind byte

// The kinds.
const (
	KindInvalid Kind = 0 // no value is there
	KindNull    Kind = 'n'
	KindFalse   Kind = 'f'
	KindTrue    Kind = 't'
	KindNumber  Kind = '0' // also those that begin with another digit or a minus
	KindString  Kind = '"'
	KindObject  Kind = '{'
	KindArray   Kind = '['
)

// Scanner walks over one JSON text:
//
//	for name := range s.Members {
//		switch string(name) {
//		case "id":
//			id = s.Text(id)
//		case "choices":
//			for range s.Elements {
//				…
//			}
//		}
//	}
//	err := s.End()
//
// A value that the loop does not take is skipped, so it is checked as well.
// After an error every loop ends and every method returns its zero value; ask
// [Scanner.End] once, when done.
type Scanner struct {
	src   []byte
	pos   int
	depth int
	err   *SyntaxError
}

// NewScanner returns a scanner at the start of src.
func NewScanner(src []byte) Scanner { return Scanner{src: src} }

// End checks that nothing but white space is left, and gives the first error.
func (s *Scanner) End() error {
	if s.peek(); s.pos < len(s.src) {
		s.fail(s.pos, "unexpected data after the value")
	}
	if s.err != nil {
		return s.err
	}
	return nil
}

// Failed says whether there was an error so far.
func (s *Scanner) Failed() bool { return s.err != nil }

// Kind tells the kind of the next value without taking it.
func (s *Scanner) Kind() Kind {
	switch c := s.peek(); c {
	case 'n', 'f', 't', '"', '{', '[':
		return Kind(c)
	case '-', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9':
		return KindNumber
	}
	return KindInvalid
}

// Pos is the offset of the next value, past the white space before it.
func (s *Scanner) Pos() int {
	s.peek()
	return s.pos
}

// Since gives the bytes from a position up to where the scanner is.
func (s *Scanner) Since(start int) []byte {
	if s.err != nil || start > s.pos {
		return nil
	}
	return s.src[start:s.pos:s.pos]
}

// Members loops over an object's members by name. A value that is no object is
// skipped. Leaving the loop early makes the scanner useless.
func (s *Scanner) Members(yield func(name []byte) bool) {
	if !s.enter('{') {
		return
	}
	for more := s.first('}'); more; more = s.comma('}') {
		name := s.name()
		at := s.pos
		if s.err != nil || !yield(name) {
			return
		}
		if s.pos == at {
			s.Skip()
		}
	}
	s.depth--
}

// Elements loops over an array's elements. A value that is no array is skipped.
// Leaving the loop early makes the scanner useless.
func (s *Scanner) Elements(yield func() bool) {
	if !s.enter('[') {
		return
	}
	for more := s.first(']'); more; more = s.comma(']') {
		at := s.Pos()
		if !yield() {
			return
		}
		if s.pos == at {
			s.Skip()
		}
	}
	s.depth--
}

// Skip takes the next value and returns its bytes as they stand.
func (s *Scanner) Skip() []byte {
	start := skipSpace(s.src, s.pos)
	end, reason := skipValue(s.src, start, s.depth)
	if reason != "" {
		s.fail(end, reason)
		return nil
	}
	s.pos = end
	return s.src[start:end:end]
}

// Text takes a string and appends what it says to dst, as [AppendText] does. It
// takes other values too and appends nothing.
func (s *Scanner) Text(dst []byte) []byte {
	text, copied := s.TextIn(dst)
	if copied {
		return text
	}
	return append(dst, text...)
}

// TextIn is Text without a copy where there need not be one: a string without
// escapes is given as it stands in the source, and dst is not used. copied says
// that what a string says was appended to dst.
func (s *Scanner) TextIn(dst []byte) (text []byte, copied bool) {
	if s.peek() != '"' {
		s.Skip()
		return nil, false
	}
	start := s.pos
	if end := plainString(s.src, start); end > 0 {
		s.pos = end
		return s.src[start+1 : end-1 : end-1], false
	}
	text, end, reason := appendString(dst, s.src, start)
	if reason != "" {
		s.fail(end, reason)
		return nil, false
	}
	s.pos = end
	return text, true
}

// Int takes a number that is an integer within int64, possibly written with a
// fraction or an exponent. For other values it reports false, and takes them.
func (s *Scanner) Int() (n int64, ok bool) {
	if s.Kind() != KindNumber {
		s.Skip()
		return 0, false
	}
	return ParseInt(s.Skip())
}

// Bool takes true or false. Other values are false.
func (s *Scanner) Bool() bool {
	is := s.peek() == 't'
	s.Skip()
	return is && s.err == nil
}

// ParseInt reads a JSON number that is an integer within int64, possibly
// written with a fraction or an exponent.
func ParseInt(number []byte) (n int64, ok bool) {
	if len(number) == 0 || len(number) > 64 {
		return 0, false
	}
	if n, err := strconv.ParseInt(string(number), 10, 64); err == nil {
		return n, true
	}
	f, err := strconv.ParseFloat(string(number), 64)
	if err != nil || f != float64(int64(f)) || f >= 1<<63 || f < -1<<63 {
		return 0, false
	}
	return int64(f), true
}

// name takes a member's name and its colon. The result lasts as long as the
// source, or for ever where the name had escapes.
func (s *Scanner) name() []byte {
	src, start := s.src, skipSpace(s.src, s.pos)
	if start >= len(src) || src[start] != '"' {
		s.fail(start, reasonName)
		return nil
	}
	end, escaped, reason := skipString(src, start)
	if reason != "" {
		s.fail(end, reason)
		return nil
	}
	colon := skipSpace(src, end)
	if colon >= len(src) || src[colon] != ':' {
		s.fail(colon, reasonColon)
		return nil
	}
	s.pos = skipSpace(src, colon+1)
	if escaped {
		return AppendText(nil, src[start:end])
	}
	return src[start+1 : end-1]
}

// enter takes an opening bracket, or skips a value that does not begin with it.
func (s *Scanner) enter(bracket byte) bool {
	if s.peek() != bracket {
		s.Skip()
		return false
	}
	if s.depth >= MaxDepth {
		s.fail(s.pos, reasonDepth)
		return false
	}
	s.pos++
	s.depth++
	return true
}

// first says whether anything is before the closing bracket, which it takes.
func (s *Scanner) first(bracket byte) (more bool) {
	if s.peek() != bracket {
		return true
	}
	s.pos++
	return false
}

// comma takes the comma between two values, or the closing bracket.
func (s *Scanner) comma(bracket byte) (more bool) {
	switch s.peek() {
	case ',':
		s.pos++
		return true
	case bracket:
		s.pos++
		return false
	}
	s.fail(s.pos, reasonComma)
	return false
}

// peek skips white space and returns the next byte; 0 at the end.
func (s *Scanner) peek() byte {
	s.pos = skipSpace(s.src, s.pos)
	if s.pos < len(s.src) {
		return s.src[s.pos]
	}
	return 0
}

// fail notes the first error and takes away what is left to read.
func (s *Scanner) fail(at int, reason string) {
	if s.err == nil {
		if at >= len(s.src) {
			reason = "unexpected end"
		}
		s.err = &SyntaxError{Offset: at, Reason: reason}
	}
	s.src, s.pos = nil, 0
}
