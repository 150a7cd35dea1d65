package gateway_test

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/gateway"
	"github.com/financecommander/tollgate/internal/llm"
	"github.com/financecommander/tollgate/internal/upstream"
	"github.com/financecommander/tollgate/internal/upstreamtest"
	"github.com/financecommander/tollgate/pricing"
)

const pingText = ": ping\n\n"

// scripted is an upstream without a network, for a bubble's clock.
type scripted struct {
	answer func(w *io.PipeWriter) // writes the stream's bytes, at its own pace
	wait   time.Duration          // before the header
	status int                    // default 200
	limits upstream.Timeouts
}

func (s scripted) RoundTrip(r *http.Request) (*http.Response, error) {
	select {
	case <-time.After(s.wait):
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
	if s.status != 0 {
		return &http.Response{StatusCode: s.status, Header: http.Header{}, Body: http.NoBody}, nil
	}
	body, out := io.Pipe()
	context.AfterFunc(r.Context(), func() { _ = body.CloseWithError(r.Context().Err()) })
	go func() {
		s.answer(out)
		_ = out.Close()
	}()
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {"text/event-stream"}}, Body: body}, nil
}

// screen is a caller's view of an answer while it comes.
type screen struct {
	mu     sync.Mutex // guards all
	header http.Header
	status int
	body   bytes.Buffer
	broken error // of every Write
}

func (s *screen) Header() http.Header { return s.header }

func (s *screen) WriteHeader(status int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.status = status
}

func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.broken != nil {
		return 0, s.broken
	}
	return s.body.Write(p)
}

func (s *screen) Flush() {}

// code is the status so far; 0: none yet.
func (s *screen) code() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.status
}

// next gives what has come since it was last asked.
func (s *screen) next() string {
	synctest.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	defer s.body.Reset()
	return s.body.String()
}

// watchStream starts a call and gives the caller's view of it.
func watchStream(t *testing.T, path string, s scripted, configure func(*gateway.Options)) (*screen, *ledger) {
	t.Helper()
	l := newLedger()
	o := gateway.Options{
		Logger: slog.New(slog.DiscardHandler), Prices: pricing.Embedded(), Ledger: l,
		Providers: []*upstream.Provider{configured(t, upstream.Config{Name: "openai", Transport: s, Timeouts: s.limits})},
	}
	withSpecialists(&o)
	if configure != nil {
		configure(&o)
	}
	g := withPrincipal(gateway.New(o))
	body := askHelper
	if strings.HasPrefix(path, "/v1") {
		body = helloStreamUsage
	}
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, path, strings.NewReader(body))
	r.Header.Set("Authorization", "Bearer "+callerKey)
	view := &screen{header: http.Header{}}
	go g.ServeHTTP(view, r)
	return view, l
}

// A portal stream that is silent for 15 s says so, until its end.
func TestPings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stream := upstreamtest.ChatEvents(true, "Hello", ", ", "world")
		view, l := watchStream(t, "/chat/stream", scripted{answer: func(w *io.PipeWriter) {
			time.Sleep(40 * time.Second) // the model thinks
			_, _ = io.WriteString(w, stream[0]+stream[1]+stream[2][:20])
			time.Sleep(20 * time.Second) // half an event has come
			_, _ = io.WriteString(w, stream[2][20:])
			time.Sleep(14 * time.Second)
			_, _ = io.WriteString(w, strings.Join(stream[3:], ""))
			time.Sleep(time.Hour)
		}}, nil)
		second := func(n int) { time.Sleep(time.Duration(n) * time.Second) }
		second(14)
		require.Empty(t, view.next())
		require.Zero(t, view.code(), "nothing to say yet, so nothing is promised")
		second(2) // 16
		require.Equal(t, pingText, view.next())
		require.Equal(t, http.StatusOK, view.code())
		require.Equal(t, "text/event-stream", view.header.Get("Content-Type"))
		second(15) // 31
		require.Equal(t, pingText, view.next())
		second(10) // 41
		require.Equal(t, portalChunk("Hello"), timeless(view.next()))
		second(13) // 54, 14 s after the word
		require.Empty(t, view.next())
		second(2) // 56
		require.Equal(t, pingText, view.next(), "between events, not inside one")
		second(5) // 61
		require.Equal(t, portalChunk(", "), timeless(view.next()))
		second(14) // 75
		require.Equal(t, portalChunk("world")+portalFinal, timeless(view.next()))
		time.Sleep(2 * time.Hour) // also the upstream has gone
		require.Empty(t, view.next(), "no ping after the end")
		requireRow(t, l.one(t), 1, 200, 200, llm.CauseNone)
	})
}

