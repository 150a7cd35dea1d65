// Package ratelimit decides how much a caller may ask for. Limits are token
// buckets (GCRA, https://en.wikipedia.org/wiki/Generic_cell_rate_algorithm)
// with the vocabulary and the stored form of github.com/go-redis/redis_rate.
//
// Two implementations give the same answers: [Memory] within this process, and
// [Redis] shared by any number of replicas. [Guarded] puts one in front of the
// other, so that a dead Redis costs no request more than a few milliseconds.
//
// All limits of a request are asked for in one step, and a request that one of
// them refuses consumes nothing in any.
package ratelimit

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/go-redis/redis_rate/v10"
)

// Limit is how fast a bucket fills (Rate tokens in each Period) and how many
// tokens it holds (Burst). A bucket starts full.
type Limit = redis_rate.Limit

// Result is the state of one bucket after a decision.
type Result = redis_rate.Result

// Ask wants N tokens from the bucket named Key.
//
// Key already holds the name of the zone it belongs to ("chat:user:42"): a key
// must always come with the same Limit. It may be of any length and content,
// see [storedKey]. N is usually 1; 0 looks without taking; a negative N gives
// tokens back, never beyond a full bucket, and is never refused. An N above
// Limit.Burst is always refused, however long the caller waits.
type Ask struct {
	Key   string
	Limit Limit
	N     int
}

// Decision is the answer to one request's asks.
type Decision struct {
	// Allowed says that every ask was granted. If it is false, none was.
	Allowed bool

	// Denied is the index of the ask that refused; of several, the one with
	// the longest RetryAfter, because an earlier attempt would be refused
	// again. It is -1 if Allowed.
	Denied int

	// Results has one entry per ask, in order. In a refused request, asks
	// that alone would have been granted show their bucket untouched, with
	// Allowed 0 and RetryAfter -1. Durations are whole microseconds.
	Results []Result
}

// Limiter takes tokens from buckets.
type Limiter interface {
	// Take grants all asks or none. Being refused is a Decision, not an
	// error. Errors are an ask that makes no sense ([ErrInvalid]), the
	// context's end, or a store that cannot answer.
	Take(ctx context.Context, asks ...Ask) (Decision, error)
}

// ErrInvalid is wrapped by errors about asks that make no sense: a limit that
// is not positive or takes longer than ten years to refill, or the same key
// twice in one request.
var ErrInvalid = errors.New("invalid ask")

// maxRefill bounds how long an empty bucket may take to fill. Durations then
// stay far from overflow, and a double's seconds keep their microseconds.
const maxRefill = 10 * 365 * 24 * time.Hour

// checkLimit reports why a limit cannot be used.
func checkLimit(l Limit) error {
	if l.Rate <= 0 || l.Burst <= 0 || l.Period <= 0 {
		return fmt.Errorf("%w: rate, burst and period of a limit must be positive", ErrInvalid)
	}
	if refill := tokenInterval(l) * float64(l.Burst); refill > float64(maxRefill) {
		return fmt.Errorf("%w: the limit's bucket takes more than ten years to fill", ErrInvalid)
	}
	return nil
}

// checkAsks reports why asks cannot be decided together.
func checkAsks(asks []Ask) error {
	for i := range asks {
		if err := checkLimit(asks[i].Limit); err != nil {
			return err
		}
		for j := range asks[:i] {
			if asks[i].Key == asks[j].Key {
				return fmt.Errorf("%w: asks %d and %d have the same key", ErrInvalid, j, i)
			}
		}
	}
	return nil
}
