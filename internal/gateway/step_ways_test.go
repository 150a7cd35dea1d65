package gateway_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/gateway"
	"github.com/financecommander/tollgate/internal/identity"
	"github.com/financecommander/tollgate/internal/llm"
	"github.com/financecommander/tollgate/internal/specialist"
	"github.com/financecommander/tollgate/internal/upstream"
	"github.com/financecommander/tollgate/internal/upstreamtest"
	"github.com/financecommander/tollgate/internal/usage"
)

const fits = `{"type":"object","properties":{"ok":{"type":"boolean"}},"required":["ok"],"additionalProperties":false}`

// A specialist's prompt and settings hold for a step; the step's own settings go
// before them, but for a limit, which only gets smaller.
func TestStepOfSpecialist(t *testing.T) {
	warm, cold := 0.9, 0.1
	server := upstreamtest.New(t)
	f := setupSteps(t, func(o *gateway.Options) {
		o.Specialists = specialists{{
			ID: "helper", Name: "Helper", Provider: "openai", Model: "gpt-4o-mini", SystemPrompt: "Help.",
			Temperature: &warm, MaxTokens: 500, Aliases: []string{"old-helper"},
		}}
		o.Aliases = map[string]string{"assistant": "helper", "fast": "openai/gpt-4o-mini"}
	}, provider(t, "openai", server.URL(), upstream.Timeouts{}))
	const messages = `"model":"gpt-4o-mini","stream":true,"stream_options":{"include_usage":true},
		"messages":[{"role":"system","content":"Help."},{"role":"user","content":"the question"}]`
	for name, tt := range map[string]struct {
		call gateway.Call
		sent string
	}{
		"its own":       {gateway.Call{Specialist: "helper", SystemPrompt: "Not this."}, `"temperature":0.9,"max_completion_tokens":500`},
		"an alias":      {gateway.Call{Specialist: "old-helper"}, `"temperature":0.9,"max_completion_tokens":500`},
		"configured so": {gateway.Call{Specialist: "assistant"}, `"temperature":0.9,"max_completion_tokens":500`},
		"colder":        {gateway.Call{Specialist: "helper", Temperature: &cold}, `"temperature":0.1,"max_completion_tokens":500`},
		"shorter":       {gateway.Call{Specialist: "helper", MaxTokens: 20}, `"temperature":0.9,"max_completion_tokens":20`},
		"not longer":    {gateway.Call{Specialist: "helper", MaxTokens: 2000}, `"temperature":0.9,"max_completion_tokens":500`},
	} {
		t.Run(name, func(t *testing.T) {
			a, err, w := f.ask(t.Context(), tt.call)
			require.Nil(t, err)
			require.Equal(t, &gateway.Answered{Text: "Hello, world", Provider: "openai", Model: "gpt-4o-mini", Finish: llm.FinishStop}, a)
			require.Equal(t, []string{"Hello", ", ", "world"}, w.pieces)
			require.Zero(t, w.voids)
			require.JSONEq(t, `{`+messages+`,`+tt.sent+`}`, string(server.Last().Body))
			require.Nil(t, f.MayDo(gateway.Call{Caller: caller(), Specialist: tt.call.Specialist}))
		})
	}
	_, err, _ := f.ask(t.Context(), gateway.Call{Specialist: "fast"})
	require.Equal(t, llm.CauseModelNotFound, err.Cause, "a model's alias is no specialist's")
}

// Without a label's name in their place, rows have the specialist's.
func TestStepWithoutName(t *testing.T) {
	server := upstreamtest.New(t)
	f := setupSteps(t, withSpecialists, provider(t, "openai", server.URL(), upstream.Timeouts{}))
	_, err, w := f.ask(t.Context(), gateway.Call{Specialist: "helper", Label: gateway.Label{Run: "r", Step: "s"}})
	require.Nil(t, err)
	require.Equal(t, "helper", w.rows[0].SpecialistID)
	require.Equal(t, "r", w.rows[0].RunID)
	require.Equal(t, "s", w.rows[0].Step)
}

