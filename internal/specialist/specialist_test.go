package specialist

import (
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/llm"
)

func valid() Specialist {
	return Specialist{
		ID: "code-reviewer", Name: "Code Reviewer", Description: "Reviews code.",
		Provider: "anthropic", Model: "claude-opus-4-6", SystemPrompt: "You review code.",
		Temperature: new(0.2), MaxTokens: 4096, Version: 1,
	}
}

func TestValidateAccepts(t *testing.T) {
	t.Parallel()
	for name, edit := range map[string]func(*Specialist){
		"as it is":               func(*Specialist) {},
		"longest id":             func(s *Specialist) { s.ID = strings.Repeat("a", 64) },
		"id with underscore":     func(s *Specialist) { s.ID = "4_you" },
		"100 wide characters":    func(s *Specialist) { s.Name = strings.Repeat("é", 100) },
		"no description":         func(s *Specialist) { s.Description = "" },
		"no system prompt":       func(s *Specialist) { s.SystemPrompt = "" },
		"prompt of many lines":   func(s *Specialist) { s.SystemPrompt = "a\n\tb\r\nc" },
		"longest system prompt":  func(s *Specialist) { s.SystemPrompt = strings.Repeat("語", 10_000) },
		"provider's temperature": func(s *Specialist) { s.Temperature = nil },
		"temperature 0":          func(s *Specialist) { s.Temperature = new(0.0) },
		"temperature 2":          func(s *Specialist) { s.Temperature = new(2.0) },
		"no cap":                 func(s *Specialist) { s.MaxTokens = 0 },
		"highest cap":            func(s *Specialist) { s.MaxTokens = 32_768 },
		"base URL":               func(s *Specialist) { s.BaseURL = "https://llm.example.com:8443/v1" },
		"loopback base URL":      func(s *Specialist) { s.BaseURL = "http://127.0.0.1:11434/v1" },
		"pricing":                func(s *Specialist) { s.Pricing = &Pricing{InputPer1M: "2.50", OutputPer1M: "0.000001"} },
		"free":                   func(s *Specialist) { s.Pricing = &Pricing{InputPer1M: "0", OutputPer1M: "0"} },
		"fallbacks":              func(s *Specialist) { s.Fallbacks = []Target{{"openrouter", "meta-llama/llama-3.1-8b:free"}} },
		"aliases":                func(s *Specialist) { s.Aliases = []string{"gpt-4", "openai/gpt-4o", "Reviewer"} },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := valid()
			edit(&s)
			require.NoError(t, s.Validate())
		})
	}
}

