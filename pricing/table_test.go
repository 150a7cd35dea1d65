package pricing

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func load(t *testing.T, models string) *Table {
	t.Helper()
	table, err := Load(strings.NewReader(`{"as_of":"2026-08-21","models":[` + models + `]}`))
	require.NoError(t, err)
	return table
}

func TestEmbeddedTable(t *testing.T) {
	t.Parallel()
	table := Embedded()
	require.Equal(t, []string{"anthropic", "deepseek", "google", "groq", "mistral", "openai", "xai"}, table.Providers())
	require.Regexp(t, `^2026-08-21-[0-9a-f]{8}$`, table.Version())
	count := 0
	for _, provider := range table.Providers() {
		for _, m := range table.Models(provider) {
			count++
			got, ok := table.Lookup(provider, m.Name)
			require.True(t, ok)
			require.Same(t, m, got)
			in, out, ok := m.PerMillion(At{})
			require.True(t, ok, m.Name)
			// No list price of a token is beyond this: what is, counts something else.
			require.Less(t, in, 1000*Dollar, m.Name)
			require.Less(t, out, 1000*Dollar, m.Name)
		}
	}
	require.Equal(t, 502, count)

	m, _ := table.Lookup("openai", "gpt-4o")
	require.Equal(t, int64(128000), m.ContextWindow)
	require.Equal(t, int64(16384), m.MaxOutput)
	require.Equal(t, []string{"text", "image", "pdf"}, m.InputModalities)
	require.Equal(t, "chat", m.Kind)
	require.Equal(t, "0.01", m.PerCall["web_search"].String())
}

func TestLookup(t *testing.T) {
	t.Parallel()
	tests := []struct{ provider, model, want string }{
		{"openai", "gpt-4o", "gpt-4o"},
		{"openai", "gpt-4o-2024-08-06", "gpt-4o-2024-08-06"}, // listed: its own price
		{"openai", "gpt-4o-2031-02-03", "gpt-4o"},
		{"openai", "gpt-3.5-turbo-0301", "gpt-3.5-turbo"},
		{"openai", "ft:gpt-4o-2024-08-06:acme:name:id", "ft:gpt-4o-2024-08-06"},
		{"openai", "ft:gpt-4o-2031-01-01:acme::id", "ft:gpt-4o"},
		{"openai", "ft:gpt-5.2:acme::id", ""}, // not the price of gpt-5.2
		{"openai", "gpt-4o:extended", "gpt-4o:extended"},
		{"openai", "gpt-4o:free", ""},
		{"openai", "gpt-4o-mini-2031-13-03", ""}, // no such month
		{"openai", "gpt-4o-9999", ""},
		{"openai", "gpt-4o-turbo", ""},
		{"openai", "gpt-4o-", ""},
		{"openai", "GPT-4o", ""},
		{"openai", "-2024-08-06", ""},
		{"openai", "ft:", ""},
		{"openai", "", ""},
		{"anthropic", "claude-opus-4-6", "claude-opus-4-6"},
		{"anthropic", "claude-opus-4-6-20260205", "claude-opus-4-6"},
		{"anthropic", "claude-opus-4-5@20251101", "claude-opus-4-5"},
		{"anthropic", "claude-3-5-haiku-20241022", "claude-3-5-haiku-20241022"},
		{"google", "models/gemini-2.5-pro", "gemini-2.5-pro"},
		{"gemini", "gemini-2.5-pro", "gemini-2.5-pro"},
		{"gemini", "models/gemini-2.5-pro", "gemini-2.5-pro"},
		{"mistral", "mistral-large-2607", "mistral-large"},
		{"xai", "grok-4-0709", "grok-4-0709"},
		{"groq", "openai/gpt-oss-120b", "openai/gpt-oss-120b"},
		{"groq", "mixtral-8x7b-4096", ""}, // a size, no date
		{"openrouter", "gpt-4o", ""},
		{"", "gpt-4o", ""},
	}
	for _, tt := range tests {
		m, ok := Embedded().Lookup(tt.provider, tt.model)
		require.Equal(t, tt.want != "", ok, tt.model)
		if !ok {
			require.Nil(t, m)
			require.Equal(t, Quote{Unknown: "model"}, m.Cost(Tokens{Input: 1}, At{}))
			continue
		}
		require.Equal(t, tt.want, m.Name)
	}
}

func TestProvidersOf(t *testing.T) {
	t.Parallel()
	require.Equal(t, []string{"openai"}, Embedded().ProvidersOf("gpt-4o-2031-02-03"))
	require.Empty(t, Embedded().ProvidersOf("nobody's"))
	table := load(t, `{"provider":"b","model":"m","prices":{"input":1}},{"provider":"a","model":"m","prices":{"input":1}}`)
	require.Equal(t, []string{"a", "b"}, table.ProvidersOf("m"))
}

func TestOverride(t *testing.T) {
	t.Parallel()
	base := load(t, `{"provider":"a","model":"m","prices":{"input":1,"output":2}},{"provider":"a","model":"n","prices":{"input":3}}`)
	own := load(t, `{"provider":"a","model":"m","prices":{"input":5}},{"provider":"mine","model":"x","prices":{"input":7}}`)
	merged := base.Override(own)

	require.Equal(t, base.Version()+"+"+own.Version(), merged.Version())
	require.NotEqual(t, base.Version(), own.Version())
	require.Equal(t, []string{"a", "mine"}, merged.Providers())
	price := func(table *Table, provider, model string) string {
		m, ok := table.Lookup(provider, model)
		require.True(t, ok)
		in, _, _ := m.PerMillion(At{})
		return in.String()
	}
	require.Equal(t, "5", price(merged, "a", "m"))
	require.Equal(t, "3", price(merged, "a", "n"))
	require.Equal(t, "7", price(merged, "mine", "x"))
	require.Equal(t, "1", price(base, "a", "m"), "the base table must not change")
	m, _ := merged.Lookup("a", "m")
	require.False(t, m.Cost(Tokens{Output: 1}, At{}).Priced, "a model is replaced whole")
}

