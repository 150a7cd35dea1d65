package execute

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/gateway"
	"github.com/financecommander/tollgate/internal/llm"
)

// mapped is a map step over the items of the step before it.
func mapped(lines string) string {
	return `
steps:
  - name: list
    format: json
    ask: x
  - name: each
    depends_on: [list]
    map: {over: steps.list.json, ` + lines + `}
    backoff: 1ns
    ask: "{{ .index }}:{{ .item }}"
`
}

// onItems answers the items of "each" by their prompts.
func onItems(list string, answer func(ctx context.Context, prompt string, n int) reply) *fake {
	return &fake{reply: func(ctx context.Context, c gateway.Call, n int) reply {
		if c.Label.Step == "list" {
			return says(list)
		}
		return answer(ctx, c.Messages[0].Parts[0].(*llm.Text).Text, n)
	}}
}

func TestMap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := onItems(`["a","b","c","d","e"]`, func(_ context.Context, prompt string, _ int) reply {
			r := says("<" + prompt + ">")
			r.wait = time.Minute
			if strings.HasPrefix(prompt, "0") {
				r.wait = 210 * time.Second
			}
			return r
		})
		r := runOf(t.Context(), t, Options{Models: f}, Run{Plan: planOf(t, mapped("parallel: 2"))})
		require.Equal(t, Completed, r.Status, r.Message)
		require.Equal(t, `["<0:a>","<1:b>","<2:c>","<3:d>","<4:e>"]`, r.Output)
		require.Equal(t, 2, f.most)
		require.Equal(t, []string{"token each [", `token each "<0:a>","<1:b>","<2:c>","<3:d>"`, `token each ,"<4:e>"`, "token each ]", "complete each"},
			r.short()[4:], "items come in their order, as soon as they can")
		require.EqualValues(t, 5, r.Breakdown[1].Calls)
	})
}

func TestMapOfJSON(t *testing.T) {
	f := onItems(`[1,2]`, func(_ context.Context, prompt string, n int) reply {
		if n == 1 {
			return says("not yet")
		}
		return says("{\"is\": \"" + prompt[:3] + "\"}")
	})
	r := runOf(t.Context(), t, Options{Models: f}, Run{Plan: planOf(t, mapped("parallel: 1")+"    format: json\n")})
	require.Empty(t, cmp.Diff(`[{"is":"0:1"},{"is":"1:2"}]`, r.Output), "to the byte")
	require.NotContains(t, strings.Join(r.short(), "\n"), "retry", "what is out stays good")
}

func TestMapOfTransforms(t *testing.T) {
	r, _ := run(t, `
steps:
  - name: a
    map: {over: "[1, 2, 3]"}
    transform: 'item == 2 ? dyn("two") : dyn({"is": item})'
`, nil)
	require.Equal(t, `[{"is":1},"two",{"is":3}]`, r.Output)
}

func TestEmptyMap(t *testing.T) {
	r := runOf(t.Context(), t, Options{Models: onItems(`[]`, nil)}, Run{Plan: planOf(t, mapped("parallel: 3"))})
	require.Equal(t, "[]", r.Output)
}

func TestItemPolicies(t *testing.T) {
	for policy, want := range map[string]string{"skip": `["0:a","2:c"]`, "empty": `["0:a",null,"2:c"]`, "fail": ""} {
		t.Run(policy, func(t *testing.T) {
			f := onItems(`["a","b","c"]`, func(_ context.Context, prompt string, _ int) reply {
				if prompt == "1:b" {
					return failsWith(llm.CauseForbidden)
				}
				return says(prompt)
			})
			r := runOf(t.Context(), t, Options{Models: f}, Run{Plan: planOf(t, mapped("parallel: 1, on_failure: "+policy))})
			require.Equal(t, want, r.Output)
			if policy == "fail" {
				require.Equal(t, `step "each" failed: item 2 of its list: no luck (forbidden)`, r.Message)
				require.Len(t, f.prompts("each"), 2)
				return
			}
			require.Equal(t, "1 of 3 items failed; of one it is known: no luck (forbidden)", r.kept["each"].Message)
		})
	}
}

