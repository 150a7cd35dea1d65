package ratelimit_test

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/go-redis/redis_rate/v10"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/ratelimit"
	"github.com/financecommander/tollgate/internal/redisdb"
	"github.com/financecommander/tollgate/internal/testenv"
)

// TestRedisSentinel kills the master of a Sentinel group: requests go on within
// their bound while the replica is promoted, and the bucket is where it was.
func TestRedisSentinel(t *testing.T) {
	t.Parallel()
	ctx := patient(t)
	master := testenv.RedisServer(t, "--repl-diskless-sync-delay", "0")
	host, port, err := net.SplitHostPort(master.Addr())
	require.NoError(t, err)
	replica := testenv.RedisServer(t, "--replicaof", host+" "+port)
	sentinel := startSentinel(t, host, port)
	watcher := redis.NewClient(&redis.Options{Addr: sentinel})
	defer watcher.Close()
	require.Eventually(t, func() bool { // Sentinel may fail over once it knows a replica in sync
		list, err := watcher.Do(ctx, "sentinel", "replicas", "main").Slice()
		return err == nil && len(list) == 1 && replicaInSync(t, replica.Addr())
	}, 20*time.Second, 20*time.Millisecond)

	client, err := redisdb.Open("redis+sentinel://" + sentinel + "/main")
	require.NoError(t, err)
	defer client.Close()
	limiter := ratelimit.NewRedis(client)
	g := ratelimit.NewGuarded(ratelimit.GuardedOptions{Redis: limiter})
	defer g.Close()
	require.Eventually(t, func() bool {
		d, err := limiter.Take(ctx, ask("user:a", redis_rate.PerHour(60), 50))
		return err == nil && d.Allowed
	}, 20*time.Second, 20*time.Millisecond)
	require.Eventually(t, func() bool { return keyCount(t, replica.Addr()) == 1 }, 20*time.Second, 10*time.Millisecond)

	master.Stop()
	requireBoundedOutage(t, g)
	require.Eventually(t, g.Healthy, 20*time.Second, 10*time.Millisecond)
	d, err := limiter.Take(ctx, ask("user:a", redis_rate.PerHour(60), 0))
	require.NoError(t, err)
	require.Equal(t, 10, d.Results[0].Remaining)
}

// startSentinel starts one that decides alone and soon, and gives its address.
func startSentinel(t *testing.T, host, port string) string {
	t.Helper()
	dir, own := t.TempDir(), freePort(t)
	file := filepath.Join(dir, "sentinel.conf") // Sentinel writes what it learns into it
	require.NoError(t, os.WriteFile(file, fmt.Appendf(nil, `port %s
bind 127.0.0.1
dir %s
sentinel monitor main %s %s 1
sentinel down-after-milliseconds main 300
sentinel failover-timeout main 2000
`, own, dir, host, port), 0o600))
	process := exec.Command("redis-server", file, "--sentinel")
	require.NoError(t, process.Start())
	t.Cleanup(func() {
		_ = process.Process.Kill()
		_ = process.Wait()
	})
	return "127.0.0.1:" + own
}

func replicaInSync(t *testing.T, addr string) bool {
	t.Helper()
	client := redis.NewClient(&redis.Options{Addr: addr})
	defer client.Close()
	info, err := client.InfoMap(t.Context(), "replication").Result()
	return err == nil && info["Replication"]["master_link_status"] == "up"
}

func keyCount(t *testing.T, addr string) int64 {
	t.Helper()
	client := redis.NewClient(&redis.Options{Addr: addr})
	defer client.Close()
	n, err := client.DBSize(t.Context()).Result()
	require.NoError(t, err)
	return n
}