func TestVersionWithoutDate(t *testing.T) {
	t.Parallel()
	table, err := Load(strings.NewReader(`{"models":[]}`))
	require.NoError(t, err)
	require.Regexp(t, `^[0-9a-f]{8}$`, table.Version())
}

func TestLoadRefuses(t *testing.T) {
	t.Parallel()
	model := func(members string) string {
		return `{"models":[{"provider":"p","model":"m",` + members + `}]}`
	}
	tests := []struct{ name, file, says string }{
		{"nothing", ``, "EOF"},
		{"no object", `[]`, "read price table"},
		{"cut short", `{"models":[`, "EOF"},
		{"something after", `{"models":[]} x`, "after"},
		{"unknown member", `{"modles":[]}`, "modles"},
		{"unknown member of a model", model(`"prices":{"input":1},"tier":[]`), "tier"},
		{"unknown price", model(`"prices":{"inptu":1}`), `unknown price "inptu"`},
		{"same price twice", model(`"prices":{"input":1,"input":2}`), "duplicate"},
		{"same model twice", `{"models":[{"provider":"p","model":"m","prices":{"input":1}},{"provider":"p","model":"m","prices":{"input":1}}]}`, "p/m: comes twice"},
		{"no provider", `{"models":[{"model":"m","prices":{"input":1}}]}`, "provider and model"},
		{"no model", `{"models":[{"provider":"p","prices":{"input":1}}]}`, "provider and model"},
		{"no prices", `{"models":[{"provider":"p","model":"m"}]}`, "prices must be given"},
		{"no prices in a mode", model(`"prices":{"input":1},"modes":{"batch":{}}`), `mode "batch"`},
		{"no prices in a tier", model(`"prices":{"input":1},"tiers":[{"above_input_tokens":5}]`), "tiers"},
		{"negative price", model(`"prices":{"input":-1}`), "negative"},
		{"price as text", model(`"prices":{"input":"1"}`), "decimal"},
		{"price null", model(`"prices":{"input":null}`), "decimal"},
		{"too fine a price", model(`"prices":{"input":0.0000001}`), "finer"},
		{"too high a price", model(`"prices":{"input":1e13}`), "out of range"},
		{"tier at nothing", model(`"prices":{"input":1},"tiers":[{"above_input_tokens":0,"prices":{"input":2}}]`), "ascend"},
		{"tiers descend", model(`"prices":{"input":1},"tiers":[{"above_input_tokens":5,"prices":{"input":2}},{"above_input_tokens":4,"prices":{"input":2}}]`), "ascend"},
		{"bad date", model(`"prices":{"input":1},"from":[{"date":"2026-02-30","prices":{"input":2}}]`), "YYYY-MM-DD"},
		{"dates descend", model(`"prices":{"input":1},"from":[{"date":"2026-02-03","prices":{"input":2}},{"date":"2026-02-03","prices":{"input":3}}]`), "ascend"},
		{"bad hour", model(`"prices":{"input":1},"time_of_day":[{"start":"24:00","end":"01:00","prices":{"input":2}}]`), "HH:MM"},
		{"bad multiplier", model(`"prices":{"input":1},"regional":{"regions":["eu"],"multiplier":0}`), "multiplier"},
		{"negative call", model(`"prices":{"input":1},"per_call_usd":{"web_search":-1}`), "web_search"},
		{"negative window", model(`"prices":{"input":1},"context_window":-1`), "negative"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := Load(strings.NewReader(tt.file))
			require.ErrorContains(t, err, tt.says)
		})
	}
}

func FuzzLoad(f *testing.F) {
	for line := range bytes.Lines(embedded) {
		if bytes.Contains(line, []byte(`"from"`)) || bytes.Contains(line, []byte(`"regional"`)) {
			f.Add(append(append([]byte(`{"models":[`), bytes.TrimRight(line, ",\n")...), "]}"...))
		}
	}
	f.Add([]byte(`{"models":[{"provider":"p","model":"m","prices":{"input":1},"time_of_day":[{"start":"23:00","end":"01:00","prices":{"input":2}}]}]}`))
	f.Fuzz(func(t *testing.T, file []byte) {
		table, err := Load(bytes.NewReader(file))
		if err != nil {
			return
		}
		for _, provider := range table.Providers() {
			for _, m := range table.Models(provider) {
				for _, tier := range []string{"", "batch", "priority"} {
					quote := m.Cost(Tokens{Input: 1 << 40, CacheRead: 7, Output: 1 << 40, OutputAudio: 3}, At{ServiceTier: tier, Region: "eu", Time: time.Unix(1<<31, 0)})
					require.Equal(t, quote.Priced, quote.Unknown == "")
					require.GreaterOrEqual(t, quote.Cost, Money(0))
					require.True(t, quote.Priced || quote.Cost == 0)
				}
			}
		}
	})
}
