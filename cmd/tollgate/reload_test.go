package main

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/database"
	"github.com/financecommander/tollgate/internal/llm"
	"github.com/financecommander/tollgate/internal/upstreamtest"
	"github.com/financecommander/tollgate/internal/usage"
)

// held answers streams with their first half and waits for the test before the
// second.
func held() (b upstreamtest.Behaviour, release func()) {
	gate := make(chan struct{})
	events := upstreamtest.ChatEvents(true, "one ", "two ", "three")
	return func(w http.ResponseWriter, r *http.Request) {
		upstreamtest.Stream(events[:2]...)(w, r)
		select {
		case <-gate:
			upstreamtest.Stream(events[2:]...)(w, r)
		case <-r.Context().Done():
		}
	}, sync.OnceFunc(func() { close(gate) })
}

// liveStream is a stream under way.
type liveStream struct {
	t    *testing.T
	resp *http.Response
	in   *bufio.Reader
}

// stream begins a streamed call and waits for its first event.
func (g *gateway) stream(token, model string) *liveStream {
	g.t.Helper()
	resp, err := g.client.Do(g.request("POST", "/v1/chat/completions", token, chat(model, true)))
	require.NoError(g.t, err)
	g.t.Cleanup(func() { resp.Body.Close() })
	require.Equal(g.t, 200, resp.StatusCode)
	s := &liveStream{g.t, resp, bufio.NewReader(resp.Body)}
	line, err := s.in.ReadString('\n')
	require.NoError(g.t, err)
	require.True(g.t, strings.HasPrefix(line, "data: {"), line)
	return s
}

// rest reads the stream to its end, which must be a good one.
func (s *liveStream) rest() {
	s.t.Helper()
	text, err := io.ReadAll(s.in)
	require.NoError(s.t, err)
	for _, word := range []string{`"one "`, `"two "`, `"three"`} {
		require.Equal(s.t, 1, strings.Count(string(text), word), "%s", text)
	}
	require.True(s.t, strings.HasSuffix(string(text), "data: [DONE]\n\n"), "%s", text)
}

// load loads the gateway's Caddyfile through the admin API, which is a reload
// without the cost of a process.
func (g *gateway) load(caddyfile string) answer {
	g.t.Helper()
	return g.do("POST", g.Admin+"/load", "", caddyfile, "Content-Type", "text/caddyfile", "Cache-Control", "must-revalidate")
}

// app is an llm block with this database and more.
func (g *gateway) app(database, more string) string {
	return fmt.Sprintf("database sqlite:///%s\njwt {\nsecret %q\n}\n%s", filepath.Join(g.dir, database), testSecret, more)
}

func openai(u *upstreamtest.Upstream) string {
	return "provider openai {\nkey sk-test\nbase_url " + u.URL() + "/v1\n}\n"
}

func aliceToken(t *testing.T) string {
	t.Helper()
	return sign(t, jwt.SigningMethodHS256, []byte(testSecret), claims())
}

func TestReloadUnderLiveStream(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(g *gateway, provider string){
		"same": func(g *gateway, provider string) {},
		"site changed": func(g *gateway, provider string) {
			g.caddyfile(g.app("a.db", provider), "llm_gateway {\nrate_limit 7/h\n}")
		},
		"database changed": func(g *gateway, provider string) { g.caddyfile(g.app("b.db", provider), "llm_gateway") },
		"provider removed": func(g *gateway, _ string) { g.caddyfile(g.app("a.db", ""), "llm_gateway") },
		"all removed":      func(g *gateway, _ string) { g.caddyfile("", "respond gone") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			behaviour, release := held()
			upstream := upstreamtest.New(t, behaviour)
			token := aliceToken(t)
			g := newGateway(t)
			g.caddyfile(g.app("a.db", openai(upstream)), "llm_gateway")
			before := g.config
			g.start()
			live := g.stream(token, "openai/gpt-4o")
			change(g, openai(upstream))
			said, code := g.reload()
			require.Zero(t, code, said)
			release()
			live.rest()
			upstream.WaitIdle(t)

			g.config = before
			g.caddyfile(g.app("a.db", openai(upstream)), "llm_gateway")
			said, code = g.reload()
			require.Zero(t, code, said)
			rows := g.rows(token, 1)
			require.Len(t, rows, 1, "in the database the stream began with")
			require.True(t, rows[0].Success)
			require.Equal(t, int64(3), rows[0].OutputTokens)
			require.NotContains(t, g.log.String(), `"level":"error"`)
		})
	}
}

