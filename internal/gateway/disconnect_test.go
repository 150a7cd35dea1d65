package gateway_test

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/gateway"
	"github.com/financecommander/tollgate/internal/llm"
	"github.com/financecommander/tollgate/internal/upstream"
	"github.com/financecommander/tollgate/internal/upstreamtest"
	"github.com/financecommander/tollgate/internal/usage"
)

// noticed is how soon an upstream must see that a caller left. The promise is
// 50 ms; a busy machine gets more.
const noticed = 250 * time.Millisecond

// leaving is a caller who hangs up when told.
type leaving struct {
	resp  *http.Response
	err   error
	leave context.CancelFunc
	done  chan struct{} // closed when the answer's header is there, or never will
}

func (f *fixture) leaving(body string) *leaving {
	ctx, cancel := context.WithCancel(f.t.Context())
	l := &leaving{leave: cancel, done: make(chan struct{})}
	request := f.request(ctx, http.MethodPost, "/v1/chat/completions", strings.NewReader(body))
	go func() {
		defer close(l.done)
		l.resp, l.err = f.client.Do(request)
	}()
	f.t.Cleanup(func() {
		cancel()
		<-l.done
		if l.err == nil {
			_ = l.resp.Body.Close()
		}
	})
	return l
}

// readTo reads the stream up to a line that ends in text.
func (l *leaving) readTo(t *testing.T, text string) {
	t.Helper()
	<-l.done
	require.NoError(t, l.err)
	lines := bufio.NewReader(l.resp.Body)
	for {
		line, err := lines.ReadString('\n')
		require.NoError(t, err)
		if strings.Contains(line, text) {
			return
		}
	}
}

// A caller who leaves cancels the upstream at once, wherever the call is, and
// leaves a row that says so.
func TestCallerLeaves(t *testing.T) {
	withUsage := strings.Replace(begun[4], `"usage":null`, `"usage":{"prompt_tokens":10,"completion_tokens":1,"total_tokens":11}`, 1)
	tests := map[string]struct {
		body      string
		behaviour upstreamtest.Behaviour
		readTo    string // "": leaves while waiting for the header
		upstream  int
		source    llm.UsageSource
		output    bool
	}{
		"waiting for the header":   {body: helloStream, behaviour: upstreamtest.Hang(), source: llm.UsageEstimated},
		"waiting, unstreamed":      {body: hello, behaviour: upstreamtest.Hang(), source: llm.UsageEstimated},
		"unstreamed, half a body":  {body: hello, behaviour: stalledBody, upstream: 200, source: llm.UsageEstimated},
		"a header, no event":       {body: helloStream, behaviour: upstreamtest.Hang(""), upstream: 200, source: llm.UsageEstimated},
		"in mid-stream":            {body: helloStream, behaviour: upstreamtest.Hang(begun...), readTo: "four", upstream: 200, source: llm.UsageEstimated, output: true},
		"in mid-stream, some told": {body: helloStream, behaviour: upstreamtest.Hang(append(begun[:4:4], withUsage)...), readTo: "four", upstream: 200, source: llm.UsageMixed, output: true},
		"while events come":        {body: helloStream, behaviour: upstreamtest.Drip(5*time.Millisecond, manyEvents...), readTo: "word", upstream: 200, source: llm.UsageEstimated, output: true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			server := upstreamtest.New(t, tt.behaviour)
			f := setup(t, nil, provider(t, "openai", server.URL(), upstream.Timeouts{}))
			caller := f.leaving(tt.body)
			if tt.readTo != "" {
				caller.readTo(t, tt.readTo)
			} else {
				server.WaitRequests(t, 1)
				pause() // so that what the upstream sends at once is there
			}
			left := time.Now()
			caller.leave()
			took := server.WaitCancelled(t, 1).Sub(left)
			t.Logf("the upstream saw it after %s", took)
			require.Less(t, took, noticed)

			row := f.ledger.one(t)
			requireRow(t, row, 1, tt.upstream, llm.StatusClientClosedRequest, llm.CauseClientGone)
			require.Equal(t, tt.source, row.UsageSource)
			require.Positive(t, row.InputTokens)
			require.Equal(t, tt.output, row.OutputTokens > 0)
			require.Positive(t, row.Cost)
			server.WaitIdle(t)
		})
	}
}

var manyEvents = func() []string {
	texts := make([]string, 1000)
	for i := range texts {
		texts[i] = "word "
	}
	return upstreamtest.ChatEvents(true, texts...)
}()

func draining(timeout time.Duration) func(*gateway.Options) {
	return func(o *gateway.Options) { o.OnDisconnect, o.DrainTimeout = gateway.Drain, timeout }
}

