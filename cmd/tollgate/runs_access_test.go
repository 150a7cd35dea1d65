package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/require"
)

const (
	short   = "name: short\nsteps: [{name: only, provider: openai, model: gpt-4o, prompt: 'STEP only: {{ .query }}'}]"
	careful = "name: careful\nsteps: [{name: first, provider: openai, model: gpt-4o, prompt: 'STEP first: {{ .query }}'}, " +
		"{name: second, depends_on: [first], provider: openai, model: gpt-4o, prompt: 'STEP second: x', on_failure: empty}]"
	askless = "name: askless\nsteps: [{name: only, transform: query}]"
)

// requireClosed waits until the server closes a socket, with a code.
func (f *follower) requireClosed(code int) {
	f.g.t.Helper()
	for {
		if _, _, err := f.conn.Read(f.g.t.Context()); err != nil {
			require.Equal(f.g.t, websocket.StatusCode(code), websocket.CloseStatus(err), "%v", err)
			return
		}
	}
}

// TestWhoseRunItIs: a run is its owner's, whatever somebody else knows of it.
func TestWhoseRunItIs(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	g := startGateway(t, append(withPipelines(t, s, short), "ADMINS=root@example.com", "VIEWERS=viewer@example.com")...)
	alice, bob := g.login("alice@example.com"), g.login("bob@example.com")
	admin, viewer := g.login("root@example.com"), g.login("viewer@example.com")
	const question = "Whose-secret-question is it?"
	id := g.startRun(alice, "short", question, "Idempotency-Key", "the same")
	g.runEnds(alice, id, "completed")
	hash := g.do("GET", "/auth/me", alice, "").get("id")

	other := g.startRun(bob, "short", question, "Idempotency-Key", "the same")
	require.NotEqual(t, id, other, "a key is one user's")
	runs := "/api/v2/pipelines/runs"
	unknown := "0" + id[1:len(id)-1] + map[bool]string{true: "1", false: "0"}[strings.HasSuffix(id, "0")]
	for _, call := range [][2]string{{"GET", ""}, {"POST", "/cancel"}, {"POST", "/resume"}} {
		foreign := g.do(call[0], runs+"/"+id+call[1], bob, "")
		missing := g.do(call[0], runs+"/"+unknown+call[1], bob, "")
		require.Equal(t, []any{404, foreign.get("error")}, []any{missing.Status, missing.get("error")}, call)
		require.Equal(t, 404, foreign.Status, call)
		require.Equal(t, 404, g.do(call[0], runs+"/"+strings.ReplaceAll(id, "-", "%2d")+call[1], bob, "").Status, call)
		require.Equal(t, 403, g.do(call[0], runs+"/"+id+call[1], viewer, "").Status, call)
		require.Equal(t, 401, g.do(call[0], runs+"/"+id+call[1], "", "").Status, call)
	}
	require.Equal(t, id, g.getRun(alice, strings.ToUpper(id)).get("pipeline_id"))
	require.Contains(t, g.getRun(admin, id).Body, question)
	require.Equal(t, 403, g.do("POST", runs+"/"+id+"/resume", admin, "").Status, "it spends its owner's money")
	for _, token := range []string{bob, viewer} {
		g.follow(token, id).requireClosed(4003)
	}
	g.follow("no.such.token", id).requireClosed(1008)
	g.follow(alice, unknown).requireClosed(4003)

	for _, path := range []string{runs, "/usage/pipelines"} {
		require.Equal(t, 403, g.do("GET", path+"?user_hash="+hash, bob, "").Status, path)
		require.NotContains(t, g.do("GET", path+"?limit=500", bob, "").Body, id, path)
		require.NotContains(t, g.do("GET", path+"?before=ffffffff-ffff-7fff-bfff-ffffffffffff", bob, "").Body, id, path)
		require.Equal(t, 401, g.do("GET", path, "", "").Status, path)
		require.Contains(t, g.do("GET", path+"?user_hash="+hash, admin, "").Body, question, path)
	}
	require.Equal(t, 403, g.do("GET", runs, viewer, "").Status)
	seen := g.do("GET", "/usage/pipelines", viewer, "")
	require.Contains(t, seen.Body, id)
	require.NotContains(t, seen.Body, question)
	require.NotContains(t, g.do("GET", "/usage/logs?run_id="+id, bob, "").Body, id)
	require.Equal(t, 403, g.do("POST", "/api/v2/pipelines/run", viewer, `{"pipeline_name":"short","query":"x"}`).Status)
}

// TestTokensForSomeSpecialists: they run pipelines of what they are good for.
func TestTokensForSomeSpecialists(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	g := startGateway(t, withPipelines(t, s, short, careful, askless, strings.Replace(strings.Replace(short, "gpt-4o,", "gpt-4o-mini,", 1), "short", "mini", 1))...)
	alice := g.login("alice@example.com")
	a := g.do("POST", "/auth/tokens", alice, `{"name":"some","specialists":["openai/gpt-4o-mini"]}`)
	require.Equal(t, 200, a.Status, a.Body)
	some := a.get("token")
	list := g.do("GET", "/api/v2/pipelines/list", some, "")
	require.Contains(t, list.Body, `"mini"`)
	for _, name := range []string{"short", "careful", "askless", "lex-intelligence-ultimate"} {
		require.NotContains(t, list.Body, `"`+name+`"`)
		require.GreaterOrEqual(t, g.do("POST", "/api/v2/pipelines/run", some, `{"pipeline_name":"`+name+`","query":"x"}`).Status, 400, name)
		require.Equal(t, 404, g.do("GET", "/api/v2/pipelines/definitions/"+name+"/graph", some, "").Status, name)
		require.Equal(t, 403, g.do("GET", "/api/v2/pipelines/definitions/"+name, some, "").Status, name)
	}
	g.runEnds(some, g.startRun(some, "mini", "x"), "completed")

	letGo := s.hold("first")
	id := g.startRun(alice, "careful", "x")
	s.waitFor(g, "first")
	require.Equal(t, 200, g.do("POST", "/api/v2/pipelines/runs/"+id+"/cancel", some, "").Status, "it reads and stops what is its user's")
	letGo()
	g.runEnds(alice, id, "failed")
	require.GreaterOrEqual(t, g.do("POST", "/api/v2/pipelines/runs/"+id+"/resume", some, "").Status, 403, "and starts what it is good for")
	require.Equal(t, "failed", g.getRun(alice, id).get("status"))
}

