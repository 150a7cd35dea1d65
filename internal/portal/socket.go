package portal

import (
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/coder/websocket"

	"github.com/financecommander/tollgate/internal/gateway"
	"github.com/financecommander/tollgate/internal/llm"
)

// The bounds of a chat's socket.
const (
	// queued messages wait to be written. Calls whose messages find no place wait.
	queued   = 64
	maxCalls = 8 // at one time
)

// socket is a chat's WebSocket: several calls at a time over one connection, each
// in a goroutine of its own.
type socket struct {
	*connection

	mu       sync.Mutex             // guards what follows
	calls    map[string]*socketCall // by the keys of their ids; those whose end is not told
	running  int                    // calls that have not ended
	draining bool                   // no further call begins

	slots chan struct{} // of calls whose end is not told, or that were cancelled and run on
}

// chatSocket opens a socket and serves it to its end.
func (h *Handler) chatSocket(w http.ResponseWriter, r *http.Request) error {
	if h.o.Chat.Chat == nil || h.o.Chat.Verify == nil {
		return &llm.Error{Cause: llm.CauseNotFound, Message: "chat by WebSocket is turned off on this gateway"}
	}
	return h.openSocket(w, r, queued, func(c *connection) socketUse {
		return &socket{connection: c, calls: make(map[string]*socketCall), slots: make(chan struct{}, maxCalls)}
	})
}

// opened implements socketUse.
func (s *socket) opened() (websocket.StatusCode, string) {
	s.conn.SetReadLimit(gateway.DefaultMaxChatBody)
	_ = s.send([]byte(`{"type":"ready"}`))
	return 0, ""
}

// drain implements socketUse: no further call begins, and the socket is closed
// after the last one.
func (s *socket) drain() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.draining = true
	if s.running == 0 {
		s.workers.Go(func() { s.finish(goingAway()) })
	}
}

// begin counts a call in; false: no further one may begin.
func (s *socket) begin(c *socketCall) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.draining {
		return false
	}
	s.running++
	s.calls[c.key] = c
	return true
}

// done counts a call out.
func (s *socket) done() {
	s.mu.Lock()
	s.running--
	last := s.draining && s.running == 0
	s.mu.Unlock()
	if last {
		s.finish(goingAway())
	}
}

// listen implements socketUse.
func (s *socket) listen() (websocket.StatusCode, string) {
	for {
		r, code, reason := s.next()
		if r == nil {
			return code, reason
		}
		share := s.h.o.Chat.Room.Share(s.principal.UserHash)
		message, err := io.ReadAll(share.Reader(r))
		if share.Full() {
			share.Release()
			if _, err := io.Copy(io.Discard, r); err != nil {
				return 0, ""
			}
			s.refuse(noID, &llm.Error{
				Cause: llm.CauseUnavailable, RetryAfter: 5 * time.Second,
				Message: "the gateway is busy with large attachments; try again shortly, or attach less",
			})
			continue
		}
		if err != nil {
			share.Release()
			return 0, ""
		}
		if code, reason := s.take(message, share); code != 0 {
			return code, reason
		}
	}
}
