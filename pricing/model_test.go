package pricing_test

import (
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/llm"
	"github.com/financecommander/tollgate/pricing"
)

// One converts to the other, so that no field is copied by hand and forgotten.
var _ = pricing.Tokens(llm.Usage{})

func lookup(t *testing.T, provider, model string) *pricing.Model {
	t.Helper()
	m, ok := pricing.Embedded().Lookup(provider, model)
	require.True(t, ok, model)
	return m
}

func date(text string) time.Time {
	t, err := time.Parse("2006-01-02 15:04", text)
	if err != nil {
		panic(err)
	}
	return t
}

// What users of the old system know, and one case for each rule, by hand from
// the providers' price pages as the table has them.
func TestCost(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name            string
		provider, model string
		tokens          pricing.Tokens
		at              pricing.At
		want            string
		tier            string
	}{
		{"gpt-4o, as users know it", "openai", "gpt-4o", pricing.Tokens{Input: 1000, Output: 500}, pricing.At{}, "0.0075", "standard"},
		{"gpt-4o-mini", "openai", "gpt-4o-mini", pricing.Tokens{Input: 1e6, Output: 1e6}, pricing.At{}, "0.75", "standard"},
		{"opus costs 5/25, not 15/75", "anthropic", "claude-opus-4-6", pricing.Tokens{Input: 1e6, Output: 1e6}, pricing.At{}, "30", "standard"},
		{"one token", "openai", "gpt-4o", pricing.Tokens{Input: 1}, pricing.At{}, "0.0000025", "standard"},
		{"nothing", "openai", "gpt-4o", pricing.Tokens{}, pricing.At{}, "0", "standard"},

		// bifrost#904: cached tokens were billed as fresh ones.
		{"cached is not fresh", "openai", "gpt-4o", pricing.Tokens{CacheRead: 1e6}, pricing.At{}, "1.25", "standard"},
		// bifrost#3451 doubled cache writes, new-api#5756 gave them away.
		{"cache writes once, at their own price", "anthropic", "claude-opus-4-6", pricing.Tokens{CacheWrite5m: 1e6}, pricing.At{}, "6.25", "standard"},
		{"cache writes for an hour", "anthropic", "claude-opus-4-6", pricing.Tokens{CacheWrite1h: 1e6}, pricing.At{}, "10", "standard"},
		{"disjoint buckets add up", "anthropic", "claude-opus-4-6", pricing.Tokens{Input: 1e6, CacheRead: 1e6, CacheWrite5m: 1e6, CacheWrite1h: 1e6, Output: 1e6, Reasoning: 1e6}, pricing.At{}, "71.75", "standard"},
		// bifrost v2.2.5: the fast tier was underbilled.
		{"fast tier", "anthropic", "claude-opus-4-6", pricing.Tokens{Input: 1e6, CacheRead: 1e6, Output: 1e6}, pricing.At{ServiceTier: "fast"}, "183", "fast"},
		// new-api#3110: negative tokens became a credit.
		{"negative counts are nothing", "openai", "gpt-4o", pricing.Tokens{Input: -1000, CacheRead: math.MinInt64, Output: 500}, pricing.At{}, "0.005", "standard"},

		{"cache write without a price is input", "openai", "gpt-4o", pricing.Tokens{CacheWrite5m: 1e6}, pricing.At{}, "2.5", "standard"},
		{"cached without a price is input", "openai", "gpt-4", pricing.Tokens{CacheRead: 1e6}, pricing.At{}, "30", "standard"},
		{"cache write for an hour falls to the only one", "openai", "gpt-5.6", pricing.Tokens{CacheWrite1h: 1e5}, pricing.At{}, "0.625", "standard"},
		{"reasoning is output", "openai", "gpt-5", pricing.Tokens{Reasoning: 1e6}, pricing.At{}, "10", "standard"},
		{"audio of its own price", "openai", "gpt-4o-audio-preview", pricing.Tokens{InputAudio: 1e6, OutputAudio: 1e6}, pricing.At{}, "300", "standard"},
		{"cached audio", "google", "gemini-2.5-flash", pricing.Tokens{CachedAudio: 1e6}, pricing.At{}, "0.1", "standard"},
		{"cached audio without a discount", "google", "gemini-flash-lite-latest", pricing.Tokens{CachedAudio: 1e6}, pricing.At{}, "0.5", "standard"},
		{"audio, image, video as text", "openai", "gpt-4o", pricing.Tokens{InputAudio: 1e6, InputImage: 1e6, InputVideo: 1e6, CachedImage: 1e6, OutputImage: 1e6, OutputVideo: 1e6}, pricing.At{}, "28.75", "standard"},
		{"embedding", "openai", "text-embedding-3-small", pricing.Tokens{Input: 1e6}, pricing.At{}, "0.02", "standard"},

		{"service tier default", "openai", "gpt-4o", pricing.Tokens{Input: 1e6}, pricing.At{ServiceTier: "default"}, "2.5", "standard"},
		{"service tier in capitals", "openai", "gpt-4o", pricing.Tokens{Input: 1e6}, pricing.At{ServiceTier: "PRIORITY"}, "4.25", "priority"},
		{"batch", "openai", "gpt-4o", pricing.Tokens{Input: 1e6, Output: 1e6}, pricing.At{ServiceTier: "batch"}, "6.25", "batch"},
		{"flex", "openai", "gpt-5.6", pricing.Tokens{Input: 1e5, Output: 1e6}, pricing.At{ServiceTier: "flex"}, "15.25", "flex"},

		{"up to the tier", "google", "gemini-2.5-pro", pricing.Tokens{Input: 150_000, CacheRead: 50_000, Output: 1000}, pricing.At{}, "0.20375", "standard"},
		{"beyond the tier, the whole request", "google", "gemini-2.5-pro", pricing.Tokens{Input: 150_001, CacheRead: 50_000, Output: 1000}, pricing.At{}, "0.4025025", "standard>200000"},
		{"tier of a mode", "openai", "gpt-5.6", pricing.Tokens{Input: 1e6}, pricing.At{ServiceTier: "flex"}, "5", "flex>272000"},
		{"tier without a cache price", "openai", "gpt-5.5-pro", pricing.Tokens{CacheRead: 1e6}, pricing.At{}, "60", "standard>272000"},

		{"before the new price", "anthropic", "claude-sonnet-5", pricing.Tokens{Input: 1e6}, pricing.At{Time: date("2026-08-31 23:59")}, "2", "standard"},
		{"from the new price on", "anthropic", "claude-sonnet-5", pricing.Tokens{Input: 1e6}, pricing.At{Time: date("2026-09-01 00:00")}, "3", "standard"},
		{"time zones do not matter", "anthropic", "claude-sonnet-5", pricing.Tokens{Input: 1e6}, pricing.At{Time: date("2026-09-01 00:00").In(time.FixedZone("", -8*3600))}, "3", "standard"},
		{"before the new price, batch", "anthropic", "claude-sonnet-5", pricing.Tokens{Input: 1e6}, pricing.At{ServiceTier: "batch"}, "1", "batch"},

		{"regional", "openai", "gpt-5.6", pricing.Tokens{Input: 1e5, Output: 1}, pricing.At{Region: "eu"}, "0.550033", "standard"},
		{"another region", "openai", "gpt-5.6", pricing.Tokens{Input: 1e5, Output: 1}, pricing.At{Region: "br"}, "0.50003", "standard"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			quote := lookup(t, tt.provider, tt.model).Cost(tt.tokens, tt.at)
			require.True(t, quote.Priced, quote.Unknown)
			require.Empty(t, quote.Unknown)
			require.Equal(t, tt.want, quote.Cost.String())
			require.Equal(t, tt.tier, quote.Tier)
		})
	}
}

