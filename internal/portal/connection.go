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
	// pingEvery is how often it is found out whether the other side is still there.
	pingEvery   = 30 * time.Second
	pongTimeout = 10 * time.Second
)

// connection is what all WebSockets have in common: the first message says whose
// it is, one goroutine reads messages, and one writes them.
type connection struct {
	h    *Handler
	conn *websocket.Conn
	r    *http.Request // the handshake
	use  socketUse

	token     secret.Secret // of the first message; read and changed by the reader
	principal *identity.Principal
	heard     atomic.Int64 // when the last bytes came, in Unix nanoseconds

	ctx    context.Context // of what the socket does; ends with it
	cancel context.CancelFunc
	out    chan outgoing

	ending  sync.Once
	workers sync.WaitGroup // everything the socket has started
}

// socketUse is what a socket is for.
type socketUse interface {
	// opened is called once the socket's user is known.
	opened() (code websocket.StatusCode, reason string)
	// listen takes messages until the connection ends, or has to. A code other than 0
	// says how, here and above.
	listen() (code websocket.StatusCode, reason string)
	// drain closes the socket as soon as what it is busy with has ended. It does not
	// wait.
	drain()
}

// outgoing is a message that is to be written or, without one, the end of the
// socket.
type outgoing struct {
	message []byte
	code    websocket.StatusCode
	reason  string
}

// openSocket opens a socket for a use and serves it to its end. Of its messages
// as many as queued wait to be written; who has more to say waits.
func (h *Handler) openSocket(w http.ResponseWriter, r *http.Request, queued int, use func(*connection) socketUse) error {
	o := &h.o.Chat
	switch {
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
	// What the handshake's context carries is good for the socket, but its end is
	// not the socket's.
	ctx, cancel := context.WithCancel(context.WithoutCancel(r.Context()))
	c := &connection{h: h, conn: conn, r: r, ctx: ctx, cancel: cancel, out: make(chan outgoing, queued)}
	c.use = use(c)
	c.serve()
	return nil
}

// serve is the life of a socket.
func (c *connection) serve() {
	defer c.workers.Wait()
	defer c.cancel()
	code, reason := c.authenticate()
	if c.principal == nil {
		c.h.o.Chat.Sockets.stranger()
	} else if code, reason = c.h.o.Chat.Sockets.add(c); code == 0 {
		defer c.h.o.Chat.Sockets.remove(c)
		c.workers.Go(c.write)
		c.workers.Go(c.ping)
		if code, reason = c.use.opened(); code == 0 {
			code, reason = c.use.listen()
		}
	}
	c.cancel() // what the socket does ends, and so does whoever waits to be written
	if code != 0 {
		c.end(code, reason)
		return
	}
	_ = c.conn.CloseNow() // unless it is being closed already
}

// end closes the connection for a reason; only the first one counts. It does not
// wait for the other side.
func (c *connection) end(code websocket.StatusCode, reason string) {
	c.ending.Do(func() {
		c.workers.Go(func() { _ = c.conn.Close(code, reason) })
	})
}

// authenticate reads the first message, which must tell who opened the socket.
func (c *connection) authenticate() (websocket.StatusCode, string) {
	late := time.AfterFunc(c.h.o.Chat.Sockets.authTimeout, func() {
		c.ending.Do(func() { _ = c.conn.Close(websocket.StatusPolicyViolation, "no token was sent in time") })
	})
	kind, message, err := c.conn.Read(context.Background()) //nolint:contextcheck // ended by closing, so that the close has its reason
	late.Stop()
	if err != nil {
		return 0, ""
	}
	m, ok := readSocketMessage(message)
	if kind != websocket.MessageText || !ok || m.Type != "auth" || m.Token == "" {
		return websocket.StatusPolicyViolation, `the first message must be {"type":"auth","token"}`
	}
	c.token = secret.New(m.Token)
	principal, refused := c.verify()
	if refused != nil {
		return closeFor(refused)
	}
	c.principal = principal
	return 0, ""
}

// verify looks at the socket's token again: it may have expired or been revoked.
func (c *connection) verify() (*identity.Principal, *llm.Error) {
	ctx, cancel := context.WithTimeout(c.ctx, verifyTimeout)
	defer cancel()
	p, err := c.h.o.Chat.Verify(ctx, c.token.Reveal())
	if err != nil {
		return nil, asProblem(err)
	}
	if c.principal != nil && p.UserHash != c.principal.UserHash {
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

// next waits for a message. Without one, it says how the socket is to be closed.
func (c *connection) next() (io.Reader, websocket.StatusCode, string) {
	kind, r, err := c.conn.Reader(context.Background()) //nolint:contextcheck // as in authenticate
	if err != nil {
		return nil, 0, ""
	}
	if kind != websocket.MessageText {
		return nil, websocket.StatusUnsupportedData, "messages are text"
	}
	return heardReader{c, r}, 0, ""
}

// heardReader notes that bytes came.
type heardReader struct {
	c *connection
	r io.Reader
}

// Read implements io.Reader.
func (h heardReader) Read(p []byte) (int, error) {
	n, err := h.r.Read(p)
	h.c.heard.Store(time.Now().UnixNano())
	return n, err
}

// send has a message written. It waits for a place in the queue, at most until
// the socket ends.
func (c *connection) send(message []byte) error { return c.put(outgoing{message: message}) }

// finish closes the socket once all that was sent before has been written.
func (c *connection) finish(code websocket.StatusCode, reason string) {
	_ = c.put(outgoing{code: code, reason: reason})
}

func (c *connection) put(o outgoing) error {
	select {
	case c.out <- o:
		return nil
	case <-c.ctx.Done():
		return errSocketGone
	}
}

var errSocketGone = errors.New("the socket is closed")

// write writes messages. Who does not take one in time is cut off: a close would
// not get through either.
func (c *connection) write() {
	for {
		select {
		case o := <-c.out:
			if o.message == nil {
				c.end(o.code, o.reason)
				return
			}
			// Not the socket's context: its end would tear the connection down under the
			// close that is on its way.
			ctx, cancel := context.WithTimeout(context.Background(), c.h.o.Chat.Sockets.writeTimeout) //nolint:contextcheck // see above
			err := c.conn.Write(ctx, websocket.MessageText, o.message)
			cancel()
			if err != nil {
				c.cancel()
				_ = c.conn.CloseNow()
				return
			}
		case <-c.ctx.Done():
			return
		}
	}
}

// ping finds out whether the other side is still there, which a dead connection
// does not tell by itself. One whose large message is on its way is.
func (c *connection) ping() {
	tick := time.NewTicker(pingEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			ctx, cancel := context.WithTimeout(c.ctx, pongTimeout)
			err := c.conn.Ping(ctx)
			cancel()
			if err != nil && time.Since(time.Unix(0, c.heard.Load())) > pongTimeout {
				_ = c.conn.CloseNow()
				return
			}
		case <-c.ctx.Done():
			return
		}
	}
}
