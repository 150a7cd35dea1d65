package gateway_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/gateway"
	"github.com/financecommander/tollgate/internal/llm"
	"github.com/financecommander/tollgate/internal/upstream"
	"github.com/financecommander/tollgate/internal/upstreamtest"
	"github.com/financecommander/tollgate/internal/usage"
)

// paths are where callers of the recorded APIs call.
var paths = map[string]string{
	"openai.chat":        "/v1/chat/completions",
	"openai.completions": "/v1/completions",
	"openai.embeddings":  "/v1/embeddings",
	"openai.responses":   "/v1/responses",
}

func recorded(t *testing.T, keep func(upstreamtest.Case) bool) []upstreamtest.Case {
	return upstreamtest.Cases(t, func(c upstreamtest.Case) bool { return paths[c.API] != "" && keep(c) })
}

// replayed is a gateway before a replay: each case is a provider, so that
// "c3/MODEL" is asked of case 3. The ledger is emptied by each call.
type replayed struct {
	*fixture
	cases []upstreamtest.Case
}

func replay(t *testing.T, cases []upstreamtest.Case, split upstreamtest.Split) *replayed {
	server := upstreamtest.NewReplay(t, cases, split)
	transport := newConnections(t)
	providers := make([]*upstream.Provider, len(cases))
	for i, c := range cases {
		providers[i] = configured(t, upstream.Config{Name: fmt.Sprintf("c%d", i), BaseURL: server.URL(c), Transport: transport})
	}
	return &replayed{setup(t, nil, providers...), cases}
}

func (r *replayed) call(t *testing.T, i int, usageWanted bool) (answer, usage.Record) {
	t.Helper()
	c := r.cases[i]
	before := len(r.ledger.all())
	a := r.post(paths[c.API], requestOf(t, c, fmt.Sprintf("c%d/%s", i, c.Model), usageWanted))
	return a, r.ledger.wait(t, before+1)[before]
}

// requestOf is a case's request, asked of another model, with or without the
// wish for usage in the stream.
func requestOf(t *testing.T, c upstreamtest.Case, model string, usageWanted bool) string {
	t.Helper()
	request := map[string]any{"messages": []any{map[string]any{"role": "user", "content": "hi"}}, "prompt": "hi", "input": "hi"}
	if c.Request != nil {
		clear(request)
		require.NoError(t, json.Unmarshal(c.Request, &request), c.Name)
	}
	request["model"], request["stream"] = model, c.Stream
	delete(request, "stream_options")
	if c.Stream && usageWanted {
		request["stream_options"] = map[string]any{"include_usage": true}
	}
	body, err := json.Marshal(request)
	require.NoError(t, err)
	return string(body)
}

// withoutUsage is a stream without the chunk that is there for the usage only.
func withoutUsage(t *testing.T, c upstreamtest.Case) []byte {
	t.Helper()
	pieces := upstreamtest.PerEvent.Pieces(c.Body)
	kept := slices.DeleteFunc(slices.Clone(pieces), func(piece []byte) bool {
		data, _ := bytes.CutPrefix(bytes.TrimSpace(piece), []byte("data: "))
		var chunk struct {
			Choices []json.RawMessage
			Usage   *json.RawMessage
		}
		return json.Unmarshal(data, &chunk) == nil && chunk.Choices != nil && len(chunk.Choices) == 0 && chunk.Usage != nil
	})
	require.GreaterOrEqual(t, len(kept)+1, len(pieces), c.Name)
	require.False(t, c.Is("usage_only_chunk") && len(kept) == len(pieces), c.Name)
	return bytes.Join(kept, nil)
}

func isBroken(c upstreamtest.Case) bool {
	return c.Is("mid_stream_error") || strings.HasSuffix(c.Name, "documented-cut-stream")
}

