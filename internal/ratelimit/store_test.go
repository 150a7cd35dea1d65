package ratelimit_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/ratelimit"
	"github.com/financecommander/tollgate/internal/redisdb"
	"github.com/financecommander/tollgate/internal/testenv"
)

// store is a limiter under test, with a clock that the test moves.
type store struct {
	limiter ratelimit.Limiter
	advance func(time.Duration)
	drift   time.Duration // how far its clock may run on by itself
}

// stores are the three that must answer alike.
var stores = map[string]func(*testing.T) store{
	"memory":       memoryStore,
	"miniredis":    miniredisStore,
	"redis-server": redisStore,
}

func memoryStore(*testing.T) store {
	now := time.Unix(1_795_000_000, 123_456_000)
	return store{
		limiter: ratelimit.NewMemory(0, func() time.Time { return now }),
		advance: func(d time.Duration) { now = now.Add(d) },
		drift:   time.Microsecond,
	}
}

func miniredisStore(t *testing.T) store {
	t.Helper()
	server := miniredis.RunT(t)
	now := time.Unix(1_795_000_000, 123_456_000)
	server.SetTime(now)
	return store{
		limiter: ratelimit.NewRedis(openRedis(t, "redis://"+server.Addr())),
		advance: func(d time.Duration) {
			now = now.Add(d)
			server.SetTime(now)
			server.FastForward(d) // expires keys
		},
		drift: time.Microsecond,
	}
}

// redisStore cannot move the server's clock: it moves the buckets instead.
func redisStore(t *testing.T) store {
	t.Helper()
	client := openRedis(t, testenv.Redis(t))
	return store{
		limiter: ratelimit.NewRedis(client),
		advance: func(d time.Duration) { ageBuckets(t, client, d) },
		drift:   5 * time.Second,
	}
}

func ageBuckets(t *testing.T, client redis.UniversalClient, d time.Duration) {
	t.Helper()
	const age = `for _, key in ipairs(redis.call('KEYS', 'rate:*')) do
		redis.call('SET', key, redis.call('GET', key) - ARGV[1], 'KEEPTTL') end`
	err := client.Eval(t.Context(), age, nil, d.Seconds()).Err()
	if err != nil && !errors.Is(err, redis.Nil) {
		t.Fatal(err)
	}
}

// openRedis gives a client that waits for a busy machine, unlike redisdb.Open's.
func openRedis(t testing.TB, url string) redis.UniversalClient {
	t.Helper()
	options, err := redisdb.Parse(url)
	require.NoError(t, err)
	for _, timeout := range []*time.Duration{&options.DialTimeout, &options.ReadTimeout, &options.WriteTimeout, &options.PoolTimeout} {
		*timeout = 20 * time.Second
	}
	client := redis.NewUniversalClient(options)
	t.Cleanup(func() { client.Close() })
	return client
}

// patient is a context for servers that a busy machine delays.
func patient(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func ask(key string, limit ratelimit.Limit, n int) ratelimit.Ask {
	return ratelimit.Ask{Key: key, Limit: limit, N: n}
}

func long(text string) string { return strings.Repeat(text, 10_000) }
