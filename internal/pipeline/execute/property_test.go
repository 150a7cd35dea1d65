package execute

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/gateway"
	"github.com/financecommander/tollgate/internal/llm"
	"github.com/financecommander/tollgate/internal/pipeline"
	"github.com/financecommander/tollgate/pricing"
)

// randomGraph writes a pipeline of which each step may do anything. Its last step
// is the output; whatever does not lead there may end the run.
func randomGraph(rng *rand.Rand) string {
	n := 1 + rng.IntN(12)
	needs := make([][]string, n)
	used := make([]bool, n)
	for i := range n {
		for j := range i {
			if rng.IntN(4) == 0 {
				needs[i] = append(needs[i], fmt.Sprint("s", j))
				used[j] = true
			}
		}
	}
	for j := range n - 1 {
		if !used[j] {
			needs[n-1] = append(needs[n-1], fmt.Sprint("s", j))
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "output: s%d\nlimits: {parallel: %d, calls: %d, cost_usd: 0.0000000%d, time: %ds}\nsteps:\n",
		n-1, 1+rng.IntN(4), 10+rng.IntN(60), 5+rng.IntN(90), 60+rng.IntN(600))
	for i := range n {
		fmt.Fprintf(&b, "  - name: s%d\n    depends_on: [%s]\n    on_failure: %s\n", i, strings.Join(needs[i], ", "), pick(rng, "fail", "empty", "empty", "skip"))
		if rng.IntN(6) == 0 {
			b.WriteString("    skip_if: " + pick(rng, `"true"`, `"false"`, `query.size() > 100`) + "\n")
		}
		if rng.IntN(8) == 0 {
			b.WriteString("    stop_if: " + pick(rng, `"true"`, `"false"`, `"false"`) + "\n")
		}
		if rng.IntN(4) == 0 {
			fmt.Fprintf(&b, "    map: {over: \"[1, 2, 3, 4]\", parallel: %d, on_failure: %s}\n", 1+rng.IntN(3), pick(rng, "fail", "skip", "empty"))
		}
		if rng.IntN(5) == 0 {
			b.WriteString("    transform: " + pick(rng, "query", `"[1, query]"`) + "\n")
			continue
		}
		fmt.Fprintf(&b, "    ask: x\n    timeout: 20s\n    retries: %d\n    format: %s\n", rng.IntN(3), pick(rng, "text", "text", "json"))
	}
	return b.String()
}

func pick(rng *rand.Rand, of ...string) string { return of[rng.IntN(len(of))] }

// randomReply answers anything, at any time.
func randomReply(rng *rand.Rand) reply {
	r := reply{wait: time.Duration(rng.IntN(5000)) * time.Millisecond, in: rng.Int64N(50), out: rng.Int64N(50), cost: pricing.Money(rng.IntN(2000))}
	for range rng.IntN(5) {
		r.pieces = append(r.pieces, pick(rng, "a", "{}", "[1]", " ", "\u00e9"))
	}
	switch rng.IntN(10) {
	case 0:
		r.err = &llm.Error{Cause: llm.Causes[rng.IntN(len(llm.Causes))], Message: "no luck", RetryAfter: time.Duration(rng.IntN(3)) * time.Second}
	case 1:
		r.wait = time.Hour
	case 2:
		r.fails, r.again = 1+rng.IntN(2), rng.IntN(2) == 0
	case 3:
		r.err, r.refused = &llm.Error{Cause: llm.CauseForbidden, Message: "no"}, true
	}
	return r
}

// Whatever the graph is and however its calls go: what [CheckEvents] and checkUsage
// say holds, no bound is passed, and the outcome is what the results say.
func TestRandomGraphs(t *testing.T) {
	outcomes := make(map[Code]int)
	for seed := range uint64(300) {
		rng := rand.New(rand.NewPCG(seed, 2))
		text := randomGraph(rng)
		synctest.Test(t, func(t *testing.T) {
			plan := planOf(t, text)
			replies := make(chan reply, 1000)
			for range cap(replies) {
				replies <- randomReply(rng)
			}
			f := &fake{reply: func(context.Context, gateway.Call, int) reply { return <-replies }}
			ctx, cancel := context.WithCancelCause(t.Context())
			defer cancel(nil)
			if rng.IntN(5) == 0 {
				time.AfterFunc(time.Duration(rng.IntN(20_000))*time.Millisecond, func() { cancel(ErrCancelled) })
			}
			r := runOf(ctx, t, Options{Models: f, Slots: NewSlots(3)}, Run{Plan: plan, Query: "why?"})
			outcomes[r.Code]++
			checkRandom(t, r, f)
		})
	}
	for _, code := range []Code{"", CodeStep, CodeCost, CodeTime, CodeCalls, CodeCancelled} {
		require.NotZero(t, outcomes[code], "no run ended like this: %q; %v", code, outcomes)
	}
	require.Zero(t, outcomes[CodeInternal])
}

func checkRandom(t *testing.T, r ran, f *fake) {
	t.Helper()
	limits := r.plan.Definition.Limits
	require.LessOrEqual(t, f.most, min(3, limits.Parallel))
	require.LessOrEqual(t, len(f.calls), limits.Calls)
	require.LessOrEqual(t, r.Duration, time.Duration(limits.Time))
	for name, result := range r.kept {
		require.Equal(t, result.Output, r.output(name))
		require.Equal(t, result.Status, r.status(name))
		step := r.plan.Steps[index(r.plan, name)]
		if result.Status == Failed && r.Status == Completed && !slices.ContainsFunc(r.Steps, func(s StepResult) bool { return s.Stopped }) {
			require.NotEqual(t, pipeline.Fail, step.OnFailure, "the run completed in spite of it")
		}
	}
	if r.Code == CodeStep {
		require.True(t, slices.ContainsFunc(r.Steps, func(s StepResult) bool { return s.Status == Failed }))
	}
}

func index(plan *pipeline.Plan, name string) int {
	return slices.IndexFunc(plan.Steps, func(s *pipeline.PlanStep) bool { return s.Name == name })
}