// Every recorded answer passes as it is, whatever the borders of its packets,
// and leaves one row with the provider's own numbers.
func TestRecordedAnswersPass(t *testing.T) {
	const largest = 20_000 // bytes, of answers that are sent byte by byte
	for _, split := range []upstreamtest.Split{upstreamtest.Whole, upstreamtest.PerEvent, upstreamtest.Random, upstreamtest.PerByte} {
		t.Run(split.Name, func(t *testing.T) {
			t.Parallel()
			cases := recorded(t, func(c upstreamtest.Case) bool {
				return c.Status == http.StatusOK && !isBroken(c) && (split.Name != upstreamtest.PerByte.Name || len(c.Body) < largest)
			})
			r := replay(t, cases, split)
			for i, c := range cases {
				for _, usageWanted := range []bool{true, false} {
					if !usageWanted && (!c.Stream || split.Name == upstreamtest.PerByte.Name) {
						continue
					}
					a, row := r.call(t, i, usageWanted)
					want := c.Body
					if !usageWanted {
						want = withoutUsage(t, c)
					}
					require.NoError(t, a.Err, c.Name)
					require.Equal(t, http.StatusOK, a.Status, "%s: %s", c.Name, a.Body)
					require.Empty(t, difference(want, []byte(a.Body)), "%s, usage wanted: %t", c.Name, usageWanted)
					require.Equal(t, c.Header.Get("Content-Type"), a.Header.Get("Content-Type"), c.Name)
					requireRow(t, row, 1, http.StatusOK, http.StatusOK, llm.CauseNone)
					requireUsage(t, c, row)
				}
			}
		})
	}
}

// difference says where two bodies part; "" where they do not.
func difference(want, got []byte) string {
	if bytes.Equal(want, got) {
		return ""
	}
	at := 0
	for at < min(len(want), len(got)) && want[at] == got[at] {
		at++
	}
	return fmt.Sprintf("at byte %d: want %.100q, got %.100q", at, want[at:], got[at:])
}

func requireUsage(t *testing.T, c upstreamtest.Case, row usage.Record) {
	t.Helper()
	require.Equal(t, c.Stream, row.Stream, c.Name)
	require.Equal(t, c.ResponseModel, row.ResponseModel, c.Name)
	if c.Usage == nil {
		require.Equal(t, llm.UsageEstimated, row.UsageSource, c.Name)
		require.Positive(t, row.InputTokens, c.Name)
		return
	}
	require.Equal(t, llm.UsageProvider, row.UsageSource, c.Name)
	require.Equal(t, c.Usage.Input, row.InputTokens, c.Name)
	require.Equal(t, c.Usage.Output, row.OutputTokens, c.Name)
	part := func(name string, want *int64, whole, got int64) {
		t.Helper()
		if want != nil {
			require.Equal(t, min(*want, whole), got, "%s: %s", c.Name, name)
		}
	}
	part("cached", c.Usage.Cached, row.InputTokens, row.CachedTokens)
	if !strings.HasSuffix(c.Name, "cache-write-equals-read") { // tokens named twice are counted as read
		part("cache write", c.Usage.CacheCreation, row.InputTokens, row.CacheWriteTokens)
	}
	part("reasoning", c.Usage.Reasoning, row.OutputTokens, row.ReasoningTokens)
	part("audio in", c.Usage.InputAudio, row.InputTokens, row.AudioInputTokens)
	part("audio out", c.Usage.OutputAudio, row.OutputTokens, row.AudioOutputTokens)
	if c.Usage.CostUSD != nil {
		require.NotNil(t, row.ReportedCost, c.Name)
		require.InDelta(t, *c.Usage.CostUSD, row.ReportedCost.USD(), 1e-9, c.Name)
	}
}

// A recorded stream that breaks passes up to where it broke; the rest is our
// error event, and nothing that looks like an end.
func TestRecordedBrokenStreams(t *testing.T) {
	cases := recorded(t, isBroken)
	for _, split := range upstreamtest.Splits {
		t.Run(split.Name, func(t *testing.T) {
			r := replay(t, cases, split)
			for i, c := range cases {
				a, row := r.call(t, i, true)
				require.False(t, row.Success, c.Name)
				require.NotEqual(t, llm.CauseNone, row.ErrorCause, c.Name)
				require.NotEqual(t, llm.UsageProvider, row.UsageSource, c.Name)
				require.Equal(t, a.Status, row.Status, c.Name)
				if a.Status != http.StatusOK { // the error came with the first packet
					_, _ = parseError(t, a.Body)
					continue
				}
				begin, last := cutLast(a.Body)
				require.True(t, strings.HasPrefix(string(c.Body), begin), c.Name)
				data := last[strings.Index(last, "data: ")+len("data: "):]
				_, id := parseError(t, data)
				require.Equal(t, a.Header.Get("X-Request-Id"), id, c.Name)
				require.NotContains(t, a.Body, "[DONE]", c.Name)
				require.NotContains(t, a.Body, "response.failed", c.Name)
			}
		})
	}
}