// What breaks off in mid-answer is the next target's turn, since nobody was told
// for good; each try leaves its row.
func TestStepFallbacks(t *testing.T) {
	events := upstreamtest.ChatEvents(true, "half ", "an answer")
	for name, tt := range map[string]struct {
		first upstreamtest.Behaviour
		cause llm.Cause
		voids int
	}{
		"500":          {upstreamtest.JSON(500, `{"error":{"message":"boom"}}`), llm.CauseUpstreamError, 1},
		"reset":        {upstreamtest.Reset(), llm.CauseUpstreamUnreachable, 1},
		"cut":          {upstreamtest.Reset(events[:3]...), llm.CauseUpstreamCut, 1},
		"ended early":  {upstreamtest.Stream(events[:3]...), llm.CauseUpstreamCut, 1},
		"error within": {upstreamtest.Stream(events[0], events[1], upstreamtest.ErrorEvent), llm.CauseUpstreamError, 1},
		"stands still": {upstreamtest.Hang(events[:3]...), llm.CauseUpstreamTimeout, 1},
	} {
		t.Run(name, func(t *testing.T) {
			_, providers := threeProviders(t, upstream.Timeouts{FirstByte: 5 * time.Second, BetweenBytes: 200 * time.Millisecond}, tt.first)
			f := setupSteps(t, withLadder, providers...)
			for _, c := range []gateway.Call{
				{Specialist: "ladder"},
				{Provider: "openai", Model: "gpt-4o-mini", Fallbacks: []specialist.Target{
					{Provider: "nobody", Model: "x"}, {Provider: "groq", Model: "llama-3.3-70b-versatile"},
				}},
			} {
				f.ledger.records = nil
				a, err, w := f.ask(t.Context(), c)
				require.Nil(t, err)
				require.Equal(t, "Hello, world", a.Text)
				require.Equal(t, "groq", a.Provider)
				require.Equal(t, "llama-3.3-70b-versatile", a.Model)
				require.Equal(t, tt.voids, w.voids)
				rows := f.requireRows(w, 2)
				require.Equal(t, tt.cause, rows[0].ErrorCause)
				require.Equal(t, []int{1, 2}, []int{rows[0].Attempt, rows[1].Attempt})
				requireRow(t, rows[1], 2, 200, 200, llm.CauseNone)
			}
		})
	}
}

// A call's fallbacks come after the specialist's own, and have the specialist's
// prompt, but neither its price nor its address.
func TestStepFallbacksAfterSpecialist(t *testing.T) {
	boom := upstreamtest.JSON(500, `{"error":{"message":"boom"}}`)
	servers, providers := threeProviders(t, upstream.Timeouts{}, boom, boom)
	f := setupSteps(t, func(o *gateway.Options) {
		o.Specialists = specialists{{
			ID: "one", Name: "One", Provider: "openai", Model: "gpt-4o-mini", SystemPrompt: "Help.",
			Pricing:   &specialist.Pricing{InputPer1M: "1000000", OutputPer1M: "1000000"},
			Fallbacks: []specialist.Target{{Provider: "groq", Model: "llama-3.3-70b-versatile"}},
		}, {ID: "homeless", Name: "Homeless", Provider: "xai", Model: "grok-3"}}
	}, providers...)
	last := []specialist.Target{{Provider: "mistral", Model: "gpt-4o-mini"}}
	a, err, w := f.ask(t.Context(), gateway.Call{Specialist: "one", Fallbacks: last})
	require.Nil(t, err)
	require.Equal(t, "mistral", a.Provider)
	require.Contains(t, string(servers[2].Last().Body), "Help.")
	rows := f.requireRows(w, 3)
	require.Less(t, rows[2].Cost.USD(), 1.0)

	a, err, _ = f.ask(t.Context(), gateway.Call{Specialist: "homeless", Fallbacks: last})
	require.Nil(t, err)
	require.Equal(t, "mistral", a.Provider)
}

