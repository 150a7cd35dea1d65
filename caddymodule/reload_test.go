package caddymodule

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/financecommander/tollgate/internal/testenv"
	"github.com/financecommander/tollgate/internal/upstreamtest"
)

func parseConfig(t *testing.T, config string) *caddy.Config {
	t.Helper()
	var c caddy.Config
	require.NoError(t, json.Unmarshal([]byte(config), &c))
	return &c
}

// serveOn is a whole configuration with these lines in its llm block.
func serveOn(t *testing.T, address, app string) []byte {
	t.Helper()
	host, port, _ := strings.Cut(address, ":")
	source := fmt.Sprintf("{\nadmin off\npersist_config off\nauto_https off\nstorage file_system %s\ngrace_period 10s\nlog {\noutput discard\n}\nllm {\n%s\n}\n}\n"+
		"http://:%s {\nbind %s\nllm_gateway {\nanonymous\n}\n}\n", t.TempDir(), app, port, host)
	text, err := adapt(t, string(caddyfile.Format([]byte(source))))
	require.NoError(t, err)
	return []byte(text)
}

func freeAddress(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer listener.Close()
	return listener.Addr().String()
}

func eventually(t *testing.T, so func() bool, what string) {
	t.Helper()
	require.Eventually(t, so, 30*time.Second, 5*time.Millisecond, what)
}

// TestReloadKeepsWhatStreamsNeed looks at the pool while a live stream spans
// reloads, and for leaks when all is over.
func TestReloadKeepsWhatStreamsNeed(t *testing.T) {
	defer func(before time.Duration) { linger = before }(linger)
	linger = 0
	redis := testenv.Redis(t)
	gate := make(chan struct{})
	open := sync.OnceFunc(func() { close(gate) })
	events := upstreamtest.ChatEvents(true, "one", "two")
	upstream := upstreamtest.New(t, func(w http.ResponseWriter, r *http.Request) {
		upstreamtest.Stream(events[0])(w, r)
		<-gate
		upstreamtest.Stream(events[1:]...)(w, r)
	}, upstreamtest.Chat("hello"))
	t.Cleanup(open) // else a failure would wait for ever for the upstream's end
	leaks := goleak.IgnoreCurrent()

	dir := t.TempDir()
	address := freeAddress(t)
	app := func(name, more string) string {
		return fmt.Sprintf("data_dir %s\ndatabase sqlite:///%s/%s.db\nprovider openai {\nkey k\nbase_url %s/v1\n}\n%s",
			dir, dir, name, upstream.URL(), more)
	}
	has := func(part string) bool {
		for key := range held() {
			if strings.Contains(key, part) {
				return true
			}
		}
		return false
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	ask := func(stream bool) *http.Response {
		body := fmt.Sprintf(`{"model":"openai/gpt-4o","stream":%t,"messages":[]}`, stream)
		resp, err := client.Post("http://"+address+"/v1/chat/completions", "application/json", strings.NewReader(body))
		require.NoError(t, err)
		require.Equal(t, 200, resp.StatusCode)
		return resp
	}

	require.NoError(t, caddy.Load(serveOn(t, address, app("a", "redis "+redis)), true))
	first := held()
	require.Len(t, first, 9)
	live := ask(true)
	defer live.Body.Close()
	in := bufio.NewReader(live.Body)
	line, err := in.ReadString('\n')
	require.NoError(t, err)
	require.Contains(t, line, "data: {")

	// The same again: nothing is opened anew.
	require.NoError(t, caddy.Load(serveOn(t, address, app("a", "redis "+redis)), true))
	eventually(t, func() bool { return len(held()) == 9 && held()["limits in process"] == 2 }, "held by the configuration and the stream")

	// Failed reloads, in Provision and in Start, leave everything as it was.
	before := held()
	for _, bad := range []string{"redis_failure never", "auto_migrate off", "metrics_listen 203.0.113.1:1"} {
		require.Error(t, caddy.Load(serveOn(t, address, app("bad", bad)), true), bad)
		eventually(t, func() bool { return !has("bad.db") }, bad)
		require.Equal(t, before, held(), bad)
	}

	// Another database and no Redis: the stream keeps what it began with.
	require.NoError(t, caddy.Load(serveOn(t, address, app("b", "")), true))
	require.True(t, has("a.db") && has("b.db") && has("limits in redis"))
	ask(false).Body.Close()
	open()
	rest, err := io.ReadAll(in)
	require.NoError(t, err)
	require.True(t, strings.HasSuffix(string(rest), "data: [DONE]\n\n"))
	eventually(t, func() bool { return !has("a.db") && !has("redis") && len(held()) == 7 }, "the last stream closes the old database")
	require.FileExists(t, filepath.Join(dir, "b.db"))

	require.NoError(t, caddy.Stop())
	eventually(t, func() bool { return len(held()) == 0 }, "nothing is held after the end")
	client.CloseIdleConnections()
	goleak.VerifyNone(t, leaks, goleak.IgnoreAnyFunction("github.com/caddyserver/certmagic.keepLockfileFresh"))
}

func TestAdminWithoutTheApp(t *testing.T) {
	address := freeAddress(t)
	require.NoError(t, caddy.Load([]byte(`{"admin": {"listen": "`+address+`", "config": {"persist": false}}, "logging": {"logs": {"default": {"writer": {"output": "discard"}}}}}`), true))
	defer func() { require.NoError(t, caddy.Stop()) }()
	eventually(t, func() bool {
		resp, err := http.Get("http://" + address + "/llm/status")
		if err != nil {
			return false
		}
		defer resp.Body.Close()
		text, _ := io.ReadAll(resp.Body)
		return resp.StatusCode == 404 && strings.Contains(string(text), "has no llm app")
	}, "the admin endpoint says that there is no app")
}
