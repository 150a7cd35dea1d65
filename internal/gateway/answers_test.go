package gateway_test

import (
	"context"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/gateway"
	"github.com/financecommander/tollgate/internal/identity"
	"github.com/financecommander/tollgate/internal/llm"
	"github.com/financecommander/tollgate/internal/upstream"
	"github.com/financecommander/tollgate/internal/upstreamtest"
)

// follower writes down what it is told.
type follower struct {
	PassFunc func(context.Context) bool
	refuses  bool

	mu       sync.Mutex // guards what follows
	question gateway.Question
	user     string
	told     []string
	outcome  gateway.Outcome
}

func (f *follower) Begin(_ context.Context, p *identity.Principal, q gateway.Question) gateway.Answer {
	if f.refuses {
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.question, f.user = q, p.UserHash
	return f
}

func (f *follower) note(what string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.told = append(f.told, what)
}

func (f *follower) Again()            { f.note("again") }
func (f *follower) Text(piece string) { f.note(piece) }

func (f *follower) Pass(ctx context.Context) bool {
	f.note("pass")
	return f.PassFunc != nil && f.PassFunc(ctx)
}

func (f *follower) End(o gateway.Outcome) {
	f.mu.Lock()
	f.outcome = o // before its end is seen
	f.mu.Unlock()
	f.note("end")
}

// said is what it was told, in one line.
func (f *follower) said() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return strings.Join(f.told, "|")
}

func (f *follower) ended() bool { return strings.HasSuffix(f.said(), "end") }

func TestAnswersAreFollowed(t *testing.T) {
	hello := []string{"Hello", ", ", "world"}
	done := gateway.Outcome{Model: "gpt-4o-mini", InputTokens: 10, OutputTokens: 3, Cost: 3_300_000, Whole: true}
	for name, tt := range map[string]struct {
		path      string
		behaviour upstreamtest.Behaviour
		status    int
		want      string
		outcome   gateway.Outcome
	}{
		"stream": {
			"/chat/stream", upstreamtest.Stream(strings.Join(upstreamtest.ChatEvents(true, hello...), "")),
			200, "again|Hello|, |world|pass|end", done,
		},
		"send":             {"/chat/send", upstreamtest.Chat(hello...), 200, "again|Hello, world|pass|end", done},
		"stream, unasked":  {"/chat/send", upstreamtest.Stream(upstreamtest.ChatEvents(true, hello...)...), 200, "again|Hello, world|pass|end", done},
		"no stream, asked": {"/chat/stream", upstreamtest.JSON(200, upstreamtest.ChatBody(hello...)), 200, "again|Hello, world|pass|end", done},
		"refused upstream": {"/chat/stream", upstreamtest.JSON(400, `{}`), 400, "again|end", gateway.Outcome{Model: "gpt-4o-mini"}},
	} {
		t.Run(name, func(t *testing.T) {
			f := &follower{}
			server := upstreamtest.New(t, tt.behaviour)
			site := setup(t, func(o *gateway.Options) { withSpecialists(o); o.Answers = f }, provider(t, "openai", server.URL(), upstream.Timeouts{}))
			require.Equal(t, tt.status, site.post(tt.path, askHelper).Status)
			require.Eventually(t, f.ended, 5*time.Second, time.Millisecond)
			require.Equal(t, tt.want, f.said())
			require.Equal(t, tt.outcome, f.outcome)
			require.Equal(t, gateway.Question{Text: "hi", SpecialistID: "helper", Provider: "openai", Model: "gpt-4o-mini"}, f.question)
			require.Equal(t, "hash-u1", f.user)
		})
	}
}

// Nobody is told of calls in other dialects, of calls without a caller, or where
// the follower does not want to.
func TestAnswersNotFollowed(t *testing.T) {
	f := &follower{}
	server := upstreamtest.New(t)
	site := setup(t, func(o *gateway.Options) { withSpecialists(o); o.Answers, o.AllowAnonymous = f, true }, provider(t, "openai", server.URL(), upstream.Timeouts{}))
	require.Equal(t, 200, site.chat(helloStream).Status)
	require.Equal(t, 200, site.post("/chat/stream", askHelper, "Authorization", "").Status)
	require.Equal(t, 422, site.post("/chat/stream", `{"specialist_id":"helper"}`).Status)
	require.Equal(t, 404, site.post("/chat/stream", `{"specialist_id":"nobody","message":"hi"}`).Status)
	f.refuses = true
	require.Equal(t, 200, site.post("/chat/stream", askHelper).Status)
	require.Empty(t, f.said())
}

// A wait of the follower's is neither the upstream's silence nor a reason to
// record less.
func TestFollowersMayWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &follower{PassFunc: func(context.Context) bool { time.Sleep(1500 * time.Millisecond); return true }}
		upstreams := scripted{limits: upstream.Timeouts{BetweenBytes: 2 * time.Second}, answer: func(w *io.PipeWriter) {
			for _, event := range upstreamtest.ChatEvents(true, "one ", "two ", "three") {
				time.Sleep(time.Second)
				if _, err := w.Write([]byte(event)); err != nil {
					return
				}
			}
		}}
		view, l := watchStream(t, "/chat/stream", upstreams, func(o *gateway.Options) { o.Answers = f })
		time.Sleep(time.Minute)
		synctest.Wait()
		require.Contains(t, view.next(), `"is_final":true`)
		row := l.one(t)
		requireRow(t, row, 1, 200, http.StatusOK, llm.CauseNone)
		require.EqualValues(t, 3, row.OutputTokens)
		require.Equal(t, llm.UsageProvider, row.UsageSource)
		require.True(t, f.outcome.Whole)
	})
}

// Who leaves is told of with what there was.
func TestFollowedCallerLeaves(t *testing.T) {
	f := &follower{}
	server := upstreamtest.New(t, upstreamtest.Hang(upstreamtest.ChatEvents(true, "one ", "two ")[:3]...))
	site := setup(t, func(o *gateway.Options) { withSpecialists(o); o.Answers = f }, provider(t, "openai", server.URL(), upstream.Timeouts{}))
	ctx, leave := context.WithCancel(t.Context())
	resp, err := site.client.Do(site.request(ctx, "POST", "/chat/stream", strings.NewReader(askHelper)))
	require.NoError(t, err)
	defer resp.Body.Close()
	require.Eventually(t, func() bool { return strings.Contains(f.said(), "two ") }, 5*time.Second, time.Millisecond)
	leave()
	require.Eventually(t, f.ended, 5*time.Second, time.Millisecond)
	require.False(t, f.outcome.Whole)
	site.ledger.one(t)
}
