package gateway_test

import (
	"bytes"
	"compress/gzip"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/llm"
	"github.com/financecommander/tollgate/internal/upstream"
	"github.com/financecommander/tollgate/internal/upstreamtest"
)

const (
	helloStream      = `{"model":"openai/gpt-4o-mini","messages":[{"role":"user","content":"hi"}],"stream":true}`
	helloStreamUsage = `{"model":"openai/gpt-4o-mini","messages":[{"role":"user","content":"hi"}],"stream":true,"stream_options":{"include_usage":true}}`
)

var (
	words  = []string{"one ", "two ", "three ", "four ", "five ", "six "}
	events = upstreamtest.ChatEvents(true, words...)
	// begun are the events up to the fourth word.
	begun = events[:5]
)

// short are timeouts a test can wait for; the unset one is never met.
func short(first, between, total time.Duration) upstream.Timeouts {
	return upstream.Timeouts{FirstByte: first, BetweenBytes: between, Total: total}
}

// TestUpstreamFaultsBeforeTheFirstByte holds what an upstream can do instead of
// answering against the one HTTP error the caller gets, and the row.
func TestUpstreamFaultsBeforeTheFirstByte(t *testing.T) {
	const errorBody = `{"error":{"message":"Incorrect API key provided: sk-upstream-3f9a7c (org-secret123)","type":"x","code":"y"}}`
	tests := map[string]struct {
		behaviour upstreamtest.Behaviour
		timeouts  upstream.Timeouts
		status    int
		code      string
		cause     llm.Cause
		upstream  int  // status of the row
		billed    bool // the row has tokens: the provider may have worked
	}{
		"reset before the header":     {behaviour: upstreamtest.Reset(), status: 502, code: "upstream_unreachable", cause: llm.CauseUpstreamUnreachable},
		"no answer":                   {behaviour: upstreamtest.Hang(), timeouts: short(30*time.Millisecond, 0, 0), status: 504, code: "upstream_timeout", cause: llm.CauseUpstreamTimeout, billed: true},
		"no answer in all":            {behaviour: upstreamtest.Hang(), timeouts: short(0, 0, 30*time.Millisecond), status: 504, code: "upstream_timeout", cause: llm.CauseUpstreamTimeout, billed: true},
		"a header, no event":          {behaviour: upstreamtest.Hang(""), timeouts: short(0, 30*time.Millisecond, 0), status: 504, code: "upstream_timeout", cause: llm.CauseUpstreamTimeout, upstream: 200, billed: true},
		"half an event, then a reset": {behaviour: upstreamtest.Reset("data: {"), status: 502, code: "upstream_cut", cause: llm.CauseUpstreamCut, upstream: 200, billed: true},
		"an empty stream":             {behaviour: upstreamtest.Stream(), status: 502, code: "upstream_cut", cause: llm.CauseUpstreamCut, upstream: 200, billed: true},
		"HTML, 200":                   {behaviour: upstreamtest.HTML(200), status: 502, code: "upstream_invalid", cause: llm.CauseUpstreamInvalid, upstream: 200},
		"HTML, 502":                   {behaviour: upstreamtest.HTML(502), status: 502, code: "upstream_error", cause: llm.CauseUpstreamError, upstream: 502},
		"an error as first event":     {behaviour: upstreamtest.Stream(upstreamtest.ErrorEvent), status: 502, code: "upstream_error", cause: llm.CauseUpstreamError, upstream: 200},
		"an error in a 200":           {behaviour: upstreamtest.JSON(200, `{"error":{"message":"org-secret123 is over its limit","type":"rate_limit_error","code":"rate_limit_exceeded"}}`), status: 429, code: "rate_limit_exceeded", cause: llm.CauseUpstreamRateLimited, upstream: 200},
		"null":                        {behaviour: upstreamtest.JSON(200, `null`), status: 502, code: "upstream_invalid", cause: llm.CauseUpstreamInvalid, upstream: 200},
		"half a JSON":                 {behaviour: upstreamtest.JSON(200, upstreamtest.ChatBody("a", "b")[:90]), status: 502, code: "upstream_invalid", cause: llm.CauseUpstreamInvalid, upstream: 200},
		"half a body":                 {behaviour: cutBody, status: 502, code: "upstream_cut", cause: llm.CauseUpstreamCut, upstream: 200, billed: true},
		"a stalled body":              {behaviour: stalledBody, timeouts: short(0, 30*time.Millisecond, 0), status: 504, code: "upstream_timeout", cause: llm.CauseUpstreamTimeout, upstream: 200, billed: true},
		"a stalled error":             {behaviour: stalledError, timeouts: short(0, 30*time.Millisecond, 0), status: 502, code: "upstream_error", cause: llm.CauseUpstreamError, upstream: 500},
		"gzip nobody asked for":       {behaviour: gzipped, status: 502, code: "upstream_invalid", cause: llm.CauseUpstreamInvalid, upstream: 200},
		"gzip in a stream":            {behaviour: gzippedStream, status: 502, code: "upstream_cut", cause: llm.CauseUpstreamCut, upstream: 200, billed: true},
		"401":                         {behaviour: upstreamtest.JSON(401, errorBody), status: 502, code: "upstream_auth", cause: llm.CauseUpstreamAuth, upstream: 401},
		"402":                         {behaviour: upstreamtest.JSON(402, errorBody), status: 502, code: "upstream_auth", cause: llm.CauseUpstreamAuth, upstream: 402},
		"403":                         {behaviour: upstreamtest.JSON(403, errorBody), status: 502, code: "upstream_auth", cause: llm.CauseUpstreamAuth, upstream: 403},
		"500":                         {behaviour: upstreamtest.JSON(500, errorBody), status: 502, code: "upstream_error", cause: llm.CauseUpstreamError, upstream: 500},
		"503":                         {behaviour: upstreamtest.JSON(503, errorBody), status: 503, code: "upstream_overloaded", cause: llm.CauseUpstreamOverloaded, upstream: 503},
		"529":                         {behaviour: upstreamtest.JSON(529, errorBody), status: 503, code: "upstream_overloaded", cause: llm.CauseUpstreamOverloaded, upstream: 529},
		"504":                         {behaviour: upstreamtest.JSON(504, errorBody), status: 504, code: "upstream_timeout", cause: llm.CauseUpstreamTimeout, upstream: 504},
		"429":                         {behaviour: upstreamtest.JSON(429, errorBody, "Retry-After", "7"), status: 429, code: "rate_limit_exceeded", cause: llm.CauseUpstreamRateLimited, upstream: 429},
		"204":                         {behaviour: upstreamtest.Answer(204, "", ""), status: 502, code: "upstream_invalid", cause: llm.CauseUpstreamInvalid, upstream: 204},
		"202":                         {behaviour: upstreamtest.JSON(202, `{"queued":true}`), status: 502, code: "upstream_invalid", cause: llm.CauseUpstreamInvalid, upstream: 202},
		"a stream with 500":           {behaviour: upstreamtest.Answer(500, "text/event-stream", upstreamtest.ErrorEvent), status: 502, code: "upstream_error", cause: llm.CauseUpstreamError, upstream: 500},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := upstreamtest.New(t, tt.behaviour)
			f := setup(t, nil, provider(t, "openai", server.URL(), tt.timeouts))
			a := f.chat(helloStream)
			e := a.requireError(t, tt.status, tt.code)
			if name == "429" {
				require.Equal(t, "7", a.Header.Get("Retry-After"))
			}
			row := f.ledger.one(t)
			requireRow(t, row, 1, tt.upstream, tt.status, tt.cause)
			require.Equal(t, tt.billed, row.InputTokens > 0, "tokens: %d", row.InputTokens)
			require.Zero(t, row.OutputTokens)
			require.Equal(t, tt.billed, row.Cost > 0)
			require.Equal(t, llm.UsageEstimated, row.UsageSource)
			for _, where := range []string{e.Message, f.logs.String()} {
				for _, leak := range []string{upstreamKey, "org-secret123", "Incorrect", "internal-host"} {
					require.NotContains(t, where, leak)
				}
			}
			server.WaitIdle(t)
		})
	}
}