// When left calls are drained, the upstream is read to its end, and the row has
// its own numbers; it still says that the caller had no whole answer.
func TestDrain(t *testing.T) {
	for name, body := range map[string]string{"stream": helloStream, "unstreamed": hello} {
		t.Run(name, func(t *testing.T) {
			goOn := make(chan struct{})
			server := upstreamtest.New(t, func(w http.ResponseWriter, r *http.Request) {
				if body == helloStream {
					upstreamtest.Stream(begun...)(w, r)
				}
				<-goOn
				if body == helloStream {
					upstreamtest.Stream(events[len(begun):]...)(headerless{w}, r)
				} else {
					upstreamtest.Chat(words...)(w, r)
				}
			})
			f := setup(t, draining(10*time.Second), provider(t, "openai", server.URL(), upstream.Timeouts{}))
			caller := f.leaving(body)
			if body == helloStream {
				caller.readTo(t, "four")
			} else {
				server.WaitRequests(t, 1)
			}
			caller.leave()
			<-caller.done
			require.Empty(t, f.ledger.all())
			pause() // the gateway learns that the caller left
			close(goOn)

			row := f.ledger.one(t)
			requireRow(t, row, 1, 200, llm.StatusClientClosedRequest, llm.CauseClientGone)
			require.Equal(t, llm.UsageProvider, row.UsageSource)
			require.EqualValues(t, 10, row.InputTokens)
			require.EqualValues(t, len(words), row.OutputTokens)
			server.WaitIdle(t)
		})
	}
}

// Draining ends after its time.
func TestDrainTimeout(t *testing.T) {
	for name, tt := range map[string]struct {
		body      string
		behaviour upstreamtest.Behaviour
		upstream  int
	}{
		"stream":     {helloStream, upstreamtest.Hang(begun...), 200},
		"drip":       {helloStream, upstreamtest.Drip(2*time.Millisecond, manyEvents...), 200},
		"unstreamed": {hello, upstreamtest.Hang(), 0},
	} {
		t.Run(name, func(t *testing.T) {
			server := upstreamtest.New(t, tt.behaviour)
			f := setup(t, draining(50*time.Millisecond), provider(t, "openai", server.URL(), upstream.Timeouts{}))
			caller := f.leaving(tt.body)
			if tt.upstream == 200 {
				caller.readTo(t, "o") // any word
			}
			server.WaitRequests(t, 1)
			left := time.Now()
			caller.leave()
			require.Greater(t, server.WaitCancelled(t, 1).Sub(left), 40*time.Millisecond)
			row := f.ledger.one(t)
			requireRow(t, row, 1, tt.upstream, llm.StatusClientClosedRequest, llm.CauseClientGone)
			require.Equal(t, llm.UsageEstimated, row.UsageSource)
			server.WaitIdle(t)
		})
	}
}

// A caller who stays is not drained: the answer is just whole.
func TestDrainOfStayingCaller(t *testing.T) {
	server := upstreamtest.New(t)
	f := setup(t, draining(time.Millisecond), provider(t, "openai", server.URL(), upstream.Timeouts{}))
	require.Equal(t, http.StatusOK, f.chat(helloStream).Status)
	requireRow(t, f.ledger.one(t), 1, 200, 200, llm.CauseNone)
}

// The record stands before the caller has the end of the answer.
func TestRecordBeforeTheEnd(t *testing.T) {
	for name, body := range map[string]string{"stream": helloStreamUsage, "unstreamed": hello, "portal": ""} {
		t.Run(name, func(t *testing.T) {
			server := upstreamtest.New(t, func(w http.ResponseWriter, r *http.Request) {
				if name == "unstreamed" {
					upstreamtest.Chat(words...)(w, r)
					return
				}
				upstreamtest.Stream(events[:7]...)(w, r) // up to the last word
				pause()
				upstreamtest.Stream(events[7:]...)(headerless{w}, r)
			})
			f := setup(t, withSpecialists, provider(t, "openai", server.URL(), upstream.Timeouts{}))
			appending, goOn := make(chan struct{}), make(chan struct{})
			release := sync.OnceFunc(func() { close(goOn) })
			t.Cleanup(release)
			f.ledger.AppendFunc = func(*usage.Record) error {
				close(appending)
				<-goOn
				return nil
			}
			path, end := "/v1/chat/completions", "[DONE]"
			switch name {
			case "portal":
				path, body, end = "/chat/stream", `{"specialist_id":"helper","message":"hi"}`, `"is_final":true`
			case "unstreamed":
				end = "usage"
			}
			got := make(chan string)
			request := f.request(t.Context(), http.MethodPost, path, strings.NewReader(body))
			go func() {
				defer close(got)
				resp, err := f.client.Do(request)
				if err != nil {
					return
				}
				defer resp.Body.Close()
				buffer := make([]byte, 64<<10)
				for {
					n, err := resp.Body.Read(buffer)
					got <- string(buffer[:n])
					if err == io.EOF {
						return
					}
				}
			}()
			<-appending
			var before strings.Builder
			for waiting := true; waiting; {
				select {
				case piece := <-got:
					before.WriteString(piece)
				case <-time.After(30 * time.Millisecond):
					waiting = false
				}
			}
			require.NotContains(t, before.String(), end)
			if name == "unstreamed" {
				require.Empty(t, before.String())
			} else {
				require.Contains(t, before.String(), "six")
			}
			release()
			var after strings.Builder
			for piece := range got {
				after.WriteString(piece)
			}
			require.Contains(t, after.String(), end)
		})
	}
}