func TestItemsThatAllFail(t *testing.T) {
	f := onItems(`["a","b"]`, func(context.Context, string, int) reply { panic("secret") })
	r := runOf(t.Context(), t, Options{Models: f}, Run{Plan: planOf(t, mapped("on_failure: skip"))})
	require.Equal(t, "[]", r.Output)
	r = runOf(t.Context(), t, Options{Models: f}, Run{ID: "other", Plan: planOf(t, mapped("on_failure: fail")+"    on_failure: empty\n")})
	require.Equal(t, Completed, r.Status)
	require.Equal(t, Failed, r.status("each"))
}

// An item that fails ends the others.
func TestItemEndsOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := onItems(`["a","b","c"]`, func(ctx context.Context, prompt string, n int) reply {
			if prompt == "2:c" {
				r := failsWith(llm.CauseForbidden)
				r.wait = time.Minute
				return r
			}
			return hangs("half")(ctx, n)
		})
		r := runOf(t.Context(), t, Options{Models: f}, Run{Plan: planOf(t, mapped("parallel: 3"))})
		require.Equal(t, `step "each" failed: item 3 of its list: no luck (forbidden)`, r.Message)
		require.Equal(t, time.Minute, r.Duration)
		require.EqualValues(t, 3, r.Breakdown[1].Calls)
	})
}

func TestItemTimeoutAndRetry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := onItems(`["a","b"]`, func(_ context.Context, prompt string, n int) reply {
			if n == 1 {
				return reply{wait: time.Hour, pieces: []string{"half"}}
			}
			return says(prompt)
		})
		r := runOf(t.Context(), t, Options{Models: f}, Run{Plan: planOf(t, mapped("parallel: 1")+"    timeout: 1m\n")})
		require.Equal(t, `["0:a","1:b"]`, r.Output)
		require.InDelta(t, time.Minute, r.Duration, float64(time.Second))
	})
}

func TestTooManyItems(t *testing.T) {
	f := onItems(`[1,2,3]`, nil)
	r := runOf(t.Context(), t, Options{Models: f}, Run{Plan: planOf(t, mapped("max_items: 2"))})
	require.Equal(t, `step "each" failed: its list has 3 items, of which it may do 2`, r.Message)
	f = onItems(`{"no":"list"}`, nil)
	r = runOf(t.Context(), t, Options{Models: f}, Run{Plan: planOf(t, mapped("max_items: 2"))})
	require.Contains(t, r.Message, `step "each" failed: its list of items`)
}

func TestLongMap(t *testing.T) {
	f := onItems(`[1,2,3]`, func(context.Context, string, int) reply { return says(strings.Repeat("x", 400<<10)) })
	r := runOf(t.Context(), t, Options{Models: f}, Run{Plan: planOf(t, mapped("on_failure: skip"))})
	require.Equal(t, `step "each" failed: its output is longer than 1 MiB`, r.Message)
}

// The run's bound holds for items, whatever their own is.
func TestItemsAndTheRunsBound(t *testing.T) {
	list := strings.Repeat("1,", 39) + "1"
	f := onItems("["+list+"]", func(_ context.Context, prompt string, _ int) reply {
		return reply{pieces: []string{prompt}, wait: time.Millisecond}
	})
	r := runOf(t.Context(), t, Options{Models: f}, Run{Plan: planOf(t, "limits: {parallel: 3}"+mapped("parallel: 20"))})
	require.Equal(t, Completed, r.Status, r.Message)
	require.LessOrEqual(t, f.most, 3)
	require.True(t, strings.HasSuffix(r.Output, fmt.Sprintf(`"%d:1"]`, 39)), r.Output)
}
