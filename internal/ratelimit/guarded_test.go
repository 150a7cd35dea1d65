package ratelimit_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-redis/redis_rate/v10"
	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/llm"
	"github.com/financecommander/tollgate/internal/ratelimit"
	"github.com/financecommander/tollgate/internal/redisdb"
	"github.com/financecommander/tollgate/internal/testenv"
)

// patience is the promise: no request waits longer for a dead Redis.
const patience = 50 * time.Millisecond

// fakeRedis is a Limiter that works, fails or hangs as it is told.
type fakeRedis struct {
	ratelimit.Limiter
	calls atomic.Int64
	hangs atomic.Bool
	fails atomic.Bool
}

func (f *fakeRedis) Take(ctx context.Context, asks ...ratelimit.Ask) (ratelimit.Decision, error) {
	f.calls.Add(1)
	if f.hangs.Load() {
		<-ctx.Done()
		return ratelimit.Decision{}, ctx.Err()
	}
	if f.fails.Load() {
		return ratelimit.Decision{}, errors.New("READONLY You can't write against a read only replica.")
	}
	return f.Limiter.Take(ctx, asks...)
}

// guardBench is a Guarded on a fakeRedis, with what it tells.
type guardBench struct {
	*ratelimit.Guarded
	redis    *fakeRedis
	log      *bytes.Buffer
	mu       sync.Mutex
	outcomes map[ratelimit.Outcome]int
}

func newGuardBench(policy ratelimit.Policy) *guardBench {
	b := &guardBench{
		redis:    &fakeRedis{Limiter: ratelimit.NewMemory(0, nil)},
		log:      new(bytes.Buffer),
		outcomes: make(map[ratelimit.Outcome]int),
	}
	b.Guarded = ratelimit.NewGuarded(ratelimit.GuardedOptions{
		Redis:  b.redis,
		Policy: policy,
		Observe: func(o ratelimit.Outcome) {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.outcomes[o]++
		},
		Logger: slog.New(slog.NewTextHandler(b.log, &slog.HandlerOptions{
			ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
				if a.Key == slog.TimeKey {
					return slog.Attr{}
				}
				return a
			},
		})),
	})
	return b
}

var oneHourly = ask("user:a", redis_rate.PerHour(60), 1)

// TestGuardedOutage plays an outage in virtual time, so that every wait is exact.
func TestGuardedOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newGuardBench(ratelimit.PolicyLocal)
		defer b.Close()
		take := func() (ratelimit.Decision, time.Duration) {
			start := time.Now()
			d, err := b.Take(t.Context(), oneHourly)
			require.NoError(t, err)
			return d, time.Since(start)
		}

		d, wait := take()
		require.Equal(t, 59, d.Results[0].Remaining)
		require.Zero(t, wait)

		b.redis.hangs.Store(true)
		for i := range 3 { // these find out, and are answered in process
			d, wait = take()
			require.Equal(t, 58-i, d.Results[0].Remaining, "the outage refilled the bucket")
			require.Equal(t, ratelimit.DefaultPatience, wait)
			require.Less(t, wait, patience)
		}
		require.False(t, b.Healthy())
		asked := b.redis.calls.Load()
		for range 300 { // three seconds: several probes come and go
			d, wait = take()
			require.Zero(t, wait, "a request waited for a Redis known to be dead")
			time.Sleep(10 * time.Millisecond)
		}
		require.False(t, d.Allowed, "303 requests on a limit of 60")
		probes := b.redis.calls.Load() - asked
		require.GreaterOrEqual(t, probes, int64(4))
		require.LessOrEqual(t, probes, int64(7), "requests went to a dead Redis")

		b.redis.hangs.Store(false)
		time.Sleep(time.Second)
		synctest.Wait()
		require.True(t, b.Healthy())
		d, _ = take()
		require.Equal(t, 58, d.Results[0].Remaining, "Redis' own bucket counts again")

		require.Equal(t, map[ratelimit.Outcome]int{ratelimit.OutcomeAllowed: 2, ratelimit.OutcomeLocal: 303}, b.outcomes)
		require.Equal(t, "level=WARN msg=\"redis is unreachable, limits are in-process until it is back\"\n"+
			"level=INFO msg=\"redis is back\" decisions_without_redis=303\n", b.log.String())

		b.redis.fails.Store(true) // and a second outage is one like the first
		for range 5 {
			_, wait = take()
			require.Zero(t, wait)
		}
		require.False(t, b.Healthy())
		require.Equal(t, 2, strings.Count(b.log.String(), "redis is unreachable"))
	})
}

func TestGuardedPolicies(t *testing.T) {
	t.Parallel()
	tooMuch := ask("user:a", redis_rate.PerHour(60), 61)
	for policy, check := range map[ratelimit.Policy]func(*testing.T, ratelimit.Decision, error){
		ratelimit.PolicyLocal: func(t *testing.T, d ratelimit.Decision, err error) {
			require.NoError(t, err)
			require.False(t, d.Allowed)
		},
		ratelimit.PolicyAllow: func(t *testing.T, d ratelimit.Decision, err error) {
			require.NoError(t, err)
			require.Equal(t, ratelimit.Decision{Allowed: true, Denied: -1}, d)
		},
		ratelimit.PolicyDeny: func(t *testing.T, _ ratelimit.Decision, err error) {
			refusal, ok := errors.AsType[*llm.Error](err)
			require.True(t, ok)
			require.Equal(t, llm.CauseUnavailable, refusal.Cause)
			require.Equal(t, 503, refusal.Status())
			require.Equal(t, time.Second, refusal.RetryAfter)
			require.NotContains(t, refusal.Message, "READONLY")
		},
	} {
		t.Run(string(policy), func(t *testing.T) {
			t.Parallel()
			b := newGuardBench(policy)
			defer b.Close()
			b.redis.fails.Store(true)
			for range 10 {
				d, err := b.Take(t.Context(), tooMuch)
				check(t, d, err)
			}
			want := ratelimit.OutcomeError
			if policy == ratelimit.PolicyLocal {
				want = ratelimit.OutcomeLocal
			}
			require.Equal(t, map[ratelimit.Outcome]int{want: 10}, b.outcomes)
			require.EqualValues(t, 3, b.redis.calls.Load())
			require.Equal(t, 1, strings.Count(b.log.String(), "\n"))
		})
	}
}

