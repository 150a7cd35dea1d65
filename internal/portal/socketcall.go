package portal

import (
	"bytes"
	"context"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/coder/websocket"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/uuid"

	"github.com/financecommander/tollgate/internal/dialect/portalchat"
	"github.com/financecommander/tollgate/internal/gateway"
	"github.com/financecommander/tollgate/internal/llm"
	"github.com/financecommander/tollgate/internal/secret"
	"github.com/financecommander/tollgate/internal/sse"
)

const (
	maxCallID = 64 // characters
	// maxErrorObject is as much of an answer that is no stream as is held.
	maxErrorObject = 64 << 10
)

// noID stands where a message's own id cannot be used.
var noID = jsontext.Value("null")

// socketMessage is what is looked at in a message; the rest of it is the chat
// request.
type socketMessage struct {
	Type  string         `json:"type"`
	ID    jsontext.Value `json:"id"`
	Token string         `json:"token"`
}

func readSocketMessage(message []byte) (m socketMessage, ok bool) {
	err := json.Unmarshal(message, &m, jsontext.AllowInvalidUTF8(true))
	return m, err == nil && len(message) > 0 && bytes.TrimSpace(message)[0] == '{'
}

// idKey is what makes an id the same as another: its kind and its value. ok is
// false for what is no id.
func idKey(id jsontext.Value) (key string, ok bool) {
	switch id.Kind() {
	case '"':
		var text string
		if json.Unmarshal(id, &text, jsontext.AllowInvalidUTF8(true)) != nil || utf8.RuneCountInString(text) > maxCallID {
			return "", false
		}
		return "text " + text, text != "" && len(id) <= 8*maxCallID
	case '0':
		number, err := strconv.ParseFloat(string(id), 64)
		return "number " + strconv.FormatFloat(number, 'g', -1, 64), err == nil && len(id) <= maxCallID
	default:
		return "", false
	}
}

// take does what a message says. A code other than 0 ends the socket.
func (s *socket) take(message []byte, share *gateway.Share) (websocket.StatusCode, string) {
	held := newHeldBody(message, share)
	m, ok := readSocketMessage(message)
	if ok && (m.Type == "" || m.Type == "chat") {
		return s.chat(m.ID, held) // and the message is the call's
	}
	defer held.Close()
	switch {
	case string(bytes.TrimSpace(message)) == "ping":
		_ = s.send([]byte("pong"))
	case !ok:
		s.refuse(noID, &llm.Error{Cause: llm.CauseInvalidRequest, Message: "a message must be one JSON object, or ping"})
	case m.Type == "cancel":
		s.stop(m.ID)
	case m.Type == "auth":
		return s.renew(m.Token)
	default:
		s.refuse(noID, asProblem(unprocessable("type", "must be chat, cancel or auth")))
	}
	return 0, ""
}

// renew takes another token of the same user, so that a socket can outlive one.
func (s *socket) renew(token string) (websocket.StatusCode, string) {
	old := s.token
	s.token = secret.New(token)
	if _, refused := s.verify(); refused != nil {
		s.token = old
		return closeFor(refused)
	}
	_ = s.send([]byte(`{"type":"ready"}`))
	return 0, ""
}

// chat begins a call. Those that cannot begin are answered with an error, and
// take nothing from the caller's limits.
func (s *socket) chat(id jsontext.Value, body *heldBody) (code websocket.StatusCode, reason string) {
	begun := false
	defer func() {
		if !begun {
			_ = body.Close()
		}
	}()
	key, ok := idKey(id)
	if !ok {
		s.refuse(noID, asProblem(unprocessable("id", "must be a number or a text of 1 to 64 characters")))
		return 0, ""
	}
	principal, refused := s.verify()
	if refused != nil {
		if refused.Cause == llm.CauseUnauthenticated {
			return closeFor(refused)
		}
		s.refuse(id, refused)
		return 0, ""
	}
	if s.runs(key) {
		s.refuse(noID, asProblem(unprocessable("id", "is that of a call that still runs")))
		return 0, ""
	}
	select {
	case s.slots <- struct{}{}:
	default:
		s.refuse(id, &llm.Error{Cause: llm.CauseRateLimited, RetryAfter: time.Second, Message: "8 calls run on this socket already; wait for one to end"})
		return 0, ""
	}
	c := &socketCall{s: s, id: id, key: key, header: make(http.Header)}
	ctx, cancel := context.WithCancel(s.ctx)
	request := callRequest(ctx, s.r, principal, "/chat/stream", body)
	if spend := s.h.o.Chat.Spend; spend != nil {
		if refused := spend(c.header, request, principal); refused != nil {
			<-s.slots
			cancel()
			c.fail(refused)
			return 0, ""
		}
	}
	begun = true
	c.cancel, c.free = cancel, sync.OnceFunc(func() { <-s.slots })
	if !s.begin(c) {
		cancel()
		_ = body.Close()
		c.fail(&llm.Error{Cause: llm.CauseUnavailable, RetryAfter: time.Second, Message: "the gateway goes away; open another socket"})
		return 0, ""
	}
	s.workers.Go(func() {
		defer s.done()
		defer c.free()
		defer cancel()
		defer body.Close()
		s.h.serveCall(c, request)
		c.finish()
	})
	return 0, ""
}

func (s *socket) runs(key string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls[key] != nil
}

