package upstreamtest

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"sync"
	"testing"
	"time"
)

// Request is a request as an upstream got it.
type Request struct {
	Method, Path, Query string
	Header              http.Header
	Body                []byte
}

// journal writes down what an upstream is asked, and who hangs up.
type journal struct {
	mu        sync.Mutex // guards all below
	requests  []Request
	open      int
	cancelled []time.Time
	changed   chan struct{} // closed at the next change
}

// Requests are the requests so far, in the order they came.
func (j *journal) Requests() []Request {
	j.mu.Lock()
	defer j.mu.Unlock()
	return append([]Request(nil), j.requests...)
}

// Last is the latest request; the zero Request before the first.
func (j *journal) Last() Request {
	requests := j.Requests()
	if len(requests) == 0 {
		return Request{}
	}
	return requests[len(requests)-1]
}

// Open is the number of requests not yet answered whole.
func (j *journal) Open() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.open
}

// WaitRequests waits until n requests have come.
func (j *journal) WaitRequests(t testing.TB, n int) {
	t.Helper()
	j.wait(t, "requests", func() bool { return len(j.requests) >= n })
}

// WaitIdle waits until no request is open.
func (j *journal) WaitIdle(t testing.TB) {
	t.Helper()
	j.wait(t, "idle", func() bool { return j.open == 0 })
}

// WaitCancelled waits until the n-th request (from 1) was cancelled by its
// sender before its answer was whole, and returns when that was noticed.
func (j *journal) WaitCancelled(t testing.TB, n int) time.Time {
	t.Helper()
	j.wait(t, "cancellation", func() bool { return len(j.cancelled) >= n })
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.cancelled[n-1]
}

const waitLimit = 10 * time.Second

func (j *journal) wait(t testing.TB, what string, done func() bool) {
	t.Helper()
	limit := time.NewTimer(waitLimit)
	defer limit.Stop()
	for {
		j.mu.Lock()
		if done() {
			j.mu.Unlock()
			return
		}
		if j.changed == nil {
			j.changed = make(chan struct{})
		}
		changed := j.changed
		j.mu.Unlock()
		select {
		case <-changed:
		case <-limit.C:
			t.Fatalf("upstream: waited %s in vain for: %s", waitLimit, what)
		}
	}
}

// begin notes a request. Its body is read whole, without which the server would
// not notice that the peer hangs up; the handler reads a copy.
func (j *journal) begin(r *http.Request) (end func()) {
	body, _ := io.ReadAll(r.Body)
	r.Body = io.NopCloser(bytes.NewReader(body))
	j.change(func() {
		j.open++
		j.requests = append(j.requests, Request{
			Method: r.Method, Path: r.URL.Path, Query: r.URL.RawQuery, Header: r.Header.Clone(), Body: body,
		})
	})
	note := func() { j.change(func() { j.cancelled = append(j.cancelled, time.Now()) }) }
	stop := context.AfterFunc(r.Context(), note)
	return func() {
		// The server cancels the context after every request, too, so it is asked
		// first; and a behaviour that waits for it may get here before note does.
		if cancelled := r.Context().Err() != nil; stop() && cancelled {
			note()
		}
		j.change(func() { j.open-- })
	}
}

func (j *journal) change(f func()) {
	j.mu.Lock()
	defer j.mu.Unlock()
	f()
	if j.changed != nil {
		close(j.changed)
		j.changed = nil
	}
}
