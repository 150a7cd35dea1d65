package portal

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"

	"github.com/financecommander/tollgate/internal/gateway"
	"github.com/financecommander/tollgate/internal/identity"
	"github.com/financecommander/tollgate/internal/llm"
	"github.com/financecommander/tollgate/internal/secret"
)

// The bounds of one socket.
const (
	// authTimeout is how long a socket may take to say who it is.
	authTimeout = 10 * time.Second
	// verifyTimeout bounds the look at a token, which may need an issuer's keys.
	verifyTimeout = 10 * time.Second
	// writeTimeout is how long a message may take to be written: who reads slower
	// than that does not read.
	writeTimeout = 10 * time.Second
	// queued messages wait to be written. Calls whose messages find no place wait.
	queued   = 64
	maxCalls = 8 // at one time
	// pingEvery is how often it is found out whether the other side is still there.
	pingEvery   = 30 * time.Second
	pongTimeout = 10 * time.Second
)

// socket is a chat's WebSocket: several calls at a time over one connection. One
// goroutine reads messages, one writes them, and each call has its own.
type socket struct {
	h    *Handler
	conn *websocket.Conn
	r    *http.Request // the handshake

	token     secret.Secret // of the first message; read and changed by the reader
	principal *identity.Principal
	heard     atomic.Int64 // when the last bytes came, in Unix nanoseconds

	ctx    context.Context // of the calls; ends with the socket
	cancel context.CancelFunc
	out    chan []byte // what is to be written; nil: the socket is to be closed

	mu       sync.Mutex             // guards what follows
	calls    map[string]*socketCall // by the keys of their ids; those whose end is not told
	running  int                    // calls that have not ended
	draining bool                   // no further call begins

	slots chan struct{} // of calls whose end is not told, or that were cancelled and run on

	ending  sync.Once
	workers sync.WaitGroup // everything the socket has started
}

// chatSocket opens a socket and serves it to its end.
func (h *Handler) chatSocket(w http.ResponseWriter, r *http.Request) error {
	o := &h.o.Chat
	switch {
	case o.Chat == nil || o.Verify == nil:
		return &llm.Error{Cause: llm.CauseNotFound, Message: "chat by WebSocket is turned off on this gateway"}
	case !strings.EqualFold(r.Header.Get("Upgrade"), "websocket"):
		w.Header().Set("Upgrade", "websocket")
		return &llm.Error{Cause: llm.CauseInvalidRequest, HTTPStatus: http.StatusUpgradeRequired, Message: "this path takes WebSockets only"}
	case !allowedOrigin(r, o.Origins):
		return forbidden("pages of this origin may not open a socket here")
	}
	leave, refused := o.Sockets.enter()
	if refused != nil {
		return refused
	}
	defer leave()
	// The origin was looked at above, by the same rule as CORS.
	conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true})
	if err != nil {
		o.Sockets.stranger()
		return nil // Accept has answered
	}
	// What the handshake's context carries is good for the calls, but its end is
	// not theirs.
	ctx, cancel := context.WithCancel(context.WithoutCancel(r.Context()))
	s := &socket{
		h: h, conn: conn, r: r, ctx: ctx, cancel: cancel, out: make(chan []byte, queued),
		calls: make(map[string]*socketCall), slots: make(chan struct{}, maxCalls),
	}
	s.serve()
	return nil
}

// serve is the life of a socket.
func (s *socket) serve() {
	defer s.workers.Wait()
	defer s.cancel()
	code, reason := s.authenticate()
	if s.principal == nil {
		s.h.o.Chat.Sockets.stranger()
	} else if code, reason = s.h.o.Chat.Sockets.add(s); code == 0 {
		defer s.h.o.Chat.Sockets.remove(s)
		s.conn.SetReadLimit(gateway.DefaultMaxChatBody)
		s.workers.Go(s.write)
		s.workers.Go(s.ping)
		_ = s.send([]byte(`{"type":"ready"}`))
		code, reason = s.read()
	}
	s.cancel() // the calls end, and so does whoever waits to be written
	if code != 0 {
		s.end(code, reason)
		return
	}
	_ = s.conn.CloseNow() // unless it is being closed already
}

// end closes the connection for a reason; only the first one counts. It does not
// wait for the other side.
func (s *socket) end(code websocket.StatusCode, reason string) {
	s.ending.Do(func() {
		s.workers.Go(func() { _ = s.conn.Close(code, reason) })
	})
}

// drain lets no further call begin and closes the socket after the last one.
func (s *socket) drain() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.draining = true
	if s.running == 0 {
		s.workers.Go(func() { _ = s.send(nil) })
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
		_ = s.send(nil)
	}
}