// All targets fail: the last one's error, and a row of each.
func TestStepFails(t *testing.T) {
	boom := upstreamtest.JSON(503, `{"error":{"message":"boom"}}`, "Retry-After", "7")
	_, providers := threeProviders(t, upstream.Timeouts{}, boom, boom, boom)
	f := setupSteps(t, withLadder, providers...)
	_, err, w := f.ask(t.Context(), gateway.Call{Specialist: "ladder"})
	require.Equal(t, llm.CauseUpstreamOverloaded, err.Cause)
	require.Equal(t, 7*time.Second, err.RetryAfter)
	require.Equal(t, 2, w.voids)
	for i, row := range f.requireRows(w, 3) {
		requireRow(t, row, i+1, 503, 503, llm.CauseUpstreamOverloaded)
	}
}

// A model that knows no structured output is asked again without; one that is
// refused for another reason is not asked for ever.
func TestStepOutputRefused(t *testing.T) {
	refuse := upstreamtest.JSON(400, `{"error":{"message":"response_format is not supported","type":"invalid_request_error"}}`)
	output := &llm.OutputFormat{Kind: llm.OutputJSONSchema, Schema: []byte(fits)}
	call := gateway.Call{Provider: "openai", Model: "gpt-4o-mini", Output: output, Fallbacks: []specialist.Target{{Provider: "groq", Model: "llama-3.3-70b-versatile"}}}

	servers, providers := threeProviders(t, upstream.Timeouts{})
	servers[0].Script(refuse, upstreamtest.Chat(`{"ok":`, `true}`))
	f := setupSteps(t, nil, providers...)
	a, err, w := f.ask(t.Context(), call)
	require.Nil(t, err)
	require.JSONEq(t, `{"ok":true}`, a.Text)
	require.Equal(t, 1, w.voids)
	rows := f.requireRows(w, 2)
	requireRow(t, rows[0], 1, 400, 400, llm.CauseUpstreamRejected)
	requireRow(t, rows[1], 2, 200, 200, llm.CauseNone)
	requests := servers[0].Requests()
	require.Contains(t, string(requests[0].Body), `"response_format"`)
	require.NotContains(t, string(requests[1].Body), `"response_format"`)
	require.Empty(t, servers[1].Requests())

	for name, tt := range map[string]struct {
		script   []upstreamtest.Behaviour
		output   *llm.OutputFormat
		requests int
	}{
		"again":         {[]upstreamtest.Behaviour{refuse, refuse}, output, 2},
		"without":       {[]upstreamtest.Behaviour{refuse}, nil, 1},
		"another cause": {[]upstreamtest.Behaviour{upstreamtest.JSON(404, `{"error":{"message":"no such model"}}`)}, output, 1},
		"too long": {
			[]upstreamtest.Behaviour{upstreamtest.JSON(400, `{"error":{"message":"too long","type":"invalid_request_error","code":"context_length_exceeded"}}`)},
			output, 1,
		},
	} {
		t.Run(name, func(t *testing.T) {
			servers, providers := threeProviders(t, upstream.Timeouts{})
			servers[0].Script(tt.script...)
			f := setupSteps(t, nil, providers...)
			c := call
			c.Output = tt.output
			_, err, w := f.ask(t.Context(), c)
			require.Equal(t, llm.CauseUpstreamRejected, err.Cause)
			require.Len(t, servers[0].Requests(), tt.requests)
			f.requireRows(w, tt.requests)
		})
	}

	// A fallback is told of the form again.
	servers, providers = threeProviders(t, upstream.Timeouts{})
	servers[0].Script(refuse, upstreamtest.JSON(500, "{}"))
	f = setupSteps(t, nil, providers...)
	_, err, w = f.ask(t.Context(), call)
	require.Nil(t, err)
	require.Contains(t, string(servers[1].Last().Body), `"response_format"`)
	f.requireRows(w, 3)
}

