package execute

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/gateway"
	"github.com/financecommander/tollgate/internal/llm"
	"github.com/financecommander/tollgate/internal/pipeline"
)

const two = `
steps:
  - name: a
    ask: x
  - name: b
    depends_on: [a]
    ask: x
`

func TestCostBetweenSteps(t *testing.T) {
	r, f := run(t, "limits: {cost_usd: 0.000000001}"+two, nil)
	require.Equal(t, Failed, r.Status)
	require.Equal(t, CodeCost, r.Code)
	require.Equal(t, "the run was ended, since it has cost 0.000000001 USD and may cost 0.000000001 USD", r.Message)
	require.Equal(t, []string{"start a", "token a a!", "complete a"}, r.short(), "the step that cannot be paid for does not begin")
	require.Equal(t, Completed, r.kept["a"].Status)
	require.Len(t, f.calls, 1)
}

// The answer that costs the last of the money is the run's, if it needs no more.
func TestCostOfTheLastCall(t *testing.T) {
	r, _ := run(t, "limits: {cost_usd: 0.000000002}"+two, nil)
	require.Equal(t, Completed, r.Status, r.Message)
	require.Equal(t, "b!", r.Output)
	require.EqualValues(t, 2000, r.Cost)

	r, _ = run(t, "limits: {cost_usd: 0.000000002}"+two+`
    stop_if: steps.b.output == "b!"
  - name: sum
    depends_on: [b]
    transform: steps.b.output + "!"
`, nil)
	require.Equal(t, Completed, r.Status, r.Message)
	require.Equal(t, "b!", r.Output)

	r, _ = run(t, "limits: {cost_usd: 0.000000002}"+two+`
  - name: sum
    depends_on: [b]
    transform: steps.b.output + "!"
`, nil)
	require.Equal(t, Completed, r.Status, "what needs no call is done: "+r.Message)
	require.Equal(t, "b!!", r.Output)
}

// The limit ends calls that are under way, waits for another try, and items.
func TestCostInMidStream(t *testing.T) {
	for name, other := range map[string]struct {
		lines string
		reply func(context.Context, int) reply
	}{
		"stream": {"ask: x", hangs("half an ")},
		"wait": {"ask: x", always(reply{err: &llm.Error{
			Cause: llm.CauseUpstreamRateLimited, Message: "later", RetryAfter: 10 * time.Minute,
		}})},
		"items":  {"map: {over: \"[1, 2, 3]\", on_failure: empty}\n    ask: x", hangs("half an ")},
		"policy": {"on_failure: empty\n    ask: x", hangs("half an ")},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r, _ := run(t, "output: end\nlimits: {cost_usd: 0.000001, time: 20m}"+`
steps:
  - name: dear
    ask: x
  - name: other
    `+other.lines+`
  - name: end
    depends_on: [dear, other]
    ask: x
`, map[string]func(context.Context, int) reply{
					"dear":  always(reply{pieces: []string{"gold"}, wait: time.Second, cost: 1_000_000, in: 1}),
					"other": other.reply,
				})
				require.Equal(t, CodeCost, r.Code, r.Message)
				require.Less(t, r.Duration, 2*time.Second)
				require.Equal(t, "gold", r.output("dear"), "the answer that cost the money is whole")
				require.Contains(t, r.short(), "error other: "+r.Message)
				require.NotContains(t, r.kept, "other")
			})
		})
	}
}

// A row of a try that failed may reach the limit, before the call has its answer.
func TestCostOfFailedTries(t *testing.T) {
	r, _ := run(t, `
limits: {cost_usd: 0.000001}
steps:
  - name: a
    ask: x
`, map[string]func(context.Context, int) reply{"a": always(reply{
		pieces: []string{"late"}, wait: time.Hour, fails: 2, again: true, cost: 500_000,
	})})
	require.Equal(t, CodeCost, r.Code)
	require.EqualValues(t, 1_500_000, r.Cost)
}

func TestTime(t *testing.T) {
	for name, begun := range map[string]time.Duration{"new": 0, "resumed": 50 * time.Second} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := &fake{reply: byStep(map[string]func(context.Context, int) reply{"b": hangs("half an ")})}
				start := time.Now()
				r := runOf(t.Context(), t, Options{Models: f}, Run{
					Plan: planOf(t, "limits: {time: 1m}"+two), Begun: start.Add(-begun),
				})
				require.Equal(t, CodeTime, r.Code)
				require.Equal(t, "the run was ended, since it took longer than 1m", r.Message)
				require.Equal(t, time.Minute-begun, time.Since(start))
				require.Equal(t, time.Minute, r.Duration)
				require.Contains(t, r.short(), "error b: "+r.Message)
			})
		})
	}
}

