package portal

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/require"
)

// A message that is no token, a bad one or none closes the socket.
func TestSocketAuthentication(t *testing.T) {
	t.Parallel()
	c := newChat(t, nil)
	for first, want := range map[string]websocket.StatusCode{
		`{"type":"auth","token":"bad"}`:   websocket.StatusPolicyViolation,
		`{"type":"auth","token":""}`:      websocket.StatusPolicyViolation,
		`{"type":"auth"}`:                 websocket.StatusPolicyViolation,
		`{"token":"alice"}`:               websocket.StatusPolicyViolation,
		`hello`:                           websocket.StatusPolicyViolation,
		askHelper("1"):                    websocket.StatusPolicyViolation,
		`{"type":"auth","token":"later"}`: websocket.StatusTryAgainLater,
		`{"type":"auth","token":"` + strings.Repeat("x", 40_000) + `"}`: websocket.StatusMessageTooBig,
	} {
		socket := c.dial(t)
		socket.say(first)
		code, _ := socket.closed()
		require.Equal(t, want, code, first[:min(len(first), 50)])
	}
	require.Zero(t, c.sockets.Len())
	require.Empty(t, c.server.Requests())
}

func TestSocketSaysNothing(t *testing.T) {
	t.Parallel()
	c := newChat(t, nil)
	require.Equal(t, 10*time.Second, c.sockets.authTimeout)
	c.sockets.authTimeout = 200 * time.Millisecond
	began := time.Now()
	code, reason := c.dial(t).closed()
	require.Equal(t, websocket.StatusPolicyViolation, code)
	require.Equal(t, "no token was sent in time", reason)
	require.GreaterOrEqual(t, time.Since(began), c.sockets.authTimeout)
}

// A token that is revoked while the socket is open ends it at the next call.
func TestSocketTokenRevoked(t *testing.T) {
	t.Parallel()
	c := newChat(t, nil)
	socket := c.open(t, "alice")
	socket.say(askHelper("1"))
	socket.answer()
	c.revoked.Store(true)
	socket.say(askHelper("2"))
	code, reason := socket.closed()
	require.Equal(t, websocket.StatusPolicyViolation, code)
	require.Contains(t, reason, "sign in again")
	c.ledger.wait(t, 1)
}

func TestSocketTokenRenewed(t *testing.T) {
	t.Parallel()
	c := newChat(t, nil)
	socket := c.open(t, "alice")
	socket.say(`{"type":"auth","token":"alice"}`)
	require.JSONEq(t, `{"type":"ready"}`, socket.hear())
	socket.say(`{"type":"auth","token":"bob"}`)
	code, _ := socket.closed()
	require.Equal(t, websocket.StatusPolicyViolation, code, "a socket is one user's")
}

func TestSocketOrigins(t *testing.T) {
	t.Parallel()
	c := newChat(t, func(o *ChatOptions) { o.Origins = []string{"https://portal.example.com/"} })
	host := strings.TrimSuffix(strings.TrimPrefix(c.url, "ws://"), "/chat/ws")
	for _, origin := range []string{"http://" + host, "https://" + strings.ToUpper(host), "https://portal.example.com", "https://PORTAL.example.com"} {
		c.dial(t, "Origin", origin)
	}
	for _, origin := range []string{"https://evil.example", "http://portal.example.com", "https://portal.example.com.evil.example", "null", "http://" + host + ".evil.example", "https://xportal.example.com"} {
		_, response, err := websocket.Dial(t.Context(), c.url, &websocket.DialOptions{HTTPHeader: http.Header{"Origin": {origin}}})
		require.Error(t, err, origin)
		require.Equal(t, http.StatusForbidden, response.StatusCode, origin)
		require.NoError(t, response.Body.Close())
	}
	anyone := newChat(t, func(o *ChatOptions) { o.Origins = []string{"*"} })
	anyone.dial(t, "Origin", "https://elsewhere.example")
}

func TestSocketHandshake(t *testing.T) {
	t.Parallel()
	c := newChat(t, nil)
	w := call(c.Handler, nil, "GET", "/chat/ws", "")
	requireProblem(t, w, http.StatusUpgradeRequired)
	require.Equal(t, "websocket", w.Header().Get("Upgrade"))
	requireProblem(t, call(c.Handler, nil, "POST", "/chat/ws", ""), http.StatusMethodNotAllowed)
	off := New(Options{})
	require.Contains(t, requireProblem(t, call(off, nil, "GET", "/chat/ws", ""), 404)["error"], "turned off")
}
