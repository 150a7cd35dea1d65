package ratelimit_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/go-redis/redis_rate/v10"
	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/ratelimit"
)

// A flood of keys, say of a botnet's addresses, must neither grow the memory
// nor wash out the buckets of those who used theirs up.
func TestMemoryIsBounded(t *testing.T) {
	t.Parallel()
	const maxKeys = 64 * 50
	now := time.Unix(1_795_000_000, 0)
	m := ratelimit.NewMemory(maxKeys, func() time.Time { return now })
	limit := redis_rate.PerHour(60)
	take := func(key string, n int) ratelimit.Decision {
		d, err := m.Take(t.Context(), ask(key, limit, n))
		require.NoError(t, err)
		return d
	}

	for i := range 64 {
		require.True(t, take(fmt.Sprint("spent", i), 60).Allowed)
	}
	for i := range 10 * maxKeys {
		now = now.Add(time.Millisecond)
		require.True(t, take(fmt.Sprint("flood", i), 1).Allowed)
		require.LessOrEqual(t, m.Len(), maxKeys)
	}
	require.Greater(t, m.Len(), maxKeys*9/10, "room was left unused")
	for i := range 64 {
		require.False(t, take(fmt.Sprint("spent", i), 1).Allowed, "the flood refilled a spent bucket")
	}
}

func TestMemoryForgetsFullBuckets(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_795_000_000, 0)
	m := ratelimit.NewMemory(0, func() time.Time { return now })
	minute, hour := redis_rate.PerMinute(60), redis_rate.PerHour(1)
	for i := range 10_000 {
		_, err := m.Take(t.Context(), ask(fmt.Sprint("short", i), minute, 1))
		require.NoError(t, err)
	}
	require.Equal(t, 10_000, m.Len())
	now = now.Add(time.Minute)
	for i := range 4_000 { // each new bucket makes up to four old ones go
		_, err := m.Take(t.Context(), ask(fmt.Sprint("long", i), hour, 1))
		require.NoError(t, err)
	}
	require.Less(t, m.Len(), 4_500)

	before := m.Len()
	for i := range 1000 { // looking, and giving back to a full bucket, remembers nothing
		_, err := m.Take(t.Context(), ask(fmt.Sprint("look", i), hour, -(i%2)))
		require.NoError(t, err)
	}
	require.Equal(t, before, m.Len())
}