// What a format cannot say is left out, and the call made.
func TestStepDropsUnsaid(t *testing.T) {
	family := newFamily(t, nil)
	f := setupSteps(t, nil, family.providers...)
	a, err, w := f.ask(t.Context(), gateway.Call{
		Provider: "anthropic", Model: "claude-sonnet-4-5", Output: &llm.OutputFormat{Kind: llm.OutputJSONObject},
		Messages: []llm.Message{llm.TextMessage(llm.RoleUser, `say: {"a":1}`)},
	})
	require.Nil(t, err)
	require.JSONEq(t, `{"a":1}`, a.Text)
	f.requireRows(w, 1)
}

// Who may call what, and what both Do and MayDo say of it. Refused calls reach no
// upstream, and those of known callers leave their row.
func TestStepPermissions(t *testing.T) {
	_, providers := threeProviders(t, upstream.Timeouts{})
	viewer := caller()
	viewer.Roles = []string{identity.RoleViewer}
	groq := []specialist.Target{{Provider: "groq", Model: "llama-3.3-70b-versatile"}}
	for name, tt := range map[string]struct {
		call  gateway.Call
		cause llm.Cause
		says  string
		noRow bool
	}{
		"a specialist":          {call: gateway.Call{Caller: caller("helper"), Specialist: "helper"}},
		"by its alias":          {call: gateway.Call{Caller: caller("old-helper"), Specialist: "helper"}},
		"a model":               {call: gateway.Call{Caller: caller("openai/*"), Provider: "openai", Model: "gpt-4o"}},
		"a model's name":        {call: gateway.Call{Caller: caller("gpt-4o"), Provider: "openai", Model: "gpt-4o"}},
		"another specialist":    {call: gateway.Call{Caller: caller("ladder"), Specialist: "helper"}, cause: llm.CauseForbidden, says: `"helper"`},
		"the model alone":       {call: gateway.Call{Caller: caller("openai/*"), Specialist: "helper"}, cause: llm.CauseForbidden, says: `"helper"`},
		"another model":         {call: gateway.Call{Caller: caller("gpt-4o"), Provider: "openai", Model: "gpt-4o-mini"}, cause: llm.CauseModelNotFound, says: `"gpt-4o-mini" of "openai"`},
		"not the first choice":  {call: gateway.Call{Caller: caller("groq/*"), Provider: "openai", Model: "gpt-4o", Fallbacks: groq}, cause: llm.CauseModelNotFound, says: `"gpt-4o" of "openai"`},
		"nor its fallbacks":     {call: gateway.Call{Caller: caller("groq/*"), Specialist: "helper", Fallbacks: groq}, cause: llm.CauseForbidden, says: `"helper"`},
		"no such specialist":    {call: gateway.Call{Specialist: "nobody"}, cause: llm.CauseModelNotFound, says: `no specialist "nobody"`},
		"no such provider":      {call: gateway.Call{Provider: "xai", Model: "grok-3"}, cause: llm.CauseUnavailable, says: `needs the provider "xai"`},
		"a homeless specialist": {call: gateway.Call{Specialist: "homeless"}, cause: llm.CauseUnavailable, says: `needs the provider "xai"`},
		"a viewer":              {call: gateway.Call{Caller: viewer, Specialist: "helper"}, cause: llm.CauseForbidden, says: "viewer", noRow: true},
	} {
		t.Run(name, func(t *testing.T) {
			f := setupSteps(t, withSpecialists, providers...)
			if tt.call.Caller == nil {
				tt.call.Caller = caller()
			}
			may := f.MayDo(tt.call)
			require.Empty(t, f.ledger.all())
			_, err, w := f.ask(t.Context(), tt.call)
			require.Equal(t, err, may)
			if tt.cause == llm.CauseNone {
				require.Nil(t, err)
				f.requireRows(w, 1)
				return
			}
			require.Equal(t, tt.cause, err.Cause)
			require.Contains(t, err.Message, tt.says)
			if tt.noRow {
				f.requireRows(w, 0)
				return
			}
			requireRow(t, f.requireRows(w, 1)[0], 0, 0, err.Status(), tt.cause)
		})
	}
}

