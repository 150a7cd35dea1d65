package ratelimit_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-redis/redis_rate/v10"
	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/ratelimit"
)

// step is one call, after some time, and what every store must answer.
type step struct {
	after  time.Duration
	asks   []ratelimit.Ask
	denied int // -1: allowed
	want   []ratelimit.Result
}

func result(allowed, remaining int, retry, reset time.Duration) ratelimit.Result {
	return ratelimit.Result{Allowed: allowed, Remaining: remaining, RetryAfter: retry, ResetAfter: reset}
}

// TestStoresAnswerAlike runs each sequence on memory, miniredis and a real
// server. Limits are slow, so that the real clock's progress shows no token.
func TestStoresAnswerAlike(t *testing.T) {
	t.Parallel()
	const m, h = time.Minute, time.Hour
	hourly, burst10 := redis_rate.PerHour(60), ratelimit.Limit{Rate: 60, Burst: 10, Period: h}
	tokens := redis_rate.Limit{Rate: 2_000_000, Burst: 2_000_000, Period: 1000 * h}
	one := func(n int) []ratelimit.Ask { return []ratelimit.Ask{ask("user:a", burst10, n)} }
	two := func(a, b int) []ratelimit.Ask {
		return []ratelimit.Ask{ask("user:a", hourly, a), ask("all:b", burst10, b)}
	}

	for name, steps := range map[string][]step{
		"a bucket empties and refills": {
			{0, one(1), -1, []ratelimit.Result{result(1, 9, -1, m)}},
			{0, one(4), -1, []ratelimit.Result{result(4, 5, -1, 5*m)}},
			{0, one(5), -1, []ratelimit.Result{result(5, 0, -1, 10*m)}},
			{0, one(1), 0, []ratelimit.Result{result(0, 0, m, 10*m)}},
			{30 * time.Second, one(1), 0, []ratelimit.Result{result(0, 0, m/2, 9*m+m/2)}},
			{40 * time.Second, one(1), -1, []ratelimit.Result{result(1, 0, -1, 9*m+50*time.Second)}},
			{5*m + 5*time.Second, one(1), -1, []ratelimit.Result{result(1, 4, -1, 5*m+45*time.Second)}},
			{h, one(1), -1, []ratelimit.Result{result(1, 9, -1, m)}},
		},
		"zero looks without taking": {
			{0, one(0), -1, []ratelimit.Result{result(0, 10, -1, 0)}},
			{0, one(10), -1, []ratelimit.Result{result(10, 0, -1, 10*m)}},
			{0, one(0), -1, []ratelimit.Result{result(0, 0, -1, 10*m)}},
			{90 * time.Second, one(0), -1, []ratelimit.Result{result(0, 1, -1, 8*m+m/2)}},
		},
		"more than the burst is never granted": {
			{0, one(11), 0, []ratelimit.Result{result(0, 0, m, 0)}},
			{0, one(10), -1, []ratelimit.Result{result(10, 0, -1, 10*m)}},
			{0, one(11), 0, []ratelimit.Result{result(0, 0, 11*m, 10*m)}},
			{24 * h, one(1 << 40), 0, []ratelimit.Result{result(0, 0, 9e18, 0)}},
		},
		"tokens given back": {
			{0, one(-3), -1, []ratelimit.Result{result(-3, 10, -1, 0)}},
			{0, one(10), -1, []ratelimit.Result{result(10, 0, -1, 10*m)}},
			{0, one(-3), -1, []ratelimit.Result{result(-3, 3, -1, 7*m)}},
			{3*m + m/2, one(-5), -1, []ratelimit.Result{result(-5, 10, -1, 0)}}, // more than it lacked
			{0, one(10), -1, []ratelimit.Result{result(10, 0, -1, 10*m)}},
		},
		"a lowered limit": {
			{0, []ratelimit.Ask{ask("k", hourly, 60)}, -1, []ratelimit.Result{result(60, 0, -1, h)}},
			{0, []ratelimit.Ask{ask("k", burst10, 0)}, 0, []ratelimit.Result{result(0, 0, 50*m, h)}},
			{0, []ratelimit.Ask{ask("k", burst10, -5)}, -1, []ratelimit.Result{result(-5, 0, -1, 55*m)}},
		},
		"all or nothing": {
			{0, two(1, 8), -1, []ratelimit.Result{result(1, 59, -1, m), result(8, 2, -1, 8*m)}},
			{0, two(1, 3), 1, []ratelimit.Result{result(0, 59, -1, m), result(0, 0, m, 8*m)}},
			{0, two(1, 2), -1, []ratelimit.Result{result(1, 58, -1, 2*m), result(2, 0, -1, 10*m)}},
			{0, two(60, 5), 1, []ratelimit.Result{result(0, 0, 2*m, 2*m), result(0, 0, 5*m, 10*m)}},
			{0, two(60, 1), 0, []ratelimit.Result{result(0, 0, 2*m, 2*m), result(0, 0, m, 10*m)}},
			{0, two(58, 0), -1, []ratelimit.Result{result(58, 0, -1, h), result(0, 0, -1, 10*m)}},
		},
		"token budgets are exact": {
			{0, []ratelimit.Ask{ask("tpm", tokens, 1_200_000)}, -1, []ratelimit.Result{result(1_200_000, 800_000, -1, 600*h)}},
			{0, []ratelimit.Ask{ask("tpm", tokens, 800_001)}, 0, []ratelimit.Result{result(0, 0, 1800*time.Millisecond, 600*h)}},
			{0, []ratelimit.Ask{ask("tpm", tokens, -200_000)}, -1, []ratelimit.Result{result(-200_000, 1_000_000, -1, 500*h)}},
		},
		"odd keys are keys like others": {
			{
				0,
				[]ratelimit.Ask{ask(long("x"), hourly, 1), ask(long("y"), hourly, 1), ask("{a} \r\n\x00", hourly, 1)},
				-1,
				[]ratelimit.Result{result(1, 59, -1, m), result(1, 59, -1, m), result(1, 59, -1, m)},
			},
			{
				0,
				[]ratelimit.Ask{ask(long("x"), hourly, 1), ask("{b} \r\n\x00", hourly, 1), ask("", hourly, 1)},
				-1,
				[]ratelimit.Result{result(1, 58, -1, 2*m), result(1, 59, -1, m), result(1, 59, -1, m)},
			},
		},
		"nothing asked": {{0, nil, -1, nil}},
	} {
		for kind, open := range stores {
			t.Run(name+"/"+kind, func(t *testing.T) {
				t.Parallel()
				s := open(t)
				for i, step := range steps {
					s.advance(step.after)
					results := slices.Clone(step.want)
					for j := range results {
						results[j].Limit = step.asks[j].Limit
					}
					got, err := s.limiter.Take(patient(t), step.asks...)
					require.NoError(t, err)
					want := ratelimit.Decision{Allowed: step.denied < 0, Denied: step.denied, Results: results}
					requireDecision(t, want, got, s.drift, fmt.Sprintf("step %d", i))
				}
			})
		}
	}
}

