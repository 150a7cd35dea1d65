package execute

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/pipeline"
	"github.com/financecommander/tollgate/pricing"
)

// grammar reads a run's events and says what is wrong with them.
type grammar struct {
	plan   *pipeline.Plan
	agents map[string]*agent
	last   pipeline.Event
	over   bool
	faults []string
}

// agent is a step as its events show it.
type agent struct {
	step     *pipeline.PlanStep
	begun    bool
	attempt  int
	text     string
	complete *pipeline.AgentCompleted
	failed   bool
}

// CheckEvents checks that a run's events are what the contract says: one
// pipeline_start first, one complete or error last; of each step at most one
// start, after the ends of all that it needs, and one end; tokens and retries in
// between, of which the tokens since the latest retry are the output; and in the
// last event the sums of what went before.
func CheckEvents(t testing.TB, plan *pipeline.Plan, events []pipeline.Event, o Outcome) {
	t.Helper()
	require.Empty(t, faultsOf(plan, events, o))
}

func faultsOf(plan *pipeline.Plan, events []pipeline.Event, o Outcome) []string {
	g := &grammar{plan: plan, agents: make(map[string]*agent)}
	var names []string
	for _, s := range plan.Steps {
		g.agents[s.Name] = &agent{step: s, attempt: 1}
		names = append(names, s.Name)
	}
	if len(events) < 2 {
		return []string{"there are no events"}
	}
	started, ok := events[0].Data.(pipeline.Started)
	g.must(ok && events[0].Type == pipeline.EventStart, "the first event is no pipeline_start")
	g.must(len(started.Agents) == len(names), "pipeline_start does not name the steps")
	for i, name := range started.Agents {
		g.must(name == names[i], "pipeline_start does not name the steps in their order")
	}
	for _, e := range events[1:] {
		g.must(!g.over, "there are events after the last")
		g.must(!e.Time.Before(g.last.Time) && e.Time.Location() == time.UTC, "times go back, or are not UTC")
		g.read(e, o)
		g.last = e
	}
	g.must(g.over, "there is no complete or error")
	for _, a := range g.agents {
		ended := a.complete != nil || a.failed
		g.must(ended || !a.begun, a.step.Name+" began and did not end")
		g.must(ended || o.Status == Failed, a.step.Name+" has no end in a run that completed")
	}
	return g.faults
}

func (g *grammar) must(ok bool, fault string) {
	if !ok {
		g.faults = append(g.faults, fault)
	}
}

// open gives a step that has begun and not ended.
func (g *grammar) open(e pipeline.Event, name string) *agent {
	a := g.agents[name]
	if a == nil {
		g.must(false, string(e.Type)+" is of no step")
		return &agent{step: g.plan.Steps[0]}
	}
	g.must(a.begun && a.complete == nil && !a.failed, string(e.Type)+" of "+name+", which is not under way")
	return a
}

func (g *grammar) read(e pipeline.Event, o Outcome) {
	var want pipeline.EventType
	switch data := e.Data.(type) {
	case pipeline.AgentStarted:
		want = pipeline.EventAgentStart
		g.start(data.Agent)
	case pipeline.AgentToken:
		want = pipeline.EventAgentToken
		a := g.open(e, data.Agent)
		a.text += data.Content
		g.must(data.Content != "", "a token is empty")
		g.must(a.step.Kind() == pipeline.KindModel || a.step.Map != nil, data.Agent+" has tokens")
	case pipeline.Retried:
		want = pipeline.EventRetry
		a := g.open(e, data.Agent)
		a.attempt++
		a.text = ""
		g.must(data.Attempt == a.attempt && data.Reason != "", "a retry of "+data.Agent+" is not counted, or says nothing")
	case pipeline.AgentFailed:
		want = pipeline.EventAgentError
		g.open(e, data.Agent).failed = true
		g.must(data.Message != "", "agent_error says nothing")
	case pipeline.AgentCompleted:
		want = pipeline.EventAgentComplete
		g.complete(e, data)
	case pipeline.Completed:
		want, g.over = pipeline.EventComplete, true
		g.completed(data, o)
	case pipeline.Failed:
		want, g.over = pipeline.EventError, true
		g.must(o.Status == Failed && o.Code != "" && data.Message == o.Message && data.Message != "", "error does not fit the outcome")
	}
	g.must(e.Type == want, string(e.Type)+" has the data of "+string(want))
}