// A fallback that the caller may not use is left out.
func TestStepForbiddenFallback(t *testing.T) {
	servers, providers := threeProviders(t, upstream.Timeouts{}, upstreamtest.JSON(500, "{}"))
	f := setupSteps(t, nil, providers...)
	_, err, w := f.ask(t.Context(), gateway.Call{
		Caller: caller("openai/*", "mistral/*"), Provider: "openai", Model: "gpt-4o",
		Fallbacks: []specialist.Target{{Provider: "groq", Model: "llama-3.3-70b-versatile"}, {Provider: "mistral", Model: "mistral-small-latest"}},
	})
	require.Nil(t, err)
	require.Empty(t, servers[1].Requests())
	require.Equal(t, "mistral", f.requireRows(w, 2)[1].Provider)
}

func TestStepOfNobody(t *testing.T) {
	server := upstreamtest.New(t)
	for _, anonymous := range []bool{false, true} {
		f := setupSteps(t, func(o *gateway.Options) { o.AllowAnonymous = anonymous }, provider(t, "openai", server.URL(), upstream.Timeouts{}))
		_, err := f.Do(t.Context(), gateway.Call{Provider: "openai", Model: "gpt-4o", Messages: []llm.Message{llm.TextMessage(llm.RoleUser, "hi")}})
		if anonymous {
			require.Nil(t, err)
			continue
		}
		require.Equal(t, llm.CauseUnauthenticated, err.Cause)
		require.Empty(t, server.Requests())
	}
}

// lateSpecialists are not known yet.
type lateSpecialists struct{ specialists }

func (lateSpecialists) Loaded() bool { return false }

func TestStepBeforeSpecialistsAreKnown(t *testing.T) {
	f := setupSteps(t, func(o *gateway.Options) { o.Specialists = lateSpecialists{} })
	require.Equal(t, llm.CauseUnavailable, f.MayDo(gateway.Call{Caller: caller(), Specialist: "helper"}).Cause)
}

// Without a key, the demo stands in for every provider.
func TestStepDemo(t *testing.T) {
	f := setupSteps(t, withSpecialists)
	for _, c := range []gateway.Call{
		{Specialist: "helper"},
		{Provider: "anthropic", Model: "claude-sonnet-4-5"},
		{Provider: "demo", Model: "demo"},
		{Caller: caller("openai/*"), Provider: "openai", Model: "gpt-4o"},
		{Caller: caller("demo/*"), Provider: "google", Model: "gemini-2.5-flash"},
	} {
		f.ledger.records = nil
		c.MaxTokens = 4 // words; it takes its time
		a, err, w := f.ask(t.Context(), c)
		require.Nil(t, err)
		require.Equal(t, "demo", a.Provider)
		require.Equal(t, llm.FinishLength, a.Finish)
		require.Zero(t, f.requireRows(w, 1)[0].Cost)
	}
}