// requireDecision compares all but the durations exactly, and those as closely
// as the store's clock allows.
func requireDecision(t *testing.T, want, got ratelimit.Decision, drift time.Duration, step string) {
	t.Helper()
	durations := cmp.Comparer(func(a, b time.Duration) bool {
		return (a == -1) == (b == -1) && (a-b).Abs() <= drift
	})
	if len(want.Results) == 0 {
		want.Results = got.Results[:0]
	}
	if diff := cmp.Diff(want, got, durations); diff != "" {
		t.Fatalf("%s (-want +got):\n%s", step, diff)
	}
}

// TestMemoryEqualsRedis plays thousands of random requests on memory and on
// miniredis, whose clocks stand still between them: equal to the microsecond.
func TestMemoryEqualsRedis(t *testing.T) {
	t.Parallel()
	limits := []ratelimit.Limit{
		redis_rate.PerSecond(10), redis_rate.PerMinute(7), redis_rate.PerHour(60),
		{Rate: 3, Burst: 20, Period: 10 * time.Second},
		{Rate: 100_000, Burst: 500, Period: time.Minute},
	}
	pauses := []time.Duration{0, 0, 0, time.Microsecond, 100 * time.Millisecond, time.Second, 7_654_321 * time.Microsecond, time.Hour}
	random := rand.New(rand.NewPCG(1, 2))
	memory, mini := memoryStore(t), miniredisStore(t)
	denied := 0
	for i := range 3000 {
		pause := pauses[random.IntN(len(pauses))]
		memory.advance(pause)
		mini.advance(pause)
		var asks []ratelimit.Ask
		for _, zone := range random.Perm(len(limits))[:1+random.IntN(3)] {
			asks = append(asks, ask(fmt.Sprintf("zone%d", zone), limits[zone], random.IntN(9)-2))
		}
		want, err := memory.limiter.Take(t.Context(), asks...)
		require.NoError(t, err)
		got, err := mini.limiter.Take(patient(t), asks...)
		require.NoError(t, err)
		requireDecision(t, want, got, 3*time.Microsecond, fmt.Sprintf("request %d: %+v", i, asks))
		if !got.Allowed {
			denied++
		}
	}
	require.Greater(t, denied, 300, "the sequence should exercise refusals")
}

