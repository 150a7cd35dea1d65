package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/testenv"
	"github.com/financecommander/tollgate/internal/upstreamtest"
	"github.com/financecommander/tollgate/pricing"
)

// research is a pipeline of five steps: one, then three at a time, then one.
const research = `
name: research
steps:
  - {name: search, provider: openai, model: gpt-4o, prompt: "STEP search: {{ .query }}"}
  - {name: law, provider: openai, model: gpt-4o, depends_on: [search], prompt: "STEP law: {{ .steps.search.output }}"}
  - {name: facts, provider: openai, model: gpt-4o, depends_on: [search], prompt: "STEP facts: {{ .steps.search.output }}"}
  - {name: risks, provider: openai, model: gpt-4o-mini, depends_on: [search], prompt: "STEP risks: {{ .steps.search.output }}"}
  - name: report
    provider: openai
    model: gpt-4o
    depends_on: [law, facts, risks]
    prompt: "STEP report: {{ .steps.law.output }} {{ .steps.facts.output }} {{ .steps.risks.output }}"
`

// stage is an upstream that knows which step asks, answers with the step's name
// in two words, and holds the steps that are held until they are let go.
type stage struct {
	*upstreamtest.Upstream
	mu   sync.Mutex // guards what follows
	held map[string]chan struct{}
	seen map[string]string // step → the body of its latest request
}

func newStage(t *testing.T) *stage {
	s := &stage{held: map[string]chan struct{}{}, seen: map[string]string{}}
	s.Upstream = upstreamtest.New(t, s.answer)
	return s
}

func (s *stage) answer(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	_, after, _ := strings.Cut(string(body), "STEP ")
	step, _, _ := strings.Cut(after, ":")
	s.mu.Lock()
	s.seen[step] = string(body)
	gate := s.held[step]
	s.mu.Unlock()
	events := upstreamtest.ChatEvents(true, "the ", step)
	upstreamtest.Stream(events[:2]...)(w, r)
	if gate != nil {
		select {
		case <-gate:
		case <-r.Context().Done():
			return
		}
	}
	upstreamtest.Stream(events[2:]...)(w, r)
}

// hold makes a step stop in the middle of its answers.
func (s *stage) hold(step string) (letGo func()) {
	gate := make(chan struct{})
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held[step] = gate
	return sync.OnceFunc(func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.held, step)
		close(gate)
	})
}

func (s *stage) body(step string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.seen[step]
}

func (s *stage) waitFor(g *gateway, steps ...string) {
	g.t.Helper()
	for _, step := range steps {
		g.eventually("step "+step+" asks", func() bool { return s.body(step) != "" })
	}
}

// withPipelines are the settings of a gateway that has definitions in a folder.
func withPipelines(t *testing.T, s *stage, definitions ...string) []string {
	t.Helper()
	dir := t.TempDir()
	for i, text := range definitions {
		require.NoError(t, os.WriteFile(filepath.Join(dir, fmt.Sprint(i)+".yaml"), []byte(text), 0o600))
	}
	return []string{
		"JWT_SECRET=" + testSecret, "PIPELINES_DIR=" + dir, "RATE_LIMIT=1000/s",
		"OPENAI_API_KEY=sk-test", "OPENAI_BASE_URL=" + s.URL() + "/v1",
	}
}

// startRun starts a run and gives its id.
func (g *gateway) startRun(token, pipeline, query string, headers ...string) string {
	g.t.Helper()
	body, _ := json.Marshal(map[string]string{"pipeline_name": pipeline, "query": query})
	a := g.do("POST", "/api/v2/pipelines/run", token, string(body), headers...)
	require.Equal(g.t, 200, a.Status, a.Body)
	id := a.get("pipeline_id")
	require.Equal(g.t, "/api/v2/pipelines/ws/"+id, a.get("ws_url"))
	return id
}

func (g *gateway) getRun(token, id string) answer {
	g.t.Helper()
	a := g.do("GET", "/api/v2/pipelines/runs/"+id, token, "")
	require.Equal(g.t, 200, a.Status, a.Body)
	return a
}

// runEnds waits for a run's end.
func (g *gateway) runEnds(token, id, status string) (a answer) {
	g.t.Helper()
	g.eventually("the run ends", func() bool {
		a = g.getRun(token, id)
		return a.get("status") != "running"
	})
	require.Equal(g.t, status, a.get("status"), a.Body)
	return a
}