func TestCostUnknown(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name            string
		provider, model string
		tokens          pricing.Tokens
		at              pricing.At
		unknown         string
	}{
		{"no such mode", "openai", "gpt-4", pricing.Tokens{Input: 1}, pricing.At{ServiceTier: "priority"}, "service_tier"},
		{"no such mode at all", "openai", "gpt-4o", pricing.Tokens{Input: 1}, pricing.At{ServiceTier: "scale"}, "service_tier"},
		{"the mode lacks a price that standard has", "anthropic", "claude-opus-4-6", pricing.Tokens{Input: 1, CacheRead: 1}, pricing.At{ServiceTier: "batch"}, "cached_input"},
		{"the mode lacks the audio price", "google", "gemini-2.5-flash", pricing.Tokens{InputAudio: 1}, pricing.At{ServiceTier: "batch"}, "input_audio"},
		{"the mode lacks the tier", "google", "gemini-2.5-pro", pricing.Tokens{Input: 200_001}, pricing.At{ServiceTier: "batch"}, "input"},
		{"the mode is older than the price", "anthropic", "claude-sonnet-5", pricing.Tokens{Input: 1}, pricing.At{ServiceTier: "batch", Time: date("2026-09-01 00:00")}, "service_tier"},
		{"no output price", "openai", "ada-v2", pricing.Tokens{Input: 1, Output: 1}, pricing.At{}, "output"},
		{"too many tokens", "openai", "gpt-4o", pricing.Tokens{Input: math.MaxInt64}, pricing.At{}, "overflow"},
		{"too many tokens together", "openai", "gpt-4o", pricing.Tokens{Input: math.MaxInt64 / 5_000_000, Output: math.MaxInt64 / 15_000_000}, pricing.At{}, "overflow"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			quote := lookup(t, tt.provider, tt.model).Cost(tt.tokens, tt.at)
			require.False(t, quote.Priced)
			require.Zero(t, quote.Cost)
			require.Equal(t, tt.unknown, quote.Unknown)
		})
	}
	t.Run("one too many for the region", func(t *testing.T) {
		t.Parallel()
		m := lookup(t, "openai", "gpt-5.6")
		tokens := pricing.Tokens{Output: math.MaxInt64 / 30_000_000}
		require.True(t, m.Cost(tokens, pricing.At{}).Priced)
		require.Equal(t, "overflow", m.Cost(tokens, pricing.At{Region: "eu"}).Unknown)
	})
}