func TestFailedReloadLeavesTheOldConfiguration(t *testing.T) {
	t.Parallel()
	behaviour, release := held()
	upstream := upstreamtest.New(t, behaviour)
	token := aliceToken(t)
	g := newGateway(t)
	app := g.app("a.db", openai(upstream))
	g.caddyfile(app, "llm_gateway")
	g.start()
	live := g.stream(token, "openai/gpt-4o")
	for name, bad := range map[string]struct{ app, said string }{
		"grammar":   {app + "no_such_option", "unrecognized option of llm: no_such_option"},
		"secret":    {g.app("b.db", "pepper {file./no/such/file}"), "pepper"},
		"provider":  {g.app("b.db", "provider demo {\nkey x\n}"), "the name must be new"},
		"prices":    {g.app("b.db", "prices /no/such/file"), "prices"},
		"start":     {g.app("b.db", "auto_migrate off"), "tollgate migrate"},
		"metrics":   {g.app("a.db", "metrics_listen 203.0.113.1:1"), "metrics_listen"},
		"transport": {g.app("b.db", "transport http {\ntls_trust_pool file /no/such/file\n}"), "no such file"},
	} {
		g.caddyfile(bad.app, "llm_gateway")
		said, code := g.reload()
		require.NotZero(t, code, name)
		require.Contains(t, said, bad.said, name)
	}
	release()
	live.rest()
	upstream.Script()
	require.Equal(t, 200, g.ask(token, "openai/gpt-4o", false).Status)
	require.Len(t, g.rows(token, 2), 2)
	a := g.do("GET", g.Admin+"/metrics", "", "")
	require.Contains(t, a.Body, `tollgate_ledger_records_total{outcome="shipped"} 2`, "the metrics are the serving ledger's")
}

func TestLimitsSurviveReload(t *testing.T) {
	t.Parallel()
	token := aliceToken(t)
	g := newGateway(t)
	g.caddyfile(g.app("a.db", ""), "llm_gateway {\nrate_limit 3/h\n}")
	g.start()
	require.Equal(t, 200, g.ask(token, specialist, false).Status)
	require.Equal(t, 200, g.ask(token, specialist, false).Status)
	g.caddyfile(g.app("b.db", ""), "llm_gateway {\nrate_limit 3/h\ncors *\n}")
	_, code := g.reload()
	require.Zero(t, code)
	require.Equal(t, 200, g.ask(token, specialist, false).Status)
	require.Equal(t, 429, g.ask(token, specialist, false).Status)
}

// TestReloadsUnderLoadLoseNoCall reloads fifty times, each time to another
// database, while calls come in without a pause. The callers try again, as every
// SDK does, when a connection ends without an answer: Caddy opens a new socket at
// each reload and Linux resets what the old one has not accepted (unless
// net.ipv4.tcp_migrate_req is 1), and net/http hangs up on requests that it has
// not begun to serve when it is told to shut down. Neither reaches a handler.
func TestReloadsUnderLoadLoseNoCall(t *testing.T) {
	t.Parallel()
	upstream := upstreamtest.New(t)
	token := aliceToken(t)
	g := newGateway(t)
	var texts [2]string
	for i, database := range []string{"a.db", "b.db"} {
		g.caddyfile(g.app(database, openai(upstream)), "llm_gateway {\nrate_limit off\nread_rate_limit off\n}")
		texts[i] = g.text()
	}
	g.start()

	stop := make(chan struct{})
	var calls atomic.Int64
	var failures sync.Map
	var load sync.WaitGroup
	for worker := range 3 {
		load.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				calls.Add(1)
				a, err := g.try("POST", "/v1/chat/completions", token, chat("openai/gpt-4o", worker == 0))
				if err != nil || a.Status != 200 || !strings.Contains(a.Body, "world") {
					failures.Store(fmt.Sprint(a.Status, a.Body, err), true)
				}
			}
		})
	}
	for i := range 50 {
		a := g.load(texts[i%2])
		require.Equal(t, 200, a.Status, a.Body)
	}
	close(stop)
	load.Wait()
	failures.Range(func(what, _ any) bool {
		t.Errorf("a call failed: %v", what)
		return true
	})
	t.Logf("%d calls over 50 reloads, %d tried again", calls.Load(), g.again.Load())
	require.Len(t, upstream.Requests(), int(calls.Load()), "each call reached the upstream once")
	g.eventually("one row per call", func() bool {
		total := 0
		for _, text := range texts {
			require.Equal(t, 200, g.load(text).Status)
			total += len(g.allRows(token))
		}
		return total == int(calls.Load())
	})
}

