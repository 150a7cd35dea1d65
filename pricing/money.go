package pricing

import (
	"errors"
	"fmt"
	"math"
	"math/bits"
	"strconv"
	"strings"
)

// Money is an amount in picodollars (10⁻¹² USD). One token at one dollar per
// million tokens costs 10⁶ of them, so every published price is a whole number;
// the largest amount is about 9.2 million dollars.
type Money int64

// Dollar is one US dollar; MaxMoney is the most that Money can say, where sums
// stop instead of wrapping.
const (
	Dollar   Money = 1_000_000_000_000
	MaxMoney Money = math.MaxInt64
	minMoney Money = math.MinInt64
)

const moneyDecimals = 12

// ErrOutOfRange says that an amount is larger than its type can hold.
var ErrOutOfRange = errors.New("amount out of range")

// ParseUSD reads an amount in dollars, a number as JSON writes it ("0.0075",
// "1.13e-05"). Digits finer than a picodollar, which some providers report, are
// rounded half away from zero. An amount too large is an [ErrOutOfRange].
func ParseUSD(s string) (Money, error) {
	n, _, err := parseDecimal(s, moneyDecimals)
	if err != nil {
		return 0, fmt.Errorf("parse amount in USD: %w", err)
	}
	return Money(n), nil
}

// String is the exact amount in dollars, without needless zeros: "0.0075".
func (m Money) String() string {
	digits := fmt.Sprintf("%0*d", moneyDecimals+1, m.magnitude())
	point := len(digits) - moneyDecimals
	text := strings.TrimSuffix(strings.TrimRight(digits[:point]+"."+digits[point:], "0"), ".")
	if m < 0 {
		return "-" + text
	}
	return text
}

// MarshalJSON writes the exact amount in dollars as a JSON number.
func (m Money) MarshalJSON() ([]byte, error) { return []byte(m.String()), nil }

// UnmarshalJSON reads what MarshalJSON writes, as [ParseUSD] does.
func (m *Money) UnmarshalJSON(text []byte) error {
	parsed, err := ParseUSD(string(text))
	if err != nil {
		return err
	}
	*m = parsed
	return nil
}

// USD is the amount in dollars as a float, for display and metrics only.
func (m Money) USD() float64 { return float64(m) / float64(Dollar) }

// Add is the sum of both; it stops at the largest or smallest amount.
func (m Money) Add(n Money) Money { return Money(addSaturating(int64(m), int64(n))) }

// Times is n times the amount; it stops at the largest or smallest amount.
func (m Money) Times(n int64) Money {
	high, low := bits.Mul64(m.magnitude(), Money(n).magnitude())
	negative := (m < 0) != (n < 0)
	switch {
	case high == 0 && low <= math.MaxInt64 && negative:
		return -Money(low)
	case high == 0 && low <= math.MaxInt64:
		return Money(low)
	case negative:
		return minMoney
	default:
		return MaxMoney
	}
}

// magnitude is the amount without its sign, also where -m would overflow.
func (m Money) magnitude() uint64 {
	if m < 0 {
		return -uint64(m)
	}
	return uint64(m)
}

func addSaturating(a, b int64) int64 {
	sum := a + b
	switch {
	case a > 0 && b > 0 && sum < 0:
		return math.MaxInt64
	case a < 0 && b < 0 && sum >= 0:
		return math.MinInt64
	default:
		return sum
	}
}

// parseDecimal reads a JSON number as a whole number of 10^-decimals, without
// ever passing through a float. What is finer is rounded half away from zero,
// and exact is then false.
func parseDecimal(s string, decimals int) (n int64, exact bool, err error) {
	negative, digits, exponent, err := splitNumber(s)
	if err != nil {
		return 0, false, err
	}
	digits = strings.TrimLeft(digits, "0")
	if digits == "" {
		return 0, true, nil
	}
	// The number is digits × 10^exponent; whole counts the digits that stand
	// before the point once it is scaled.
	whole := len(digits) + exponent + decimals
	if whole > 19 {
		return 0, false, ErrOutOfRange
	}
	rest := ""
	switch {
	case whole < 0: // less than a tenth of the unit
		digits, rest = "", "0"
	case whole <= len(digits):
		digits, rest = digits[:whole], digits[whole:]
	default:
		digits += strings.Repeat("0", whole-len(digits))
	}
	var magnitude uint64
	if digits != "" {
		if magnitude, err = strconv.ParseUint(digits, 10, 64); err != nil {
			return 0, false, ErrOutOfRange
		}
	}
	if rest != "" && rest[0] >= '5' {
		magnitude++
	}
	if magnitude > math.MaxInt64 {
		return 0, false, ErrOutOfRange
	}
	n = int64(magnitude)
	if negative {
		n = -n
	}
	return n, whole >= 0 && strings.Trim(rest, "0") == "", nil
}

// splitNumber takes a number of JSON's grammar (RFC 8259, section 6) apart into
// its sign, all its digits, and the power of ten that the last digit counts.
func splitNumber(s string) (negative bool, digits string, exponent int, err error) {
	bad := func() (bool, string, int, error) { return false, "", 0, errors.New("not a decimal number") }
	s, negative = strings.CutPrefix(s, "-")
	mantissa, power, hasPower := cutAny(s, "eE")
	if hasPower {
		unsigned := strings.TrimLeft(power, "+-")
		// Four digits are far beyond any amount, and keep the sums below small.
		if len(power)-len(unsigned) > 1 || !allDigits(unsigned) || len(unsigned) > 4 {
			return bad()
		}
		if exponent, err = strconv.Atoi(power); err != nil {
			return bad()
		}
	}
	whole, fraction, hasPoint := strings.Cut(mantissa, ".")
	leadingZero := len(whole) > 1 && whole[0] == '0'
	if !allDigits(whole) || leadingZero || hasPoint && !allDigits(fraction) {
		return bad()
	}
	return negative, whole + fraction, exponent - len(fraction), nil
}

func cutAny(s, chars string) (before, after string, found bool) {
	if i := strings.IndexAny(s, chars); i >= 0 {
		return s[:i], s[i+1:], true
	}
	return s, "", false
}

func allDigits(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == ""
}
