package execute

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/llm"
)

const scored = `
steps:
  - name: score
    format: json
    schema: {type: object, required: [score], properties: {score: {type: integer}}}
    ask: "score {{ .query }}"
  - name: next
    depends_on: [score]
    ask: "{{ .steps.score.json.score }}"
`

func TestJSON(t *testing.T) {
	r, f := run(t, scored, map[string]func(context.Context, int) reply{
		"score": always(says("Here you are:\n```json\n{ \"score\" :", " 7 }\n```\nBye")),
	})
	require.Equal(t, Completed, r.Status, r.Message)
	require.Equal(t, `{"score":7}`, r.output("score"))
	require.Equal(t, []string{"start score", `token score {"score":7}`, "complete score"}, r.short()[:3])
	require.Equal(t, []string{"7"}, f.prompts("next"))
	prompt := f.prompts("score")[0]
	require.Contains(t, prompt, "score why?\n\nAnswer with JSON alone")
	require.Contains(t, prompt, `"required":["score"]`)
	require.Equal(t, llm.OutputJSONSchema, f.calls[0].Output.Kind)
	require.JSONEq(t, `{"type":"object","required":["score"],"properties":{"score":{"type":"integer"}}}`, string(f.calls[0].Output.Schema))
}

func TestRepair(t *testing.T) {
	r, f := run(t, scored, map[string]func(context.Context, int) reply{"score": func(_ context.Context, n int) reply {
		if n == 1 {
			return says(`{"score":"seven"}`)
		}
		return says(`{"score":7}`)
	}})
	require.Equal(t, Completed, r.Status, r.Message)
	require.Equal(t, []string{
		"start score", "retry score: its answer is not the JSON that was asked for", `token score {"score":7}`, "complete score",
	}, r.short()[:4])
	require.Len(t, f.calls, 3)
	talk := f.calls[1].Messages
	require.Len(t, talk, 3)
	require.Equal(t, llm.TextMessage(llm.RoleAssistant, `{"score":"seven"}`), talk[1])
	require.Contains(t, talk[2].Parts[0].(*llm.Text).Text, "/score")
	require.Equal(t, llm.RoleUser, talk[2].Role)
}

func TestRepairFails(t *testing.T) {
	for _, answer := range []string{"no JSON", "", `{"score":"secret"}`, `{"score":7} {"score":7}`, "[1,2"} {
		r, f := run(t, scored, map[string]func(context.Context, int) reply{"score": always(says(answer))})
		require.Equal(t, CodeStep, r.Code)
		require.Equal(t, `step "score" failed: its answer is not the JSON that was asked for, neither at first nor when it was sent back`, r.Message)
		require.Len(t, f.calls, 2)
		if answer == "" {
			require.Len(t, f.calls[1].Messages, 2, "no message is empty")
		}
	}
}

// Without a schema any JSON is good, and upstreams are not told of objects.
func TestAnyJSON(t *testing.T) {
	for answer, want := range map[string]string{
		`[1, 2]`: `[1,2]`, ` "text" `: `"text"`, "```\ntrue\n```": "true", "12.50": "12.50",
		`{"b":1,"a":9007199254740993}`: `{"b":1,"a":9007199254740993}`, "```json {\"a\": \"```\"} ```": "{\"a\":\"```\"}",
	} {
		r, f := run(t, `
steps:
  - name: a
    format: json
    ask: x
`, map[string]func(context.Context, int) reply{"a": always(says(answer))})
		require.Equal(t, want, r.Output)
		require.Nil(t, f.calls[0].Output)
	}
}

// Tries and the repair are counted apart.
func TestRetriesAndRepair(t *testing.T) {
	r, f := run(t, `
steps:
  - name: a
    format: json
    retries: 2
    backoff: 1ns
    ask: x
`, map[string]func(context.Context, int) reply{"a": func(_ context.Context, n int) reply {
		return []reply{failsWith(llm.CauseUpstreamCut), says("bad"), failsWith(llm.CauseUpstreamError), says("[]")}[n-1]
	}})
	require.Equal(t, Completed, r.Status, r.Message)
	require.Equal(t, "[]", r.Output)
	require.Len(t, f.calls, 4)
}

func FuzzReadJSON(f *testing.F) {
	for _, seed := range []string{"{}", "```json\n[1]\n```", "x", "``` ```", "\"\xff\"", "```", "1 2"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, answer string) {
		p, value, ok := readJSON(answer)
		if !ok {
			require.Equal(t, product{}, p)
			return
		}
		require.Equal(t, decode(p.text), value)
		again, _, ok := readJSON(p.text)
		require.True(t, ok)
		require.Equal(t, p, again)
	})
}