// runEvent is a message of a run's socket.
type runEvent struct {
	Type      string
	RunID     string `json:"pipeline_id"`
	Timestamp time.Time
	Data      struct {
		Agents     []string
		Agent      string
		Content    string
		Output     string
		Message    string
		Reason     string
		TotalCost  json.Number `json:"total_cost"`
		Skipped    bool
		DurationMS int64 `json:"duration_ms"`
	}
}

// follower is a socket that follows a run.
type follower struct {
	g    *gateway
	conn *websocket.Conn
	all  []runEvent
}

func (g *gateway) follow(token, id string) *follower {
	g.t.Helper()
	conn, _, err := websocket.Dial(g.t.Context(), "ws"+strings.TrimPrefix(g.URL, "http")+"/api/v2/pipelines/ws/"+id, nil)
	require.NoError(g.t, err)
	g.t.Cleanup(func() { _ = conn.CloseNow() })
	conn.SetReadLimit(1 << 22)
	require.NoError(g.t, conn.Write(g.t.Context(), websocket.MessageText, []byte(`{"type":"auth","token":"`+token+`"}`)))
	return &follower{g: g, conn: conn}
}

// until reads on until an event is of a type, with "" for any of the two last.
func (f *follower) until(kind string) runEvent {
	f.g.t.Helper()
	for {
		_, message, err := f.conn.Read(f.g.t.Context())
		require.NoError(f.g.t, err, "after %v", f.all)
		var e runEvent
		require.NoError(f.g.t, json.Unmarshal(message, &e), string(message))
		f.all = append(f.all, e)
		last := e.Type == "complete" || e.Type == "error"
		if e.Type == kind || kind == "" && last {
			return e
		}
		require.False(f.g.t, last, "%s while waiting for %s", message, kind)
	}
}

// texts are the outputs of a run's steps, as the tokens tell them.
func (f *follower) texts() map[string]string {
	texts := map[string]string{}
	for _, e := range f.all {
		switch e.Type {
		case "agent_start", "retry":
			texts[e.Data.Agent] = ""
		case "agent_token":
			texts[e.Data.Agent] += e.Data.Content
		}
	}
	return texts
}

// requireSums compares a run's totals with its breakdown and its rows in the usage
// log.
func (g *gateway) requireSums(admin, token, id string) {
	g.t.Helper()
	var run struct {
		Status         string
		TotalTokens    int64         `json:"total_tokens"`
		TotalCost      pricing.Money `json:"total_cost"`
		AgentBreakdown []struct {
			Agent        string
			InputTokens  int64 `json:"input_tokens"`
			OutputTokens int64 `json:"output_tokens"`
			TotalTokens  int64 `json:"total_tokens"`
			Cost         pricing.Money
			Calls        int64
		} `json:"agent_breakdown"`
	}
	type sum struct {
		in, out, calls int64
		cost           pricing.Money
	}
	g.eventually("the run's totals are those of its rows", func() bool {
		require.NoError(g.t, json.Unmarshal([]byte(g.getRun(token, id).Body), &run))
		broken, rows := map[string]sum{}, map[string]sum{}
		var tokens int64
		var cost pricing.Money
		for _, b := range run.AgentBreakdown {
			if b.Calls > 0 {
				broken[b.Agent] = sum{b.InputTokens, b.OutputTokens, b.Calls, b.Cost}
			}
			tokens, cost = tokens+b.TotalTokens, cost.Add(b.Cost)
		}
		require.Equal(g.t, run.TotalTokens, tokens)
		require.Equal(g.t, run.TotalCost, cost)
		for _, r := range g.export(admin, id) {
			s := rows[r.Step]
			rows[r.Step] = sum{s.in + r.InputTokens, s.out + r.OutputTokens, s.calls + 1, s.cost.Add(r.Cost)}
		}
		return len(rows) > 0 && fmt.Sprint(broken) == fmt.Sprint(rows)
	})
}

type runRow struct {
	RunID        string `json:"run_id"`
	Step         string
	InputTokens  int64         `json:"input_tokens"`
	OutputTokens int64         `json:"output_tokens"`
	Cost         pricing.Money `json:"estimated_cost_usd"`
}

// export gives the rows of a run.
func (g *gateway) export(admin, id string) (rows []runRow) {
	g.t.Helper()
	a := g.do("GET", "/usage/export?format=ndjson", admin, "")
	require.Equal(g.t, 200, a.Status, a.Body)
	for line := range strings.Lines(a.Body) {
		var r runRow
		require.NoError(g.t, json.Unmarshal([]byte(line), &r), line)
		if r.RunID == id {
			rows = append(rows, r)
		}
	}
	return rows
}

