package gateway_test

import (
	"context"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/gateway"
	"github.com/financecommander/tollgate/internal/identity"
	"github.com/financecommander/tollgate/internal/llm"
	"github.com/financecommander/tollgate/internal/upstream"
	"github.com/financecommander/tollgate/internal/usage"
	"github.com/financecommander/tollgate/pricing"
)

// stepFixture is a gateway that is asked without HTTP.
type stepFixture struct {
	*gateway.Gateway
	t      *testing.T
	ledger *ledger
	logs   *logs
}

func setupSteps(t *testing.T, configure func(*gateway.Options), providers ...*upstream.Provider) *stepFixture {
	t.Helper()
	f := &stepFixture{t: t, ledger: newLedger(), logs: &logs{}}
	o := gateway.Options{
		Logger: slog.New(slog.NewTextHandler(f.logs, &slog.HandlerOptions{Level: slog.LevelDebug})), Providers: providers,
		Prices: pricing.Embedded(), Ledger: f.ledger,
		Caller: func(*http.Request) (*identity.Principal, bool) { t.Error("it has no request"); return nil, false },
	}
	if configure != nil {
		configure(&o)
	}
	f.Gateway = gateway.New(o)
	t.Cleanup(func() {
		require.Zero(t, f.ledger.underWay(), "every attempt that began has ended")
		require.NotContains(t, f.logs.String(), upstreamKey)
		require.NotContains(t, f.logs.String(), "the question")
	})
	return f
}

// told is what a call's maker was told of it.
type told struct {
	mu     sync.Mutex // guards what follows; a test looks while the call goes on
	pieces []string   // since the last Again
	voids  int
	rows   []usage.Record
	heard  chan string // gets each piece, if it is there
}

func (w *told) text() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return strings.Join(w.pieces, "")
}

// ask makes a call as somebody who may do everything, unless the call says more.
func (f *stepFixture) ask(ctx context.Context, c gateway.Call) (*gateway.Answered, *llm.Error, *told) {
	w := &told{}
	a, err := f.askTold(ctx, c, w)
	return a, err, w
}

func (f *stepFixture) askTold(ctx context.Context, c gateway.Call, w *told) (*gateway.Answered, *llm.Error) {
	if c.Caller == nil {
		c.Caller = caller()
	}
	if c.Label == (gateway.Label{}) {
		c.Label = gateway.Label{ID: "search", Name: "search", Run: "run-1", Step: "search"}
	}
	if c.Messages == nil {
		c.Messages = []llm.Message{llm.TextMessage(llm.RoleUser, "the question")}
	}
	c.Text = func(piece string) {
		w.mu.Lock()
		w.pieces = append(w.pieces, piece)
		w.mu.Unlock()
		if w.heard != nil {
			w.heard <- piece
		}
	}
	c.Again = func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.pieces = nil
		w.voids++
	}
	c.Record = func(r usage.Record) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.rows = append(w.rows, r)
	}
	a, err := f.Do(ctx, c)
	require.NotEqual(f.t, a == nil, err == nil, "an answer or an error")
	if a != nil {
		require.Equal(f.t, a.Text, w.text(), "the pieces since the last try are the text")
	}
	return a, err
}

func caller(only ...string) *identity.Principal {
	return &identity.Principal{Subject: "u1", UserHash: "hash-u1", EmailHash: "hash-mail", TokenID: "jti-1", Specialists: only}
}

// requireRows says that the maker was told of exactly the rows that the ledger
// has, and that all of them are the step's.
func (f *stepFixture) requireRows(w *told, n int) []usage.Record {
	f.t.Helper()
	rows := f.ledger.all()
	require.Len(f.t, rows, n)
	require.Equal(f.t, rows, w.rows)
	for _, r := range rows {
		require.Equal(f.t, "pipeline", r.Dialect)
		require.Equal(f.t, "run-1", r.RunID)
		require.Equal(f.t, "search", r.Step)
		require.Equal(f.t, "search", r.SpecialistID)
		require.Equal(f.t, "search", r.SpecialistName)
		require.Equal(f.t, rows[0].RequestID, r.RequestID)
	}
	return rows
}

// Every kind of upstream answers a step, and its row tells what it cost.
func TestStepUpstreams(t *testing.T) {
	f := newFamily(t, nil)
	for _, tt := range []struct{ provider, model string }{
		{"openai", "gpt-4o-mini"}, {"openai", "gpt-5.1"}, {"xai", "grok-3"}, {"anthropic", "claude-sonnet-4-5"}, {"gemini", "gemini-2.5-flash"},
	} {
		t.Run(tt.provider+"/"+tt.model, func(t *testing.T) {
			s := setupSteps(t, nil, f.providers...)
			a, err, w := s.ask(t.Context(), gateway.Call{
				Provider: tt.provider, Model: tt.model, SystemPrompt: "Be kind.",
				Messages: []llm.Message{llm.TextMessage(llm.RoleUser, "say: one two three four\n#think")},
			})
			require.Nil(t, err)
			require.Equal(t, "one two three four", a.Text)
			require.Equal(t, tt.provider, a.Provider)
			require.Equal(t, tt.model, a.Model)
			require.Equal(t, llm.FinishStop, a.Finish)
			require.Greater(t, len(w.pieces), 1, "it is streamed")
			row := s.requireRows(w, 1)[0]
			requireRow(t, row, 1, 200, 200, llm.CauseNone)
			require.Equal(t, llm.UsageProvider, row.UsageSource)
			require.Positive(t, row.InputTokens)
			require.Positive(t, row.OutputTokens)
			require.Positive(t, row.Cost)
			require.True(t, row.Stream)
			require.Positive(t, row.TTFT)

			a, err, _ = s.ask(t.Context(), gateway.Call{
				Provider: tt.provider, Model: tt.model, SystemPrompt: "Be kind.",
				Messages: []llm.Message{llm.TextMessage(llm.RoleUser, "#echo-system")},
			})
			require.Nil(t, err)
			require.Contains(t, a.Text, "Be kind.")

			a, err, _ = s.ask(t.Context(), gateway.Call{
				Provider: tt.provider, Model: tt.model,
				Messages: []llm.Message{llm.TextMessage(llm.RoleUser, "#refuse")},
			})
			require.Nil(t, err, "that a model declines is an answer")
			require.NotEmpty(t, a.Finish)

			a, err, _ = s.ask(t.Context(), gateway.Call{
				Provider: tt.provider, Model: tt.model, MaxTokens: 16,
				Messages: []llm.Message{llm.TextMessage(llm.RoleUser, "#long")},
			})
			require.Nil(t, err)
			require.Equal(t, llm.FinishLength, a.Finish)

			a, err, _ = s.ask(t.Context(), gateway.Call{
				Provider: tt.provider, Model: tt.model,
				Messages: []llm.Message{llm.TextMessage(llm.RoleUser, "#json")},
				Output: &llm.OutputFormat{Kind: llm.OutputJSONSchema, Schema: []byte(
					`{"type":"object","properties":{"score":{"type":"integer"}},"required":["score"],"additionalProperties":false}`)},
			})
			require.Nil(t, err)
			require.JSONEq(t, `{"score":42}`, a.Text)
		})
	}
}
