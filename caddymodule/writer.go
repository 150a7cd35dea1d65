package caddymodule

import (
	"net/http"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

const (
	// renewEvery is how old a write deadline may get before a stream renews it.
	// Caddy's is a minute away, so a caller that stops reading is still found
	// out after 59 seconds or more.
	renewEvery = time.Second
	// smallWrite surely stays in net/http's buffer (2 KiB, empty after a flush)
	// until the flush, so that it needs no deadline of its own.
	smallWrite = 1 << 10
)

// streamWriter spares a stream's events most of the work that Caddy's idle
// timeout does: it sets the connection's deadline anew at every write and at
// every flush, which for small events is a tenth of all their CPU time.
type streamWriter struct {
	*caddyhttp.IdleTimeoutWriter
	server  http.ResponseWriter // what lies below
	flush   func() error        // of that
	renewed time.Time           // when a flush last set the deadline; zero: not a stream
}

// newStreamWriter wraps Caddy's writer where that is safe: an HTTP/1 connection
// whose idle timeout is at least Caddy's default and asks for no minimum rate.
func newStreamWriter(w http.ResponseWriter, r *http.Request) http.ResponseWriter {
	idle, ok := w.(*caddyhttp.IdleTimeoutWriter)
	if !ok || r.ProtoMajor != 1 || idle.Deadline.MinRate != 0 || idle.Deadline.Timeout < time.Minute {
		return w
	}
	server := idle.ResponseWriter
	return &streamWriter{IdleTimeoutWriter: idle, server: server, flush: http.NewResponseController(server).Flush}
}

// Write implements http.ResponseWriter.
func (w *streamWriter) Write(p []byte) (int, error) {
	if w.renewed.IsZero() || len(p) > smallWrite {
		return w.IdleTimeoutWriter.Write(p)
	}
	return w.server.Write(p)
}

// FlushError implements what http.ResponseController looks for.
func (w *streamWriter) FlushError() error {
	if now := time.Now(); now.Sub(w.renewed) >= renewEvery {
		w.renewed = now
		return w.IdleTimeoutWriter.FlushError()
	}
	return w.flush()
}

// Unwrap lets http.ResponseController reach the rest of Caddy's writer.
func (w *streamWriter) Unwrap() http.ResponseWriter { return w.IdleTimeoutWriter }
