package redisdb_test

import (
	"context"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/financecommander/tollgate/internal/redisdb"
	"github.com/financecommander/tollgate/internal/testenv"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// target is what of a URL says where to go.
type target struct {
	Addrs                              []string
	DB                                 int
	Master, User, Pass, SenUser, SenPw string
	TLS                                bool
}

func TestParse(t *testing.T) {
	t.Parallel()
	for url, want := range map[string]target{
		"redis://localhost":                   {Addrs: []string{"localhost:6379"}},
		"redis://localhost:6380/":             {Addrs: []string{"localhost:6380"}},
		"redis://10.0.0.5:6380/3":             {Addrs: []string{"10.0.0.5:6380"}, DB: 3},
		"redis://cache/?db=4":                 {Addrs: []string{"cache:6379"}, DB: 4},
		"redis://[::1]:7000/1":                {Addrs: []string{"[::1]:7000"}, DB: 1},
		"redis://[::1]":                       {Addrs: []string{"[::1]:6379"}},
		"rediss://:pw@cache.example:6390":     {Addrs: []string{"cache.example:6390"}, Pass: "pw", TLS: true},
		"redis://me:p%40ss%2F%3Aword@h/2":     {Addrs: []string{"h:6379"}, DB: 2, User: "me", Pass: "p@ss/:word"},
		"redis://me:a:b@h":                    {Addrs: []string{"h:6379"}, User: "me", Pass: "a:b"},
		"redis://me:p@ss@h":                   {Addrs: []string{"h:6379"}, User: "me", Pass: "p@ss"},
		"redis://me@h":                        {Addrs: []string{"h:6379"}, User: "me"},
		"redis://:pw@h1:7001,h2,[::1]:7003":   {Addrs: []string{"h1:7001", "h2:6379", "[::1]:7003"}, Pass: "pw"},
		"rediss://h1:7001,h2:7002/0":          {Addrs: []string{"h1:7001", "h2:7002"}, TLS: true},
		"redis+sentinel://h1,h2:5000,h3/main": {Addrs: []string{"h1:26379", "h2:5000", "h3:26379"}, Master: "main"},
		"redis+sentinel://u:p@h1/main/5":      {Addrs: []string{"h1:26379"}, Master: "main", DB: 5, User: "u", Pass: "p"},
		"rediss+sentinel://h1,h2/my%20main":   {Addrs: []string{"h1:26379", "h2:26379"}, Master: "my main", TLS: true},
		"redis+sentinel://u:p@h1,h2/m?sentinel_username=s&sentinel_password=q%26": {
			Addrs: []string{"h1:26379", "h2:26379"}, Master: "m", User: "u", Pass: "p", SenUser: "s", SenPw: "q&",
		},
	} {
		o, err := redisdb.Parse(url)
		require.NoError(t, err, url)
		require.Equal(t, want, target{
			Addrs: o.Addrs, DB: o.DB, Master: o.MasterName, User: o.Username, Pass: o.Password,
			SenUser: o.SentinelUsername, SenPw: o.SentinelPassword, TLS: o.TLSConfig != nil,
		}, url)
		if o.TLSConfig != nil {
			require.Empty(t, o.TLSConfig.ServerName, "each host must be checked by its own name")
		}
	}
}

func TestParseOptions(t *testing.T) {
	t.Parallel()
	o, err := redisdb.Parse("redis://h")
	require.NoError(t, err)
	require.Equal(t, 200*time.Millisecond, o.DialTimeout)
	require.Equal(t, 100*time.Millisecond, o.ReadTimeout)
	require.Equal(t, 100*time.Millisecond, o.WriteTimeout)
	require.Equal(t, -1, o.MaxRetries)
	require.Equal(t, 1, o.DialerRetries)
	require.True(t, o.ContextTimeoutEnabled)
	require.GreaterOrEqual(t, o.PoolSize, 32)

	o, err = redisdb.Parse("rediss://h?pool_size=7&read_timeout=3s&dial_timeout=2&max_retries=2&client_name=gate&protocol=3&skip_verify=true&min_idle_conns=2")
	require.NoError(t, err)
	require.Equal(t, 7, o.PoolSize)
	require.Equal(t, 3*time.Second, o.ReadTimeout)
	require.Equal(t, 2*time.Second, o.DialTimeout)
	require.Equal(t, 2, o.MaxRetries)
	require.Equal(t, "gate", o.ClientName)
	require.Equal(t, 3, o.Protocol)
	require.Equal(t, 2, o.MinIdleConns)
	require.True(t, o.TLSConfig.InsecureSkipVerify)
}

func TestOpenChoosesTheClient(t *testing.T) {
	t.Parallel()
	for url, want := range map[string]redis.UniversalClient{
		"redis://h":                   &redis.Client{},
		"redis://h1,h2":               &redis.ClusterClient{},
		"redis+sentinel://h1,h2/main": &redis.Client{},
	} {
		client, err := redisdb.Open(url)
		require.NoError(t, err, url)
		require.IsType(t, want, client, url)
		require.NoError(t, client.Close())
	}
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	for url, want := range map[string]string{
		"":                                    "want redis://",
		"localhost:6379":                      "want redis://",
		"http://h":                            "want redis://",
		"redis://":                            "the host is missing",
		"redis://u:hunter2@/1":                "the host is missing",
		"redis://u:hunter2@h:port":            "want host:port",
		"redis://h1,,h2":                      "want host:port",
		"redis://h1:1:2":                      "IPv6 address in brackets",
		"redis://u:hunter2@h/x":               "invalid database number",
		"redis://u:hunter2@h/1/2":             "more than a database number",
		"redis://h1,h2/3":                     "no database numbers",
		"redis://u:hunter2@h?pool=3":          "unexpected option: pool",
		"redis://u:hunter2@h?pool_size=x":     "pool_size",
		"redis://h?read_timeout=soon":         "read_timeout",
		"redis://h?sentinel_password=hunter2": "unexpected option: sentinel_password",
		"redis+sentinel://u:hunter2@h1":       "master's name is missing",
		"redis+sentinel://h1/m/x":             "invalid database number",
		"redis://u:hunter2/x@h":               "must be percent-encoded",
		"redis://u:hunter2?x@h":               "must be percent-encoded",
		"redis://u:hunter2#x@h":               "must be percent-encoded",
		"redis://u:hunter2%zz@h":              "not well encoded",
		"redis://u:p@h?a=%zz":                 "not well encoded",
	} {
		_, err := redisdb.Parse(url)
		require.ErrorIs(t, err, redisdb.ErrURL, url)
		require.ErrorContains(t, err, want, url)
		require.NotContains(t, err.Error(), "hunter2", url)
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		"redis://%s@h:1/2?pool_size=3", "rediss://%s@h1,h2", "redis+sentinel://u:%s@h1,h2/m/1", "redis://%s", "redis://a:%s@[::1]:1/%s",
	} {
		f.Add(seed)
	}
	const secret = "Zq7-hunter2"
	f.Fuzz(func(t *testing.T, text string) {
		// A password where passwords are, then whatever mangled the rest.
		url := strings.Replace(text, "%s", "user:"+secret, 1)
		options, err := redisdb.Parse(url)
		if err == nil {
			require.NotEmpty(t, options.Addrs)
			return
		}
		require.ErrorIs(t, err, redisdb.ErrURL)
		if strings.Contains(url, secret+"@") {
			require.NotContains(t, err.Error(), secret)
		}
	})
}

// TestHandshake: a new connection says as little as it can before it works.
func TestHandshake(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer listener.Close()
	var sent strings.Builder
	var server sync.WaitGroup
	server.Go(func() {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		buffer := make([]byte, 4096)
		for {
			n, err := conn.Read(buffer)
			if err != nil {
				return
			}
			sent.Write(buffer[:n])
			_, _ = io.WriteString(conn, "+OK\r\n")
		}
	})
	client, err := redisdb.Open("redis://" + listener.Addr().String() + "?read_timeout=10s")
	require.NoError(t, err)
	_ = client.Ping(t.Context()).Err()
	require.NoError(t, client.Close())
	server.Wait()
	require.NotContains(t, strings.ToLower(sent.String()), "setinfo")
	require.NotContains(t, strings.ToLower(sent.String()), "maint_notifications")
}

// TestGoneServers: whoever asks a server that refuses or hangs knows within the
// time-outs, or within the context's if that is shorter, and nothing
// is printed.
func TestGoneServers(t *testing.T) {
	var logged logRecorder
	redis.SetLogger(&logged)
	server := testenv.RedisServer(t)
	client, err := redisdb.Open(server.URL())
	require.NoError(t, err)
	defer client.Close()
	require.NoError(t, client.Ping(t.Context()).Err())

	ping := func(timeout time.Duration) time.Duration {
		ctx, cancel := context.WithTimeout(t.Context(), timeout)
		defer cancel()
		start := time.Now()
		require.Error(t, client.Ping(ctx).Err())
		return time.Since(start)
	}
	server.Pause()
	require.Less(t, ping(time.Minute), time.Second)
	require.Less(t, ping(20*time.Millisecond), 95*time.Millisecond)
	server.Resume()
	server.Stop()
	require.Less(t, ping(time.Minute), time.Second)
	server.Start()
	require.Eventually(t, func() bool { return client.Ping(t.Context()).Err() == nil }, 10*time.Second, 10*time.Millisecond)
	require.Zero(t, logged.lines.Load())
}

// logRecorder counts what go-redis would print.
type logRecorder struct{ lines atomic.Int64 }

func (l *logRecorder) Printf(context.Context, string, ...any) { l.lines.Add(1) }
