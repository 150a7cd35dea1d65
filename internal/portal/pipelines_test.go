package portal

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/gateway"
	"github.com/financecommander/tollgate/internal/identity"
	"github.com/financecommander/tollgate/internal/llm"
	"github.com/financecommander/tollgate/internal/pipeline/run"
)

// Where pipelines are turned off, pages that ask for them load all the same.
func TestThereAreNoPipelines(t *testing.T) {
	t.Parallel()
	h := newHandler(t, nil)
	for path, want := range map[string]string{
		"/pipelines/":            `{"pipelines":[],"count":0}`,
		"/api/v2/pipelines/list": `{"pipelines":[],"count":0}`,
		"/usage/pipelines":       `{"runs":[],"next":null}`,
	} {
		w := call(h, alice, "GET", path+"?limit=20", "")
		object(t, w, 200)
		require.JSONEq(t, want, w.Body.String())
		requireProblem(t, call(h, nil, "GET", path, ""), 401)
	}
	for route, body := range map[string]string{
		"POST /api/v2/pipelines/run": `{"pipeline_name":"research","query":"?"}`,
		"GET /api/v2/pipelines/runs": "", "GET /api/v2/pipelines/runs/x": "",
		"POST /api/v2/pipelines/runs/x/cancel": "", "POST /api/v2/pipelines/runs/x/resume": "",
	} {
		method, path, _ := strings.Cut(route, " ")
		require.Contains(t, requireProblem(t, call(h, alice, method, path, body), 404)["error"], "turned off", route)
		requireProblem(t, call(h, nil, method, path, body), 401)
	}
	requireProblem(t, call(h, nil, "GET", "/api/v2/pipelines/ws/x", ""), 404)
}

// What can be run now is listed, each step with what does it.
func TestPipelineList(t *testing.T) {
	t.Parallel()
	p := newPipelines(t, newDatabase(t), nil)
	var agents strings.Builder
	for i := range floodSteps {
		fmt.Fprintf(&agents, `{"name":"s%d","goal":"","model":"gpt-4o"},`, i)
	}
	for _, path := range []string{"/pipelines", "/api/v2/pipelines/list/"} {
		w := call(p.Handler, alice, "GET", path, "")
		object(t, w, 200)
		require.JSONEq(t, `{"pipelines":[
			{"name":"ask","display_name":"ask","description":"","category":"general","type":"single",
			 "agents":[{"name":"only","goal":"","model":"gpt-4o"}]},
			{"name":"flood","display_name":"flood","description":"","category":"general","type":"multi_agent",
			 "agents":[`+agents.String()+`{"name":"done","goal":"","model":"transform"}]},
			{"name":"review","display_name":"A Review","description":"Two readers, and both together.","category":"legal","type":"multi_agent",
			 "agents":[{"name":"first","goal":"Reads","model":"`+p.specialistModel(t, "code-reviewer")+`"},{"name":"second","goal":"","model":"gpt-4o-mini"},
			           {"name":"joined","goal":"Joins","model":"transform"}]}
		],"count":3}`, w.Body.String())
		requireProblem(t, call(p.Handler, viewer, "GET", path, ""), 403)
	}
}

func (p *pipelines) specialistModel(t *testing.T, id string) string {
	t.Helper()
	s, ok := p.o.Specialists.Get(id)
	require.True(t, ok)
	require.NotEmpty(t, s.Model)
	return s.Model
}

