package openaichat_test

import (
	"math"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/dialect"
	"github.com/financecommander/tollgate/internal/dialect/openaichat"
	"github.com/financecommander/tollgate/internal/llm"
	"github.com/financecommander/tollgate/internal/sse"
	"github.com/financecommander/tollgate/internal/upstreamtest"
)

var codecs = map[string]dialect.Codec{
	"openai.chat":        openaichat.Chat,
	"openai.completions": openaichat.Completions,
	"openai.embeddings":  openaichat.Embeddings,
}

func recorded(t testing.TB) []upstreamtest.Case {
	return upstreamtest.Cases(t, upstreamtest.OfAPI("openai.chat", "openai.completions", "openai.embeddings"))
}

// meter reads a recorded answer, cut into packets.
func meter(c upstreamtest.Case, split upstreamtest.Split) (dialect.Reading, []dialect.Mark) {
	m := codecs[c.API].NewMeter()
	if !c.Stream {
		m.Body(c.Body)
		return m.Reading(), nil
	}
	var s sse.Scanner
	var marks []dialect.Mark
	for _, piece := range split.Pieces(c.Body) {
		_, _ = s.Write(piece)
		for e, ok := s.Next(); ok; e, ok = s.Next() {
			marks = append(marks, m.Event(e))
		}
	}
	return m.Reading(), marks
}

func TestRecordedAnswers(t *testing.T) {
	for _, c := range recorded(t) {
		if c.Status != 200 {
			continue
		}
		t.Run(c.Name, func(t *testing.T) {
			got, marks := meter(c, upstreamtest.Whole)
			for _, split := range upstreamtest.Splits {
				splitGot, splitMarks := meter(c, split)
				require.Equal(t, got, splitGot, split.Name)
				require.Equal(t, marks, splitMarks, split.Name)
			}
			requireUsage(t, c, got)
			requireFinish(t, c, got)
			requireMarks(t, c, marks)
			broken := strings.Contains(c.Name, "error-mid-stream") || strings.Contains(c.Name, "mid-stream-error")
			require.Equal(t, broken, got.Err != nil, "%v", got.Err)
			cut := strings.Contains(c.Name, "documented-cut")
			require.Equal(t, !broken && !cut, got.Complete)
			require.Equal(t, c.ResponseModel, got.Model)
			if strings.HasPrefix(got.Model, "gpt-4") && c.Usage != nil && c.Usage.Output > 10 {
				require.InDelta(t, 4*c.Usage.Output, got.TextBytes, float64(4*c.Usage.Output), "about four bytes a token")
			}
		})
	}
}

func requireUsage(t *testing.T, c upstreamtest.Case, r dialect.Reading) {
	t.Helper()
	require.Equal(t, c.Usage != nil, r.Reported)
	if c.Usage == nil {
		require.Zero(t, r.Usage)
		return
	}
	u, want := r.Usage, *c.Usage
	require.Equal(t, want.Input, u.InputTotal(), "input")
	require.Equal(t, want.Output, u.OutputTotal(), "output")
	part := func(name string, want *int64, whole, got int64) {
		t.Helper()
		if want != nil {
			require.Equal(t, min(*want, whole), got, name)
		}
	}
	part("cached", want.Cached, want.Input, u.Cached())
	if c.Name != "openrouter/openai.chat/cache-write-equals-read" { // the tokens are counted as read
		part("cache creation", want.CacheCreation, want.Input, u.CacheWrite())
	}
	part("reasoning", want.Reasoning, want.Output, u.Reasoning)
	part("audio in", want.InputAudio, want.Input, u.InputAudio+u.CachedAudio)
	part("audio out", want.OutputAudio, want.Output, u.OutputAudio)
	part("images in", want.InputImage, want.Input, u.InputImage+u.CachedImage)
	part("images out", want.OutputImage, want.Output, u.OutputImage)
	if want.CostUSD == nil {
		require.Empty(t, r.CostUSD)
		return
	}
	cost, err := strconv.ParseFloat(r.CostUSD, 64)
	require.NoError(t, err)
	require.InDelta(t, *want.CostUSD, cost, math.Abs(*want.CostUSD)*1e-12)
	require.NotContains(t, r.CostUSD, "e")
}

