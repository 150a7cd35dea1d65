package portal

import (
	"context"
	"sync"
	"time"

	"github.com/coder/websocket"

	"github.com/financecommander/tollgate/internal/llm"
)

// The bounds of open sockets. One that has not said who it is counts for nobody,
// so those are bounded together; each is closed within authTimeout.
const (
	maxSocketsOfUser  = 20
	maxUnknownSockets = 256
)

// Sockets are the open WebSockets of a process. They outlive configurations: a
// reload leaves them as they are, and only the end of the process closes them.
type Sockets struct {
	authTimeout, writeTimeout, verifyEvery time.Duration // those of this name; a test has less time

	mu      sync.Mutex // guards all below
	closed  bool
	open    map[*connection]struct{}
	unknown int
	by      map[string]int // of users, by their hash

	serving sync.WaitGroup // the handlers of all that are open
}

// NewSockets makes a registry with no socket in it.
func NewSockets() *Sockets {
	return &Sockets{
		authTimeout: authTimeout, writeTimeout: writeTimeout, verifyEvery: verifyEvery,
		open: make(map[*connection]struct{}), by: make(map[string]int),
	}
}

// Len is the number of open sockets whose users are known.
func (s *Sockets) Len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.open)
}

// Close closes all sockets, since the server goes away, and lets no further ones
// in. A socket whose calls still run takes no further ones and is closed after
// the last of them. It does not wait; see [Sockets.Wait].
func (s *Sockets) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for one := range s.open {
		one.use.drain()
	}
}

// cut closes all sockets at once. Their calls end as those of callers who left.
func (s *Sockets) cut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for one := range s.open {
		one.end(goingAway())
	}
}

// Wait waits, after [Sockets.Close], until all sockets and their calls have ended.
// When ctx ends before, it cuts those that are left and waits no more.
func (s *Sockets) Wait(ctx context.Context) error {
	done := make(chan struct{})
	go func() {
		s.serving.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		s.cut()
		return ctx.Err()
	}
}

// enter lets a connection in before anything is known of it. leave must be
// called at its end.
func (s *Sockets) enter() (leave func(), refused *llm.Error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.unknown >= maxUnknownSockets {
		return nil, &llm.Error{Cause: llm.CauseUnavailable, RetryAfter: 5 * time.Second, Message: "the gateway takes no further sockets at the moment; try again shortly"}
	}
	s.unknown++
	s.serving.Add(1)
	return s.serving.Done, nil
}

// stranger counts a connection out whose user never became known.
func (s *Sockets) stranger() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unknown--
}

// add makes a connection its user's. It is refused where the user has too many
// already, or where all are being closed.
func (s *Sockets) add(one *connection) (code websocket.StatusCode, reason string) {
	user := one.principal.UserHash
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unknown--
	switch {
	case s.closed:
		return goingAway()
	case s.by[user] >= maxSocketsOfUser:
		return websocket.StatusTryAgainLater, "too many sockets of this user are open"
	}
	s.by[user]++
	s.open[one] = struct{}{}
	return 0, ""
}

func goingAway() (websocket.StatusCode, string) {
	return websocket.StatusGoingAway, "the server goes away; open another socket"
}

// remove counts out what add counted in.
func (s *Sockets) remove(one *connection) {
	user := one.principal.UserHash
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, one)
	if s.by[user]--; s.by[user] <= 0 {
		delete(s.by, user)
	}
}
