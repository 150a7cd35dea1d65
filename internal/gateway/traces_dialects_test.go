package gateway_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/llm"
	"github.com/financecommander/tollgate/internal/upstream"
	"github.com/financecommander/tollgate/internal/upstreamtest"
)

// foreign are the recorded APIs that are not OpenAI's, and their presets.
var foreign = map[string]string{"anthropic.messages": "anthropic", "google.generate": "gemini", "google.embed": "gemini"}

// foreignCall is how a case is asked of the provider with its number.
func foreignCall(t *testing.T, c upstreamtest.Case, i int) (path, body string) {
	t.Helper()
	switch c.API {
	case "anthropic.messages":
		request := map[string]any{"max_tokens": 100, "messages": []any{map[string]any{"role": "user", "content": "hi"}}}
		if c.Request != nil {
			clear(request)
			require.NoError(t, json.Unmarshal(c.Request, &request), c.Name)
		}
		request["model"], request["stream"] = fmt.Sprintf("c%d/%s", i, c.Model), c.Stream
		text, err := json.Marshal(request)
		require.NoError(t, err)
		return "/v1/messages", string(text)
	case "google.embed":
		return fmt.Sprintf("/v1beta/models/c%d/%s:embedContent", i, c.Model), `{"content":{"parts":[{"text":"hi"}]}}`
	}
	method, body := "generateContent", `{"contents":[{"parts":[{"text":"hi"}]}]}`
	if c.Stream {
		method = "streamGenerateContent?alt=sse"
	}
	if c.Request != nil {
		body = string(c.Request)
	}
	return fmt.Sprintf("/v1beta/models/c%d/%s:%s", i, c.Model, method), body
}

func replayForeign(t *testing.T, cases []upstreamtest.Case, split upstreamtest.Split) *fixture {
	server := upstreamtest.NewReplay(t, cases, split)
	transport := newConnections(t)
	providers := make([]*upstream.Provider, len(cases))
	for i, c := range cases {
		providers[i] = configured(t, upstream.Config{
			Name: fmt.Sprintf("c%d", i), Preset: foreign[c.API], BaseURL: server.URL(c), Transport: transport,
		})
	}
	return setup(t, nil, providers...)
}

// Anthropic's and Gemini's recorded answers pass as they are to clients of their
// own dialects, whatever the borders of their packets, with the provider's own
// numbers in the row.
func TestForeignAnswersPass(t *testing.T) {
	const largest = 20_000 // bytes, of answers that are sent byte by byte
	for _, split := range []upstreamtest.Split{upstreamtest.Whole, upstreamtest.Random, upstreamtest.PerByte} {
		t.Run(split.Name, func(t *testing.T) {
			t.Parallel()
			cases := upstreamtest.Cases(t, func(c upstreamtest.Case) bool {
				return foreign[c.API] != "" && c.Status == http.StatusOK && !isBroken(c) && !strings.Contains(c.Name, "error-first-event") &&
					(split.Name != upstreamtest.PerByte.Name || len(c.Body) < largest)
			})
			f := replayForeign(t, cases, split)
			for i, c := range cases {
				path, body := foreignCall(t, c, i)
				a := f.post(path, body)
				row := f.ledger.wait(t, i+1)[i]
				require.NoError(t, a.Err, c.Name)
				require.Equal(t, http.StatusOK, a.Status, "%s: %s", c.Name, a.Body)
				require.Empty(t, difference(c.Body, []byte(a.Body)), c.Name)
				require.Equal(t, llm.CauseNone, row.ErrorCause, c.Name)
				require.True(t, row.Success, c.Name)
				switch {
				case c.API == "google.embed": // its answer tells usage, though the record of it does not
					require.True(t, row.Success, c.Name)
				case c.Usage == nil:
					require.NotEqual(t, llm.UsageProvider, row.UsageSource, c.Name)
				case strings.HasSuffix(c.Name, "compaction-iterations"): // the compaction is billed as well
					require.EqualValues(t, 229+55196, row.InputTokens)
					require.EqualValues(t, 5+131, row.OutputTokens)
				default:
					require.Equal(t, llm.UsageProvider, row.UsageSource, c.Name)
					require.Equal(t, c.Usage.Input, row.InputTokens, c.Name)
					require.Equal(t, c.Usage.Output, row.OutputTokens, c.Name)
				}
			}
		})
	}
}

// What breaks off, or is refused, is said in the caller's own dialect.
func TestForeignAnswersFail(t *testing.T) {
	cases := upstreamtest.Cases(t, func(c upstreamtest.Case) bool {
		return foreign[c.API] != "" && (c.Status != http.StatusOK || isBroken(c) || strings.Contains(c.Name, "error-first-event"))
	})
	f := replayForeign(t, cases, upstreamtest.PerEvent)
	for i, c := range cases {
		path, body := foreignCall(t, c, i)
		a := f.post(path, body)
		row := f.ledger.wait(t, i+1)[i]
		require.False(t, row.Success, c.Name)
		require.NotEqual(t, llm.CauseNone, row.ErrorCause, c.Name)
		_, said := cutLast(a.Body)
		if a.Status != http.StatusOK {
			said = a.Body
		}
		require.Contains(t, said, `"error":{`, c.Name)
		require.Contains(t, said, a.Header.Get("X-Request-Id"), c.Name)
		if c.API == "anthropic.messages" {
			require.Contains(t, said, `"type":"error"`, c.Name)
			require.NotContains(t, a.Body, "message_stop", c.Name)
		} else {
			require.Contains(t, said, `"status":"`, c.Name)
		}
		if c.Status == http.StatusUnauthorized || c.Status == http.StatusForbidden {
			require.Equal(t, llm.CauseUpstreamAuth, row.ErrorCause, c.Name)
			require.Equal(t, http.StatusBadGateway, a.Status, c.Name)
		}
	}
}