// cutLast cuts the last event off a stream.
func cutLast(stream string) (begin, last string) {
	pieces := upstreamtest.PerEvent.Pieces([]byte(stream))
	if len(pieces) == 0 {
		return "", ""
	}
	end := pieces[len(pieces)-1]
	return stream[:len(stream)-len(end)], string(end)
}

// A recorded refusal reaches the caller as an error of OpenAI's shape, with the
// provider's words only where they are about the caller's own request.
func TestRecordedErrors(t *testing.T) {
	want := map[string]struct {
		status int
		cause  llm.Cause
	}{
		"azure/openai.chat/error-429-rate":                     {429, llm.CauseUpstreamRateLimited},
		"deepseek/openai.chat/documented-402-balance":          {502, llm.CauseUpstreamAuth},
		"deepseek/openai.chat/error-400-context-length":        {400, llm.CauseUpstreamRejected},
		"deepseek/openai.chat/error-401":                       {502, llm.CauseUpstreamAuth},
		"groq/openai.chat/documented-429-rate-limit":           {429, llm.CauseUpstreamRateLimited},
		"groq/openai.chat/error-400-tool-use-failed":           {400, llm.CauseUpstreamRejected},
		"mistral/openai.chat/documented-429-capacity":          {429, llm.CauseUpstreamRateLimited},
		"mistral/openai.chat/error-401":                        {502, llm.CauseUpstreamAuth},
		"openai/openai.chat/documented-429-insufficient-quota": {502, llm.CauseUpstreamAuth},
		"openai/openai.chat/documented-429-rate-limit":         {429, llm.CauseUpstreamRateLimited},
		"openai/openai.chat/documented-500-server-error":       {502, llm.CauseUpstreamError},
		"openai/openai.chat/documented-502-html":               {502, llm.CauseUpstreamError},
		"openai/openai.chat/documented-503-overloaded":         {503, llm.CauseUpstreamOverloaded},
		"openai/openai.chat/error-400-bad-request":             {400, llm.CauseUpstreamRejected},
		"openai/openai.chat/error-401":                         {502, llm.CauseUpstreamAuth},
		"openai/openai.chat/error-404-model":                   {404, llm.CauseUpstreamRejected},
		"openai/openai.embeddings/error-400-dimensions":        {400, llm.CauseUpstreamRejected},
		"openai/openai.embeddings/error-404-model":             {404, llm.CauseUpstreamRejected},
		"openai/openai.responses/error-400-context-length":     {400, llm.CauseUpstreamRejected},
		"openai/openai.responses/error-400-model":              {400, llm.CauseUpstreamRejected},
		"openai/openai.responses/error-401":                    {502, llm.CauseUpstreamAuth},
		"openrouter/openai.chat/error-400-context-length":      {400, llm.CauseUpstreamRejected},
		"openrouter/openai.chat/error-429-upstream":            {429, llm.CauseUpstreamRateLimited},
		"xai/openai.responses/error-400-key":                   {502, llm.CauseUpstreamAuth},
	}
	cases := recorded(t, func(c upstreamtest.Case) bool { return c.Status != http.StatusOK })
	r := replay(t, cases, upstreamtest.Whole)
	for i, c := range cases {
		t.Run(c.Name, func(t *testing.T) {
			a, row := r.call(t, i, false)
			require.Contains(t, want, c.Name)
			require.Equal(t, want[c.Name].status, a.Status, a.Body)
			e, id := parseError(t, a.Body)
			require.Equal(t, a.Header.Get("X-Request-Id"), id)
			requireRow(t, row, 1, c.Status, a.Status, want[c.Name].cause)
			require.Equal(t, id, row.RequestID)
			require.Zero(t, row.InputTokens+row.OutputTokens)
			require.Zero(t, row.Cost)
			for _, leak := range []string{"org_", "org-", "user-0", "bad-key", "-key is", "platform.openai.com/account", "cloudflare", "console.groq.com", "westeurope"} {
				require.NotContains(t, e.Message, leak)
			}
			if seconds := c.Header.Get("Retry-After"); seconds != "" {
				require.NotEmpty(t, a.Header.Get("Retry-After"))
			}
		})
	}
	require.NotContains(t, r.logs.String(), "org_")
}

var _ gateway.Ledger = (*ledger)(nil)