// A run is answered at once, with nothing in it that is not known yet, and goes on
// when its caller has left.
func TestRunOfAPipeline(t *testing.T) {
	t.Parallel()
	held := atomic.Int32{}
	p := newPipelines(t, newDatabase(t), func(o *Options) {
		o.Pipelines.Hold = func() (func(), bool) { held.Add(1); return func() { held.Add(-1) }, true }
	})
	goOn := make(chan struct{})
	p.script(func(_ context.Context, c gateway.Call) *llm.Error {
		<-goOn
		c.Text("one <two>")
		return nil
	})
	ctx, leave := context.WithCancel(t.Context())
	r := httptest.NewRequestWithContext(identity.NewContext(ctx, alice), "POST", "/api/v2/pipelines/run/", strings.NewReader(`{"pipeline_name":"review","query":"What of this?","more":1}`))
	w := httptest.NewRecorder()
	checked(p.Handler).ServeHTTP(w, r)
	leave()
	v := object(t, w, 200)
	id := v["pipeline_id"].(string)
	require.NotEmpty(t, id)
	for member, want := range map[string]any{
		"status": "running", "pipeline_name": "review", "query": "What of this?", "ws_url": "/api/v2/pipelines/ws/" + id,
		"output": nil, "total_tokens": nil, "total_cost": nil, "duration_ms": nil, "agent_breakdown": nil,
		"total_cost_usd": nil, "error_code": nil, "error_message": nil, "ended_at": nil,
	} {
		require.Contains(t, v, member)
		require.Equal(t, want, v[member], member)
	}
	require.EqualValues(t, 1, held.Load(), "the run holds the configuration")
	usageRow := object(t, call(p.Handler, alice, "GET", "/usage/pipelines", ""), 200)["runs"].([]any)[0].(map[string]any)
	require.Equal(t, "running", usageRow["status"])
	require.InDelta(t, 0, usageRow["total_tokens"], 0, "a client adds it up")

	close(goOn)
	v = p.ended(t, id)
	require.Equal(t, "completed", v["status"])
	require.Equal(t, "one <two> | one <two>", v["output"])
	require.InDelta(t, 30, v["total_tokens"], 0)
	require.InDelta(t, 0.00015, v["total_cost"], 0)
	require.Nil(t, v["error_message"])
	breakdown, err := json.Marshal(v["agent_breakdown"])
	require.NoError(t, err)
	require.JSONEq(t, `[
		{"agent":"first","model":"gpt-4o","input_tokens":10,"output_tokens":5,"total_tokens":15,"cost":0.000075,"calls":1},
		{"agent":"second","model":"gpt-4o","input_tokens":10,"output_tokens":5,"total_tokens":15,"cost":0.000075,"calls":1},
		{"agent":"joined","model":"","input_tokens":0,"output_tokens":0,"total_tokens":0,"cost":0,"calls":0}
	]`, string(breakdown))
	require.Eventually(t, func() bool { return held.Load() == 0 }, waiting, tick, "and lets it go")

	w = call(p.Handler, alice, "GET", "/usage/pipelines/?limit=20", "")
	row := object(t, w, 200)["runs"].([]any)[0].(map[string]any)
	require.Equal(t, map[string]any{
		"pipeline_id": id, "pipeline_name": "review", "query": "What of this?", "status": "completed", "total_tokens": 30.0,
		"total_cost": 0.00015, "total_cost_usd": 0.00015, "duration_ms": v["duration_ms"], "error_message": nil, "created_at": v["created_at"],
	}, row)
	require.Contains(t, w.Body.String(), `"next":null`)
	require.Regexp(t, `"created_at":"[0-9T:.-]+Z"`, w.Body.String())
}

// What is asked twice under one name runs once.
func TestIdempotentRun(t *testing.T) {
	t.Parallel()
	released := atomic.Int32{}
	p := newPipelines(t, newDatabase(t), func(o *Options) {
		o.Pipelines.Hold = func() (func(), bool) { return func() { released.Add(1) }, true }
	})
	post := func(key, body string) *httptest.ResponseRecorder {
		r := httptest.NewRequest("POST", "/api/v2/pipelines/run", strings.NewReader(body))
		if key != "" {
			r.Header.Set("Idempotency-Key", key)
		}
		w := httptest.NewRecorder()
		checked(p.Handler).ServeHTTP(w, r.WithContext(identity.NewContext(r.Context(), alice)))
		return w
	}
	const body = `{"pipeline_name":"ask","query":"Once?"}`
	id := object(t, post("k1", body), 200)["pipeline_id"].(string)
	p.ended(t, id)
	again := object(t, post("k1", body), 200)
	require.Equal(t, id, again["pipeline_id"])
	require.Equal(t, "completed", again["status"], "as it is now")
	require.Equal(t, "one two", again["output"])
	member := object(t, post("another", `{"pipeline_name":"ask","query":"Once?","idempotency_key":"k1"}`), 200)
	require.Equal(t, id, member["pipeline_id"])
	requireProblem(t, post("k1", `{"pipeline_name":"ask","query":"Twice?"}`), 422)
	other := object(t, post("", body), 200)["pipeline_id"].(string)
	require.NotEqual(t, id, other)
	p.ended(t, other)
	require.Len(t, object(t, call(p.Handler, alice, "GET", "/api/v2/pipelines/runs", ""), 200)["runs"], 2)
	require.Eventually(t, func() bool { return released.Load() == 5 }, waiting, tick, "each holding was let go")
}

