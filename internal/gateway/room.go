package gateway

import (
	"errors"
	"io"
	"sync"
)

// The bounds of the portal's bodies, which may have attachments.
const (
	// DefaultMaxChatBody has room for five attachments of 10 MiB in base64, and for
	// a long conversation.
	DefaultMaxChatBody = 72 << 20
	// DefaultRoom is how much of large bodies is held at one time, and roomOfOne how
	// much of that is one caller's. A call takes about three times its body while it
	// is sent.
	DefaultRoom = 256 << 20
	roomOfOne   = 2 * DefaultMaxChatBody
	// roomless is how much of a body needs no room: nearly every body is smaller.
	roomless = 1 << 20
	roomStep = 1 << 20
)

// errNoRoom says that a body found no room.
var errNoRoom = errors.New("too many large bodies are held")

// Room bounds the memory that large request bodies take: of all callers, and of
// each. It is taken as bytes arrive, not as they are announced, so that a caller
// who sends slowly holds no more than what was sent.
type Room struct {
	total int64

	mu    sync.Mutex       // guards all below
	taken int64            // in bytes
	by    map[string]int64 // and by whom; callers who hold none are not in it
}

// NewRoom makes a room of a size in bytes; 0 means [DefaultRoom].
func NewRoom(total int64) *Room {
	if total <= 0 {
		total = DefaultRoom
	}
	return &Room{total: total, by: make(map[string]int64)}
}

// Share is for one body of a caller. It must be released.
func (r *Room) Share(caller string) *Share {
	return &Share{room: r, caller: caller}
}

// Share is the room that one body takes.
type Share struct {
	room   *Room
	caller string
	read   int64
	held   int64
	full   bool
}

// Reader reads a body and takes room for it; where there is none, reading fails.
func (s *Share) Reader(body io.Reader) io.Reader { return shareReader{s, body} }

type shareReader struct {
	*Share
	body io.Reader
}

// Read implements io.Reader.
func (s shareReader) Read(p []byte) (int, error) {
	if s.full {
		return 0, errNoRoom
	}
	n, err := s.body.Read(p)
	s.read += int64(n)
	if s.full = !s.grow(s.read - roomless); s.full {
		return 0, errNoRoom
	}
	return n, err
}

// grow takes room for so many bytes in all, and says whether there was.
func (s *Share) grow(size int64) bool {
	if size <= s.held {
		return true
	}
	more := (size - s.held + roomStep - 1) / roomStep * roomStep
	s.room.mu.Lock()
	defer s.room.mu.Unlock()
	if s.room.taken+more > s.room.total || s.room.by[s.caller]+more > roomOfOne {
		return false
	}
	s.room.taken += more
	s.room.by[s.caller] += more
	s.held += more
	return true
}

// Take takes room for so many bytes that are not read from a body, and says
// whether there was.
func (s *Share) Take(size int64) bool {
	s.read += size
	s.full = !s.grow(s.read - roomless)
	return !s.full
}

// Full says that the body found no room.
func (s *Share) Full() bool { return s.full }

// Release gives the room back. It may be called again, and on nil.
func (s *Share) Release() {
	if s == nil || s.held <= 0 {
		return
	}
	s.room.mu.Lock()
	defer s.room.mu.Unlock()
	s.room.taken -= s.held
	if s.room.by[s.caller] -= s.held; s.room.by[s.caller] <= 0 {
		delete(s.room.by, s.caller)
	}
	s.held = 0
}