func TestParsePolicy(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]ratelimit.Policy{
		"": ratelimit.PolicyLocal, "local": ratelimit.PolicyLocal, "deny": ratelimit.PolicyDeny, "allow": ratelimit.PolicyAllow,
	} {
		got, err := ratelimit.ParsePolicy(name)
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	_, err := ratelimit.ParsePolicy("open")
	require.ErrorContains(t, err, "want local, deny or allow")
}

// TestCallersThatLeaveAreNoFailure: cancelled and impatient callers get their
// own error, take nothing, and leave the breaker alone.
func TestCallersThatLeaveAreNoFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newGuardBench(ratelimit.PolicyLocal)
		defer b.Close()
		b.redis.hangs.Store(true)
		for range 10 {
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(10*time.Millisecond, cancel)
			_, err := b.Take(ctx, oneHourly)
			require.ErrorIs(t, err, context.Canceled)

			ctx, cancel = context.WithTimeout(t.Context(), 10*time.Millisecond)
			_, err = b.Take(ctx, oneHourly)
			require.ErrorIs(t, err, context.DeadlineExceeded)
			cancel()
		}
		require.True(t, b.Healthy())
		require.Empty(t, b.outcomes)
		require.Empty(t, b.log.String())

		_, err := b.Take(t.Context(), ask("k", ratelimit.Limit{}, 1))
		require.ErrorIs(t, err, ratelimit.ErrInvalid)
		require.True(t, b.Healthy())
	})
}

func TestGuardedClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newGuardBench(ratelimit.PolicyLocal)
		b.redis.hangs.Store(true)
		for range 3 {
			_, err := b.Take(t.Context(), oneHourly)
			require.NoError(t, err)
		}
		time.Sleep(510 * time.Millisecond) // in the middle of a probe
		start := time.Now()
		require.NoError(t, b.Close())
		require.NoError(t, b.Close())
		require.Zero(t, time.Since(start))
		d, err := b.Take(t.Context(), oneHourly)
		require.NoError(t, err)
		require.True(t, d.Allowed, "requests that outlive a reload are still answered")
	})
}

// TestDeadRedis takes a real server away in the ways servers go.
func TestDeadRedis(t *testing.T) {
	t.Parallel()
	for name, outage := range map[string]struct{ begin, end func(*testenv.TestServer) }{
		"connection refused": {(*testenv.TestServer).Stop, (*testenv.TestServer).Start},
		"hangs":              {(*testenv.TestServer).Pause, (*testenv.TestServer).Resume},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := testenv.RedisServer(t)
			client, err := redisdb.Open(server.URL())
			require.NoError(t, err)
			defer client.Close()
			redis := ratelimit.NewRedis(client)
			g := ratelimit.NewGuarded(ratelimit.GuardedOptions{Redis: redis})
			defer g.Close()

			for range 2 { // dies twice, comes back twice
				require.Eventually(t, func() bool {
					_, err := redis.Take(t.Context(), oneHourly)
					return err == nil && g.Healthy()
				}, 20*time.Second, 10*time.Millisecond)
				outage.begin(server)
				requireBoundedOutage(t, g)
				outage.end(server)
				require.Eventually(t, g.Healthy, 20*time.Second, 10*time.Millisecond)
			}
		})
	}
}

// TestSilentServers: one that accepts and never says a word, so that connecting
// itself hangs: in the handshake of Redis or, not bounded by the context, of TLS.
func TestSilentServers(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer listener.Close()
	addr := listener.Addr().String()
	for _, url := range []string{
		"redis://" + addr, "rediss://" + addr, "redis://" + addr + "," + addr,
		"redis+sentinel://" + addr + "/main", "rediss+sentinel://" + addr + "/main",
	} {
		client, err := redisdb.Open(url)
		require.NoError(t, err)
		g := ratelimit.NewGuarded(ratelimit.GuardedOptions{Redis: ratelimit.NewRedis(client)})
		requireBoundedOutage(t, g)
		require.NoError(t, g.Close())
		require.NoError(t, client.Close())
	}
}

// requireBoundedOutage has requests find out that Redis is dead. Tests in
// virtual time show the exact bound; here a busy machine may delay some
// requests, but hardly all three, and none by as much as go-redis would wait.
func requireBoundedOutage(t *testing.T, g *ratelimit.Guarded) {
	t.Helper()
	var waits []time.Duration
	for range 3 {
		start := time.Now()
		d, err := g.Take(t.Context(), oneHourly)
		waits = append(waits, time.Since(start))
		require.NoError(t, err)
		require.True(t, d.Allowed)
	}
	require.False(t, g.Healthy())
	require.Less(t, slices.Min(waits), 2*patience)
	require.Less(t, slices.Max(waits), 300*time.Millisecond)

	waits = waits[:0]
	for range 100 {
		start := time.Now()
		_, err := g.Take(t.Context(), ask("user:b", redis_rate.PerHour(1000), 1))
		require.NoError(t, err)
		waits = append(waits, time.Since(start))
	}
	slices.Sort(waits)
	require.Less(t, waits[len(waits)/2], time.Millisecond, "requests wait for a Redis known to be dead")
}
