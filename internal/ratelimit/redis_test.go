package ratelimit_test

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-redis/redis_rate/v10"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/ratelimit"
	"github.com/financecommander/tollgate/internal/redisdb"
	"github.com/financecommander/tollgate/internal/testenv"
)

// TestRedisSharesBucketsWithRedisRate: turn by turn on one bucket, redis_rate
// and we give the same answers (where a double holds the limit's interval).
func TestRedisSharesBucketsWithRedisRate(t *testing.T) {
	t.Parallel()
	client, ctx := openRedis(t, testenv.Redis(t)), patient(t)
	theirs, ours := redis_rate.NewLimiter(client), ratelimit.NewRedis(client)
	limit := redis_rate.Limit{Rate: 60, Burst: 10, Period: time.Hour}
	key := strings.TrimPrefix(ratelimit.RedisKey("shared"), "rate:")

	for i, n := range []int{1, 2, 0, 4, 3, -2, 5, 4, 1, 0, 11} {
		// Each asks first in turn; the other gives back what was taken.
		before, err := theirs.AllowN(ctx, key, limit, n)
		require.NoError(t, err)
		if before.Allowed != 0 {
			_, err = ours.Take(ctx, ask("shared", limit, -n))
			require.NoError(t, err)
		}
		after, err := ours.Take(ctx, ask("shared", limit, n))
		require.NoError(t, err)
		want := ratelimit.Decision{Allowed: before.RetryAfter == -1, Denied: -1, Results: []ratelimit.Result{*before}}
		if !want.Allowed {
			want.Denied = 0
		}
		requireDecision(t, want, after, 5*time.Second, fmt.Sprintf("call %d, n = %d", i, n))
	}
	require.NoError(t, theirs.Reset(ctx, key))
	d, err := ours.Take(ctx, ask("shared", limit, 10))
	require.NoError(t, err)
	require.True(t, d.Allowed)
	ttl, err := client.TTL(ctx, ratelimit.RedisKey("shared")).Result()
	require.NoError(t, err)
	require.InDelta(t, 600, ttl.Seconds(), 10, "a bucket must expire when it is full")
}

// TestRedisIsOneRoundTrip counts what a warm request sends.
func TestRedisIsOneRoundTrip(t *testing.T) {
	t.Parallel()
	client, ctx := openRedis(t, testenv.RedisServer(t).URL()), patient(t)
	limiter := ratelimit.NewRedis(client)
	require.NoError(t, client.Ping(ctx).Err()) // connecting has commands of its own
	hook := &countingHook{}
	client.AddHook(hook)
	asks := []ratelimit.Ask{ask("a", redis_rate.PerHour(1), 1), ask("b", redis_rate.PerHour(2), 1), ask("c", redis_rate.PerHour(3), 1)}

	for _, want := range [][]string{{"evalsha", "eval"}, {"evalsha"}} { // a new server has no script
		hook.commands = nil
		_, err := limiter.Take(ctx, asks...)
		require.NoError(t, err)
		require.Equal(t, want, hook.commands)
	}
}

type countingHook struct{ commands []string }

func (*countingHook) DialHook(next redis.DialHook) redis.DialHook { return next }
func (*countingHook) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (h *countingHook) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		h.commands = append(h.commands, cmd.Name())
		return next(ctx, cmd)
	}
}

// TestRedisRestarted: a new server knows neither connections nor the script.
func TestRedisRestarted(t *testing.T) {
	t.Parallel()
	server := testenv.RedisServer(t)
	limiter := ratelimit.NewRedis(openRedis(t, server.URL()))
	limit := redis_rate.PerHour(3)
	for range 3 {
		d, err := limiter.Take(patient(t), ask("k", limit, 2))
		require.NoError(t, err)
		require.True(t, d.Allowed)
		server.Stop()
		server.Start()
	}
}

// TestRedisManyAtOnce: callers share round trips without getting in each other's
// way: see [requireExactUnderLoad].
func TestRedisManyAtOnce(t *testing.T) {
	t.Parallel()
	client := openRedis(t, testenv.RedisServer(t).URL())
	hook := &pipelineHook{}
	client.AddHook(hook)
	requireExactUnderLoad(t, client)
	require.Positive(t, hook.pipelines.Load(), "no round trip was shared")
}

type pipelineHook struct{ pipelines atomic.Int64 }

func (*pipelineHook) DialHook(next redis.DialHook) redis.DialHook          { return next }
func (*pipelineHook) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }
func (h *pipelineHook) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		h.pipelines.Add(1)
		return next(ctx, cmds)
	}
}

