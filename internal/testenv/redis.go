package testenv

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"github.com/redis/go-redis/v9"
)

// Redis returns the URL of an empty Redis database that is the test's own: a
// fresh server's, or a free database number of the server in EnvRedisURL.
func Redis(t testing.TB) string {
	t.Helper()
	if shared := os.Getenv(EnvRedisURL); shared != "" {
		return sharedRedis(t, shared)
	}
	return RedisServer(t).URL()
}

// RedisServer starts a redis-server of the test's own that can be stopped and
// frozen. Arguments are added to its command line ("--cluster-enabled", "yes").
func RedisServer(t testing.TB, args ...string) *TestServer {
	t.Helper()
	server, err := StartRedis(t.Context(), args...)
	require(t, err)
	t.Cleanup(func() { require(t, server.Close()) })
	return &TestServer{t: t, server: server, url: "redis://" + server.Addr + "/"}
}

// StartRedis starts a redis-server without persistence on a free loopback port.
// The caller closes it.
func StartRedis(ctx context.Context, args ...string) (*Server, error) {
	binary, err := redisBinary()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "tollgate-redis-")
	if err != nil {
		return nil, err
	}
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	args = append([]string{
		"--bind", "127.0.0.1", "--port", portOf(addr), "--dir", dir,
		"--save", "", "--appendonly", "no", "--loglevel", "warning",
	}, args...)
	server := &Server{
		Addr: addr,
		dir:  dir,
		stop: syscall.SIGKILL,
		command: func() *exec.Cmd {
			cmd := exec.Command(binary, args...)
			cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
			return cmd
		},
		ready: func(ctx context.Context) error { return pingRedis(ctx, addr) },
	}
	if err := server.Start(ctx); err != nil {
		return nil, errors.Join(err, server.Close())
	}
	return server, nil
}

func redisBinary() (string, error) {
	binary, err := exec.LookPath("redis-server")
	if err != nil {
		return "", &MissingError{Binary: "redis-server", Install: "apt-get install redis-server, or set " + EnvRedisURL}
	}
	return binary, nil
}

// pingRedis speaks the protocol itself: a client library would retry and log.
func pingRedis(ctx context.Context, addr string) error {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	if deadline, ok := ctx.Deadline(); ok {
		_ = conn.SetDeadline(deadline)
	}
	if _, err := conn.Write([]byte("PING\r\n")); err != nil {
		return err
	}
	const pong = "+PONG\r\n"
	answer := make([]byte, len(pong))
	if _, err := io.ReadFull(conn, answer); err != nil {
		return err
	}
	if string(answer) != pong {
		return fmt.Errorf("answered %q to a ping", answer)
	}
	return nil
}

// claimKey marks a database number as taken. It expires, so that a test process
// that was killed does not keep the number for ever.
const (
	claimKey     = "tollgate:testenv:claim"
	claimSeconds = 900
)

func sharedRedis(t testing.TB, shared string) string {
	t.Helper()
	options, err := redis.ParseURL(shared)
	if err != nil {
		t.Fatalf("%s: %v", EnvRedisURL, err)
	}
	for number := 1; number < 16; number++ { // 16 is Redis' default number of databases
		options.DB = number
		client := redis.NewClient(options)
		claimed, err := claim(t.Context(), client)
		if err != nil {
			client.Close()
			t.Fatalf("%s: %v", EnvRedisURL, err)
		}
		if !claimed {
			client.Close()
			continue
		}
		t.Cleanup(func() {
			defer client.Close()
			require(t, client.FlushDB(context.WithoutCancel(t.Context())).Err())
		})
		return withPath(shared, fmt.Sprint(number))
	}
	t.Fatalf("%s: no database number is free", EnvRedisURL)
	return ""
}

// claim takes a database number if it is empty and nobody else took it.
func claim(ctx context.Context, client *redis.Client) (bool, error) {
	const script = `if redis.call('DBSIZE') > 0 then return 0 end
redis.call('SET', KEYS[1], 1, 'EX', ARGV[1]) return 1`
	taken, err := client.Eval(ctx, script, []string{claimKey}, claimSeconds).Int()
	return taken == 1, err
}