// TestRunOutlivesItsReplica: a run whose process is killed is marked as failed by
// another one, which its followers are told, and can be resumed there.
func TestRunOutlivesItsReplica(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	settings := append(withPipelines(t, s, research), "DATABASE_URL="+testenv.Postgres(t))
	first, second := startGateway(t, settings...), startGateway(t, settings...)
	token, admin := first.login("alice@example.com"), adminToken(t)
	letGo := s.hold("report")
	id := first.startRun(token, "research", "Who owns it?")
	here, there := first.follow(token, id), second.follow(token, id)
	s.waitFor(first, "report")
	for _, f := range []*follower{here, there} {
		for range 4 {
			f.until("agent_complete")
		}
	}
	first.kill()
	since := time.Now()
	end := there.until("error")
	require.Less(t, time.Since(since), 30*time.Second)
	require.Contains(t, end.Data.Message, "stopped in the middle of the run")
	a := second.runEnds(token, id, "failed")
	require.Equal(t, "replica_lost", a.get("error_code"))
	late := second.follow(token, id)
	late.until("error")
	require.Len(t, late.all, len(there.all))

	letGo()
	s.mu.Lock()
	clear(s.seen)
	s.mu.Unlock()
	require.Equal(t, 200, second.do("POST", "/api/v2/pipelines/runs/"+id+"/resume", token, "").Status)
	a = second.runEnds(token, id, "completed")
	require.Equal(t, "the report", a.get("output"))
	require.Empty(t, s.body("search"), "what had ended is not done again")
	again := second.follow(token, id)
	require.Equal(t, "the report", again.until("complete").Data.Output)
	require.Equal(t, "the law", again.texts()["law"])

	first.start() // with what it had not shipped
	second.requireSums(admin, token, id)
}

// TestRunAcrossReload: neither a reload nor an orderly end touches a run.
func TestRunAcrossReload(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	g := startGateway(t, withPipelines(t, s, research)...)
	token := g.login("alice@example.com")
	letGo, letReport := s.hold("law"), s.hold("report")
	id := g.startRun(token, "research", "Who owns it?")
	f := g.follow(token, id)
	s.waitFor(g, "law", "facts", "risks")

	definition := filepath.Join(g.env["PIPELINES_DIR"], "0.yaml")
	require.NoError(t, os.WriteFile(definition, []byte(strings.ReplaceAll(research, "STEP report", "STEP other")), 0o600))
	stderr, code := g.reload()
	require.Zero(t, code, stderr)
	require.NoError(t, os.WriteFile(definition, []byte("name: research\nsteps: [{name: x, transform: 'steps.y.output'}]"), 0o600))
	stderr, code = g.reload()
	require.NotZero(t, code, "a faulty definition refuses the configuration")
	require.Contains(t, stderr, "0.yaml:2:")

	letGo()
	s.waitFor(g, "report") // by the plan that it began with
	require.NoError(t, g.process.Signal(syscall.SIGTERM))
	g.printed("servers shutting down")
	select {
	case <-g.ended:
		t.Fatal("the gateway ended under a run")
	case <-time.After(200 * time.Millisecond):
	}
	letReport()
	require.Equal(t, "the report", f.until("complete").Data.Output)
	g.wait()
	require.Zero(t, g.code)
	require.NoError(t, os.WriteFile(definition, []byte(research), 0o600))
	g.start()
	g.requireSums(adminToken(t), token, id)
}

// TestRunStepsOverlap: three steps ask at once, and each sees what it may.
func TestRunStepsOverlap(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	g := startGateway(t, withPipelines(t, s, research)...)
	token, admin := g.login("alice@example.com"), adminToken(t)
	release := []func(){s.hold("law"), s.hold("facts"), s.hold("risks")}
	id := g.startRun(token, "research", "Who owns it?", "Idempotency-Key", "one")
	s.waitFor(g, "law", "facts", "risks") // none of which has ended
	require.Equal(t, id, g.startRun(token, "research", "Who owns it?", "Idempotency-Key", "one"), "the same request")
	for _, letGo := range release {
		letGo()
	}
	a := g.runEnds(token, id, "completed")
	require.Equal(t, "the report", a.get("output"))
	require.Contains(t, s.body("search"), "Who owns it?")
	require.NotContains(t, s.body("law"), "Who owns it?")
	require.Contains(t, s.body("report"), "the law the facts the risks")

	f := g.follow(token, id)
	require.Equal(t, "the report", f.until("complete").Data.Output)
	require.Equal(t, map[string]string{
		"search": "the search", "law": "the law", "facts": "the facts", "risks": "the risks", "report": "the report",
	}, f.texts())
	require.Equal(t, []string{"search", "law", "facts", "risks", "report"}, f.all[0].Data.Agents)
	g.requireSums(admin, token, id)

	rows := g.rows(token, 5)
	steps := map[string]bool{}
	for _, r := range rows {
		steps[r.SpecialistID] = true
	}
	require.Len(t, steps, 5, "rows carry the step's name")
}