func cutBody(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", "5000")
	_, _ = w.Write([]byte(upstreamtest.ChatBody("half")[:50]))
}

func stalledBody(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write([]byte(upstreamtest.ChatBody("half")[:50]))
	_ = http.NewResponseController(w).Flush()
	<-r.Context().Done()
}

func stalledError(w http.ResponseWriter, r *http.Request) {
	w.WriteHeader(http.StatusInternalServerError)
	stalledBody(w, r)
}

func zipped(text string) string {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = z.Write([]byte(text))
	_ = z.Close()
	return b.String()
}

func gzipped(w http.ResponseWriter, r *http.Request) {
	upstreamtest.JSON(200, zipped(upstreamtest.ChatBody("a")), "Content-Encoding", "gzip")(w, r)
}

func gzippedStream(w http.ResponseWriter, r *http.Request) {
	upstreamtest.Answer(200, "text/event-stream", zipped(strings.Join(events, "")), "Content-Encoding", "gzip")(w, r)
}

func TestConnectionRefused(t *testing.T) {
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, listener.Close())
	f := setup(t, nil, provider(t, "openai", "http://"+listener.Addr().String(), upstream.Timeouts{}))
	f.chat(hello).requireError(t, http.StatusBadGateway, "upstream_unreachable")
	row := f.ledger.one(t)
	requireRow(t, row, 1, 0, http.StatusBadGateway, llm.CauseUpstreamUnreachable)
	require.Zero(t, row.Cost)
	require.True(t, row.Priced)
}

