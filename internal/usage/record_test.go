package usage

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/database"
	"github.com/financecommander/tollgate/internal/llm"
	"github.com/financecommander/tollgate/pricing"
)

var noon = time.Date(2026, 11, 22, 12, 0, 0, 123456789, time.UTC)

// filled returns a record in which no field is zero and no two are equal.
func filled(t testing.TB) *Record {
	t.Helper()
	r := NewRecord(noon)
	v := reflect.ValueOf(r).Elem()
	for i := range v.NumField() {
		field, n := v.Field(i), int64(i+1)
		switch field.Interface().(type) {
		case uuid.UUID, time.Time:
		case string, llm.UsageSource, llm.Cause:
			field.SetString(v.Type().Field(i).Name)
		case bool:
			field.SetBool(true)
		case int, int64, pricing.Money:
			field.SetInt(n)
		case time.Duration:
			field.SetInt(n * int64(time.Millisecond))
		case *pricing.Money:
			field.Set(reflect.ValueOf(new(pricing.Money(n))))
		default:
			t.Fatalf("field %s has a type this test does not know", v.Type().Field(i).Name)
		}
	}
	r.UsageSource = llm.UsageMixed
	return r
}

func TestRecordSurvivesItsJSON(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]*Record{"filled": filled(t), "empty": NewRecord(noon)} {
		text, err := json.Marshal(want)
		require.NoError(t, err)
		var got Record
		require.NoError(t, json.Unmarshal(text, &got))
		if diff := cmp.Diff(want, &got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

// The fields of a record are the columns of the table: one that the table lacks
// would be lost without a word.
func TestRecordHasTheColumnsOfTheTable(t *testing.T) {
	t.Parallel()
	columns := database.UsageColumns()
	var fields map[string]any
	require.NoError(t, json.Unmarshal(filled(t).AppendJSON(nil), &fields))
	for name := range fields {
		require.Contains(t, columns, name)
	}
	for _, column := range columns {
		require.Contains(t, fields, column)
	}
	for field := range reflect.TypeFor[Record]().Fields() {
		require.Contains(t, columns, field.Tag.Get("json"))
	}
}

func TestRecordsOnTheWire(t *testing.T) {
	t.Parallel()
	r := NewRecord(time.Date(2026, 1, 2, 3, 4, 5, 6999, time.FixedZone("", 3600)))
	r.ID = uuid.MustParse("019b7c2f-0000-7000-8000-000000000001")
	r.UserHash = "a\"b\\c\n\x00\xff é\u2028"
	r.InputTokens = -5
	r.Cost = 7_500_000_000
	r.ReportedCost = new(pricing.Money(11_300_000))
	r.Latency = 1499600 * time.Microsecond
	r.TTFT = 100 * time.Microsecond
	//nolint:testifylint // the bytes count, not what they mean: escapes and order are the writer's own
	require.Equal(t, `{"id":"019b7c2f-0000-7000-8000-000000000001","timestamp":"2026-01-02T02:04:05.000006Z",`+
		`"user_hash":"a\"b\\c\u000a`+"\ufffd\ufffd é\u2028"+`","cost_picodollars":7500000000,"reported_cost_usd":"0.0000113",`+
		`"latency_ms":1500,"ttft_ms":1,"attempt":1}`, string(r.AppendJSON(nil)))
}

func TestLongTextIsCut(t *testing.T) {
	t.Parallel()
	for _, s := range []string{strings.Repeat("x", 1<<20), strings.Repeat("é", MaxText), strings.Repeat("🙂", MaxText), "x" + strings.Repeat("\x80", 2*MaxText)} {
		got := cut(s)
		require.LessOrEqual(t, len(got), MaxText)
		require.GreaterOrEqual(t, len(got), MaxText-utf8.UTFMax)
		require.True(t, strings.HasPrefix(s, got))
		require.Equal(t, utf8.ValidString(s), utf8.ValidString(got))
	}
	require.Equal(t, "short", cut("short"))
}

func FuzzAppendText(f *testing.F) {
	f.Add("plain")
	f.Add("\x00\x1f\x7f\"\\/\u2028")
	f.Add("\xff\xc0\xaf\xed\xa0\x80")
	f.Fuzz(func(t *testing.T, s string) {
		text := appendEscaped([]byte{'"'}, s)
		text = append(text, '"')
		var got string
		if err := json.Unmarshal(text, &got); err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		want := strings.ReplaceAll(string([]rune(s)), "\x00", "\ufffd") // []rune replaces each bad byte
		if got != want {
			t.Fatalf("got %q want %q", got, want)
		}
		if strings.ContainsAny(string(text), "\n\x00") {
			t.Fatalf("line feed or NUL in %q", text)
		}
	})
}

func TestRecordIDs(t *testing.T) {
	t.Parallel()
	seen := make(map[uuid.UUID]bool)
	for range 1000 {
		r := NewRecord(noon)
		require.EqualValues(t, 7, r.ID.Version())
		require.Equal(t, uuid.RFC4122, r.ID.Variant())
		require.False(t, seen[r.ID])
		seen[r.ID] = true
	}
	r := NewRecord(noon)
	seconds, nanos := r.ID.Time().UnixTime()
	require.Equal(t, noon.UnixMilli(), seconds*1000+nanos/1_000_000)
	require.Equal(t, noon.Truncate(time.Microsecond), r.Timestamp)
	require.Less(t, r.ID.String(), NewRecord(noon.Add(time.Millisecond)).ID.String())
}

func TestSetUsage(t *testing.T) {
	t.Parallel()
	var r Record
	r.SetUsage(llm.Usage{
		Input: 1, CacheRead: 2, CacheWrite5m: 4, CacheWrite1h: 8, Output: 16, Reasoning: 32, InputAudio: 64, CachedAudio: 128,
		OutputAudio: 256, InputImage: 512, CachedImage: 1024, OutputImage: 2048, InputVideo: 4096, OutputVideo: 8192,
	}, llm.UsageProvider)
	require.Equal(t, Record{
		InputTokens: 1 + 2 + 4 + 8 + 64 + 128 + 512 + 1024 + 4096, OutputTokens: 16 + 32 + 256 + 2048 + 8192,
		CachedTokens: 2 + 128 + 1024, CacheWriteTokens: 4 + 8, CacheWrite1hTokens: 8, ReasoningTokens: 32,
		AudioInputTokens: 64 + 128, AudioOutputTokens: 256, ImageInputTokens: 512 + 1024, ImageOutputTokens: 2048,
		UsageSource: llm.UsageProvider,
	}, r)
}

func BenchmarkAppendFrame(b *testing.B) {
	r := typical()
	var buffer []byte
	b.ReportAllocs()
	for b.Loop() {
		buffer = appendFrame(buffer[:0], r)
	}
	b.SetBytes(int64(len(buffer)))
}

func BenchmarkNewRecord(b *testing.B) {
	now := time.Now()
	b.ReportAllocs()
	for b.Loop() {
		NewRecord(now)
	}
}

// typical is a record as most are.
func typical() *Record {
	r := NewRecord(time.Now())
	r.RequestID = "req_0193a5b0c0de4f3e8d1c2b3a4f5e6d7c"
	r.UserHash = strings.Repeat("0123456789abcdef", 4)
	r.UserEmailHash = strings.Repeat("fedcba9876543210", 4)
	r.SpecialistID, r.SpecialistName = "financial-analyst", "Financial Analyst"
	r.Provider, r.Model, r.ResponseModel, r.Dialect, r.Stream = "openai", "gpt-4o", "gpt-4o-2024-08-06", "openai.chat", true
	r.SetUsage(llm.Usage{Input: 226, CacheRead: 1024, Output: 431}, llm.UsageProvider)
	r.Cost, r.Priced, r.PriceVersion = 7_435_000_000, true, "2026-11-20"
	r.Latency, r.TTFT = 2210*time.Millisecond, 340*time.Millisecond
	r.UpstreamStatus, r.Status, r.Success, r.FinishReason = 200, 200, true, "stop"
	return r
}
