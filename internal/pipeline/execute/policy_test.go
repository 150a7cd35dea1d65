package execute

import (
	"context"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/llm"
)

// Three ways in which a step fails, under each policy.
func TestPolicies(t *testing.T) {
	ways := map[string]struct {
		lines   string
		reply   reply
		message string
	}{
		"model":    {"ask: x", failsWith(llm.CauseInvalidRequest), "no luck (invalid_request)"},
		"template": {"ask: \"{{ index (lines .query) 7 }}\"", says(), ""},
		"timeout":  {"timeout: 2m\n    retries: 0\n    ask: x", reply{pieces: []string{"beginning"}, wait: 1 << 60}, "it took longer than 2m"},
	}
	for name, way := range ways {
		// Steps that the output does not need are there if they may end the run.
		text := func(policy, output string) string {
			return "output: " + output + `
steps:
  - name: bad
    on_failure: ` + policy + "\n    " + way.lines + `
  - name: needs
    depends_on: [bad]
    ask: "{{ .steps.bad.output }}{{ .steps.bad.failed }}"
  - name: more
    depends_on: [needs, good]
    stop_if: "false"
    ask: "{{ .steps.needs.skipped }}"
  - name: good
    ask: x
`
		}
		run := func(t *testing.T, policy, output string) (r ran, f *fake) {
			synctest.Test(t, func(t *testing.T) {
				r, f = run(t, text(policy, output), map[string]func(context.Context, int) reply{"bad": always(way.reply)})
			})
			if way.message == "" {
				way.message = r.message("bad")
				require.Contains(t, way.message, "its prompt")
			}
			return r, f
		}
		t.Run(name+"/fail", func(t *testing.T) {
			r, f := run(t, "fail", "more")
			require.Equal(t, Failed, r.Status)
			require.Equal(t, CodeStep, r.Code)
			require.Equal(t, `step "bad" failed: `+way.message, r.Message)
			require.Empty(t, f.prompts("needs"))
			require.Equal(t, Failed, r.kept["bad"].Status)
		})
		t.Run(name+"/skip", func(t *testing.T) {
			r, f := run(t, "skip", "good")
			require.Equal(t, Completed, r.Status)
			require.Equal(t, "good!", r.Output)
			require.Equal(t, []Status{Failed, Skipped, Skipped, Completed},
				[]Status{r.status("bad"), r.status("needs"), r.status("more"), r.status("good")})
			require.Equal(t, `it needs step "bad", which failed`, r.kept["more"].Message)
			require.Empty(t, f.prompts("needs"))
			require.Empty(t, f.prompts("more"))
		})
		t.Run(name+"/skip the output", func(t *testing.T) {
			r, f := run(t, "skip", "more")
			require.Equal(t, Failed, r.Status)
			require.Equal(t, CodeStep, r.Code)
			require.Equal(t, `step "bad", which the output needs, failed: `+way.message, r.Message)
			require.Empty(t, f.prompts("more"))
			require.NotContains(t, r.short(), "skipped needs")
		})
		t.Run(name+"/empty", func(t *testing.T) {
			r, f := run(t, "empty", "more")
			require.Equal(t, Completed, r.Status)
			require.Equal(t, []string{"true"}, f.prompts("needs"))
			require.Equal(t, []string{"false"}, f.prompts("more"))
			require.Contains(t, r.short(), "error bad: "+way.message)
		})
		t.Run(name+"/empty output", func(t *testing.T) {
			r, _ := run(t, "empty", "bad")
			require.Equal(t, Completed, r.Status)
			require.Empty(t, r.Output)
		})
		t.Run(name+"/skip itself", func(t *testing.T) {
			r, _ := run(t, "skip", "bad")
			require.Equal(t, CodeStep, r.Code)
		})
	}
}

// A failing step ends those under way, and each is told of.
func TestFailureEndsOthers(t *testing.T) {
	begun := make(chan struct{})
	r, f := run(t, `
output: c
steps:
  - name: a
    ask: x
  - name: b
    ask: x
  - name: c
    depends_on: [a, b]
    ask: x
`, map[string]func(context.Context, int) reply{
		"a": func(ctx context.Context, n int) reply { close(begun); return hangs("half an ")(ctx, n) },
		"b": func(context.Context, int) reply { <-begun; return failsWith(llm.CauseForbidden) },
	})
	require.Equal(t, CodeStep, r.Code)
	require.Contains(t, r.short(), `error a: step "b" failed: no luck (forbidden)`)
	require.NotContains(t, r.kept, "a")
	require.EqualValues(t, 500+7, r.Cost, "the call that was cut off is recorded")
	require.Empty(t, f.prompts("c"))
}