// A redirect is an error: following it would carry key and prompt elsewhere.
func TestRedirectIsNotFollowed(t *testing.T) {
	elsewhere := upstreamtest.New(t)
	for _, status := range []int{301, 302, 307, 308} {
		server := upstreamtest.New(t, upstreamtest.Answer(status, "text/html", "moved", "Location", elsewhere.URL()))
		f := setup(t, nil, provider(t, "openai", server.URL(), upstream.Timeouts{}))
		f.chat(hello).requireError(t, http.StatusBadGateway, "upstream_error")
		requireRow(t, f.ledger.one(t), 1, status, http.StatusBadGateway, llm.CauseUpstreamError)
	}
	require.Empty(t, elsewhere.Requests())
}

// An unstreamed answer is held in memory, up to a bound.
func TestAnswerTooLarge(t *testing.T) {
	server := upstreamtest.New(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		block := bytes.Repeat([]byte(" "), 1<<20)
		for range 65 {
			if _, err := w.Write(block); err != nil {
				return
			}
		}
	})
	f := setup(t, nil, provider(t, "openai", server.URL(), upstream.Timeouts{}))
	e := f.chat(hello).requireError(t, http.StatusBadGateway, "upstream_invalid")
	require.Contains(t, e.Message, "too large")
	requireRow(t, f.ledger.one(t), 1, 200, http.StatusBadGateway, llm.CauseUpstreamInvalid)
	server.WaitIdle(t)
}

// TestUpstreamFaultsInMidStream: the caller has had a part. It gets an error
// event and no end, the row says what was counted.
func TestUpstreamFaultsInMidStream(t *testing.T) {
	withUsage := strings.Replace(begun[4], `"usage":null`, `"usage":{"prompt_tokens":10,"completion_tokens":3,"total_tokens":13}`, 1)
	tests := map[string]struct {
		behaviour upstreamtest.Behaviour
		timeouts  upstream.Timeouts
		cause     llm.Cause
		source    llm.UsageSource
	}{
		"cut":                {behaviour: upstreamtest.Stream(begun...), cause: llm.CauseUpstreamCut, source: llm.UsageEstimated},
		"cut, with usage":    {behaviour: upstreamtest.Stream(append(begun[:4:4], withUsage)...), cause: llm.CauseUpstreamCut, source: llm.UsageMixed},
		"reset":              {behaviour: upstreamtest.Reset(begun...), cause: llm.CauseUpstreamCut, source: llm.UsageEstimated},
		"half a chunk":       {behaviour: upstreamtest.Stream(append(begun[:5:5], events[5][:30])...), cause: llm.CauseUpstreamCut, source: llm.UsageEstimated},
		"stall":              {behaviour: upstreamtest.Hang(begun...), timeouts: short(0, 500*time.Millisecond, 0), cause: llm.CauseUpstreamTimeout, source: llm.UsageEstimated},
		"total time":         {behaviour: upstreamtest.Hang(begun...), timeouts: short(0, 0, 500*time.Millisecond), cause: llm.CauseUpstreamTimeout, source: llm.UsageEstimated},
		"error":              {behaviour: upstreamtest.Stream(append(begun[:5:5], upstreamtest.ErrorEvent)...), cause: llm.CauseUpstreamError, source: llm.UsageEstimated},
		"error, then [DONE]": {behaviour: upstreamtest.Stream(append(begun[:5:5], upstreamtest.ErrorEvent, upstreamtest.DoneEvent)...), cause: llm.CauseUpstreamError, source: llm.UsageEstimated},
		"error, then a hang": {behaviour: upstreamtest.Hang(append(begun[:5:5], upstreamtest.ErrorEvent)...), cause: llm.CauseUpstreamError, source: llm.UsageEstimated},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := upstreamtest.New(t, slowFirst(tt.behaviour))
			f := setup(t, nil, provider(t, "openai", server.URL(), tt.timeouts))
			a := f.chat(helloStreamUsage)
			require.NoError(t, a.Err)
			require.Equal(t, http.StatusOK, a.Status)
			passed, last := cutLast(a.Body)
			want := strings.Join(begun, "")
			if name == "cut, with usage" {
				want = strings.Join(append(begun[:4:4], withUsage), "")
			}
			require.Equal(t, opening+want, passed)
			e, id := parseError(t, strings.TrimPrefix(last, "data: "))
			require.Equal(t, string(tt.cause), text(e.Code))
			require.Equal(t, a.Header.Get("X-Request-Id"), id)
			require.NotContains(t, a.Body, "[DONE]")
			row := f.ledger.one(t)
			requireRow(t, row, 1, 200, 200, tt.cause)
			require.Equal(t, tt.source, row.UsageSource)
			require.InDelta(t, 4, row.OutputTokens, 2, "four words")
			require.Positive(t, row.InputTokens)
			require.Positive(t, row.Cost)
			require.True(t, row.Stream)
			server.WaitIdle(t)
		})
	}
}