// authenticate reads the first message, which must tell who opened the socket.
func (s *socket) authenticate() (websocket.StatusCode, string) {
	late := time.AfterFunc(s.h.o.Chat.Sockets.authTimeout, func() {
		s.ending.Do(func() { _ = s.conn.Close(websocket.StatusPolicyViolation, "no token was sent in time") })
	})
	kind, message, err := s.conn.Read(context.Background()) //nolint:contextcheck // ended by closing, so that the close has its reason
	late.Stop()
	if err != nil {
		return 0, ""
	}
	m, ok := readSocketMessage(message)
	if kind != websocket.MessageText || !ok || m.Type != "auth" || m.Token == "" {
		return websocket.StatusPolicyViolation, `the first message must be {"type":"auth","token"}`
	}
	s.token = secret.New(m.Token)
	principal, refused := s.verify()
	if refused != nil {
		return closeFor(refused)
	}
	s.principal = principal
	return 0, ""
}

// verify looks at the socket's token again: it may have expired or been revoked.
func (s *socket) verify() (*identity.Principal, *llm.Error) {
	ctx, cancel := context.WithTimeout(s.ctx, verifyTimeout)
	defer cancel()
	p, err := s.h.o.Chat.Verify(ctx, s.token.Reveal())
	if err != nil {
		return nil, asProblem(err)
	}
	if s.principal != nil && p.UserHash != s.principal.UserHash {
		return nil, &llm.Error{Cause: llm.CauseUnauthenticated, Message: "the token is another user's"}
	}
	return p, nil
}

// closeFor says how a socket is closed whose token is no good, or cannot be
// looked at.
func closeFor(refused *llm.Error) (websocket.StatusCode, string) {
	if refused.Cause == llm.CauseUnauthenticated {
		return websocket.StatusPolicyViolation, "the token is bad, expired or revoked; sign in again"
	}
	return websocket.StatusTryAgainLater, "the token cannot be checked at the moment"
}

// read takes messages until the connection ends, or has to; then it says how.
func (s *socket) read() (websocket.StatusCode, string) {
	for {
		kind, r, err := s.conn.Reader(context.Background()) //nolint:contextcheck // as in authenticate
		if err != nil {
			return 0, ""
		}
		if kind != websocket.MessageText {
			return websocket.StatusUnsupportedData, "messages are text"
		}
		share := s.h.o.Chat.Room.Share(s.principal.UserHash)
		message, err := io.ReadAll(share.Reader(heardReader{s, r}))
		if share.Full() {
			share.Release()
			if _, err := io.Copy(io.Discard, heardReader{s, r}); err != nil {
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

// heardReader notes that bytes came.
type heardReader struct {
	s *socket
	r io.Reader
}

// Read implements io.Reader.
func (h heardReader) Read(p []byte) (int, error) {
	n, err := h.r.Read(p)
	h.s.heard.Store(time.Now().UnixNano())
	return n, err
}

// send has a message written. It waits for a place in the queue, at most until
// the socket ends.
func (s *socket) send(message []byte) error {
	select {
	case s.out <- message:
		return nil
	case <-s.ctx.Done():
		return errSocketGone
	}
}

var errSocketGone = errors.New("the socket is closed")

// write writes messages. Who does not take one in time is cut off: a close would
// not get through either.
func (s *socket) write() {
	for {
		select {
		case message := <-s.out:
			if message == nil { // all that came before it has been written
				s.end(goingAway())
				return
			}
			// Not the socket's context: its end would tear the connection down under the
			// close that is on its way.
			ctx, cancel := context.WithTimeout(context.Background(), s.h.o.Chat.Sockets.writeTimeout) //nolint:contextcheck // see above
			err := s.conn.Write(ctx, websocket.MessageText, message)
			cancel()
			if err != nil {
				s.cancel()
				_ = s.conn.CloseNow()
				return
			}
		case <-s.ctx.Done():
			return
		}
	}
}

// ping finds out whether the other side is still there, which a dead connection
// does not tell by itself. One whose large message is on its way is.
func (s *socket) ping() {
	tick := time.NewTicker(pingEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			ctx, cancel := context.WithTimeout(s.ctx, pongTimeout)
			err := s.conn.Ping(ctx)
			cancel()
			if err != nil && time.Since(time.Unix(0, s.heard.Load())) > pongTimeout {
				_ = s.conn.CloseNow()
				return
			}
		case <-s.ctx.Done():
			return
		}
	}
}
