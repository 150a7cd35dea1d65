package portal

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/getkin/kin-openapi/openapi3"
	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/database"
	"github.com/financecommander/tollgate/internal/gateway"
	"github.com/financecommander/tollgate/internal/identity"
	"github.com/financecommander/tollgate/internal/llm"
	"github.com/financecommander/tollgate/internal/pipeline"
	"github.com/financecommander/tollgate/internal/pipeline/catalog"
	"github.com/financecommander/tollgate/internal/pipeline/execute"
	"github.com/financecommander/tollgate/internal/pipeline/run"
	"github.com/financecommander/tollgate/internal/portal/apitest"
	"github.com/financecommander/tollgate/internal/specialist"
	"github.com/financecommander/tollgate/internal/usage"
	"github.com/financecommander/tollgate/pricing"
)

var bob = &identity.Principal{Subject: "bob", UserHash: strings.Repeat("b", 64), EmailHash: strings.Repeat("b", 64)}

// The pipelines of tests.
var definitions = map[string]string{
	"review.yaml": `
name: review
display_name: A Review
description: Two readers, and both together.
category: legal
steps:
  - {name: first, goal: Reads, specialist: code-reviewer}
  - {name: second, provider: openai, model: gpt-4o-mini}
  - {name: joined, goal: Joins, transform: "steps.first.output + ' | ' + steps.second.output", depends_on: [first, second]}
`,
	"ask.yaml":      "{name: ask, steps: [{name: only, provider: openai, model: gpt-4o, retries: 0}]}",
	"dangling.yaml": "{name: dangling, steps: [{name: fine, provider: openai, model: gpt-4o}, {name: lost, specialist: nobody, depends_on: [fine]}]}",
	"flood.yaml":    flood(),
	"secret.yaml":   "{name: secret, steps: [{name: whisper, provider: openai, model: secret}]}",
}

// floodSteps put out floodOutput bytes each: together far more than all buffers on
// the way to a client hold.
const (
	floodSteps  = 6
	floodOutput = 768 << 10
)

func flood() string {
	var steps, names []string
	for i := range floodSteps {
		name := fmt.Sprintf("s%d", i)
		steps = append(steps, "{name: "+name+", provider: openai, model: gpt-4o}")
		names = append(names, name)
	}
	return "{name: flood, steps: [" + strings.Join(steps, ", ") + ", {name: done, transform: '\"done\"', depends_on: [" + strings.Join(names, ", ") + "]}]}"
}

// models answers the calls of runs, and leaves a row for each.
type models struct {
	db *database.DB

	mu     sync.Mutex // guards answer
	answer func(context.Context, gateway.Call) *llm.Error
}

// script says how calls are answered from now on.
func (m *models) script(answer func(context.Context, gateway.Call) *llm.Error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.answer = answer
}

func (m *models) MayDo(c gateway.Call) *llm.Error {
	if c.Model == "secret" {
		return &llm.Error{Cause: llm.CauseModelNotFound, Message: "there is no such model for you"}
	}
	return nil
}

func (m *models) Do(ctx context.Context, c gateway.Call) (*gateway.Answered, *llm.Error) {
	m.mu.Lock()
	answer := m.answer
	m.mu.Unlock()
	var text strings.Builder
	say := c.Text
	c.Text = func(piece string) {
		text.WriteString(piece)
		if say != nil {
			say(piece)
		}
	}
	var refused *llm.Error
	if answer != nil {
		refused = answer(ctx, c)
	} else {
		c.Text("one ")
		c.Text("two")
	}
	r := usage.NewRecord(time.Now())
	r.UserHash, r.UserEmailHash = c.Caller.UserHash, c.Caller.EmailHash
	r.SpecialistID, r.SpecialistName, r.RunID, r.Step = c.Label.ID, c.Label.Name, c.Label.Run, c.Label.Step
	r.Provider, r.Model, r.InputTokens, r.OutputTokens, r.UsageSource = "openai", "gpt-4o", 10, 5, llm.UsageProvider
	r.Cost, _ = pricing.ParseUSD("0.000075")
	r.Priced, r.Success = true, refused == nil
	rows, _ := json.Marshal([]*usage.Record{r})
	_, _ = m.db.InsertUsage(context.WithoutCancel(ctx), rows)
	if c.Record != nil {
		c.Record(*r)
	}
	if refused != nil {
		return nil, refused
	}
	return &gateway.Answered{Text: text.String(), Provider: "openai", Model: "gpt-4o", Finish: llm.FinishStop}, nil
}

// untilDone is a model that says something and then does not end by itself.
func untilDone(ctx context.Context, c gateway.Call) *llm.Error {
	c.Text("so far")
	<-ctx.Done()
	return &llm.Error{Cause: llm.CauseClientGone, Message: "the caller left"}
}

// pipelines is a portal with pipelines: one replica of a gateway.
type pipelines struct {
	*chat
	*models
	runs *run.Service
}