func (g *grammar) start(name string) {
	a := g.agents[name]
	if a == nil || a.begun || a.complete != nil || a.failed {
		g.must(false, name+" began twice, or after its end")
		return
	}
	a.begun = true
	for _, i := range a.step.Needs {
		need := g.agents[g.plan.Steps[i].Name]
		g.must(need.complete != nil || need.failed, name+" began before "+need.step.Name+" had ended")
	}
}

func (g *grammar) complete(e pipeline.Event, data pipeline.AgentCompleted) {
	a := g.agents[data.Agent]
	if a == nil || !data.Skipped || a.begun {
		a = g.open(e, data.Agent)
	}
	g.must(a.complete == nil && !a.failed, data.Agent+" ended twice")
	a.complete = &data
	switch {
	case data.Skipped:
		g.must(data.Output == "", data.Agent+" was skipped and has an output")
	case a.step.Kind() == pipeline.KindModel || a.step.Map != nil:
		g.must(a.text == data.Output, "the tokens of "+data.Agent+" are not its output")
	}
}

func (g *grammar) completed(data pipeline.Completed, o Outcome) {
	g.must(o.Status == Completed && o.Code == "" && data.Output == o.Output, "complete does not fit the outcome")
	var tokens int64
	var cost pricing.Money
	for i, u := range data.AgentBreakdown {
		g.must(u.Agent == g.plan.Steps[i].Name && u.TotalTokens == u.InputTokens+u.OutputTokens, "the breakdown is not of the steps")
		tokens += u.TotalTokens
		cost = cost.Add(u.Cost)
		if c := g.agents[u.Agent].complete; c != nil {
			g.must(c.Tokens == pipeline.Tokens{Input: u.InputTokens, Output: u.OutputTokens} && c.Cost == u.Cost,
				"agent_complete of "+u.Agent+" and the breakdown differ")
		}
	}
	g.must(tokens == data.TotalTokens && cost == data.TotalCost, "totals are not the breakdown's sum")
	g.must(tokens == o.InputTokens+o.OutputTokens && cost == o.Cost, "totals are not the outcome's")
}

// The checker itself must see what is wrong.
func TestGrammar(t *testing.T) {
	r, _ := run(t, `
steps:
  - name: a
    ask: hello
  - name: b
    depends_on: [a]
    ask: bye
`, nil)
	require.Len(t, r.events, 8)
	for name, spoil := range map[string]func(e []pipeline.Event) []pipeline.Event{
		"no start":           func(e []pipeline.Event) []pipeline.Event { return e[1:] },
		"no end":             func(e []pipeline.Event) []pipeline.Event { return e[:7] },
		"two ends":           func(e []pipeline.Event) []pipeline.Event { return append(e, e[7]) },
		"no agent_start":     func(e []pipeline.Event) []pipeline.Event { return append(e[:1], e[2:]...) },
		"two agent_starts":   func(e []pipeline.Event) []pipeline.Event { return append(e[:2], e[1:]...) },
		"a token lost":       func(e []pipeline.Event) []pipeline.Event { return append(e[:2], e[3:]...) },
		"a token twice":      func(e []pipeline.Event) []pipeline.Event { return append(e[:3], e[2:]...) },
		"no agent_complete":  func(e []pipeline.Event) []pipeline.Event { return append(e[:6], e[7:]...) },
		"begun before needs": func(e []pipeline.Event) []pipeline.Event { e[3], e[4] = e[4], e[3]; return e },
	} {
		t.Run(name, func(t *testing.T) {
			events := spoil(append([]pipeline.Event{}, r.events...))
			require.NotEmpty(t, faultsOf(r.plan, events, r.Outcome))
		})
	}
}
