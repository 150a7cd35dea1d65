package ratelimit

import (
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/financecommander/tollgate/internal/llm"
)

// SetHeaders tells a caller where it stands, by its tightest limit: the one
// that refused, else the one with the smallest part of its bucket left.
//
// X-RateLimit-Limit is the bucket's size, -Remaining the whole tokens in it, and
// -Reset the seconds until it is full, rounded up. The x-ratelimit-*-requests
// headers say the same to OpenAI's clients, the reset as they write it ("1m0s"):
// https://platform.openai.com/docs/guides/rate-limits#rate-limits-in-headers
// A refusal has Retry-After too: the seconds until it may work, at least 1.
func SetHeaders(h http.Header, d Decision) {
	r, ok := tightest(d)
	if !ok {
		return
	}
	limit, remaining := strconv.Itoa(r.Limit.Burst), strconv.Itoa(r.Remaining)
	h.Set("X-Ratelimit-Limit", limit)
	h.Set("X-Ratelimit-Remaining", remaining)
	h.Set("X-Ratelimit-Reset", strconv.FormatInt(ceilSeconds(r.ResetAfter), 10))
	h.Set("X-Ratelimit-Limit-Requests", limit)
	h.Set("X-Ratelimit-Remaining-Requests", remaining)
	h.Set("X-Ratelimit-Reset-Requests", r.ResetAfter.Round(time.Millisecond).String())
	if !d.Allowed {
		h.Set("Retry-After", strconv.FormatInt(retrySeconds(d), 10))
	}
}

// Refusal is the error a caller gets for a refused decision. The message says
// the seconds, because many clients show nothing else. Type is left to the
// dialect, which derives it from the cause.
func Refusal(d Decision) *llm.Error {
	seconds, unit := retrySeconds(d), "seconds"
	if seconds == 1 {
		unit = "second"
	}
	return &llm.Error{
		Cause:      llm.CauseRateLimited,
		Code:       "rate_limit_exceeded",
		Message:    fmt.Sprintf("rate limit reached: try again in %d %s", seconds, unit),
		RetryAfter: time.Duration(seconds) * time.Second,
	}
}

// tightest is the result that matters most to the caller; false if there were
// no asks.
func tightest(d Decision) (Result, bool) {
	if len(d.Results) == 0 {
		return Result{}, false
	}
	if !d.Allowed {
		return d.Results[d.Denied], true
	}
	least := d.Results[0]
	for _, r := range d.Results[1:] {
		// Cross-multiplied, the comparison of Remaining/Burst stays exact.
		if int64(r.Remaining)*int64(least.Limit.Burst) < int64(least.Remaining)*int64(r.Limit.Burst) {
			least = r
		}
	}
	return least, true
}

// retrySeconds is the wait a refused caller is told.
func retrySeconds(d Decision) int64 {
	if d.Allowed || d.Denied >= len(d.Results) {
		return 1
	}
	return max(ceilSeconds(d.Results[d.Denied].RetryAfter), 1)
}

func ceilSeconds(d time.Duration) int64 {
	seconds := int64(d / time.Second)
	if d%time.Second > 0 {
		seconds++
	}
	return seconds
}
