package pricing

import (
	"encoding/json"
	"math"
	"math/big"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestParseUSD(t *testing.T) {
	t.Parallel()
	tests := []struct {
		text string
		want Money
	}{
		{"0", 0},
		{"-0", 0},
		{"0.000", 0},
		{"1", Dollar},
		{"1.0", Dollar},
		{"0.0075", 7_500_000_000},
		{"-0.0075", -7_500_000_000},
		{"0.000000000001", 1},
		{"1e-12", 1},
		{"1.13e-05", 11_300_000},
		{"1E+2", 100 * Dollar},
		{"0.0004970133333333333", 497_013_333}, // as OpenRouter reports
		{"0.0000000000005", 1},
		{"0.00000000000049999", 0},
		{"-0.0000000000005", -1},
		{"4e-13", 0},
		{"9e-13", 1},
		{"9e-14", 0},
		{"1e-9999", 0},
		{"9223372.036854775807", MaxMoney},
		{"-9223372.036854775807", -MaxMoney},
		{"0e9999", 0},
		{"0." + strings.Repeat("0", 500) + "1", 0},
	}
	for _, tt := range tests {
		got, err := ParseUSD(tt.text)
		require.NoError(t, err, tt.text)
		require.Equal(t, tt.want, got, tt.text)
	}
	for _, bad := range []string{
		"", "-", ".", "1.", ".5", "01", "+1", "1e", "1e+", "1e+-2", "1e12345", "1,5", " 1", "1 ", "$1", "NaN", "Infinity", "0x10", "1_0", "--1", "٣",
	} {
		_, err := ParseUSD(bad)
		require.Error(t, err, bad)
	}
	for _, huge := range []string{"9223372.036854775808", "9223372.0368547758075", "1e7", "1e9999", strings.Repeat("9", 100)} {
		_, err := ParseUSD(huge)
		require.ErrorIs(t, err, ErrOutOfRange, huge)
	}
}

func TestMoneyText(t *testing.T) {
	t.Parallel()
	for want, amount := range map[string]Money{
		"0": 0, "1": Dollar, "10": 10 * Dollar, "0.0075": 7_500_000_000, "-0.0075": -7_500_000_000,
		"0.000000000001": 1, "12.5": 12*Dollar + Dollar/2,
		"9223372.036854775807": MaxMoney, "-9223372.036854775808": minMoney,
	} {
		require.Equal(t, want, amount.String())
		text, err := json.Marshal(struct{ Cost Money }{amount})
		require.NoError(t, err)
		require.Equal(t, `{"Cost":`+want+`}`, string(text))
		if amount == minMoney {
			continue // one beyond what is parsed: the range is symmetrical
		}
		var back struct{ Cost Money }
		require.NoError(t, json.Unmarshal(text, &back))
		require.Equal(t, amount, back.Cost)
	}
	require.InDelta(t, 0.0075, Money(7_500_000_000).USD(), 1e-15)
}

func TestMoneyNeverWraps(t *testing.T) {
	t.Parallel()
	amounts := []Money{0, 1, -1, Dollar, -Dollar, MaxMoney / 2, MaxMoney - 1, MaxMoney, minMoney / 2, minMoney + 1, minMoney}
	for _, a := range amounts {
		for _, b := range amounts {
			x, y := big.NewInt(int64(a)), big.NewInt(int64(b))
			require.Equal(t, clamp(new(big.Int).Add(x, y)), a.Add(b), "%d + %d", a, b)
			require.Equal(t, clamp(new(big.Int).Mul(x, y)), a.Times(int64(b)), "%d * %d", a, b)
		}
	}
}

func clamp(n *big.Int) Money {
	switch {
	case n.Cmp(big.NewInt(math.MaxInt64)) > 0:
		return MaxMoney
	case n.Cmp(big.NewInt(math.MinInt64)) < 0:
		return minMoney
	}
	return Money(n.Int64())
}

// FuzzParseUSD compares with exact rationals, and reads back what is written.
func FuzzParseUSD(f *testing.F) {
	for _, seed := range []string{"0", "0.0075", "-1.13e-05", "1e-12", "5e-13", "9223372.036854775807", "1e7", "00", "1.e1", "-"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, err := ParseUSD(text)
		if err != nil {
			return
		}
		require.True(t, json.Valid([]byte(text)), "%q is no JSON number", text)
		exact, ok := new(big.Rat).SetString(text)
		require.True(t, ok, text)
		exact.Mul(exact, big.NewRat(int64(Dollar), 1))
		distance := exact.Sub(exact, new(big.Rat).SetInt64(int64(got)))
		require.LessOrEqual(t, distance.Abs(distance).Cmp(big.NewRat(1, 2)), 0, "%q became %d", text, got)
		back, err := ParseUSD(got.String())
		require.NoError(t, err)
		require.Equal(t, got, back)
	})
}
