package ratelimit_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/ratelimit"
)

func TestParseLimit(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]ratelimit.Limit{
		"60/h":             {Rate: 60, Burst: 60, Period: time.Hour},
		"10/s":             {Rate: 10, Burst: 10, Period: time.Second},
		"1/m":              {Rate: 1, Burst: 1, Period: time.Minute},
		"5000/d":           {Rate: 5000, Burst: 5000, Period: 24 * time.Hour},
		"100/10m":          {Rate: 100, Burst: 100, Period: 10 * time.Minute},
		"60/h burst 10":    {Rate: 60, Burst: 10, Period: time.Hour},
		"60/h,10":          {Rate: 60, Burst: 10, Period: time.Hour},
		" 60/h , 10 ":      {Rate: 60, Burst: 10, Period: time.Hour},
		"1/h,100":          {Rate: 1, Burst: 100, Period: time.Hour},
		"2000000/m":        {Rate: 2_000_000, Burst: 2_000_000, Period: time.Minute},
		"1/3650d":          {Rate: 1, Burst: 1, Period: 3650 * 24 * time.Hour},
		"2147483647/h,1":   {Rate: 2147483647, Burst: 1, Period: time.Hour},
		"60/h   burst  10": {Rate: 60, Burst: 10, Period: time.Hour},
	} {
		got, err := ratelimit.ParseLimit(text)
		require.NoError(t, err, text)
		require.Equal(t, want, got, text)
	}
}

func TestParseLimitRefuses(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":               "want a rate such as 60/h",
		"60":             "want a rate such as 60/h",
		"60 per hour":    "want a rate such as 60/h",
		"/h":             "the rate must be a whole number",
		"0/h":            "the rate must be a whole number",
		"-1/h":           "the rate must be a whole number",
		"1.5/h":          "the rate must be a whole number",
		"2147483648/h":   "the rate must be a whole number",
		"60/":            "must end in s, m, h or d",
		"60/w":           "must end in s, m, h or d",
		"60/hh":          "must end in s, m, h or d",
		"60/1h30m":       "the time must be a whole number",
		"60/0h":          "the time must be a whole number",
		"60/99999999d":   "longer than ten years",
		"60/h,":          "the burst must be a whole number",
		"60/h,0":         "the burst must be a whole number",
		"60/h burst":     "must end in s, m, h or d",
		"60/h burst x":   "the burst must be a whole number",
		"60/h,10,10":     "the burst must be a whole number",
		"1/d,2000000000": "more than ten years to fill",
	} {
		_, err := ratelimit.ParseLimit(text)
		require.ErrorIs(t, err, ratelimit.ErrInvalid, text)
		require.ErrorContains(t, err, want, text)
	}
}

func FuzzParseLimit(f *testing.F) {
	for _, seed := range []string{"60/h", "100/10m", "60/h burst 10", "60/h,10", "/", ",", " burst ", "1/3650d"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		limit, err := ratelimit.ParseLimit(text)
		if err != nil {
			require.ErrorIs(t, err, ratelimit.ErrInvalid)
			require.Less(t, len(err.Error()), 500)
			return
		}
		// What is accepted can be used: the first token is granted.
		m := ratelimit.NewMemory(1, func() time.Time { return time.Unix(1_800_000_000, 0) })
		d, err := m.Take(t.Context(), ratelimit.Ask{Key: "fuzz", Limit: limit, N: 1})
		require.NoError(t, err)
		require.True(t, d.Allowed)
		require.Equal(t, limit.Burst-1, d.Results[0].Remaining)
	})
}
