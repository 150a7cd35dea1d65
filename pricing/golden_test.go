package pricing_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/pricing"
)

// notComparable are recordings whose stated cost is not the list price of their
// tokens, and why.
var notComparable = map[string]string{
	"azure/openai.chat/tool-call-tool-result-cache-read-stream": "states 0 for a paid call, with more cached tokens than prompt tokens",
	"openrouter/openai.chat/cache-write-equals-read":            "same tokens stated as read and as written; the host's price of a cache write is its own",
	"openrouter/openai.chat/citations-stream":                   "another host's price of the model, and a search fee that is not stated",
	"openrouter/openai.chat/error-mid-stream":                   "a free variant of a model that no table has",
	"openrouter/openai.responses/raw-reasoning-text-stream":     "an open model at a price of the host's own",
	"perplexity/openai.chat/citations-multi-turn":               "provider is not in the table, which has no fee per request either",
	"perplexity/openai.chat/citations-stream":                   "provider is not in the table, which has no fee per request either",
}

type recording struct {
	Case     string
	Provider string
	Model    string
	Usage    *struct {
		Input       int64       `json:"input_tokens"`
		Cached      int64       `json:"cached_input_tokens"`
		CacheWrites int64       `json:"cache_creation_tokens"`
		Output      int64       `json:"output_tokens"`
		Reasoning   int64       `json:"reasoning_tokens"`
		CostUSD     json.Number `json:"cost_usd"`
	}
	UsageRaw struct {
		ServerSideTools struct {
			WebSearch int64 `json:"web_search_calls"`
		} `json:"server_side_tool_usage_details"`
	} `json:"usage_raw"`
}

// Every recorded answer that states its own cost must come to that cost, to the
// picodollar, or stand in the list above.
func TestRecordedCosts(t *testing.T) {
	t.Parallel()
	compared := 0
	for _, r := range recordings(t) {
		if r.Usage == nil || r.Usage.CostUSD == "" {
			continue
		}
		if notComparable[r.Case] != "" {
			continue
		}
		provider, name := r.Provider, r.Model
		if provider == "openrouter" { // passes Anthropic's list prices on
			provider, name, _ = strings.Cut(name, "/")
			name = strings.ReplaceAll(name, ".", "-")
		}
		model, ok := pricing.Embedded().Lookup(provider, name)
		require.True(t, ok, "%s: no price of %s/%s", r.Case, provider, name)
		quote := model.Cost(pricing.Tokens{
			Input:        r.Usage.Input - r.Usage.Cached - r.Usage.CacheWrites,
			CacheRead:    r.Usage.Cached,
			CacheWrite5m: r.Usage.CacheWrites,
			Output:       r.Usage.Output - r.Usage.Reasoning,
			Reasoning:    r.Usage.Reasoning,
		}, pricing.At{})
		require.True(t, quote.Priced, r.Case)
		searches := model.PerCall["web_search"].Times(r.UsageRaw.ServerSideTools.WebSearch)
		want, err := pricing.ParseUSD(r.Usage.CostUSD.String())
		require.NoError(t, err, r.Case)
		require.Equal(t, want.String(), quote.Cost.Add(searches).String(), r.Case)
		compared++
	}
	require.Equal(t, 16, compared, "recordings compared")
}

// recordings reads the recorded traffic, which lies beside the repository.
func recordings(t *testing.T) []recording {
	t.Helper()
	root, err := filepath.Abs("..")
	require.NoError(t, err)
	dir := filepath.Join(filepath.Dir(root), "shared", "traces")
	files, err := filepath.Glob(filepath.Join(dir, "*", "*", "*", "meta.json"))
	require.NoError(t, err)
	if len(files) == 0 {
		if os.Getenv("CI") == "true" {
			t.Fatal("the recorded traffic, ../shared/traces, is absent")
		}
		t.Skip("the recorded traffic, ../shared/traces, is absent")
	}
	all := make([]recording, len(files))
	for i, file := range files {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		require.NoError(t, json.Unmarshal(text, &all[i]), file)
	}
	return all
}