// A step that is cancelled stops its upstream at once, whatever becomes of
// clients' calls, and leaves its row.
func TestStepCancelled(t *testing.T) {
	for _, onDisconnect := range []gateway.OnDisconnect{gateway.Cancel, gateway.Drain} {
		t.Run(string(onDisconnect), func(t *testing.T) {
			events := upstreamtest.ChatEvents(true, "some ", "words")
			servers, providers := threeProviders(t, upstream.Timeouts{}, upstreamtest.Hang(events[:3]...))
			f := setupSteps(t, func(o *gateway.Options) { withLadder(o); o.OnDisconnect = onDisconnect }, providers...)
			ctx, cancel := context.WithCancel(t.Context())
			w := &told{heard: make(chan string)}
			done := make(chan *llm.Error, 1)
			go func() {
				_, err := f.askTold(ctx, gateway.Call{Specialist: "ladder"}, w)
				done <- err
			}()
			require.Equal(t, "some ", <-w.heard)
			require.Equal(t, "words", <-w.heard)
			cancel()
			left := time.Now()
			err := <-done
			require.Less(t, time.Since(left), 5*time.Second, "nothing is drained")
			require.Equal(t, llm.CauseClientGone, err.Cause)
			servers[0].WaitCancelled(t, 1)
			require.Empty(t, servers[1].Requests(), "no fallback is asked any more")
			row := f.requireRows(w, 1)[0]
			requireRow(t, row, 1, 200, llm.StatusClientClosedRequest, llm.CauseClientGone)
			require.Positive(t, row.OutputTokens, "what came was paid for")
		})
	}
}

// A call that was over before it began is none.
func TestStepCancelledBefore(t *testing.T) {
	server := upstreamtest.New(t)
	f := setupSteps(t, nil, provider(t, "openai", server.URL(), upstream.Timeouts{}))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err, w := f.ask(ctx, gateway.Call{Provider: "openai", Model: "gpt-4o"})
	require.Equal(t, llm.CauseClientGone, err.Cause)
	require.Empty(t, server.Requests())
	f.requireRows(w, 0)
}

func TestStepWithoutLedger(t *testing.T) {
	server := upstreamtest.New(t)
	f := setupSteps(t, nil, provider(t, "openai", server.URL(), upstream.Timeouts{}))
	f.ledger.AdmitFunc = func() error { return errors.New("disk full") }
	_, err, w := f.ask(t.Context(), gateway.Call{Provider: "openai", Model: "gpt-4o"})
	require.Equal(t, llm.CauseUnavailable, err.Cause)
	require.Positive(t, err.RetryAfter)
	require.Empty(t, server.Requests())
	requireRow(t, f.requireRows(w, 1)[0], 0, 0, 503, llm.CauseUnavailable)
}

// A row that could only go to the log counts for the run all the same.
func TestStepRowInLog(t *testing.T) {
	server := upstreamtest.New(t)
	f := setupSteps(t, nil, provider(t, "openai", server.URL(), upstream.Timeouts{}))
	f.ledger.AppendFunc = func(*usage.Record) error { return errors.New("disk full") }
	_, err, w := f.ask(t.Context(), gateway.Call{Provider: "openai", Model: "gpt-4o"})
	require.Nil(t, err)
	require.Empty(t, f.ledger.all())
	require.Len(t, w.rows, 1)
	require.EqualValues(t, 10, w.rows[0].InputTokens)
	require.Contains(t, f.logs.String(), `run-1`)
}

// A bug costs the call it is in, and neither its row nor the process.
func TestStepPanics(t *testing.T) {
	server := upstreamtest.New(t)
	p := provider(t, "openai", server.URL(), upstream.Timeouts{})
	question := []llm.Message{llm.TextMessage(llm.RoleUser, "the question")}
	for name, tt := range map[string]struct {
		change func(*gateway.Call)
		rows   int
	}{
		"on text": {func(c *gateway.Call) { c.Text = func(string) { panic("the question") } }, 1},
		"on a row": {func(c *gateway.Call) {
			c.Record = func(usage.Record) { panic("the question") }
		}, 1},
		"on a refusal's row": {func(c *gateway.Call) {
			c.Model, c.Provider = "grok-3", "xai"
			c.Record = func(usage.Record) { panic("the question") }
		}, 2}, // the panic is a call that was refused, too
		"like a server": {func(c *gateway.Call) { c.Text = func(string) { panic(http.ErrAbortHandler) } }, 1},
	} {
		t.Run(name, func(t *testing.T) {
			f := setupSteps(t, nil, p)
			c := gateway.Call{Caller: caller(), Provider: "openai", Model: "gpt-4o", Messages: question}
			tt.change(&c)
			a, err := f.Do(t.Context(), c)
			require.Nil(t, a)
			require.Equal(t, llm.CauseInternal, err.Cause)
			require.Len(t, f.ledger.all(), tt.rows)
		})
	}
}

