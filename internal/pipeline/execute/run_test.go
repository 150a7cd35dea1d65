package execute

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/gateway"
	"github.com/financecommander/tollgate/internal/identity"
	"github.com/financecommander/tollgate/internal/llm"
	"github.com/financecommander/tollgate/internal/pipeline"
	"github.com/financecommander/tollgate/internal/specialist"
)

const diamond = `
steps:
  - name: search
    ask: "search {{ .query }}"
  - name: left
    depends_on: [search]
    ask: "left {{ .steps.search.output }}"
  - name: middle
    depends_on: [search]
    ask: "middle {{ .steps.search.output }}"
  - name: right
    depends_on: [search]
    ask: "right {{ .steps.search.output }}"
  - name: report
    depends_on: [left, middle, right]
    ask: "{{ .steps.left.output }} {{ .steps.middle.output }} {{ .steps.right.output }}"
`

// barrier lets nobody through before all have come.
type barrier struct{ wg sync.WaitGroup }

func (b *barrier) pass(ctx context.Context) bool {
	b.wg.Done()
	all := make(chan struct{})
	go func() { b.wg.Wait(); close(all) }()
	select {
	case <-all:
		return true
	case <-ctx.Done():
		b.wg.Add(-1) // let the goroutine end
		return false
	}
}

func TestDiamond(t *testing.T) {
	var b barrier
	b.wg.Add(3)
	met := func(ctx context.Context, _ int) reply {
		require.True(t, b.pass(ctx), "the three steps do not overlap")
		return says("one ", "two")
	}
	r, f := run(t, diamond, map[string]func(context.Context, int) reply{"left": met, "middle": met, "right": met})
	require.Equal(t, Completed, r.Status, r.Message)
	require.Equal(t, "report!", r.Output)
	require.Equal(t, 3, f.most)
	require.Equal(t, []string{"search why?"}, f.prompts("search"))
	require.Equal(t, []string{"middle search!"}, f.prompts("middle"))
	require.Equal(t, []string{"one two one two one two"}, f.prompts("report"))
	require.Len(t, r.kept, 5)
	require.Equal(t, r.kept["left"], r.Steps[1])
	require.Equal(t, "one two", r.kept["left"].Output)
	require.EqualValues(t, 25, r.InputTokens+r.OutputTokens)
}

// A step sees the query and those that it names, and by default all of these.
func TestVisible(t *testing.T) {
	r, f := run(t, `
steps:
  - {name: a, provider: fake, model: m}
  - {name: b, provider: fake, model: m, depends_on: [a]}
  - {name: c, provider: fake, model: m, depends_on: [b]}
  - {name: d, provider: fake, model: m, depends_on: [a, c]}
`, nil)
	require.Equal(t, "d!", r.Output)
	require.Equal(t, "why?", strings.TrimSpace(f.prompts("a")[0]))
	for step, sees := range map[string]string{"b": "a", "c": "b", "d": "ac"} {
		prompt := f.prompts(step)[0]
		for _, other := range "abcd" {
			require.Equal(t, strings.ContainsRune(sees, other), strings.Contains(prompt, string(other)+"!"), "%s: %s", step, prompt)
		}
	}
}

func TestParallelInOneRun(t *testing.T) {
	var text strings.Builder
	text.WriteString("limits: {parallel: 2}\nsteps:\n  - {name: end, transform: query, depends_on: [s0, s1, s2, s3, s4, s5, s6, s7]}\n")
	for i := range 8 {
		fmt.Fprintf(&text, "  - name: s%d\n    ask: x\n", i)
	}
	f := &fake{}
	meet := make(chan struct{})
	f.reply = func(context.Context, gateway.Call, int) reply {
		select { // two by two
		case meet <- struct{}{}:
		case <-meet:
		}
		return says("x")
	}
	r := runOf(t.Context(), t, Options{Models: f}, Run{Plan: planOf(t, text.String())})
	require.Equal(t, Completed, r.Status)
	require.Equal(t, 2, f.most)
}

// What the gateway is asked is what the step says.
func TestCall(t *testing.T) {
	r, f := run(t, `
steps:
  - name: a
    specialist: expert
    prompt: "{{ .query }}"
  - name: b
    depends_on: [a]
    provider: fake
    model: m
    system_prompt: "You are {{ .query }}"
    temperature: 0.5
    max_tokens: 7
    fallbacks: [{provider: other, model: n}]
    prompt: hello
`, nil)
	require.Equal(t, Completed, r.Status)
	require.Len(t, f.calls, 2)
	for _, c := range f.calls {
		require.NotNil(t, c.Caller)
		require.Nil(t, c.Output)
		require.Equal(t, gateway.Label{ID: c.Label.Step, Name: c.Label.Step, Run: "run", Step: c.Label.Step}, c.Label)
		require.Len(t, c.Messages, 1)
		require.Equal(t, llm.RoleUser, c.Messages[0].Role)
		if c.Label.Step == "a" {
			require.Equal(t, "expert", c.Specialist)
			require.Equal(t, []string{"why?"}, f.prompts("a"))
			continue
		}
		require.Equal(t, "You are {{ .query }}", c.SystemPrompt, "a system prompt is no template")
		require.InDelta(t, 0.5, *c.Temperature, 0)
		require.EqualValues(t, 7, c.MaxTokens)
		require.Equal(t, []specialist.Target{{Provider: "other", Model: "n"}}, c.Fallbacks)
	}
}