// opening is a comment that commits the answer before the events come.
const opening = ": opening\n\n"

// slowFirst lets the opening arrive as a packet of its own, so that the caller
// has the answer's header before anything goes wrong.
func slowFirst(then upstreamtest.Behaviour) upstreamtest.Behaviour {
	return func(w http.ResponseWriter, r *http.Request) {
		upstreamtest.Stream(opening)(w, r)
		pause()
		then(headerless{w}, r)
	}
}

// headerless is a ResponseWriter whose header has gone out already.
type headerless struct{ http.ResponseWriter }

func (headerless) WriteHeader(int)               {}
func (h headerless) Unwrap() http.ResponseWriter { return h.ResponseWriter }

// A stream that says why it ends is whole without usage and without [DONE].
func TestNoUsageAtAll(t *testing.T) {
	plain := upstreamtest.ChatEvents(false, words...)
	for name, texts := range map[string][]string{"with [DONE]": plain, "without": plain[:len(plain)-1]} {
		t.Run(name, func(t *testing.T) {
			server := upstreamtest.New(t, upstreamtest.Stream(texts...))
			f := setup(t, nil, provider(t, "openai", server.URL(), upstream.Timeouts{}))
			a := f.chat(helloStreamUsage)
			require.Equal(t, strings.Join(texts, ""), a.Body)
			row := f.ledger.one(t)
			requireRow(t, row, 1, 200, 200, llm.CauseNone)
			require.Equal(t, llm.UsageEstimated, row.UsageSource)
			require.InDelta(t, len(words), row.OutputTokens, 2)
			require.Positive(t, row.InputTokens)
			require.Equal(t, "stop", row.FinishReason)
		})
	}
}

// The caller has the end of a stream at once, also where the upstream keeps its
// connection open; one that closes it in time can be used again.
func TestEndIsNotHeldUp(t *testing.T) {
	server := upstreamtest.New(t, upstreamtest.Hang(events...))
	f := setup(t, nil, provider(t, "openai", server.URL(), upstream.Timeouts{}))
	begin := time.Now()
	a := f.chat(helloStreamUsage)
	require.Less(t, time.Since(begin), 3*time.Second)
	require.Equal(t, strings.Join(events, ""), a.Body)
	requireRow(t, f.ledger.one(t), 1, 200, 200, llm.CauseNone)
	server.WaitCancelled(t, 1)

	transport := newConnections(t)
	server = upstreamtest.New(t, func(w http.ResponseWriter, r *http.Request) {
		upstreamtest.Stream(events...)(w, r)
		pause()
	})
	f = setup(t, nil, configured(t, upstream.Config{Name: "openai", BaseURL: server.URL(), Transport: transport}))
	for range 5 {
		require.Equal(t, strings.Join(events, ""), f.chat(helloStreamUsage).Body)
	}
	require.Less(t, transport.dialed.Load(), int64(5), "connections serve again, but where a busy machine was too late")
	require.Len(t, f.ledger.wait(t, 5), 5)
}

// What comes after the terminal event passes, too, if it comes soon.
func TestAfterTheEnd(t *testing.T) {
	const completed = "event: response.completed\ndata: " + `{"type":"response.completed","response":{"status":"completed","output":[],"usage":{"input_tokens":5,"output_tokens":1}}}` + "\n\n"
	server := upstreamtest.New(t, func(w http.ResponseWriter, r *http.Request) {
		upstreamtest.Stream(completed)(w, r)
		time.Sleep(5 * time.Millisecond) // far less than the gateway waits for an upstream's proper end
		upstreamtest.Stream(upstreamtest.DoneEvent, ": half")(headerless{w}, r)
	})
	f := setup(t, nil, provider(t, "openai", server.URL(), upstream.Timeouts{}))
	a := f.post("/v1/responses", `{"model":"gpt-4o","input":"hi","stream":true}`)
	require.Equal(t, completed+upstreamtest.DoneEvent+": half", a.Body)
	requireRow(t, f.ledger.one(t), 1, 200, 200, llm.CauseNone)
}

// pause lets what was sent pass through the gateway before more follows, on a
// busy machine too.
func pause() { time.Sleep(80 * time.Millisecond) }
