package ratelimit

import (
	"math"
	"time"
)

// The arithmetic of one bucket. A bucket is stored as the time at which it will
// be full again (GCRA's "theoretical arrival time"); what counts for a decision
// is the debt, the time from now until then. Taking a token adds one interval
// to the debt, and the debt may not exceed Burst intervals.
//
// take.lua is the same in Lua; one table of tests holds the two together.

// slack forgives rounding. Redis stores times as a double of seconds, which by
// 2026 resolves 60 ns; without it a bucket of 10 a second would, within one
// microsecond, grant 9. Redis' clock has microseconds, so one is never seen.
const slack = float64(time.Microsecond)

// tokenInterval is the time in which one token is refilled, in nanoseconds.
func tokenInterval(l Limit) float64 { return float64(l.Period) / float64(l.Rate) }

// slackOf keeps the slack under half a token, for the fastest limits.
func slackOf(interval float64) float64 { return min(slack, interval/2) }

// spend answers one ask against a bucket with that debt. The debt afterwards is
// the result's ResetAfter, unrounded; if refused, RetryAfter is at least 0 and
// the debt is as before.
func spend(debt time.Duration, l Limit, n int) (after time.Duration, r Result) {
	interval := tokenInterval(l)
	capacity := interval * float64(l.Burst)
	wanted := max(float64(debt)+interval*float64(n), 0)

	if over := wanted - capacity; over > slackOf(interval) && n >= 0 {
		return debt, Result{Limit: l, RetryAfter: micros(over), ResetAfter: micros(float64(debt))}
	}
	return time.Duration(wanted), Result{
		Limit:      l,
		Allowed:    n,
		Remaining:  tokens(capacity-wanted, interval),
		RetryAfter: -1,
		ResetAfter: micros(wanted),
	}
}

// untouched is the result of an ask that was fine itself, in a request that
// another ask refused.
func untouched(debt time.Duration, l Limit) Result {
	interval := tokenInterval(l)
	return Result{
		Limit:      l,
		Remaining:  tokens(interval*float64(l.Burst)-float64(debt), interval),
		RetryAfter: -1,
		ResetAfter: micros(float64(debt)),
	}
}

// tokens is how many whole tokens fit into that much room.
func tokens(room, interval float64) int {
	return max(int((room+slackOf(interval))/interval), 0)
}

// micros rounds nanoseconds to whole microseconds, Redis' resolution, and caps
// them at 285 years, which a Duration can hold.
func micros(ns float64) time.Duration {
	return time.Duration(math.Floor(min(ns/1e3, 9e15)+0.5)) * time.Microsecond
}

// decide fills in Allowed and Denied from results whose refusals have a
// RetryAfter of 0 or more.
func decide(results []Result) Decision {
	d := Decision{Allowed: true, Denied: -1, Results: results}
	for i := range results {
		if results[i].RetryAfter < 0 {
			continue
		}
		if d.Allowed || results[i].RetryAfter > results[d.Denied].RetryAfter {
			d.Allowed, d.Denied = false, i
		}
	}
	return d
}