// An output is never a template, whatever it looks like.
func TestOutputsAreNoTemplates(t *testing.T) {
	evil := `{{ .steps.secret.output }} {{ template "x" }} {{`
	r, f := run(t, `
steps:
  - name: a
    ask: x
  - name: b
    depends_on: [a]
    ask: "<{{ .steps.a.output }}>"
`, map[string]func(context.Context, int) reply{"a": always(says(evil))})
	require.Equal(t, Completed, r.Status)
	require.Equal(t, []string{"<" + evil + ">"}, f.prompts("b"))
}

func TestMayRun(t *testing.T) {
	plan := planOf(t, diamond)
	var asked []string
	f := &fake{may: func(c gateway.Call) *llm.Error {
		asked = append(asked, c.Label.Step)
		if c.Label.Step == "middle" {
			return &llm.Error{Cause: llm.CauseForbidden, Message: "you may not"}
		}
		return nil
	}}
	e := New(Options{Models: f})
	require.Equal(t, &llm.Error{Cause: llm.CauseForbidden, Message: `step "middle": you may not`}, e.MayRun(nil, plan))
	require.Equal(t, []string{"search", "left", "middle"}, asked)
	f.may = nil
	require.Nil(t, e.MayRun(nil, plan))
}

func TestPermit(t *testing.T) {
	var mu sync.Mutex
	asked := 0
	r := runOf(t.Context(), t, Options{Models: &fake{}, Permit: func(p *identity.Principal) *llm.Error {
		mu.Lock()
		defer mu.Unlock()
		if asked++; asked > 1 {
			return &llm.Error{Cause: llm.CauseForbidden, Message: "you are blocked"}
		}
		return nil
	}}, Run{Plan: planOf(t, strings.ReplaceAll(diamond, "    ask:", "    on_failure: empty\n    ask:"))})
	require.Equal(t, Failed, r.Status)
	require.Equal(t, CodeForbidden, r.Code)
	require.Equal(t, "you are blocked", r.Message)
	require.Equal(t, "search!", r.output("search"))
}

// Slots are for all runs of all executors.
func TestSlots(t *testing.T) {
	slots := NewSlots(3)
	f := &fake{}
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			r := runOf(t.Context(), t, Options{Models: f, Slots: slots}, Run{ID: fmt.Sprint(i), Plan: planOf(t, diamond)})
			require.Equal(t, Completed, r.Status)
		})
	}
	wg.Wait()
	require.LessOrEqual(t, f.most, 3)
	require.Len(t, f.calls, 100)
	require.NoError(t, slots.free.Acquire(t.Context(), 3), "a slot was not given back")
}

// 200 runs at once lose no event.
func TestManyRuns(t *testing.T) {
	plan := planOf(t, diamond)
	o := Options{Models: &fake{}, Slots: NewSlots(64)}
	var wg sync.WaitGroup
	for i := range 200 {
		wg.Go(func() {
			r := runOf(t.Context(), t, o, Run{ID: fmt.Sprint(i), Plan: plan, Query: fmt.Sprint("query ", i)})
			require.Equal(t, Completed, r.Status)
			require.Len(t, r.events, 2+5*3)
		})
	}
	wg.Wait()
}

func TestPanic(t *testing.T) {
	r, _ := run(t, `
steps:
  - name: a
    on_failure: empty
    ask: x
  - name: b
    depends_on: [a]
    ask: "{{ .steps.a.failed }}"
`, map[string]func(context.Context, int) reply{"a": func(context.Context, int) reply { panic("secret") }})
	require.Equal(t, Completed, r.Status)
	require.Equal(t, []string{"start a", "error a: the gateway failed on this step; it has been logged", "start b", "token b b!", "complete b"}, r.short())
}

// Whoever is told of a run and panics leaves nothing of it behind (see TestMain).
func TestPanicOfTheListener(t *testing.T) {
	f := &fake{reply: byStep(map[string]func(context.Context, int) reply{"left": hangs("a"), "right": hangs("b")})}
	require.PanicsWithValue(t, "bug", func() {
		New(Options{Models: f}).Run(t.Context(), Run{Plan: planOf(t, diamond), Keep: func(StepResult) {}, Emit: func(e pipeline.Event) {
			if token, ok := e.Data.(pipeline.AgentToken); ok && token.Content == "b" {
				panic("bug")
			}
		}})
	})
	require.Zero(t, f.running)
}
