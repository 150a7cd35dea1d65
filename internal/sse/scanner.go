package sse

import (
	"bytes"
	"errors"
	"io"
)

// The sizes a Scanner works with.
const (
	// DefaultMaxEvent bounds one event. It is far above any event a provider is
	// known to send (a generated image is a few MiB) and only stops a peer that
	// never ends its event.
	DefaultMaxEvent = 32 << 20

	firstBuffer = 4 << 10  // enough for nearly every event, little enough for thousands of idle streams
	keepBuffer  = 32 << 10 // a larger buffer is given back as soon as it is empty
	minRead     = 1 << 10  // less free space than this is not worth a Read
)

// ErrTooLong says that one event is longer than the Scanner allows.
var ErrTooLong = errors.New("event stream: event too long")

// Scanner cuts a byte stream into events. Bytes go in by [Scanner.Fill] or
// [Scanner.Write], in pieces of any size, and events come out of
// [Scanner.Next]; the pieces' borders make no difference to the events, and the
// Raw bytes of all events followed by [Scanner.Rest] are the bytes that went
// in. The zero value is ready for use and takes no memory before the first
// byte.
//
// A line ends with \n, \r\n or \r. Since a \r may be half of a \r\n, an event
// whose blank line is a \r waits for the next byte, except where the line
// before ended with a bare \r as well.
type Scanner struct {
	// MaxEvent bounds one event, in bytes; 0 means DefaultMaxEvent.
	MaxEvent int

	buf   []byte // the bytes at hand
	start int    // where the unfinished event begins
	line  int    // where its unfinished line begins
	look  int    // up to where that line was searched for its end

	brimful  bool // the last Fill left no space
	begun    bool // the stream's first line is over, so no byte order mark can come
	bareCR   bool // the line before ended with a \r alone
	halfCRLF bool // a \n that comes next belongs to the line before

	// What the unfinished event has said so far, relative to its start, which
	// the buffer may move.
	typ, data span
	dataLines int

	// joined holds Data of events with several data lines; from joinedFrom on
	// it is the unfinished event's.
	joined     []byte
	joinedFrom int
}

var byteOrderMark = []byte("\xEF\xBB\xBF")

type span struct{ start, end int }

// Reset makes the Scanner ready for another stream. It keeps a buffer of
// ordinary size, so that scanners can be pooled.
func (s *Scanner) Reset() {
	buf, joined := s.buf[:0], s.joined[:0]
	if cap(buf) > keepBuffer {
		buf = nil
	}
	if cap(joined) > keepBuffer {
		joined = nil
	}
	*s = Scanner{MaxEvent: s.MaxEvent, buf: buf, joined: joined}
}

// Fill makes one Read from r. It returns what Read returned, or ErrTooLong
// where the unfinished event leaves no room; events may be at hand also when
// the error is not nil.
func (s *Scanner) Fill(r io.Reader) (int, error) {
	want := minRead
	if s.brimful { // the stream comes faster than it is read: read more at a time
		want = max(minRead, keepBuffer-len(s.Rest()))
	}
	if err := s.room(want); err != nil {
		return 0, err
	}
	n, err := r.Read(s.buf[len(s.buf):cap(s.buf)])
	s.buf = s.buf[:len(s.buf)+n]
	s.brimful = len(s.buf) == cap(s.buf)
	return n, err
}

// Write adds bytes at hand; it copies them. The error, if any, is ErrTooLong.
func (s *Scanner) Write(p []byte) (int, error) {
	if err := s.room(len(p)); err != nil {
		return 0, err
	}
	s.buf = append(s.buf, p...)
	return len(p), nil
}

// Rest is the bytes of the events that Next has not given, which after a last
// Next is an unfinished event. It is valid until the next Fill or Write.
func (s *Scanner) Rest() []byte { return s.buf[s.start:] }

// room makes place for n more bytes, moving the unfinished event to the front
// of the buffer or into a larger one.
func (s *Scanner) room(n int) error {
	if s.joinedFrom > 0 {
		s.joined = append(s.joined[:0], s.joined[s.joinedFrom:]...)
		s.joinedFrom = 0
	}
	rest := len(s.buf) - s.start
	switch {
	case rest >= s.maxEvent() && s.look == len(s.buf): // all searched, and no end
		return ErrTooLong
	case rest == 0 && cap(s.buf) > keepBuffer:
		s.rebase(nil)
	case rest == 0:
		s.rebase(s.buf[:0])
	}
	switch {
	case cap(s.buf)-len(s.buf) >= n:
	case s.start > 0 && cap(s.buf)-rest >= n:
		s.rebase(s.buf[:copy(s.buf, s.buf[s.start:])])
	default:
		larger := make([]byte, rest, max(firstBuffer, 2*cap(s.buf), rest+n))
		copy(larger, s.buf[s.start:])
		s.rebase(larger)
	}
	return nil
}

// rebase takes a buffer that begins with the unfinished event.
func (s *Scanner) rebase(buf []byte) {
	s.buf = buf
	s.line -= s.start
	s.look -= s.start
	s.start = 0
}