// stop cancels a call. One that is not there has ended by itself meanwhile.
func (s *socket) stop(id jsontext.Value) {
	key, _ := idKey(id)
	s.mu.Lock()
	c := s.calls[key]
	s.mu.Unlock()
	if c != nil {
		c.cancel()
		_ = c.tell([]byte(cancelled))
	}
}

// forget makes a call's id free.
func (s *socket) forget(c *socketCall) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.calls[c.key] == c {
		delete(s.calls, c.key)
	}
}

// refuse answers a message with an error.
func (s *socket) refuse(id jsontext.Value, err *llm.Error) {
	(&socketCall{s: s, id: id, header: make(http.Header)}).fail(err)
}

// socketCall is one call, and the writer of its answer: it makes messages of the
// events that the gateway streams.
type socketCall struct {
	s      *socket
	id     jsontext.Value // as it was given
	key    string
	cancel context.CancelFunc
	free   func() // gives the call's slot to another; nil: it has none

	header  http.Header
	status  int
	scanner sse.Scanner
	body    []byte // of an answer that is no stream

	mu   sync.Mutex // guards over, and that nothing is sent after the end
	over bool       // the end has been told
}

// Header implements [http.ResponseWriter].
func (c *socketCall) Header() http.Header { return c.header }

// WriteHeader implements [http.ResponseWriter].
func (c *socketCall) WriteHeader(status int) {
	if c.status == 0 {
		c.status = status
	}
}

// Write implements [http.ResponseWriter]. An error means that nobody is there to
// read on.
func (c *socketCall) Write(p []byte) (int, error) {
	c.WriteHeader(http.StatusOK)
	if !strings.HasPrefix(c.header.Get("Content-Type"), "text/event-stream") {
		c.body = append(c.body, p[:min(len(p), maxErrorObject-len(c.body))]...)
		return len(p), nil
	}
	if _, err := c.scanner.Write(p); err != nil {
		return 0, err
	}
	for {
		event, ok := c.scanner.Next()
		if !ok {
			return len(p), nil
		}
		if len(event.Data) == 0 { // a comment: sockets have pings of their own
			continue
		}
		if err := c.event(event.Data); err != nil {
			return 0, err
		}
	}
}

// FlushError makes the writer one that can stream. Every event is sent at once.
func (*socketCall) FlushError() error { return nil }

// isFinal stands in the last event of an answer, and in no other: in a text the
// quotes would not be bare.
var isFinal = []byte(`"is_final":true`)

func (c *socketCall) event(data []byte) error {
	if bytes.Contains(data, isFinal) {
		return c.end(data)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over {
		return errSocketGone
	}
	return c.s.send(c.tagged(data, nil))
}

// end sends the last object of a call that is over.
func (c *socketCall) end(data []byte) error {
	if c.free != nil {
		c.free()
	}
	return c.tell(data)
}

// tell sends the last object of a call; only the first one is sent. The id is
// free before, so that the client may use it as soon as it knows.
func (c *socketCall) tell(data []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over {
		return errSocketGone
	}
	c.over = true
	c.s.forget(c)
	return c.s.send(c.tagged(data, c.facts()))
}

// tagged is an object with the call's id in front of its members, and others
// behind them.
func (c *socketCall) tagged(object, more []byte) []byte {
	message := make([]byte, 0, len(object)+len(c.id)+len(more)+16)
	message = append(append(append(message, `{"id":`...), c.id...), ',')
	message = append(message, bytes.TrimSuffix(object[1:], []byte("}"))...)
	return append(append(message, more...), '}')
}

// facts are what the limits say of a call, as members of an object.
func (c *socketCall) facts() []byte {
	var members []byte
	for _, fact := range []struct{ header, member string }{
		{"X-RateLimit-Limit", "limit"}, {"X-RateLimit-Remaining", "remaining"}, {"X-RateLimit-Reset", "reset"},
	} {
		if n, err := strconv.ParseUint(c.header.Get(fact.header), 10, 63); err == nil {
			members = strconv.AppendUint(append(members, `,"`+fact.member+`":`...), n, 10)
		}
	}
	if len(members) == 0 {
		return nil
	}
	return append(append([]byte(`,"rate_limit":{`), members[1:]...), '}')
}

// The members that every object has, of one that has nothing to say in them.
const (
	allFields = `"content":"","is_final":true,"input_tokens":0,"output_tokens":0,"model":"","latency_ms":0,"cost_usd":0,"estimated_cost_usd":0`
	cancelled = `{` + allFields + `,"error":"cancelled"}`
	brokenOff = `{` + allFields + `,"error":"the answer broke off"}`
)

// fail ends a call that did not begin.
func (c *socketCall) fail(err *llm.Error) {
	portalchat.WriteError(c, err, "req_"+uuid.Must(uuid.NewV7()).String())
	c.finish()
}

// finish tells the end of a call whose answer did not: an error before its first
// byte, or one that broke off where nothing could be said any more.
func (c *socketCall) finish() {
	object := []byte(brokenOff)
	if body := bytes.TrimSpace(c.body); c.status != 0 && c.status != http.StatusOK && len(body) > 2 && jsontext.Value(body).IsValid() && body[0] == '{' {
		object = append([]byte(`{"status":`+strconv.Itoa(c.status)+`,`+allFields+`,`), body[1:]...)
		if after, err := strconv.ParseUint(c.header.Get("Retry-After"), 10, 31); err == nil {
			object = append(object[:len(object)-1], `,"retry_after":`+strconv.FormatUint(after, 10)+`}`...)
		}
	}
	_ = c.end(object)
}