// Before the upstream has answered there is no ping, so that its refusal can
// still be an HTTP status.
func TestNoPingBeforeTheAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		view, l := watchStream(t, "/chat/stream", scripted{wait: 2 * time.Minute, status: 500}, nil)
		time.Sleep(119 * time.Second)
		require.Empty(t, view.next())
		require.Zero(t, view.code())
		time.Sleep(2 * time.Second)
		require.Contains(t, view.next(), `"error"`)
		require.Equal(t, http.StatusBadGateway, view.code())
		requireRow(t, l.one(t), 1, 500, 502, llm.CauseUpstreamError)
	})
}

// Who else gets pings: streams of other dialects where it is configured, and
// answers that are no stream never.
func TestPingsOfOthers(t *testing.T) {
	slow := scripted{answer: func(w *io.PipeWriter) {
		for _, event := range events {
			time.Sleep(26 * time.Second)
			_, _ = io.WriteString(w, event)
		}
	}}
	for name, tt := range map[string]struct {
		path      string
		configure func(*gateway.Options)
		pings     int
	}{
		"OpenAI's, by default": {"/v1/chat/completions", nil, 0},
		"OpenAI's, configured": {"/v1/chat/completions", func(o *gateway.Options) { o.PassthroughPing = 10 * time.Second }, 2 * len(events)},
		"portal's":             {"/chat/stream", nil, 13}, // role, finish and usage say nothing to it
		"portal's, off":        {"/chat/stream", func(o *gateway.Options) { o.Ping = -1 }, 0},
		"no stream":            {"/chat/send", nil, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				view, l := watchStream(t, tt.path, slow, tt.configure)
				time.Sleep(time.Hour)
				got := view.next()
				require.Equal(t, tt.pings, strings.Count(got, pingText))
				if tt.path == "/v1/chat/completions" {
					require.Equal(t, strings.Join(events, ""), strings.ReplaceAll(got, pingText, ""))
				}
				require.True(t, l.one(t).Success)
			})
		})
	}
}

// A caller who cannot be written to has left, whatever the context says.
func TestBrokenCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var failed time.Time
		view, l := watchStream(t, "/v1/chat/completions", scripted{answer: func(w *io.PipeWriter) {
			for _, event := range manyEvents {
				time.Sleep(time.Second)
				if _, err := io.WriteString(w, event); err != nil {
					failed = time.Now()
					return
				}
			}
		}}, nil)
		time.Sleep(5500 * time.Millisecond)
		require.Contains(t, view.next(), "word")
		view.mu.Lock()
		view.broken = io.ErrClosedPipe
		view.mu.Unlock()
		begin := time.Now()
		time.Sleep(time.Hour)
		synctest.Wait()
		require.False(t, failed.IsZero())
		require.Less(t, failed.Sub(begin), 3*time.Second, "the upstream is not read on")
		requireRow(t, l.one(t), 1, 200, 499, llm.CauseClientGone)
	})
}

// Pings and events that come at the same time do not meet.
func TestPingsAndEventsDoNotMix(t *testing.T) {
	server := upstreamtest.New(t, upstreamtest.Drip(300*time.Microsecond, manyEvents[:300]...))
	f := setup(t, func(o *gateway.Options) { o.PassthroughPing = 300 * time.Microsecond }, provider(t, "openai", server.URL(), upstream.Timeouts{}))
	var calls sync.WaitGroup
	for range 4 {
		calls.Go(func() {
			body, last := cutLast(f.chat(helloStreamUsage).Body)
			if got := strings.ReplaceAll(body, pingText, ""); got != strings.Join(manyEvents[:300], "") {
				t.Error("the stream's events are not whole")
			}
			if !strings.Contains(last, "upstream_cut") {
				t.Errorf("the stream ends with %q", last)
			}
		})
	}
	calls.Wait()
}