func requireFinish(t *testing.T, c upstreamtest.Case, r dialect.Reading) {
	t.Helper()
	if len(c.Finish) == 0 || r.Err != nil {
		return
	}
	words := map[string]llm.FinishReason{
		"stop": llm.FinishStop, "length": llm.FinishLength, "tool_calls": llm.FinishToolCalls,
		"function_call": llm.FinishToolCalls, "content_filter": llm.FinishFilter,
	}
	var want []llm.FinishReason
	for _, word := range c.Finish {
		require.Contains(t, words, word)
		want = append(want, words[word])
	}
	require.Contains(t, want, r.Finish)
}

func requireMarks(t *testing.T, c upstreamtest.Case, marks []dialect.Mark) {
	t.Helper()
	usageOnly := 0
	for i, mark := range marks {
		require.False(t, mark.Terminal && i != len(marks)-1, "nothing follows the terminal event")
		require.False(t, mark.UsageOnly && mark.Content)
		if mark.UsageOnly {
			usageOnly++
		}
	}
	require.LessOrEqual(t, usageOnly, 1)
}

func TestRecordedErrors(t *testing.T) {
	want := map[string]llm.Cause{
		"azure/openai.chat/error-429-rate":                     llm.CauseUpstreamRateLimited,
		"deepseek/openai.chat/documented-402-balance":          llm.CauseUpstreamAuth,
		"deepseek/openai.chat/error-400-context-length":        llm.CauseUpstreamRejected,
		"deepseek/openai.chat/error-401":                       llm.CauseUpstreamAuth,
		"groq/openai.chat/documented-429-rate-limit":           llm.CauseUpstreamRateLimited,
		"groq/openai.chat/error-400-tool-use-failed":           llm.CauseUpstreamRejected,
		"mistral/openai.chat/documented-429-capacity":          llm.CauseUpstreamRateLimited,
		"mistral/openai.chat/error-401":                        llm.CauseUpstreamAuth,
		"openai/openai.chat/documented-429-insufficient-quota": llm.CauseUpstreamAuth,
		"openai/openai.chat/documented-429-rate-limit":         llm.CauseUpstreamRateLimited,
		"openai/openai.chat/documented-500-server-error":       llm.CauseUpstreamError,
		"openai/openai.chat/documented-502-html":               llm.CauseUpstreamError,
		"openai/openai.chat/documented-503-overloaded":         llm.CauseUpstreamOverloaded,
		"openai/openai.chat/error-400-bad-request":             llm.CauseUpstreamRejected,
		"openai/openai.chat/error-401":                         llm.CauseUpstreamAuth,
		"openai/openai.chat/error-404-model":                   llm.CauseUpstreamRejected,
		"openai/openai.embeddings/error-400-dimensions":        llm.CauseUpstreamRejected,
		"openai/openai.embeddings/error-404-model":             llm.CauseUpstreamRejected,
		"openrouter/openai.chat/error-400-context-length":      llm.CauseUpstreamRejected,
		"openrouter/openai.chat/error-429-upstream":            llm.CauseUpstreamRateLimited,
	}
	for _, c := range recorded(t) {
		if c.Status == 200 {
			continue
		}
		t.Run(c.Name, func(t *testing.T) {
			e := codecs[c.API].Error(c.Status, c.Header, c.Body)
			require.Equal(t, want[c.Name], e.Cause)
			text := e.Message + e.Code + e.Type + e.Param + e.Err.Error()
			for _, leak := range []string{"org_", "org-", "user-0", "bad-key", "-key is", "platform.openai.com/account", "cloudflare", "console.groq.com", "westeurope"} {
				require.NotContains(t, text, leak)
			}
			require.NotEmpty(t, e.Message)
			if e.Cause == llm.CauseUpstreamRejected {
				require.Equal(t, c.Status, e.Status())
				require.Contains(t, string(c.Body), e.Message[:20], "the message is the provider's own")
			}
			if c.Header.Get("Retry-After") != "" {
				require.Positive(t, e.RetryAfter)
			}
		})
	}
}

// Each stream, cut after any event, has the same prefix of text and is whole
// only where it had said why it stops.
func TestCutStreams(t *testing.T) {
	for _, c := range recorded(t) {
		if !c.Stream || c.Status != 200 {
			continue
		}
		var s sse.Scanner
		_, _ = s.Write(c.Body)
		m := codecs[c.API].NewMeter()
		whole, _ := meter(c, upstreamtest.Whole)
		for e, ok := s.Next(); ok; e, ok = s.Next() {
			m.Event(e)
			r := m.Reading()
			require.True(t, strings.HasPrefix(string(whole.Text), string(r.Text)), c.Name)
			require.False(t, r.Complete && r.Finish == llm.FinishUnknown, c.Name)
		}
	}
}