// TestRunsEndAsToldTo: cancelling, limits and strangers.
func TestRunsEndAsToldTo(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	cheap := strings.Replace(strings.Replace(research, "name: research", "name: cheap\nlimits: {cost_usd: 0.00001}", 1), "STEP", "STEP", 1)
	brief := strings.Replace(research, "name: research", "name: brief\nlimits: {time: 1s}", 1)
	database := testenv.Postgres(t)
	settings := append(withPipelines(t, s, research, cheap, brief), "DATABASE_URL="+database)
	g, other := startGateway(t, settings...), startGateway(t, settings...)
	alice, mallory, admin := g.login("alice@example.com"), g.login("mallory@example.com"), adminToken(t)

	id := g.startRun(alice, "cheap", "Who owns it?")
	require.Equal(t, "cost_limit", g.runEnds(alice, id, "failed").get("error_code"))
	g.requireSums(admin, alice, id)

	letGo := s.hold("search")
	defer letGo()
	id = g.startRun(alice, "brief", "Who owns it?")
	require.Equal(t, "time_limit", g.runEnds(alice, id, "failed").get("error_code"))

	id = g.startRun(alice, "research", "Who owns it?")
	f := other.follow(alice, id)
	f.until("agent_start")
	for _, path := range []string{"", "/cancel", "/resume"} {
		method := map[string]string{"": "GET"}[path]
		if method == "" {
			method = "POST"
		}
		require.Equal(t, 404, g.do(method, "/api/v2/pipelines/runs/"+id+path, mallory, "").Status, path)
	}
	stranger := other.follow(mallory, id)
	_, _, err := stranger.conn.Read(t.Context())
	require.Equal(t, websocket.StatusCode(4003), websocket.CloseStatus(err))
	require.Equal(t, 200, other.do("POST", "/api/v2/pipelines/runs/"+id+"/cancel", alice, "").Status, "on another replica")
	require.Equal(t, "cancelled", g.runEnds(alice, id, "failed").get("error_code"))
	f.until("error")
	s.WaitIdle(t)
	g.requireSums(admin, alice, id)

	require.NotContains(t, g.do("GET", "/usage/pipelines", mallory, "").Body, id)
	require.Contains(t, g.do("GET", "/usage/pipelines", alice, "").Body, id)
	require.Contains(t, g.do("GET", "/usage/pipelines", admin, "").Body, id)
	require.Equal(t, 404, g.do("POST", "/api/v2/pipelines/run", alice, `{"pipeline_name":"none","query":"x"}`).Status)
}

// TestManyRunsAtOnce: two hundred runs at once, each followed, and no event of any
// is lost.
func TestManyRunsAtOnce(t *testing.T) {
	t.Parallel()
	const runs, users = 200, 25
	s := newStage(t)
	g := newGateway(t, withPipelines(t, s, research)...)
	g.setenv("DATABASE_URL=" + testenv.Postgres(t))
	g.start()
	tokens := make([]string, users)
	for i := range tokens {
		tokens[i] = g.login(fmt.Sprintf("user%d@example.com", i))
	}
	letGo := s.hold("search")
	followers := make([]*follower, runs)
	for i := range followers {
		token := tokens[i%users]
		followers[i] = g.follow(token, g.startRun(token, "research", fmt.Sprint("Question ", i)))
		followers[i].until("agent_start")
	}
	require.Contains(t, g.do("GET", g.Admin+"/metrics", "", "").Body, fmt.Sprintf("tollgate_pipeline_runs_running %d", runs))
	letGo()
	whole := map[string]string{
		"search": "the search", "law": "the law", "facts": "the facts", "risks": "the risks", "report": "the report",
	}
	for _, f := range followers {
		require.Equal(t, "the report", f.until("complete").Data.Output)
		require.Equal(t, whole, f.texts())
		kinds := map[string]int{}
		for _, e := range f.all {
			kinds[e.Type]++
		}
		delete(kinds, "agent_token")
		require.Equal(t, map[string]int{"pipeline_start": 1, "agent_start": 5, "agent_complete": 5, "complete": 1}, kinds)
	}
	g.eventually("each call has its row", func() bool {
		a := g.do("GET", "/usage/export?format=ndjson", adminToken(t), "")
		return bytes.Count([]byte(a.Body), []byte(`"run_id":"`)) == runs*5
	})
}