// answersNobody fails a test that tells of an answer.
type answersNobody struct{ t *testing.T }

func (n answersNobody) Begin(context.Context, *identity.Principal, gateway.Question) gateway.Answer {
	n.t.Error("no conversation is told of a step")
	return nil
}

func TestStepIsNoConversation(t *testing.T) {
	server := upstreamtest.New(t)
	f := setupSteps(t, func(o *gateway.Options) { o.Answers = answersNobody{t} }, provider(t, "openai", server.URL(), upstream.Timeouts{}))
	_, err, _ := f.ask(t.Context(), gateway.Call{Provider: "openai", Model: "gpt-4o"})
	require.Nil(t, err)
}

// Nothing to say, thoughts and an answer in one piece are all answers.
func TestStepAnswers(t *testing.T) {
	whole := func(message, finish string) upstreamtest.Behaviour {
		return upstreamtest.JSON(200, `{"id":"x","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":`+message+
			`,"finish_reason":"`+finish+`"}],"usage":{"prompt_tokens":5,"completion_tokens":2,"total_tokens":7}}`)
	}
	for name, tt := range map[string]struct {
		behaviour upstreamtest.Behaviour
		text      string
		finish    llm.FinishReason
	}{
		"in one piece": {whole(`{"role":"assistant","content":"one piece"}`, "stop"), "one piece", llm.FinishStop},
		"nothing":      {whole(`{"role":"assistant","content":""}`, "stop"), "", llm.FinishStop},
		"refused":      {whole(`{"role":"assistant","content":null,"refusal":"I won't."}`, "stop"), "I won't.", llm.FinishStop},
		"filtered":     {whole(`{"role":"assistant","content":""}`, "content_filter"), "", llm.FinishFilter},
		"no words":     {upstreamtest.Chat(), "", llm.FinishStop},
		"thoughts": {upstreamtest.Stream(
			`data: {"id":"x","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"role":"assistant","reasoning_content":"Hm."},"finish_reason":null}]}`+"\n\n",
			`data: {"id":"x","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"content":"Yes."},"finish_reason":null}]}`+"\n\n",
			`data: {"id":"x","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}`+"\n\n",
			upstreamtest.DoneEvent), "Yes.", llm.FinishStop},
	} {
		t.Run(name, func(t *testing.T) {
			server := upstreamtest.New(t, tt.behaviour)
			f := setupSteps(t, nil, configured(t, upstream.Config{Name: "groq", BaseURL: server.URL()}))
			a, err, w := f.ask(t.Context(), gateway.Call{Provider: "groq", Model: "llama-3.3-70b-versatile"})
			require.Nil(t, err)
			require.Equal(t, tt.text, a.Text)
			require.Equal(t, tt.finish, a.Finish)
			f.requireRows(w, 1)
		})
	}
}

// The gateway's clients cannot make a call look like a step.
func TestStepsAreTheGatewaysOwn(t *testing.T) {
	server := upstreamtest.New(t)
	f := setup(t, nil, provider(t, "openai", server.URL(), upstream.Timeouts{}))
	require.Equal(t, http.StatusOK, f.chat(hello, "X-Tollgate-Run", "r").Status)
	row := f.ledger.one(t)
	require.Empty(t, row.RunID)
	require.Empty(t, row.Step)
	require.NotEqual(t, "pipeline", row.Dialect)
	require.NotContains(t, strings.Join(gateway.Routes, " "), "pipeline")
}
