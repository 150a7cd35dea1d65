package execute

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/financecommander/tollgate/internal/gateway"
	"github.com/financecommander/tollgate/internal/identity"
	"github.com/financecommander/tollgate/internal/llm"
	"github.com/financecommander/tollgate/internal/pipeline"
	"github.com/financecommander/tollgate/internal/usage"
	"github.com/financecommander/tollgate/pricing"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// planOf reads a pipeline of model steps that ask no specialist unless they say so.
func planOf(t testing.TB, text string) *pipeline.Plan {
	t.Helper()
	plan, err := pipeline.Parse("test.yaml", []byte("name: test\n"+strings.ReplaceAll(text, "ask: ", "provider: fake\n    model: m\n    prompt: ")))
	require.NoError(t, err)
	return plan
}

// reply is how the fake answers a call.
type reply struct {
	pieces  []string
	wait    time.Duration // after them; the call's end cuts it short
	err     *llm.Error
	cost    pricing.Money
	in, out int64
	fails   int  // rows of tries that fail before, each with the same usage
	refused bool // the row has no try
	again   bool // with the failed tries come pieces that are void
	whole   bool // the answer was complete when the call was ended
}

func says(pieces ...string) reply { return reply{pieces: pieces, in: 3, out: 2, cost: 1000} }

func failsWith(cause llm.Cause) reply {
	return reply{err: &llm.Error{Cause: cause, Message: "no luck (" + string(cause) + ")"}, in: 1, cost: 7}
}

// fake answers model calls and leaves rows, as a gateway does.
type fake struct {
	// reply gives the answer to a step's nth call, from 1. It may wait itself.
	reply func(ctx context.Context, c gateway.Call, n int) reply
	may   func(c gateway.Call) *llm.Error

	mu      sync.Mutex // guards all below
	calls   []gateway.Call
	by      map[string]int
	rows    map[string][]usage.Record // by run
	running int
	most    int // that ran at one time
}

// Do implements [Models].
func (f *fake) Do(ctx context.Context, c gateway.Call) (*gateway.Answered, *llm.Error) {
	f.mu.Lock()
	if f.by == nil {
		f.by, f.rows = make(map[string]int), make(map[string][]usage.Record)
	}
	f.by[c.Label.Run+"/"+c.Label.Step]++
	n := f.by[c.Label.Run+"/"+c.Label.Step]
	f.calls = append(f.calls, c)
	f.running++
	f.most = max(f.most, f.running)
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.running--
	}()
	r := says(c.Label.Step + "!")
	if f.reply != nil {
		r = f.reply(ctx, c, n)
	}
	return f.answer(ctx, c, r)
}

func (f *fake) answer(ctx context.Context, c gateway.Call, r reply) (*gateway.Answered, *llm.Error) {
	for i := range r.fails {
		if r.again {
			c.Text("void ")
		}
		f.row(c, r, i+1, false)
		c.Again()
	}
	for _, piece := range r.pieces {
		c.Text(piece)
	}
	if r.wait > 0 {
		timer := time.NewTimer(r.wait)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
		}
	}
	err := r.err
	if err == nil && ctx.Err() != nil && !r.whole {
		err = &llm.Error{Cause: llm.CauseClientGone, Message: "the caller left"}
	}
	attempt := r.fails + 1
	if r.refused {
		attempt = 0
	}
	f.row(c, r, attempt, err == nil)
	if err != nil {
		return nil, err
	}
	return &gateway.Answered{Text: strings.Join(r.pieces, ""), Provider: "fake", Model: "m"}, nil
}

func (f *fake) row(c gateway.Call, r reply, attempt int, success bool) {
	row := usage.Record{
		RunID: c.Label.Run, Step: c.Label.Step, Model: "m", Attempt: attempt,
		InputTokens: r.in, OutputTokens: r.out, Cost: r.cost, Success: success,
	}
	f.mu.Lock()
	f.rows[c.Label.Run] = append(f.rows[c.Label.Run], row)
	f.mu.Unlock()
	c.Record(row)
}

// MayDo implements [Models].
func (f *fake) MayDo(c gateway.Call) *llm.Error {
	if f.may == nil {
		return nil
	}
	return f.may(c)
}

// prompts are what a step was asked, call by call.
func (f *fake) prompts(step string) []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var texts []string
	for _, c := range f.calls {
		if c.Label.Step != step {
			continue
		}
		var talk []string
		for _, m := range c.Messages {
			talk = append(talk, m.Parts[0].(*llm.Text).Text)
		}
		texts = append(texts, strings.Join(talk, "\n---\n"))
	}
	return texts
}