func TestCalls(t *testing.T) {
	r, f := run(t, `
limits: {calls: 3}
steps:
  - name: a
    retries: 9
    backoff: 1ms
    on_failure: empty
    ask: x
`, map[string]func(context.Context, int) reply{"a": always(failsWith(llm.CauseUpstreamError))})
	require.Equal(t, CodeCalls, r.Code)
	require.Equal(t, "the run was ended, since it may make 3 calls and needs more", r.Message)
	require.Len(t, f.calls, 3)

	r, _ = run(t, "limits: {calls: 2}"+two, nil)
	require.Equal(t, Completed, r.Status)
}

func TestCancel(t *testing.T) {
	for code, cause := range map[Code]error{
		CodeCancelled: ErrCancelled, CodeStopped: ErrStopped, CodeLost: ErrLost, CodeInternal: errors.New("secret"),
	} {
		t.Run(string(code), func(t *testing.T) {
			ctx, cancel := context.WithCancelCause(t.Context())
			f := &fake{reply: byStep(map[string]func(context.Context, int) reply{"b": hangs("half an ")})}
			r := runOf(ctx, t, Options{Models: f}, Run{Plan: planOf(t, two), Emit: func(e pipeline.Event) {
				if token, ok := e.Data.(pipeline.AgentToken); ok && token.Agent == "b" {
					cancel(cause)
				}
			}})
			cancel(nil)
			require.Equal(t, Failed, r.Status)
			require.Equal(t, code, r.Code)
			require.NotContains(t, r.Message, "secret")
			require.EqualValues(t, 1500, r.Cost, "the call that was cut off is recorded")
			require.Equal(t, map[string]StepResult{"a": r.Steps[0]}, r.kept)
		})
	}
}

func TestCancelledBeforeItBegins(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(ErrCancelled)
	f := &fake{}
	r := runOf(ctx, t, Options{Models: f}, Run{Plan: planOf(t, two)})
	require.Equal(t, CodeCancelled, r.Code)
	require.Empty(t, f.calls)
	require.Len(t, r.events, 2)
}

// A run that waits for a slot can be cancelled.
func TestCancelWhileWaiting(t *testing.T) {
	slots := NewSlots(1)
	require.NoError(t, slots.take(t.Context()))
	begun := make(chan struct{})
	ctx, cancel := context.WithCancelCause(t.Context())
	f := &fake{}
	r := runOf(ctx, t, Options{Models: f, Slots: slots}, Run{Plan: planOf(t, two), Emit: func(e pipeline.Event) {
		if e.Type == pipeline.EventAgentStart {
			close(begun)
			cancel(ErrCancelled)
		}
	}})
	<-begun
	require.Equal(t, CodeCancelled, r.Code)
	require.Empty(t, f.calls)
	slots.giveBack()
}

func TestLongOutputs(t *testing.T) {
	piece := strings.Repeat("x", 64<<10)
	long := make([]string, 17)
	for i := range long {
		long[i] = piece
	}
	r, _ := run(t, two, map[string]func(context.Context, int) reply{"a": always(says(long...))})
	require.Equal(t, CodeStep, r.Code)
	require.Equal(t, `step "a" failed: its output is longer than 1 MiB`, r.Message)

	r, _ = run(t, two, map[string]func(context.Context, int) reply{"a": always(says(long[:16]...))})
	require.Equal(t, Completed, r.Status)
}

// Tries that are void count as well: their events are there.
func TestLongRuns(t *testing.T) {
	long := always(reply{pieces: []string{strings.Repeat("x", 1<<20)}, err: &llm.Error{Cause: llm.CauseUpstreamCut, Message: "cut"}})
	r, f := run(t, `
steps:
  - name: a
    retries: 10
    backoff: 1ns
    on_failure: empty
    ask: x
  - name: b
    depends_on: [a]
    retries: 10
    backoff: 1ns
    ask: x
`, map[string]func(context.Context, int) reply{"a": long, "b": long})
	require.Equal(t, `step "b" failed: the steps of a run may put out 16 MiB in all, and would put out more`, r.Message)
	require.Len(t, f.calls, 17)
}

// A gateway that talks on after its call ended disturbs nothing.
func TestLateWords(t *testing.T) {
	var late []func()
	f := &fake{}
	f.reply = func(_ context.Context, c gateway.Call, _ int) reply {
		late = append(late, func() { c.Text("late"); c.Again() })
		return says(c.Label.Step + "!")
	}
	r := runOf(t.Context(), t, Options{Models: f}, Run{Plan: planOf(t, two)})
	for _, words := range late {
		words()
	}
	require.Equal(t, "b!", r.Output)
}
