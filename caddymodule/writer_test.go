package caddymodule

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
)

// deadlineCounter is a connection's writer that counts what reaches it.
type deadlineCounter struct {
	*httptest.ResponseRecorder
	deadlines int
	last      time.Time
}

func (d *deadlineCounter) SetWriteDeadline(t time.Time) error {
	d.deadlines++
	d.last = t
	return nil
}

func idleWriter(d *deadlineCounter) *caddyhttp.IdleTimeoutWriter {
	return &caddyhttp.IdleTimeoutWriter{
		ResponseWriterWrapper: &caddyhttp.ResponseWriterWrapper{ResponseWriter: d},
		Ctrl:                  http.NewResponseController(d),
		Deadline:              caddyhttp.IdleDeadline{Start: time.Now(), Timeout: time.Minute},
		Logger:                zap.NewNop(),
	}
}

func TestStreamWriterSparesDeadlines(t *testing.T) {
	d := &deadlineCounter{ResponseRecorder: httptest.NewRecorder()}
	w := newStreamWriter(idleWriter(d), httptest.NewRequest(http.MethodPost, "/", nil))
	rc := http.NewResponseController(w)
	say := func(text string) {
		_, err := w.Write([]byte(text))
		require.NoError(t, err)
		require.NoError(t, rc.Flush())
	}

	say("first")
	require.Equal(t, 2, d.deadlines, "Caddy's own at the first write, and at the first flush")
	require.InDelta(t, time.Minute, time.Until(d.last), float64(time.Second))
	for range 100 {
		say("event")
	}
	require.Equal(t, 2, d.deadlines, "none within a second")

	w.(*streamWriter).renewed = time.Now().Add(-renewEvery)
	say("a second later")
	require.Equal(t, 3, d.deadlines)
	say(string(make([]byte, smallWrite+1)))
	require.Equal(t, 4, d.deadlines, "what does not fit the buffer has a deadline of its own")

	require.NoError(t, rc.SetWriteDeadline(time.Time{}), "the rest of the writer can be reached")
	require.Equal(t, 5, d.deadlines)
	require.True(t, d.Flushed)
	require.Contains(t, d.Body.String(), "firsteventevent")
}

func TestStreamWriterOnlyWhereItIsSafe(t *testing.T) {
	d := &deadlineCounter{ResponseRecorder: httptest.NewRecorder()}
	r := httptest.NewRequest(http.MethodPost, "/", nil)
	require.Same(t, d, newStreamWriter(d, r), "no idle timeout")

	h2 := r.Clone(t.Context())
	h2.ProtoMajor = 2
	idle := idleWriter(d)
	require.Same(t, idle, newStreamWriter(idle, h2))

	slow := idleWriter(d)
	slow.Deadline.MinRate = 100
	require.Same(t, slow, newStreamWriter(slow, r))

	short := idleWriter(d)
	short.Deadline.Timeout = 10 * time.Second
	require.Same(t, short, newStreamWriter(short, r))
}