func TestValidateNamesTheField(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		field string
		edit  func(*Specialist)
	}{
		"no id":                {"id", func(s *Specialist) { s.ID = "" }},
		"upper case id":        {"id", func(s *Specialist) { s.ID = "Code" }},
		"id with slash":        {"id", func(s *Specialist) { s.ID = "a/b" }},
		"id with dot":          {"id", func(s *Specialist) { s.ID = "a.b" }},
		"id with newline":      {"id", func(s *Specialist) { s.ID = "abc\n" }},
		"id of 65":             {"id", func(s *Specialist) { s.ID = strings.Repeat("a", 65) }},
		"reserved id":          {"id", func(s *Specialist) { s.ID = "direct" }},
		"no name":              {"name", func(s *Specialist) { s.Name = " " }},
		"name of 101":          {"name", func(s *Specialist) { s.Name = strings.Repeat("é", 101) }},
		"name of two lines":    {"name", func(s *Specialist) { s.Name = "a\nb" }},
		"description of 501":   {"description", func(s *Specialist) { s.Description = strings.Repeat("d", 501) }},
		"prompt of 10001":      {"system_prompt", func(s *Specialist) { s.SystemPrompt = strings.Repeat("p", 10_001) }},
		"temperature below":    {"temperature", func(s *Specialist) { s.Temperature = new(-0.1) }},
		"temperature above":    {"temperature", func(s *Specialist) { s.Temperature = new(2.01) }},
		"temperature NaN":      {"temperature", func(s *Specialist) { s.Temperature = new(math.NaN()) }},
		"tokens below":         {"max_tokens", func(s *Specialist) { s.MaxTokens = -1 }},
		"tokens above":         {"max_tokens", func(s *Specialist) { s.MaxTokens = 32_769 }},
		"no provider":          {"provider", func(s *Specialist) { s.Provider = "" }},
		"provider with path":   {"provider", func(s *Specialist) { s.Provider = "../openai" }},
		"no model":             {"model", func(s *Specialist) { s.Model = "" }},
		"model with newline":   {"model", func(s *Specialist) { s.Model = "gpt\n4o" }},
		"base URL of a file":   {"base_url", func(s *Specialist) { s.BaseURL = "file:///etc/passwd" }},
		"base URL without TLD": {"base_url", func(s *Specialist) { s.BaseURL = "https:///v1" }},
		"base URL with user":   {"base_url", func(s *Specialist) { s.BaseURL = "https://u:p@example.com" }},
		"base URL with query":  {"base_url", func(s *Specialist) { s.BaseURL = "https://example.com/?key=1" }},
		"negative price":       {"pricing.input_per_1m", func(s *Specialist) { s.Pricing = &Pricing{"-1", "1"} }},
		"price in exponents":   {"pricing.output_per_1m", func(s *Specialist) { s.Pricing = &Pricing{"1", "1e3"} }},
		"price too fine":       {"pricing.output_per_1m", func(s *Specialist) { s.Pricing = &Pricing{"1", "0.0000001"} }},
		"half a price":         {"pricing.output_per_1m", func(s *Specialist) { s.Pricing = &Pricing{InputPer1M: "1"} }},
		"fallback's provider":  {"fallbacks[1].provider", func(s *Specialist) { s.Fallbacks = []Target{{"openai", "gpt-4o"}, {"", "m"}} }},
		"fallback's model":     {"fallbacks[0].model", func(s *Specialist) { s.Fallbacks = []Target{{"openai", ""}} }},
		"too many fallbacks":   {"fallbacks", func(s *Specialist) { s.Fallbacks = make([]Target, 11) }},
		"bad alias":            {"aliases[0]", func(s *Specialist) { s.Aliases = []string{"a b"} }},
		"alias is the id":      {"aliases[0]", func(s *Specialist) { s.Aliases = []string{"code-reviewer"} }},
		"alias twice":          {"aliases[1]", func(s *Specialist) { s.Aliases = []string{"cr", "cr"} }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := valid()
			tc.edit(&s)
			problem, ok := errors.AsType[*llm.Error](s.Validate())
			require.True(t, ok)
			require.Equal(t, tc.field, problem.Param)
			require.Equal(t, 422, problem.Status())
			require.True(t, strings.HasPrefix(problem.Message, tc.field+" must"), problem.Message)
		})
	}
}

func TestPricesKeepTheirDigits(t *testing.T) {
	t.Parallel()
	const text = `{"input_per_1m":0.10,"output_per_1m":123456789012.654321}`
	var p Pricing
	require.NoError(t, json.Unmarshal([]byte(text), &p))
	out, err := json.Marshal(p)
	require.NoError(t, err)
	require.Equal(t, text, string(out))
}

func TestTargetsLeaveTheFallbacksAlone(t *testing.T) {
	t.Parallel()
	s := valid()
	s.Fallbacks = append(make([]Target, 0, 4), Target{"openai", "gpt-4o"})
	require.Equal(t, []Target{{"anthropic", "claude-opus-4-6"}, {"openai", "gpt-4o"}}, slices.Collect(s.Targets()))
	require.Equal(t, []Target{{"openai", "gpt-4o"}}, s.Fallbacks)
}

func TestDefaultsAreValidAndPriced(t *testing.T) {
	t.Parallel()
	priced := pricedModels(t)
	var ids []string
	for _, s := range Defaults() {
		ids = append(ids, s.ID)
		require.NoError(t, s.Validate())
		require.NotEmpty(t, s.SystemPrompt)
		for target := range s.Targets() {
			require.Contains(t, priced, target, "the price table does not know it")
		}
	}
	require.Equal(t, []string{"financial-analyst", "research-assistant", "code-reviewer", "legal-quick"}, ids)
}

// pricedModels reads the price table that the gateway embeds.
func pricedModels(t *testing.T) map[Target]bool {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("..", "..", "pricing", "prices.json"))
	require.NoError(t, err)
	var table struct {
		Models []struct{ Provider, Model string } `json:"models"`
	}
	require.NoError(t, json.Unmarshal(data, &table))
	known := make(map[Target]bool)
	for _, m := range table.Models {
		known[Target(m)] = true
	}
	return known
}
