package ratelimit_test

import (
	"context"
	"runtime"
	"strconv"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/go-redis/redis_rate/v10"
	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/ratelimit"
	"github.com/financecommander/tollgate/internal/testenv"
)

func BenchmarkMemory(b *testing.B) {
	for _, count := range []int{1, 4} {
		b.Run(strconv.Itoa(count)+" asks", func(b *testing.B) {
			m := ratelimit.NewMemory(0, nil)
			asks := manyAsks(count)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := m.Take(b.Context(), asks...); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("new key each time, full", func(b *testing.B) {
		m := ratelimit.NewMemory(1<<14, nil)
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			_, err := m.Take(b.Context(), ratelimit.Ask{Key: "ip:" + strconv.Itoa(i), Limit: redis_rate.PerHour(60), N: 1})
			if err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkRedis reports this process' CPU time per call beside the wall clock:
// with the server on the same machine, only that is the gateway's cost. One
// core's share of it is what -cpu 1 shows.
func BenchmarkRedis(b *testing.B) {
	client := openRedis(b, testenv.RedisServer(b).URL())
	ctx := b.Context()

	plain := ratelimit.NewRedis(client)
	// With its usual patience, it would measure Memory on a busy machine.
	guarded := ratelimit.NewGuarded(ratelimit.GuardedOptions{Redis: plain, Patience: time.Minute})
	defer guarded.Close()
	library := redis_rate.NewLimiter(client)
	one, four := manyAsks(1), manyAsks(4)

	for _, c := range []struct {
		name string
		call func() error
	}{
		{"redis_rate/1 ask", func() error { _, err := library.Allow(ctx, one[0].Key, one[0].Limit); return err }},
		{"Redis/1 ask", func() error { _, err := plain.Take(ctx, one...); return err }},
		{"Redis/4 asks", func() error { _, err := plain.Take(ctx, four...); return err }},
		{"Guarded/1 ask", func() error { _, err := guarded.Take(ctx, one...); return err }},
		{"PING", func() error { return client.Ping(context.Background()).Err() }},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			before := cpuTime(b)
			for b.Loop() {
				if err := c.call(); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64((cpuTime(b)-before).Nanoseconds())/float64(b.N), "cpu-ns/op")
		})
		b.Run(c.name+", 16 at once", func(b *testing.B) {
			var failed atomic.Pointer[error]
			b.SetParallelism(16 / runtime.GOMAXPROCS(0))
			before := cpuTime(b)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if err := c.call(); err != nil {
						failed.Store(&err)
					}
				}
			})
			b.ReportMetric(float64((cpuTime(b)-before).Nanoseconds())/float64(b.N), "cpu-ns/op")
			if err := failed.Load(); err != nil {
				b.Fatal(*err)
			}
		})
	}
}

func manyAsks(count int) []ratelimit.Ask {
	asks := make([]ratelimit.Ask, count)
	for i := range asks {
		asks[i] = ratelimit.Ask{Key: "zone" + strconv.Itoa(i) + ":user-4711", Limit: redis_rate.PerHour(1_000_000_000), N: 1}
	}
	return asks
}

func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var usage syscall.Rusage
	require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &usage))
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