func TestSIGTERMLetsStreamsEnd(t *testing.T) {
	t.Parallel()
	behaviour, release := held()
	upstream := upstreamtest.New(t, behaviour)
	token := aliceToken(t)
	g := newGateway(t)
	g.caddyfile(g.app("a.db", openai(upstream)), "llm_gateway")
	g.start()
	live := g.stream(token, "openai/gpt-4o")
	require.NoError(t, g.process.Signal(syscall.SIGTERM))
	g.printed("servers shutting down")
	select {
	case <-g.ended:
		t.Fatal("the gateway ended under a live stream")
	case <-time.After(200 * time.Millisecond):
	}
	release()
	live.rest()
	g.wait()
	require.Zero(t, g.code)
	require.Contains(t, g.log.String(), "shutdown complete")

	g.start()
	rows := g.rows(token, 1)
	require.Len(t, rows, 1)
	require.True(t, rows[0].Success)
}

// TestSIGKILLCostsNoRow: a call whose end its caller has seen has its row,
// whatever happens after, and a call under way gets one at the next start.
func TestSIGKILLCostsNoRow(t *testing.T) {
	t.Parallel()
	behaviour, _ := held()
	upstream := upstreamtest.New(t, upstreamtest.Chat("done"), upstreamtest.Chat("done"), upstreamtest.Chat("done"), behaviour)
	token := aliceToken(t)
	g := newGateway(t)
	g.caddyfile(g.app("a.db", openai(upstream)), "llm_gateway")
	g.start()
	for i := range 3 {
		require.Equal(t, 200, g.ask(token, "openai/gpt-4o", i%2 == 0).Status)
	}
	g.stream(token, "openai/gpt-4o")
	g.kill()
	upstream.WaitIdle(t)

	g.start()
	require.Len(t, g.rows(token, 4), 4)
	require.Equal(t, map[llm.Cause]int{llm.CauseNone: 3, llm.CauseInterrupted: 1}, g.causes("a.db"))
}

// A call that lasts longer than the process may leaves its row at the next start.
func TestSIGTERMCutsAtLast(t *testing.T) {
	t.Parallel()
	behaviour, _ := held()
	upstream := upstreamtest.New(t, behaviour)
	token := aliceToken(t)
	g := newGateway(t)
	g.caddyfile(g.app("a.db", openai(upstream)), "llm_gateway")
	g.configure(strings.Replace(g.text(), "grace_period 1m", "grace_period 100ms", 1))
	g.start()
	g.stream(token, "openai/gpt-4o")
	require.NoError(t, g.process.Signal(syscall.SIGTERM))
	g.wait()
	upstream.WaitIdle(t)

	g.start()
	require.Len(t, g.rows(token, 1), 1)
	require.Equal(t, map[llm.Cause]int{llm.CauseInterrupted: 1}, g.causes("a.db"))
}

// causes counts the rows of a database by how they ended.
func (g *gateway) causes(name string) map[llm.Cause]int {
	g.t.Helper()
	db, err := database.Open("sqlite:///"+filepath.Join(g.dir, name), database.Options{})
	require.NoError(g.t, err)
	defer db.Close()
	page, err := usage.List(g.t.Context(), db, usage.Filter{})
	require.NoError(g.t, err)
	causes := make(map[llm.Cause]int)
	for _, r := range page.Records {
		causes[r.ErrorCause]++
		require.Equal(g.t, r.ErrorCause == llm.CauseNone, r.Success)
		require.Positive(g.t, r.InputTokens)
		require.Positive(g.t, r.Cost)
	}
	return causes
}