// An answer that was complete when the run's end was decided is not lost.
func TestCompleteAtTheEnd(t *testing.T) {
	begun := make(chan struct{})
	r, _ := run(t, "output: b"+two+`
  - name: c
    stop_if: "false"
    ask: x
`, map[string]func(context.Context, int) reply{
		"a": func(ctx context.Context, _ int) reply {
			close(begun)
			<-ctx.Done()
			return reply{pieces: []string{"there"}, whole: true}
		},
		"c": func(context.Context, int) reply { <-begun; return failsWith(llm.CauseForbidden) },
	})
	require.Equal(t, CodeStep, r.Code)
	require.Equal(t, "there", r.kept["a"].Output)
	require.Contains(t, r.short(), "complete a")
	require.NotContains(t, r.short(), "start b")
}

func TestSkipIf(t *testing.T) {
	r, f := run(t, `
steps:
  - name: draft
    skip_if: query.startsWith("why")
    ask: x
  - name: edit
    depends_on: [draft]
    ask: "{{ .steps.draft.skipped }}<{{ .steps.draft.output }}>"
`, nil)
	require.Equal(t, Completed, r.Status)
	require.Equal(t, []string{"skipped draft", "start edit", "token edit edit!", "complete edit"}, r.short())
	require.Equal(t, []string{"true<>"}, f.prompts("edit"))
	require.Equal(t, Skipped, r.kept["draft"].Status)
}

func TestSkipOfTheOutput(t *testing.T) {
	r, _ := run(t, `
steps:
  - name: only
    skip_if: "true"
    ask: x
`, nil)
	require.Equal(t, Completed, r.Status)
	require.Empty(t, r.Output)
}

// A condition that cannot be evaluated fails its step.
func TestBrokenConditions(t *testing.T) {
	for _, condition := range []string{"skip_if", "stop_if"} {
		r, _ := run(t, `
steps:
  - name: a
    ask: x
  - name: b
    depends_on: [a]
    `+condition+`: steps.a.json.score > 1
    ask: x
`, nil)
		require.Equal(t, CodeStep, r.Code)
		require.Contains(t, r.Message, `step "b" failed: its `+condition)
		require.NotContains(t, r.Message, "a!")
	}
}

// A stop condition ends the run well: what is under way is cut off, and the rest
// skipped.
func TestStopIf(t *testing.T) {
	begun := make(chan struct{})
	r, f := run(t, `
output: end
steps:
  - name: slow
    ask: x
  - name: judge
    stop_if: steps.judge.output == "enough"
    ask: x
  - name: more
    depends_on: [judge]
    ask: x
  - name: end
    depends_on: [more, slow]
    ask: x
`, map[string]func(context.Context, int) reply{
		"slow":  func(ctx context.Context, n int) reply { close(begun); return hangs("half an ")(ctx, n) },
		"judge": func(context.Context, int) reply { <-begun; return says("eno", "ugh") },
	})
	require.Equal(t, Completed, r.Status)
	require.Equal(t, "enough", r.Output)
	require.True(t, r.kept["judge"].Stopped)
	short := r.short()
	require.Equal(t, []string{"skipped more", "skipped end"}, short[len(short)-2:])
	require.Contains(t, short, "skipped slow")
	require.EqualValues(t, 1000+500, r.Cost)
	require.Empty(t, f.prompts("end"))
	require.Len(t, r.kept, 4)
}

func TestStopIfFalse(t *testing.T) {
	r, _ := run(t, `
steps:
  - name: judge
    stop_if: steps.judge.output == "enough"
    ask: x
  - name: end
    depends_on: [judge]
    ask: x
`, nil)
	require.Equal(t, "end!", r.Output)
	require.False(t, r.kept["judge"].Stopped)
}

// message of a step that failed.
func (r ran) message(step string) string {
	for _, s := range r.Steps {
		if s.Step == step {
			return s.Message
		}
	}
	return "(none)"
}
