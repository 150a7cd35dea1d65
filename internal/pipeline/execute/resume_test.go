package execute

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/pipeline"
)

const chain = `
output: e
steps:
  - name: a
    ask: x
  - name: b
    depends_on: [a]
    skip_if: "true"
    ask: x
  - name: c
    depends_on: [a, b]
    transform: steps.a.output + "c"
  - name: d
    depends_on: [a]
    on_failure: empty
    ask: x
  - name: e
    depends_on: [a, b, c, d]
    ask: "{{ .steps.a.output }} {{ .steps.b.skipped }} {{ .steps.c.output }} {{ .steps.d.failed }}"
  - name: f
    depends_on: [e]
    stop_if: "false"
    ask: x
`

// What an earlier attempt has done is told again, and not done again.
func TestResume(t *testing.T) {
	before := []pipeline.AgentUsage{
		{Agent: "a", Model: "m", InputTokens: 10, OutputTokens: 5, TotalTokens: 15, Cost: 77, Calls: 1},
		{Agent: "e", Model: "m", InputTokens: 1, TotalTokens: 1, Cost: 2, Calls: 1},
	}
	done := map[string]StepResult{
		"a": {Step: "a", Status: Completed, Output: "old", DurationMS: 1234},
		"b": {Step: "b", Status: Skipped},
		"c": {Step: "c", Status: Completed, Output: "oldc"},
		"d": {Step: "d", Status: Failed, Message: "it was not to be"},
		"f": {Step: "f", Status: Skipped, Message: "it needs what failed"},
	}
	f := &fake{}
	r := runOf(t.Context(), t, Options{Models: f}, Run{Plan: planOf(t, chain), Done: done, Before: before})
	require.Equal(t, Completed, r.Status)
	require.Equal(t, []string{
		"start a", "token a old", "complete a", "skipped b", "start c", "complete c", "start d", "error d: it was not to be",
		"start e", "token e e!", "complete e", "start f", "token f f!", "complete f",
	}, r.short())
	require.Equal(t, []string{"old true oldc true"}, f.prompts("e"))
	require.Empty(t, f.prompts("a"))
	require.EqualValues(t, 2, r.Breakdown[4].Calls)
	require.EqualValues(t, 77+2+1000+1000, r.Cost)
	require.Len(t, r.kept, 2, "only what is new is kept")
	require.EqualValues(t, 1234, r.Steps[0].DurationMS)
}

// A step that failed, or that was cut off, is done again, with all after it.
func TestResumeAfterFailure(t *testing.T) {
	f := &fake{}
	r := runOf(t.Context(), t, Options{Models: f}, Run{Plan: planOf(t, chain), Done: map[string]StepResult{
		"a": {Status: Failed, Message: "no"},
		"b": {Status: Completed, Output: "of an a that is gone"},
		"d": {Status: Completed, Output: "as well"},
	}})
	require.Equal(t, Completed, r.Status)
	require.Len(t, f.prompts("a"), 1)
	require.Len(t, f.prompts("d"), 1)
	require.Equal(t, Skipped, r.status("b"))
}

// The stop condition that held before the replica died holds again.
func TestResumeOfStop(t *testing.T) {
	f := &fake{}
	r := runOf(t.Context(), t, Options{Models: f}, Run{Plan: planOf(t, `
steps:
  - name: a
    stop_if: "true"
    ask: x
  - name: b
    depends_on: [a]
    ask: x
`), Done: map[string]StepResult{"a": {Status: Completed, Output: "enough", Stopped: true}}})
	require.Equal(t, "enough", r.Output)
	require.Empty(t, f.calls)
	require.Equal(t, []string{"start a", "token a enough", "complete a", "skipped b"}, r.short())
}

// What the earlier attempt cost counts.
func TestResumeCost(t *testing.T) {
	f := &fake{}
	r := runOf(t.Context(), t, Options{Models: f}, Run{
		Plan: planOf(t, "limits: {cost_usd: 0.000000001}"+two), Before: []pipeline.AgentUsage{{Agent: "a", Cost: 5000}},
	})
	require.Equal(t, CodeCost, r.Code)
	require.Empty(t, f.calls)
}

// So do its calls: who resumes on and on makes no more of them.
func TestResumeCalls(t *testing.T) {
	f := &fake{}
	r := runOf(t.Context(), t, Options{Models: f}, Run{
		Plan: planOf(t, "limits: {calls: 7}"+two), Before: []pipeline.AgentUsage{{Agent: "a", Calls: 4}, {Agent: "b", Calls: 3}},
	})
	require.Equal(t, CodeCalls, r.Code)
	require.Empty(t, f.calls)
}

// A run that is broken off anywhere and resumed comes to the same end.
func TestResumeAnywhere(t *testing.T) {
	f := &fake{}
	plan := planOf(t, diamond)
	for after := 1; ; after++ {
		ctx, cancel := context.WithCancelCause(t.Context())
		n := 0
		first := runOf(ctx, t, Options{Models: f}, Run{ID: string(rune(after)), Plan: plan, Emit: func(pipeline.Event) {
			if n++; n == after {
				cancel(ErrLost)
			}
		}})
		cancel(nil)
		if first.Status == Completed {
			require.Greater(t, after, 10)
			return
		}
		r := runOf(t.Context(), t, Options{Models: f}, Run{ID: string(rune(after)) + "'", Plan: plan, Done: first.kept, Before: first.Breakdown})
		require.Equal(t, Completed, r.Status)
		require.Equal(t, "report!", r.Output)
		for step := range first.kept {
			require.Equal(t, first.kept[step].Output, r.output(step))
			require.NotContains(t, r.kept, step)
		}
	}
}
