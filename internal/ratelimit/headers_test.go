package ratelimit_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/go-redis/redis_rate/v10"
	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/llm"
	"github.com/financecommander/tollgate/internal/ratelimit"
)

func TestSetHeaders(t *testing.T) {
	t.Parallel()
	hourly := ratelimit.Result{Limit: redis_rate.PerHour(60), Allowed: 1, Remaining: 59, RetryAfter: -1, ResetAfter: time.Minute}
	low := ratelimit.Result{Limit: redis_rate.PerMinute(10), Allowed: 1, Remaining: 2, RetryAfter: -1, ResetAfter: 47*time.Second + 1}
	empty := ratelimit.Result{Limit: redis_rate.PerHour(60), RetryAfter: 36*time.Second + time.Microsecond, ResetAfter: 59*time.Minute + 36*time.Second}
	soon := ratelimit.Result{Limit: redis_rate.PerSecond(10), RetryAfter: 3 * time.Millisecond, ResetAfter: time.Second}

	for name, c := range map[string]struct {
		decision ratelimit.Decision
		want     map[string]string
	}{
		"one limit": {
			ratelimit.Decision{Allowed: true, Denied: -1, Results: []ratelimit.Result{hourly}},
			map[string]string{
				"X-RateLimit-Limit": "60", "X-RateLimit-Remaining": "59", "X-RateLimit-Reset": "60",
				"x-ratelimit-limit-requests": "60", "x-ratelimit-remaining-requests": "59", "x-ratelimit-reset-requests": "1m0s",
			},
		},
		"the tightest of two": {
			ratelimit.Decision{Allowed: true, Denied: -1, Results: []ratelimit.Result{hourly, low}},
			map[string]string{
				"X-RateLimit-Limit": "10", "X-RateLimit-Remaining": "2", "X-RateLimit-Reset": "48",
				"x-ratelimit-limit-requests": "10", "x-ratelimit-remaining-requests": "2", "x-ratelimit-reset-requests": "47s",
			},
		},
		"refused": {
			ratelimit.Decision{Denied: 1, Results: []ratelimit.Result{low, empty}},
			map[string]string{
				"X-RateLimit-Limit": "60", "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "3576",
				"x-ratelimit-limit-requests": "60", "x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "59m36s",
				"Retry-After": "37",
			},
		},
		"refused for less than a second": {
			ratelimit.Decision{Denied: 0, Results: []ratelimit.Result{soon}},
			map[string]string{
				"X-RateLimit-Limit": "10", "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1",
				"x-ratelimit-limit-requests": "10", "x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "1s",
				"Retry-After": "1",
			},
		},
		"nothing was asked": {ratelimit.Decision{Allowed: true, Denied: -1}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			want := http.Header{}
			for key, value := range c.want {
				want.Set(key, value)
			}
			got := http.Header{}
			ratelimit.SetHeaders(got, c.decision)
			require.Equal(t, want, got)
		})
	}
}

func TestRefusal(t *testing.T) {
	t.Parallel()
	refused := func(after time.Duration) ratelimit.Decision {
		return ratelimit.Decision{Denied: 0, Results: []ratelimit.Result{{Limit: redis_rate.PerHour(60), RetryAfter: after}}}
	}
	got := ratelimit.Refusal(refused(36*time.Second + 500*time.Millisecond))
	require.Equal(t, &llm.Error{
		Cause:      llm.CauseRateLimited,
		Code:       "rate_limit_exceeded",
		Message:    "rate limit reached: try again in 37 seconds",
		RetryAfter: 37 * time.Second,
	}, got)
	require.Equal(t, http.StatusTooManyRequests, got.Status())
	require.Equal(t, "rate limit reached: try again in 1 second", ratelimit.Refusal(refused(0)).Message)
}