// requireExactUnderLoad has 200 goroutines ask at once, all of one bucket and
// each of one of its own, while others come with a key that Redis cannot use,
// leave before they are answered, or make Redis forget the script.
func requireExactUnderLoad(t *testing.T, client redis.UniversalClient) {
	t.Helper()
	const callers, calls, tokens = 200, 20, 1234
	ctx, limiter := patient(t), ratelimit.NewRedis(client)
	all := redis_rate.Limit{Rate: 1, Burst: tokens, Period: time.Hour}
	own := redis_rate.Limit{Rate: 1, Burst: calls, Period: time.Hour}
	require.NoError(t, client.LPush(ctx, ratelimit.RedisKey("odd"), "x").Err())

	var granted atomic.Int64
	taken := make([]int, callers)
	var wg sync.WaitGroup
	for i := range callers {
		wg.Go(func() {
			for j := range calls {
				switch d, err := limiter.Take(ctx, ask("all", all, 1), ask(fmt.Sprint("own", i), own, 1)); {
				case err != nil:
					t.Error(err)
				case d.Allowed:
					granted.Add(1)
					taken[i]++
					if d.Results[1].Remaining != calls-taken[i] {
						t.Errorf("caller %d has another's answer: %v", i, d.Results[1])
					}
				}
				if i%10 == 0 {
					if _, err := limiter.Take(ctx, ask("odd", all, 1)); err == nil || !strings.Contains(err.Error(), "WRONGTYPE") {
						t.Errorf("want WRONGTYPE, got %v", err)
					}
				}
				if i%10 == 1 {
					end := time.Now().Add(time.Duration(j) * 50 * time.Microsecond)
					brief, cancel := context.WithDeadline(ctx, end)
					if _, err := limiter.Take(brief, ask("brief", all, 1)); err != nil && time.Now().Before(end) {
						t.Error(err)
					}
					cancel()
				}
				if i == 2 {
					if err := client.ScriptFlush(ctx).Err(); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	wg.Wait()
	require.EqualValues(t, tokens, granted.Load())
}

func TestRedisErrors(t *testing.T) {
	t.Parallel()
	client, ctx := openRedis(t, testenv.Redis(t)), patient(t)
	limiter := ratelimit.NewRedis(client)
	require.NoError(t, client.LPush(ctx, ratelimit.RedisKey("user:secret-name"), "x").Err())
	_, err := limiter.Take(ctx, ask("user:secret-name", redis_rate.PerHour(3), 1))
	require.ErrorContains(t, err, "take from redis: WRONGTYPE")
	require.NotContains(t, err.Error(), "secret-name")

	// A value that is no number counts as a full bucket rather than failing for ever.
	require.NoError(t, client.Set(ctx, ratelimit.RedisKey("odd"), "odd", 0).Err())
	d, err := limiter.Take(ctx, ask("odd", redis_rate.PerHour(3), 1))
	require.NoError(t, err)
	require.Equal(t, 2, d.Results[0].Remaining)
}

// TestRedisCluster runs several limits in one request on three nodes.
func TestRedisCluster(t *testing.T) {
	t.Parallel()
	ctx := patient(t)
	servers, url := startCluster(ctx, t)
	limiter := ratelimit.NewRedis(openRedis(t, url))
	for i := range 20 {
		asks := []ratelimit.Ask{
			ask(fmt.Sprint("user:", i), redis_rate.PerHour(60), 1),
			ask(fmt.Sprint("ip:{", i), redis_rate.PerHour(60), 1),
			ask("everybody", redis_rate.PerHour(1000), 1),
		}
		d, err := limiter.Take(ctx, asks...)
		require.NoError(t, err)
		require.Equal(t, 999-i, d.Results[2].Remaining)
	}

	requireExactUnderLoad(t, openRedis(t, url))

	// All nodes hang: the bound holds for Cluster's way of finding nodes, too.
	fast, err := redisdb.Open(url)
	require.NoError(t, err)
	defer fast.Close()
	g := ratelimit.NewGuarded(ratelimit.GuardedOptions{Redis: ratelimit.NewRedis(fast)})
	defer g.Close()
	for _, s := range servers {
		s.Pause()
	}
	requireBoundedOutage(t, g)
	for _, s := range servers {
		s.Resume()
	}
	require.Eventually(t, g.Healthy, 20*time.Second, 10*time.Millisecond)
}

// startCluster starts three nodes that share the slots.
func startCluster(ctx context.Context, t *testing.T) (servers []*testenv.TestServer, url string) {
	t.Helper()
	slots := [][2]int{{0, 5460}, {5461, 10922}, {10923, 16383}}
	addrs := make([]string, len(slots))
	nodes := make([]*redis.Client, len(slots))
	var firstHost, firstPort, firstBus string
	for i, slot := range slots {
		bus := freePort(t)
		server := testenv.RedisServer(t, "--cluster-enabled", "yes", "--cluster-port", bus, "--cluster-node-timeout", "2000")
		node := redis.NewClient(&redis.Options{Addr: server.Addr()})
		defer node.Close()
		require.NoError(t, node.ClusterAddSlotsRange(ctx, slot[0], slot[1]).Err())
		if i == 0 {
			var err error
			firstHost, firstPort, err = net.SplitHostPort(server.Addr())
			require.NoError(t, err)
			firstBus = bus
		} else {
			require.NoError(t, node.Do(ctx, "cluster", "set-config-epoch", i+1).Err())
			require.NoError(t, node.Do(ctx, "cluster", "meet", firstHost, firstPort, firstBus).Err())
		}
		servers, addrs[i], nodes[i] = append(servers, server), server.Addr(), node
	}
	require.Eventually(t, func() bool {
		for _, node := range nodes {
			info, err := node.ClusterInfo(ctx).Result()
			if err != nil || !strings.Contains(info, "cluster_state:ok") || !strings.Contains(info, "cluster_slots_ok:16384") {
				return false
			}
		}
		return true
	}, 20*time.Second, 20*time.Millisecond)
	return servers, "redis://" + strings.Join(addrs, ",")
}

func freePort(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer listener.Close()
	_, port, err := net.SplitHostPort(listener.Addr().String())
	require.NoError(t, err)
	return port
}