// byStep answers by the step's name; steps that it does not name say it.
func byStep(replies map[string]func(ctx context.Context, n int) reply) func(context.Context, gateway.Call, int) reply {
	return func(ctx context.Context, c gateway.Call, n int) reply {
		if r, ok := replies[c.Label.Step]; ok {
			return r(ctx, n)
		}
		return says(c.Label.Step + "!")
	}
}

// always answers each call alike.
func always(r reply) func(context.Context, int) reply {
	return func(context.Context, int) reply { return r }
}

// hangs answers when the call is ended.
func hangs(pieces ...string) func(context.Context, int) reply {
	return always(reply{pieces: pieces, wait: 24 * time.Hour, in: 5, cost: 500})
}

// ran is a run that has ended.
type ran struct {
	Outcome
	plan   *pipeline.Plan
	events []pipeline.Event
	kept   map[string]StepResult
}

// runOf runs a plan and checks all that holds of each run.
func runOf(ctx context.Context, t testing.TB, o Options, r Run) ran {
	t.Helper()
	result := ran{plan: r.Plan, kept: make(map[string]StepResult)}
	before := r.Emit
	r.Emit = func(e pipeline.Event) {
		result.events = append(result.events, e)
		if before != nil {
			before(e)
		}
	}
	r.Keep = func(s StepResult) {
		require.NotContains(t, result.kept, s.Step, "kept twice")
		result.kept[s.Step] = s
	}
	if r.ID == "" {
		r.ID = "run"
	}
	r.Caller = &identity.Principal{}
	result.Outcome = New(o).Run(ctx, r)
	CheckEvents(t, r.Plan, result.events, result.Outcome)
	checkUsage(t, o.Models.(*fake), &r, result.Outcome)
	return result
}

// run runs a text's plan with a fake that answers by step.
func run(t testing.TB, text string, replies map[string]func(context.Context, int) reply) (ran, *fake) {
	t.Helper()
	f := &fake{reply: byStep(replies)}
	return runOf(t.Context(), t, Options{Models: f}, Run{Plan: planOf(t, text), Query: "why?"}), f
}

// checkUsage compares what a run says that it used with the rows that it left.
func checkUsage(t testing.TB, f *fake, r *Run, o Outcome) {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	want := make([]pipeline.AgentUsage, len(r.Plan.Steps))
	var all pipeline.AgentUsage
	for i, s := range r.Plan.Steps {
		want[i].Agent = s.Name
		for _, before := range r.Before {
			if before.Agent == s.Name {
				want[i] = before
			}
		}
		for _, row := range f.rows[r.ID] {
			if row.Step == s.Name {
				want[i].InputTokens += row.InputTokens
				want[i].OutputTokens += row.OutputTokens
				want[i].TotalTokens += row.InputTokens + row.OutputTokens
				want[i].Cost = want[i].Cost.Add(row.Cost)
				want[i].Calls++
				want[i].Model = row.Model
			}
		}
		all.InputTokens += want[i].InputTokens
		all.OutputTokens += want[i].OutputTokens
		all.Cost = all.Cost.Add(want[i].Cost)
	}
	require.Equal(t, want, o.Breakdown)
	require.Equal(t, []int64{all.InputTokens, all.OutputTokens, int64(all.Cost)}, []int64{o.InputTokens, o.OutputTokens, int64(o.Cost)})
}

// of lists a run's events in short: the kind without "agent_", and the step.
func (r ran) short() []string {
	var list []string
	for _, e := range r.events {
		switch data := e.Data.(type) {
		case pipeline.AgentStarted:
			list = append(list, "start "+data.Agent)
		case pipeline.AgentToken:
			list = append(list, "token "+data.Agent+" "+data.Content)
		case pipeline.AgentCompleted:
			kind := "complete "
			if data.Skipped {
				kind = "skipped "
			}
			list = append(list, kind+data.Agent)
		case pipeline.AgentFailed:
			list = append(list, "error "+data.Agent+": "+data.Message)
		case pipeline.Retried:
			list = append(list, "retry "+data.Agent+": "+data.Reason)
		}
	}
	return list
}

// output of a step that has completed.
func (r ran) output(step string) string {
	for _, s := range r.Steps {
		if s.Step == step {
			return s.Output
		}
	}
	return "(none)"
}

// status of a step that has ended.
func (r ran) status(step string) Status {
	for _, s := range r.Steps {
		if s.Step == step {
			return s.Status
		}
	}
	return "(none)"
}
