package execute

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/llm"
	"github.com/financecommander/tollgate/internal/pipeline"
)

const one = `
limits: {time: 5h}
steps:
  - name: a
    retries: 3
    backoff: 10s
    timeout: 90s
    ask: x
`

func TestRetries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		var at []time.Duration
		r, _ := run(t, one, map[string]func(context.Context, int) reply{"a": func(_ context.Context, n int) reply {
			at = append(at, time.Since(start))
			switch n {
			case 1:
				failed := failsWith(llm.CauseUpstreamCut)
				failed.pieces = []string{"half ", "an "}
				return failed
			case 2:
				return reply{wait: time.Hour}
			case 3:
				failed := failsWith(llm.CauseUpstreamRateLimited)
				failed.err.RetryAfter = 10 * time.Minute
				return failed
			}
			return says("whole")
		}})
		require.Equal(t, Completed, r.Status)
		require.Equal(t, []string{
			"start a", "token a half ", "token a an ",
			"retry a: no luck (upstream_cut)", "retry a: it took longer than 1m30s",
			"retry a: no luck (upstream_rate_limited)", "token a whole", "complete a",
		}, r.short())
		require.LessOrEqual(t, at[1]-at[0], 20*time.Second)
		require.LessOrEqual(t, at[2]-at[1], 90*time.Second+40*time.Second)
		require.GreaterOrEqual(t, at[2]-at[1], 90*time.Second)
		require.Equal(t, 10*time.Minute, at[3]-at[2], "what the upstream asked for")
		require.EqualValues(t, 4, r.Breakdown[0].Calls)
	})
}

func TestRetriesEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, f := run(t, one, map[string]func(context.Context, int) reply{"a": always(failsWith(llm.CauseUpstreamOverloaded))})
		require.Equal(t, `step "a" failed: no luck (upstream_overloaded)`, r.Message)
		require.Len(t, f.calls, 4)
		require.LessOrEqual(t, r.Duration, (20+40+60)*time.Second, "no wait is longer than a minute")
	})
}

// Only what may pass is tried again.
func TestWhatIsTriedAgain(t *testing.T) {
	for _, cause := range llm.Causes {
		synctest.Test(t, func(t *testing.T) {
			_, f := run(t, one, map[string]func(context.Context, int) reply{"a": always(failsWith(cause))})
			want := 1
			if cause.Retryable() || cause == llm.CauseUnavailable {
				want = 4
			}
			require.Len(t, f.calls, want, cause)
		})
	}
}

// An upstream that wants to be left alone for longer than the run lasts is not
// waited for.
func TestNoWaitBeyondTheRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		failed := failsWith(llm.CauseUpstreamRateLimited)
		failed.err.RetryAfter = 6 * time.Hour
		r, _ := run(t, one, map[string]func(context.Context, int) reply{"a": always(failed)})
		require.Equal(t, CodeStep, r.Code)
		require.Equal(t, `step "a" failed: no luck (upstream_rate_limited)`, r.Message)
		require.Zero(t, r.Duration)
	})
}

func TestCancelDuringBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		failed := failsWith(llm.CauseUpstreamRateLimited)
		failed.err.RetryAfter = time.Hour
		f := &fake{reply: byStep(map[string]func(context.Context, int) reply{"a": always(failed)})}
		time.AfterFunc(time.Minute, func() { cancel(ErrCancelled) })
		r := runOf(ctx, t, Options{Models: f}, Run{Plan: planOf(t, one)})
		require.Equal(t, CodeCancelled, r.Code)
		require.Equal(t, time.Minute, r.Duration)
	})
}

// A wait for a slot is not the step's time, and none is held between tries.
func TestSlotsAndTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slots := NewSlots(1)
		require.NoError(t, slots.take(t.Context()))
		time.AfterFunc(time.Hour, slots.giveBack)
		failed := failsWith(llm.CauseUpstreamRateLimited)
		failed.err.RetryAfter = time.Hour
		f := &fake{reply: byStep(map[string]func(context.Context, int) reply{"a": func(_ context.Context, n int) reply {
			if n == 1 {
				return failed
			}
			require.False(t, slots.free.TryAcquire(1))
			return says("there")
		}})}
		time.AfterFunc(90*time.Minute, func() {
			require.True(t, slots.free.TryAcquire(1), "a slot is held by a step that waits")
			slots.giveBack()
		})
		r := runOf(t.Context(), t, Options{Models: f, Slots: slots}, Run{Plan: planOf(t, one)})
		require.Equal(t, Completed, r.Status, r.Message)
		require.Equal(t, 2*time.Hour, r.Duration)
	})
}

// A provider's fallback inside a call makes void what is out, and only that.
func TestFallback(t *testing.T) {
	r, _ := run(t, one, map[string]func(context.Context, int) reply{"a": always(reply{
		pieces: []string{"whole"}, fails: 2, again: true, in: 1, cost: 10,
	})})
	require.Equal(t, []string{
		"start a", "token a void ", "retry a: the model broke off its answer, and another try is made",
		"token a void ", "retry a: the model broke off its answer, and another try is made",
		"token a whole", "complete a",
	}, r.short())
	require.EqualValues(t, 3, r.Breakdown[0].Calls)
	require.EqualValues(t, 30, r.Cost)

	r, _ = run(t, one, map[string]func(context.Context, int) reply{"a": always(reply{pieces: []string{"whole"}, fails: 2})})
	require.Equal(t, []string{"start a", "token a whole", "complete a"}, r.short())
}

// A row of a call that was refused counts as one of the step's, without tokens.
func TestRefused(t *testing.T) {
	r, _ := run(t, one, map[string]func(context.Context, int) reply{"a": always(reply{
		err: &llm.Error{Cause: llm.CauseForbidden, Message: "not you"}, refused: true,
	})})
	require.Equal(t, `step "a" failed: not you`, r.Message)
	require.Equal(t, pipeline.AgentUsage{Agent: "a", Model: "m", Calls: 1}, r.Breakdown[0])
}

// What a provider says of a request that it refuses may quote the prompt.
func TestNoWordsOfProviders(t *testing.T) {
	r, _ := run(t, one, map[string]func(context.Context, int) reply{"a": always(reply{
		err: &llm.Error{Cause: llm.CauseUpstreamRejected, Message: "cannot say 'secret'", Code: "context_length_exceeded"},
	})})
	require.Equal(t, `step "a" failed: the model's provider refuses the request, since it is too long for the model`, r.Message)
}

func TestSpan(t *testing.T) {
	for d, want := range map[time.Duration]string{
		2 * time.Minute: "2m", 90 * time.Second: "1m30s", time.Hour: "1h", 61 * time.Minute: "1h1m",
		10 * time.Minute: "10m", 20 * time.Second: "20s", time.Hour + time.Second: "1h0m1s", 10 * time.Hour: "10h",
	} {
		require.Equal(t, want, span(d))
	}
}