// TestBurstWithinOneMoment: a double of seconds cannot hold a tenth of one, and
// redis_rate's own arithmetic grants only nine of ten here.
func TestBurstWithinOneMoment(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"memory", "miniredis"} {
		s := stores[kind](t)
		for i := range 10 {
			d, err := s.limiter.Take(patient(t), ask("k", redis_rate.PerSecond(10), 1))
			require.NoError(t, err)
			require.True(t, d.Allowed, "%s: call %d", kind, i)
			require.Equal(t, 9-i, d.Results[0].Remaining, kind)
		}
		d, err := s.limiter.Take(patient(t), ask("k", redis_rate.PerSecond(10), 1))
		require.NoError(t, err)
		require.False(t, d.Allowed, kind)
		require.Equal(t, 100*time.Millisecond, d.Results[0].RetryAfter, kind)
	}
}

func TestTakeRefusesNonsense(t *testing.T) {
	t.Parallel()
	good := redis_rate.PerHour(60)
	for kind, open := range stores {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			s := open(t)
			for _, asks := range [][]ratelimit.Ask{
				{ask("k", ratelimit.Limit{}, 1)},
				{ask("k", ratelimit.Limit{Rate: -1, Burst: 1, Period: time.Hour}, 1)},
				{ask("k", ratelimit.Limit{Rate: 1, Burst: 1 << 40, Period: time.Hour}, 1)},
				{ask("k", good, 1), ask("j", good, 1), ask("k", good, 1)},
			} {
				_, err := s.limiter.Take(patient(t), asks...)
				require.ErrorIs(t, err, ratelimit.ErrInvalid)
			}
			gone, cancel := context.WithCancel(t.Context())
			cancel()
			_, err := s.limiter.Take(gone, ask("k", good, 60))
			require.ErrorIs(t, err, context.Canceled)
			d, err := s.limiter.Take(patient(t), ask("k", good, 60))
			require.NoError(t, err)
			require.True(t, d.Allowed, "requests that failed took tokens")
		})
	}
}

// TestManyCallersNeverExceedTheLimit: 200 goroutines share two buckets, asking
// in either order, and get exactly what the smaller one holds.
func TestManyCallersNeverExceedTheLimit(t *testing.T) {
	t.Parallel()
	small, large := redis_rate.Limit{Rate: 1, Burst: 137, Period: time.Hour}, redis_rate.Limit{Rate: 1, Burst: 1000, Period: time.Hour}
	for kind, open := range stores {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			s, ctx := open(t), patient(t)
			var granted atomic.Int64
			var callers sync.WaitGroup
			for i := range 200 {
				asks := []ratelimit.Ask{ask("small", small, 1), ask("large", large, 1)}
				if i%2 == 0 {
					asks[0], asks[1] = asks[1], asks[0]
				}
				callers.Go(func() {
					for range 3 {
						d, err := s.limiter.Take(ctx, asks...)
						if err != nil {
							t.Error(err)
							return
						}
						if d.Allowed {
							granted.Add(1)
						}
					}
				})
			}
			callers.Wait()
			require.EqualValues(t, 137, granted.Load())
			d, err := s.limiter.Take(ctx, ask("large", large, 0))
			require.NoError(t, err)
			require.Equal(t, 1000-137, d.Results[0].Remaining, "refused requests took from the other bucket")
		})
	}
}