// What starts no run, and what is said of it.
func TestRunsThatDoNotStart(t *testing.T) {
	t.Parallel()
	p := newPipelines(t, newDatabase(t), nil)
	for body, want := range map[string]struct {
		status int
		text   string
	}{
		`{"pipeline_name":"nothing","query":"?"}`: {404, "there is no pipeline of this name"},
		`{"query":"?"}`:                         {422, "pipeline_name must be given"},
		`{"pipeline_name":"ask"}`:               {422, "query must be given"},
		`{"pipeline_name":"ask","query":" \n"}`: {422, "query must be given"},
		`{"pipeline_name":"ask","query":7}`:     {422, "query"},
		`{"pipeline_name":"ask","query":"` + strings.Repeat("x", run.MaxQuery+1) + `"}`:                            {422, "256 KiB"},
		`{"pipeline_name":"ask","query":"?","idempotency_key":"` + strings.Repeat("k", maxIdempotencyKey+1) + `"}`: {422, "idempotency_key"},
		`[]`: {400, "one JSON object"},
		`{"pipeline_name":"dangling","query":"?"}`: {503, `step "lost"`},
		`{"pipeline_name":"secret","query":"?"}`:   {404, "whisper"},
	} {
		problem := requireProblem(t, call(p.Handler, alice, "POST", "/api/v2/pipelines/run", body), want.status)
		require.Contains(t, problem["error"], want.text, body[:min(len(body), 80)])
	}
	requireProblem(t, call(p.Handler, viewer, "POST", "/api/v2/pipelines/run", `{"pipeline_name":"ask","query":"?"}`), 403)
	requireProblem(t, call(p.Handler, nil, "POST", "/api/v2/pipelines/run", `{"pipeline_name":"ask","query":"?"}`), 401)
	nobody := &identity.Principal{Subject: "x"}
	requireProblem(t, call(p.Handler, nobody, "GET", "/api/v2/pipelines/runs", ""), 500)
	require.Empty(t, object(t, call(p.Handler, admin, "GET", "/api/v2/pipelines/runs", ""), 200)["runs"])

	replaced := newPipelines(t, newDatabase(t), func(o *Options) {
		o.Pipelines.Hold = func() (func(), bool) { return nil, false }
	})
	w := call(replaced.Handler, alice, "POST", "/api/v2/pipelines/run", `{"pipeline_name":"ask","query":"?"}`)
	requireProblem(t, w, 503)
	require.Equal(t, "5", w.Header().Get("Retry-After"))
}

// Model calls take from what a caller may spend, and reading does not.
func TestSpends(t *testing.T) {
	t.Parallel()
	for target, want := range map[string]bool{
		"POST /api/v2/pipelines/run": true, "POST /api/v2/pipelines/run/": true, "POST /api/v2/pipelines/r%75n?x=1": true,
		"POST /api/v2/pipelines/runs/x/resume": true, "POST /api/v2/pipelines/runs/x/resume/": true,

		"GET /api/v2/pipelines/run": false, "POST /api/v2/pipelines/runs": false, "POST /api/v2/pipelines/runs/x/cancel": false,
		"GET /api/v2/pipelines/runs/x/resume": false, "POST /api/v2/pipelines/run/x": false, "POST /api/v2/pipelines/x/run": false,
		"POST /api/v2/pipelines//run": false, "POST /api/v2/pipelines/runs/x%2fy/resume": false, "POST /pipelines/run": false, "POST /": false,
		"POST /api/v2/pipelines/run%2f": false, "POST /api/v2/pipelines/runs/x/resume%2F": false,
	} {
		method, path, _ := strings.Cut(target, " ")
		require.Equal(t, want, Spends(httptest.NewRequest(method, "http://localhost"+path, http.NoBody)), target)
	}
}