// newPipelines makes a replica of those that share a database. A token is the
// name of its user, as in [newChat].
func newPipelines(t *testing.T, db *database.DB, edit func(*Options)) *pipelines {
	t.Helper()
	registry, err := specialist.NewRegistry(specialist.Options{Configured: specialist.Defaults()})
	require.NoError(t, err)
	dir := t.TempDir()
	for name, text := range definitions {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	known, err := catalog.New(catalog.Options{Dir: dir, Known: pipeline.Known{
		Specialist: func(name string) bool { _, ok := registry.Get(name); return ok },
		Provider:   func(name string) bool { return name == "openai" },
	}})
	require.NoError(t, err)
	p := &pipelines{chat: &chat{sockets: NewSockets()}, models: &models{db: db}}
	p.runs, err = run.New(run.Options{DB: db, Secret: testSecret})
	require.NoError(t, err)
	p.runs.Start(t.Context())
	o := Options{
		Specialists: registry, Usage: db,
		Pipelines: PipelineOptions{Catalog: known, Runs: p.runs, Executor: execute.New(execute.Options{Models: p.models})},
		Chat: ChatOptions{Sockets: p.sockets, Verify: func(_ context.Context, token string) (*identity.Principal, error) {
			who, ok := map[string]*identity.Principal{"alice": alice, "bob": bob, "admin": admin}[token]
			if !ok || p.revoked.Load() {
				return nil, &llm.Error{Cause: llm.CauseUnauthenticated, Message: "no"}
			}
			return who, nil
		}},
	}
	if edit != nil {
		edit(&o)
	}
	p.Handler = New(o)
	underTest.Store(p.Handler, t)
	server := httptest.NewServer(p.Handler)
	p.url = "ws" + strings.TrimPrefix(server.URL, "http") + "/api/v2/pipelines/ws/"
	t.Cleanup(func() {
		underTest.Delete(p.Handler)
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		_ = p.runs.Drain(ctx) // what hangs is stopped
		p.runs.Stop()
		p.sockets.Close()
		p.sockets.cut()
		ctx, cancel = context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		require.NoError(t, p.sockets.Wait(ctx))
		server.Close()
	})
	return p
}

// start starts a run of alice's and gives its id.
func (p *pipelines) start(t *testing.T, name, query string) string {
	t.Helper()
	body, err := json.Marshal(map[string]string{"pipeline_name": name, "query": query})
	require.NoError(t, err)
	return object(t, call(p.Handler, alice, "POST", "/api/v2/pipelines/run", string(body)), 200)["pipeline_id"].(string)
}

// ended waits for a run's end and gives the run.
func (p *pipelines) ended(t *testing.T, id string) map[string]any {
	t.Helper()
	var v map[string]any
	require.Eventually(t, func() bool {
		v = object(t, call(p.Handler, alice, "GET", "/api/v2/pipelines/runs/"+id, ""), 200)
		return v["status"] != "running"
	}, 20*time.Second, 5*time.Millisecond)
	return v
}

// follower is a client that follows a run.
type follower struct {
	*client
	raw  []string // all events so far, as they came
	seen []runEvent
}

// runEvent is an event as clients read it.
type runEvent struct {
	Type       string    `json:"type"`
	PipelineID string    `json:"pipeline_id"`
	Timestamp  time.Time `json:"timestamp"`
	Data       struct {
		Agent   string   `json:"agent"`
		Agents  []string `json:"agents"`
		Content string   `json:"content"`
		Output  string   `json:"output"`
		Message string   `json:"message"`
	} `json:"data"`
}

// attach opens the socket of a run.
func (p *pipelines) attach(t *testing.T, id, token string, header ...string) *follower {
	t.Helper()
	f := &follower{client: (&chat{url: p.url + id}).dial(t, header...)}
	f.say(`{"type":"auth","token":"` + token + `"}`)
	return f
}

// eventSchema is what the document says of events.
var eventSchema = sync.OnceValue(func() *openapi3.Schema {
	document, err := apitest.Document()
	if err != nil {
		panic(err)
	}
	return document.Components.Schemas["PipelineEvent"].Value
})

// take notes an event, which must be one that the document describes.
func (f *follower) take(message string) *runEvent {
	f.t.Helper()
	var v any
	require.NoError(f.t, json.Unmarshal([]byte(message), &v), message)
	require.NoError(f.t, eventSchema().VisitJSON(v), message[:min(len(message), 500)])
	var e runEvent
	require.NoError(f.t, json.Unmarshal([]byte(message), &e), message)
	f.raw, f.seen = append(f.raw, message), append(f.seen, e)
	return &f.seen[len(f.seen)-1]
}

// until hears events up to one of a type.
func (f *follower) until(kind string) *runEvent {
	f.t.Helper()
	for {
		if e := f.take(f.hear()); e.Type == kind {
			return e
		}
	}
}

// rest hears all events to the end, and says how the socket was closed.
func (f *follower) rest() websocket.StatusCode {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(f.t.Context(), time.Minute)
	defer cancel()
	var messages []string // looked at later: who is slow is cut off
	for {
		_, message, err := f.Read(ctx)
		if err != nil {
			for _, message := range messages {
				f.take(message)
			}
			return websocket.CloseStatus(err)
		}
		messages = append(messages, string(message))
	}
}

// outputs are what each step put out, by its pieces.
func (f *follower) outputs() map[string]string {
	all := map[string]string{}
	for _, e := range f.seen {
		switch e.Type {
		case "agent_token":
			all[e.Data.Agent] += e.Data.Content
		case "retry":
			all[e.Data.Agent] = ""
		}
	}
	return all
}