func TestTimeOfDay(t *testing.T) {
	t.Parallel()
	table, err := pricing.Load(strings.NewReader(`{"models":[{"provider":"p","model":"m","prices":{"input":4},
		"time_of_day":[{"start":"16:30","end":"00:30","prices":{"input":2}},{"start":"03:00","end":"04:00","prices":{"input":1}}]}]}`))
	require.NoError(t, err)
	m, _ := table.Lookup("p", "m")
	for clock, want := range map[string]string{
		"00:00": "2", "00:29": "2", "00:30": "4", "02:59": "4", "03:00": "1", "03:59": "1", "04:00": "4",
		"16:29": "4", "16:30": "2", "23:59": "2",
	} {
		quote := m.Cost(pricing.Tokens{Input: 1e6}, pricing.At{Time: date("2026-01-02 " + clock)})
		require.Equal(t, want, quote.Cost.String(), clock)
	}
}

func TestNewModel(t *testing.T) {
	t.Parallel()
	m, err := pricing.NewModel("2.50", "10")
	require.NoError(t, err)
	for _, tier := range []string{"", "priority", "batch"} {
		quote := m.Cost(pricing.Tokens{Input: 1e6, CacheRead: 1e6, CacheWrite1h: 1e6, Reasoning: 1e6, OutputAudio: 1e6}, pricing.At{ServiceTier: tier})
		require.Equal(t, pricing.Quote{Cost: 27*pricing.Dollar + pricing.Dollar/2, Priced: true, Tier: "standard"}, quote)
	}
	in, out, ok := m.PerMillion(pricing.At{})
	require.True(t, ok)
	require.Equal(t, "2.5", in.String())
	require.Equal(t, "10", out.String())

	free, err := pricing.NewModel("0", "0")
	require.NoError(t, err)
	require.Equal(t, pricing.Quote{Priced: true, Tier: "standard"}, free.Cost(pricing.Tokens{Input: 5}, pricing.At{}))

	for _, bad := range [][2]string{{"", "1"}, {"1", ""}, {"-1", "1"}, {"1", "0.0000001"}, {"1e99", "1"}} {
		_, err := pricing.NewModel(bad[0], bad[1])
		require.Error(t, err, bad)
	}
}

// Each field of Tokens must be billed: a model in which the n-th kind costs
// 10ⁿ shows it.
func TestEveryFieldIsBilled(t *testing.T) {
	t.Parallel()
	table, err := pricing.Load(strings.NewReader(`{"models":[{"provider":"p","model":"m","prices":{
		"input":0.000001,"cached_input":0.00001,"cache_write_5m":0.0001,"cache_write_1h":0.001,"output":0.01,"reasoning":0.1,
		"input_audio":1,"cached_audio":10,"output_audio":100,"input_image":1000,"cached_image":10000,"output_image":100000,
		"input_video":1000000,"output_video":10000000}}]}`))
	require.NoError(t, err)
	m, _ := table.Lookup("p", "m")
	want := pricing.Money(1)
	for i := range reflect.TypeFor[pricing.Tokens]().NumField() {
		var tokens pricing.Tokens
		reflect.ValueOf(&tokens).Elem().Field(i).SetInt(3)
		quote := m.Cost(tokens, pricing.At{})
		require.Equal(t, 3*want, quote.Cost, "field %d", i)
		want *= 10
	}
}

func BenchmarkLookupAndCost(b *testing.B) {
	table := pricing.Embedded()
	tokens := pricing.Tokens{Input: 1200, CacheRead: 5000, CacheWrite5m: 300, Output: 500, Reasoning: 200}
	now := time.Now()
	for _, bench := range []struct{ name, provider, model, tier string }{
		{"plain", "openai", "gpt-4o", ""},
		{"dated", "openai", "gpt-4o-2031-02-03", "default"},
		{"tiers", "openai", "gpt-5.6", "flex"},
	} {
		b.Run(bench.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				m, _ := table.Lookup(bench.provider, bench.model)
				if !m.Cost(tokens, pricing.At{Time: now, ServiceTier: bench.tier}).Priced {
					b.Fatal("not priced")
				}
			}
		})
	}
}
