package apitest

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
)

// maxBody is how much of a body is kept for checking.
const maxBody = 16 << 20

type readCloser struct{ io.Reader }

func (readCloser) Close() error { return nil }

// kept is what went by of a body.
type kept struct {
	mu   sync.Mutex // guards the fields below: a transport may still send while it answers
	text []byte
	cut  bool
}

func (k *kept) Write(p []byte) (int, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.text)+len(p) > maxBody {
		k.cut = true
	}
	if !k.cut {
		k.text = append(k.text, p...)
	}
	return len(p), nil
}

func (k *kept) all() (text []byte, cut bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return bytes.Clone(k.text), k.cut
}

// tee gives a body that keeps what is read of it.
func (k *kept) tee(body io.ReadCloser) io.ReadCloser {
	return struct {
		io.Reader
		io.Closer
	}{io.TeeReader(body, k), body}
}

// end reports an exchange whose bodies went by.
func end(t testing.TB, e *exchange, request, answer *kept) {
	t.Helper()
	var cut bool
	if e.requestBody, cut = request.all(); cut {
		return
	}
	e.body, e.cut = answer.all()
	report(t, e)
}

// Handler is next, with all that it answers checked.
func Handler(t testing.TB, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		t.Helper()
		var request kept
		copied := r.Clone(r.Context())
		if r.Body != nil {
			copied.Body = request.tee(r.Body)
		}
		answer := &writer{ResponseWriter: w, status: http.StatusOK}
		next.ServeHTTP(answer, copied)
		end(t, &exchange{request: r, status: answer.status, header: w.Header()}, &request, &answer.kept)
	})
}

// writer keeps what a handler answers.
type writer struct {
	http.ResponseWriter
	kept   kept
	status int
	begun  bool
}

// Unwrap lets http.ResponseController flush and hijack.
func (w *writer) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *writer) WriteHeader(status int) {
	if !w.begun {
		w.begun, w.status = true, status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *writer) Write(p []byte) (int, error) {
	w.begun = true
	_, _ = w.kept.Write(p)
	return w.ResponseWriter.Write(p)
}

// Transport is base, nil for the default one, with all that goes through it
// checked: an answer once its body was read to the end or closed.
func Transport(t testing.TB, base http.RoundTripper) http.RoundTripper {
	if base == nil {
		base = http.DefaultTransport
	}
	return roundTripper(func(r *http.Request) (*http.Response, error) {
		t.Helper()
		copied := r.Clone(r.Context())
		var request kept
		if r.Body != nil && r.Body != http.NoBody {
			copied.Body = request.tee(r.Body)
			copied.GetBody = nil // what is sent again would be kept twice
		}
		response, err := base.RoundTrip(copied)
		if err != nil {
			return response, err
		}
		e := &exchange{request: r, status: response.StatusCode, header: response.Header}
		if response.StatusCode == http.StatusSwitchingProtocols {
			end(t, e, &request, new(kept)) // the body is the connection
			return response, nil
		}
		stream := strings.HasPrefix(response.Header.Get("Content-Type"), "text/event-stream")
		response.Body = &reader{body: response.Body, stream: stream, end: func(answer *kept) { end(t, e, &request, answer) }}
		return response, nil
	})
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// reader keeps what is read of an answer.
type reader struct {
	body   io.ReadCloser
	kept   kept
	stream bool // of events, which its reader may leave
	end    func(*kept)
	once   sync.Once
}

func (r *reader) Read(p []byte) (int, error) {
	n, err := r.body.Read(p)
	_, _ = r.kept.Write(p[:n])
	if errors.Is(err, io.EOF) {
		r.once.Do(func() { r.end(&r.kept) })
	}
	return n, err
}

// Close checks what was read of a stream, and the whole of anything else: a JSON
// decoder stops at the end of its object, not at that of the body.
func (r *reader) Close() error {
	r.once.Do(func() {
		if r.stream || !drained(r.body, &r.kept) {
			r.kept.cut = true
		}
		r.end(&r.kept)
	})
	return r.body.Close()
}

func drained(body io.Reader, into *kept) bool {
	_, err := io.Copy(into, io.LimitReader(body, maxBody))
	return err == nil
}
