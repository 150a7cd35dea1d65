// Package sse reads and writes event streams (the WHATWG HTML standard, section
// "Server-sent events") without losing a byte: any line ending, no limit on a
// line's length, and the exact bytes of every event kept.
package sse

// Event is one event of a stream, up to and with the blank line that ends it.
// Its slices point into the Scanner's buffer and are valid until its next Fill or Write.
type Event struct {
	Raw  []byte // the event's bytes, terminator included
	Type []byte // the last `event:` field; empty if there is none
	Data []byte // the `data:` fields, joined by \n; nil if there is none (a comment, a bare retry)
}
