package portal

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/llm"
	"github.com/financecommander/tollgate/internal/upstreamtest"
)

func TestSocketsOfOneUserAreBounded(t *testing.T) {
	t.Parallel()
	c := newChat(t, nil)
	var first *client
	for range maxSocketsOfUser {
		first = c.open(t, "alice")
	}
	one := c.dial(t)
	one.say(`{"type":"auth","token":"alice"}`)
	code, _ := one.closed()
	require.Equal(t, websocket.StatusTryAgainLater, code)
	c.open(t, "bob")
	require.NoError(t, first.Close(websocket.StatusNormalClosure, ""))
	require.Eventually(t, func() bool { return c.sockets.Len() == maxSocketsOfUser }, 5*time.Second, time.Millisecond)
	c.open(t, "alice")
}

func TestUnknownSocketsAreBounded(t *testing.T) {
	t.Parallel()
	c := newChat(t, nil)
	c.sockets.mu.Lock()
	c.sockets.unknown = maxUnknownSockets
	c.sockets.mu.Unlock()
	_, response, err := websocket.Dial(t.Context(), c.url, nil)
	require.Error(t, err)
	require.Equal(t, http.StatusServiceUnavailable, response.StatusCode)
	require.NoError(t, response.Body.Close())
	c.sockets.mu.Lock()
	c.sockets.unknown = 0
	c.sockets.mu.Unlock()
	c.open(t, "alice")
}

// At the server's end every socket is told, those with calls after the last.
func TestSocketsClose(t *testing.T) {
	t.Parallel()
	texts := upstreamtest.ChatEvents(true, "one ", "two")
	goOn := make(chan struct{})
	c := newChat(t, nil, func(w http.ResponseWriter, r *http.Request) {
		upstreamtest.Stream(texts[:2]...)(w, r)
		<-goOn
		for _, text := range texts[2:] {
			_, _ = w.Write([]byte(text))
		}
	}, upstreamtest.Hang(texts[:2]...))
	busy, stuck, idle := c.open(t, "alice"), c.open(t, "alice"), c.open(t, "bob")
	for _, socket := range []*client{busy, stuck} {
		socket.say(askHelper("1"))
		require.Equal(t, "one ", socket.object()["content"])
	}
	c.sockets.Close()
	code, _ := idle.closed()
	require.Equal(t, websocket.StatusGoingAway, code)
	busy.say(askHelper("2"))
	require.InDelta(t, 503, busy.object()["status"], 0)
	close(goOn)
	text, final := busy.answer()
	require.Equal(t, "two", text)
	require.NotContains(t, final, "error")
	code, _ = busy.closed()
	require.Equal(t, websocket.StatusGoingAway, code)

	soon, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, c.sockets.Wait(soon), context.DeadlineExceeded)
	code, _ = stuck.closed()
	require.Equal(t, websocket.StatusGoingAway, code, "in the end it is cut")
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	require.NoError(t, c.sockets.Wait(ctx))
	rows := c.ledger.wait(t, 2)
	require.Equal(t, llm.CauseNone, rows[0].ErrorCause)
	require.Equal(t, llm.CauseClientGone, rows[1].ErrorCause)
	_, response, err := websocket.Dial(t.Context(), c.url, nil)
	require.Error(t, err)
	require.Equal(t, http.StatusServiceUnavailable, response.StatusCode)
	require.NoError(t, response.Body.Close())
}