func (s *Scanner) maxEvent() int {
	if s.MaxEvent > 0 {
		return s.MaxEvent
	}
	return DefaultMaxEvent
}

// Next returns the next whole event, and false where more bytes are needed. A
// blank line on its own is an event without type and data.
func (s *Scanner) Next() (Event, bool) {
	if ev, ok := s.ordinary(); ok {
		return ev, true
	}
	for {
		end, next, ok := s.lineEnd()
		if !ok {
			return Event{}, false
		}
		line, at := s.buf[s.line:end], s.line
		s.line, s.look = next, next
		s.bareCR = next == end+1 && s.buf[end] == '\r'
		if !s.begun {
			s.begun = true
			if bytes.HasPrefix(line, byteOrderMark) {
				line, at = line[len(byteOrderMark):], at+len(byteOrderMark)
			}
		}
		if len(line) == 0 {
			return s.event(next), true
		}
		s.field(line, at-s.start)
	}
}

var dataField = []byte("data: ")

// ordinary is the short way for what nearly every event is: one `data:` line and
// a blank one, both ended by \n, whole and not looked at before.
func (s *Scanner) ordinary() (Event, bool) {
	rest := s.buf[s.start:]
	if s.look != s.start || s.halfCRLF || !s.begun || !bytes.HasPrefix(rest, dataField) {
		return Event{}, false
	}
	end := bytes.IndexByte(rest, '\n')
	if end < 0 || end+1 == len(rest) || rest[end+1] != '\n' || bytes.IndexByte(rest[:end], '\r') >= 0 {
		return Event{}, false
	}
	next := s.start + end + 2
	ev := Event{Raw: s.buf[s.start:next:next], Data: rest[len(dataField):end:end]}
	s.start, s.line, s.look, s.bareCR = next, next, next, false
	return ev, true
}

// lineEnd finds where the unfinished line ends and where the next one begins.
// It looks at no byte twice, however small the pieces are that bytes come in.
func (s *Scanner) lineEnd() (end, next int, ok bool) {
	if s.halfCRLF && s.line < len(s.buf) {
		s.halfCRLF = false
		if s.buf[s.line] == '\n' {
			s.line++
			s.look = s.line
		}
	}
	unseen := s.buf[s.look:]
	lf := bytes.IndexByte(unseen, '\n')
	if lf >= 0 {
		unseen = unseen[:lf]
	}
	cr := bytes.IndexByte(unseen, '\r')
	switch {
	case cr >= 0:
		return s.carriageReturn(s.look + cr)
	case lf >= 0:
		return s.look + lf, s.look + lf + 1, true
	default:
		s.look = len(s.buf)
		return 0, 0, false
	}
}

// carriageReturn is lineEnd for a line that ends with the \r at position at.
func (s *Scanner) carriageReturn(at int) (end, next int, ok bool) {
	switch {
	case s.bareCR && at == s.line:
		// A blank line in a stream of bare \r: give the event now and not with
		// the next one's first byte. Should a \n follow, it is skipped there.
		s.halfCRLF = true
		return at, at + 1, true
	case at+1 == len(s.buf):
		s.look = at
		return 0, 0, false
	case s.buf[at+1] == '\n':
		return at, at + 2, true
	default:
		return at, at + 1, true
	}
}

// field notes what a line says, if it is one of the fields we read. at is the
// line's place in the event.
func (s *Scanner) field(line []byte, at int) {
	switch line[0] {
	case 'd':
		value, ok := fieldValue(line, "data", at)
		if !ok {
			return
		}
		s.addData(value)
	case 'e':
		if value, ok := fieldValue(line, "event", at); ok {
			s.typ = value
		}
	}
}

func (s *Scanner) addData(value span) {
	s.dataLines++
	switch s.dataLines {
	case 1:
		s.data = value
		return
	case 2:
		s.joined = append(s.joined, s.at(s.data)...)
	}
	s.joined = append(s.joined, '\n')
	s.joined = append(s.joined, s.at(value)...)
}

// fieldValue is the place of the value in a `name: value` line; one space after
// the colon is not part of it.
func fieldValue(line []byte, name string, at int) (span, bool) {
	if len(line) < len(name) || string(line[:len(name)]) != name {
		return span{}, false
	}
	value := len(name)
	if value < len(line) {
		if line[value] != ':' {
			return span{}, false
		}
		value++
		if value < len(line) && line[value] == ' ' {
			value++
		}
	}
	return span{at + value, at + len(line)}, true
}

// event gives the event that ends before position next and begins another.
func (s *Scanner) event(next int) Event {
	e := Event{Raw: s.buf[s.start:next:next], Type: s.at(s.typ)}
	switch {
	case s.dataLines == 1:
		e.Data = s.at(s.data)
	case s.dataLines > 1:
		e.Data = s.joined[s.joinedFrom:len(s.joined):len(s.joined)]
		s.joinedFrom = len(s.joined)
	}
	s.start, s.typ, s.dataLines = next, span{}, 0
	return e
}

func (s *Scanner) at(p span) []byte {
	return s.buf[s.start+p.start : s.start+p.end : s.start+p.end]
}