// TestWithdrawnInMidRun: who is blocked, or signs out, makes no further call, and
// sees no further event.
func TestWithdrawnInMidRun(t *testing.T) {
	t.Parallel()
	for name, withdraw := range map[string]func(g *gateway, admin, token, hash string) answer{
		"blocked": func(g *gateway, admin, _, hash string) answer {
			return g.do("PUT", "/auth/users/"+hash, admin, `{"blocked":true}`)
		},
		"signed out": func(g *gateway, _, token, _ string) answer { return g.do("POST", "/auth/logout", token, "{}") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStage(t)
			g := startGateway(t, append(withPipelines(t, s, careful), "ADMINS=root@example.com")...)
			admin, token := g.login("root@example.com"), g.login("alice@example.com")
			hash := g.do("GET", "/auth/me", token, "").get("id")
			letGo := s.hold("first")
			id := g.startRun(token, "careful", "x")
			f := g.follow(token, id)
			s.waitFor(g, "first")
			require.Equal(t, 200, withdraw(g, admin, token, hash).Status)
			f.requireClosed(1008)
			letGo()
			run := g.runEnds(admin, id, "failed")
			require.Equal(t, "forbidden", run.get("error_code"), run.Body)
			require.Empty(t, s.body("second"), "no policy of a step goes on for who may not")
			require.Equal(t, 401, g.do("GET", "/api/v2/pipelines/runs/"+id, token, "").Status)
		})
	}
}

// TestExpiredInMidRun: a run outlives the token that it was started with; its
// socket does not.
func TestExpiredInMidRun(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	g := startGateway(t, withPipelines(t, s, careful)...)
	// Clocks may differ by half a minute.
	token := sign(t, jwt.SigningMethodHS256, []byte(testSecret), claims("sub", "alice", "exp", time.Now().Add(-24*time.Second).Unix()))
	letGo := s.hold("first")
	id := g.startRun(token, "careful", "x")
	f := g.follow(token, id)
	s.waitFor(g, "first")
	f.requireClosed(1008)
	require.Equal(t, 401, g.do("GET", "/api/v2/pipelines/runs/"+id, token, "").Status)
	letGo()
	g.runEnds(tokenOf(t, "alice"), id, "completed")
}

// TestRunsAreLimited: however its path is written, a start costs one, and so does a
// resumption.
func TestRunsAreLimited(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	g := startGateway(t, append(withPipelines(t, s, short, strings.Replace(short, "name: short", "name: dear\nlimits: {cost_usd: 0.0000001}", 1)), "RATE_LIMIT=6/h")...)
	token := g.login("alice@example.com")
	const body = `{"pipeline_name":"short","query":"x"}`
	id := g.startRun(token, "dear", "x")
	g.runEnds(token, id, "completed")
	left := func() string {
		return g.do("POST", "/api/v2/pipelines/run", "", body).Header.Get("X-RateLimit-Remaining")
	}
	require.Empty(t, left())
	taken := 1
	odd := &gateway{t: t, URL: g.URL, client: newClient("")} // whose paths no document knows
	for _, path := range []string{"/api/v2/pipelines/run/", "/api/v2/pipelines/%72un", "/api/v2/%70ipelines/run", "/api/v2/pipelines/runs/" + id + "/re%73ume"} {
		a := odd.do("POST", path, token, body)
		require.Contains(t, []int{200, 409}, a.Status, "%s: %s", path, a.Body)
		taken++
		require.Equal(t, fmt.Sprint(6-taken), a.Header.Get("X-RateLimit-Remaining"), path)
	}
	for _, path := range []string{"//api/v2/pipelines/run", "/api//v2/pipelines/run", "/api/v2/./pipelines/run", "/api/v2/x/../pipelines/run", "/api/v2/pipelines/run%2f", "/API/v2/pipelines/run", "/api/v2/pipelines/run;x"} {
		a := odd.do("POST", path, token, body)
		require.Contains(t, []int{404, 405}, a.Status, "%s: %s", path, a.Body)
	}
	require.Equal(t, 200, g.do("POST", "/api/v2/pipelines/run", token, body).Status)
	for _, path := range []string{"/api/v2/pipelines/run", "/api/v2/pipelines/run/", "/api/v2/pipelines/%72un", "/api/v2/pipelines/runs/" + id + "/resume", "/api/v2/pipelines/runs/" + id + "/resume/"} {
		require.Equal(t, 429, odd.do("POST", path, token, body).Status, path)
	}
	require.Equal(t, 200, g.do("POST", "/api/v2/pipelines/runs/"+id+"/cancel", token, "").Status, "to stop costs nothing")
}
