package ratelimit

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// ParseLimit reads a limit as people write it: tokens per time ("60/h"), the
// time one of s, m, h, d, with a count if it is not 1 ("100/10m"), and how many
// may come at once if that differs from the rate ("60/h burst 10" or
// "60/h,10"). Errors say what was expected and wrap [ErrInvalid].
func ParseLimit(text string) (Limit, error) {
	rate, burst := text, ""
	if before, after, found := strings.Cut(text, ","); found {
		rate, burst = before, after
	} else if before, after, found := strings.Cut(text, " burst "); found {
		rate, burst = before, after
	}
	limit, err := parseRate(strings.TrimSpace(rate))
	if err != nil {
		return Limit{}, fmt.Errorf("limit %.40q: %w", text, err)
	}
	if rate != text {
		if limit.Burst, err = parseCount("burst", strings.TrimSpace(burst)); err != nil {
			return Limit{}, fmt.Errorf("limit %.40q: %w", text, err)
		}
	}
	if err := checkLimit(limit); err != nil {
		return Limit{}, fmt.Errorf("limit %.40q: %w", text, err)
	}
	return limit, nil
}

// parseRate reads "60/h" or "100/10m".
func parseRate(text string) (Limit, error) {
	count, per, found := strings.Cut(text, "/")
	if !found {
		return Limit{}, fmt.Errorf("%w: want a rate such as 60/h or 100/10m, and optionally a burst as in 60/h,10", ErrInvalid)
	}
	rate, err := parseCount("rate", count)
	if err != nil {
		return Limit{}, err
	}
	period, err := parsePeriod(per)
	if err != nil {
		return Limit{}, err
	}
	return Limit{Rate: rate, Burst: rate, Period: period}, nil
}

// parsePeriod reads "h" or "10m".
func parsePeriod(text string) (time.Duration, error) {
	number := strings.TrimRight(text, "smhd")
	units := map[string]time.Duration{"s": time.Second, "m": time.Minute, "h": time.Hour, "d": 24 * time.Hour}
	unit, known := units[text[len(number):]]
	if !known {
		return 0, fmt.Errorf("%w: the time must end in s, m, h or d", ErrInvalid)
	}
	if number == "" {
		return unit, nil
	}
	count, err := parseCount("time", number)
	if err != nil {
		return 0, err
	}
	if time.Duration(count) > maxRefill/unit {
		return 0, fmt.Errorf("%w: the time is longer than ten years", ErrInvalid)
	}
	return time.Duration(count) * unit, nil
}

// parseCount reads a plain positive number; what names it in errors.
func parseCount(what, text string) (int, error) {
	count, err := strconv.ParseUint(text, 10, 31)
	if err != nil || count == 0 {
		return 0, fmt.Errorf("%w: the %s must be a whole number from 1 to 2147483647", ErrInvalid, what)
	}
	return int(count), nil
}
