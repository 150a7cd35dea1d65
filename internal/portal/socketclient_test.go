package portal

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/gateway"
	"github.com/financecommander/tollgate/internal/identity"
	"github.com/financecommander/tollgate/internal/llm"
	"github.com/financecommander/tollgate/internal/secret"
	"github.com/financecommander/tollgate/internal/specialist"
	"github.com/financecommander/tollgate/internal/upstream"
	"github.com/financecommander/tollgate/internal/upstreamtest"
	"github.com/financecommander/tollgate/internal/usage"
	"github.com/financecommander/tollgate/pricing"
)

// chatLedger keeps the rows of a test's calls.
type chatLedger struct {
	mu   sync.Mutex
	rows []usage.Record
	open int
}

func (*chatLedger) Admit() error { return nil }

func (l *chatLedger) Append(r *usage.Record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rows = append(l.rows, *r)
	return nil
}

func (l *chatLedger) Begin(*usage.Record) usage.Mark {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open++
	return 1
}

func (l *chatLedger) End(usage.Mark) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open--
}

// wait gives the rows once there are n, no attempt is open, and there are no more.
func (l *chatLedger) wait(t *testing.T, n int) []usage.Record {
	t.Helper()
	var rows []usage.Record
	require.Eventually(t, func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		rows = append([]usage.Record(nil), l.rows...)
		return len(rows) >= n && l.open == 0
	}, 10*time.Second, time.Millisecond, "rows")
	require.Len(t, rows, n)
	return rows
}

// chat is a portal with a gateway behind it, before an upstream of the test's.
type chat struct {
	*Handler
	url     string
	server  *upstreamtest.Upstream
	ledger  *chatLedger
	sockets *Sockets
	revoked atomic.Bool
	handled atomic.Int64 // calls that the gateway has been asked for and not answered
}

// newChat makes one. A token is the name of its user; "bad" is none.
func newChat(t *testing.T, edit func(*ChatOptions), behaviour ...upstreamtest.Behaviour) *chat {
	t.Helper()
	c := &chat{server: upstreamtest.New(t, behaviour...), ledger: &chatLedger{}, sockets: NewSockets()}
	transport := &http.Transport{MaxIdleConnsPerHost: 100}
	provider, err := upstream.New(upstream.Config{Name: "openai", BaseURL: c.server.URL(), Keys: []secret.Secret{secret.New("sk-1")}, Transport: transport})
	require.NoError(t, err)
	registry, err := specialist.NewRegistry(specialist.Options{Configured: specialist.Defaults()})
	require.NoError(t, err)
	g := gateway.New(gateway.Options{
		Logger: slog.New(slog.DiscardHandler), Prices: pricing.Embedded(), Ledger: c.ledger,
		Providers: []*upstream.Provider{provider}, Specialists: registry, Aliases: map[string]string{"helper": "openai/gpt-4o-mini"},
	})
	o := Options{Specialists: registry, Chat: ChatOptions{
		Chat: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			c.handled.Add(1)
			defer c.handled.Add(-1)
			g.ServeHTTP(w, r)
		}),
		Models: g.DirectModels, Sockets: c.sockets,
		Verify: func(_ context.Context, token string) (*identity.Principal, error) {
			if token == "bad" || c.revoked.Load() {
				return nil, &llm.Error{Cause: llm.CauseUnauthenticated, Message: "no"}
			}
			if token == "later" {
				return nil, &llm.Error{Cause: llm.CauseUnavailable, Message: "later"}
			}
			return &identity.Principal{UserHash: "hash-" + token, EmailHash: "hash-" + token, TokenID: token}, nil
		},
	}}
	if edit != nil {
		edit(&o.Chat)
	}
	c.Handler = New(o)
	server := httptest.NewServer(c)
	c.url = "ws" + strings.TrimPrefix(server.URL, "http") + "/chat/ws"
	t.Cleanup(func() {
		c.sockets.Close()
		c.sockets.cut()
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		require.NoError(t, c.sockets.Wait(ctx))
		server.Close()
		transport.CloseIdleConnections()
		require.Zero(t, c.handled.Load())
	})
	return c
}

// client is the other side of a socket.
type client struct {
	t *testing.T
	*websocket.Conn
}

func (c *chat) dial(t *testing.T, header ...string) *client {
	t.Helper()
	h := http.Header{}
	for i := 0; i+1 < len(header); i += 2 {
		h.Set(header[i], header[i+1])
	}
	conn, _, err := websocket.Dial(t.Context(), c.url, &websocket.DialOptions{HTTPHeader: h})
	require.NoError(t, err)
	conn.SetReadLimit(-1)
	t.Cleanup(func() { _ = conn.CloseNow() })
	return &client{t, conn}
}

// open opens a socket and says who it is.
func (c *chat) open(t *testing.T, user string) *client {
	t.Helper()
	socket := c.dial(t)
	socket.say(`{"type":"auth","token":"` + user + `"}`)
	require.JSONEq(t, `{"type":"ready"}`, socket.hear())
	return socket
}

func (c *client) say(message string) {
	c.t.Helper()
	require.NoError(c.t, c.Write(c.t.Context(), websocket.MessageText, []byte(message)))
}

func (c *client) hear() string {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), time.Minute)
	defer cancel()
	_, message, err := c.Read(ctx)
	require.NoError(c.t, err)
	return string(message)
}

// object hears one and reads it.
func (c *client) object() map[string]any {
	c.t.Helper()
	var v map[string]any
	message := c.hear()
	require.NoError(c.t, json.Unmarshal([]byte(message), &v), message)
	for _, field := range []string{"id", "content", "is_final", "input_tokens", "output_tokens", "model", "latency_ms", "cost_usd", "estimated_cost_usd"} {
		require.Contains(c.t, v, field, message)
	}
	return v
}

// answer hears a call of its own to its end.
func (c *client) answer() (text string, final map[string]any) {
	c.t.Helper()
	for {
		v := c.object()
		text += v["content"].(string)
		if v["is_final"] == true {
			return text, v
		}
	}
}

// closed says how the socket was closed.
func (c *client) closed() (websocket.StatusCode, string) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), 15*time.Second)
	defer cancel()
	for {
		_, _, err := c.Read(ctx)
		if closed, ok := errors.AsType[websocket.CloseError](err); ok {
			return closed.Code, closed.Reason
		}
		if err != nil {
			return -1, err.Error()
		}
	}
}

func askHelper(id string) string {
	return `{"id":` + id + `,"specialist_id":"helper","message":"hi","conversation_history":[],"attachments":[]}`
}
