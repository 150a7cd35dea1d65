package main

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// gateway is a Tollgate of the test's own: a folder, an environment and, once
// started, a process.
type gateway struct {
	t      *testing.T
	URL    string // where callers reach it
	Admin  string // its admin endpoint
	dir    string // working directory, HOME and all it writes
	config string // path of its Caddyfile
	env    map[string]string
	log    output // of all its processes, one after the other
	client *http.Client
	bind   string       // what its site binds to
	again  atomic.Int64 // calls made again

	process *os.Process
	ended   chan struct{}
	code    int // the exit code, once ended
}

// newGateway prepares a gateway with the default Caddyfile in an empty folder.
// Its environment holds nothing but free addresses and what is given, as
// "NAME=value".
func newGateway(t *testing.T, env ...string) *gateway {
	t.Helper()
	root, err := filepath.Abs("../..")
	require.NoError(t, err)
	listen, admin := freeAddress(t), freeAddress(t)
	g := &gateway{
		t: t, URL: "http://" + listen, Admin: "http://" + admin, dir: t.TempDir(), config: filepath.Join(root, "Caddyfile"),
		env: map[string]string{"LISTEN": listen, "ADMIN_LISTEN": admin}, client: newClient(""), bind: "127.0.0.1",
	}
	g.setenv(env...)
	g.checked()
	t.Cleanup(func() {
		g.kill()
		if t.Failed() {
			t.Logf("%s printed:\n%s", g.URL, g.log.String())
		}
	})
	return g
}

// startGateway prepares a gateway and starts it.
func startGateway(t *testing.T, env ...string) *gateway {
	t.Helper()
	g := newGateway(t, env...)
	g.start()
	return g
}

func (g *gateway) setenv(env ...string) {
	for _, pair := range env {
		name, value, _ := strings.Cut(pair, "=")
		g.env[name] = value
	}
}

// caddyfile makes the gateway use a configuration with these lines in its llm
// block and in its site.
func (g *gateway) caddyfile(app, site string) {
	g.t.Helper()
	_, port, _ := net.SplitHostPort(strings.TrimPrefix(g.URL, "http://"))
	g.configure(fmt.Sprintf("{\nadmin %s\npersist_config off\nauto_https off\ngrace_period 1m\nllm {\n%s\n}\n}\nhttp://:%s {\nbind %s\n%s\n}\n",
		strings.TrimPrefix(g.Admin, "http://"), app, port, g.bind, site))
}

// configure makes the gateway use this Caddyfile from the next start or reload
// on.
func (g *gateway) configure(text string) {
	g.t.Helper()
	g.config = filepath.Join(g.dir, "Caddyfile")
	require.NoError(g.t, os.WriteFile(g.config, []byte(text), 0o600))
}

// text is the gateway's Caddyfile.
func (g *gateway) text() string {
	g.t.Helper()
	text, err := os.ReadFile(g.config)
	require.NoError(g.t, err)
	return string(text)
}

// command is the binary with some arguments, in the gateway's folder.
func (g *gateway) command(args ...string) *exec.Cmd {
	cmd := exec.Command(os.Args[0], args...)
	cmd.Dir = g.dir
	cmd.Env = []string{actAsTollgate + "=1", "PATH=" + os.Getenv("PATH"), "HOME=" + g.dir}
	for name, value := range g.env {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	return cmd
}

// run runs the binary to its end.
func (g *gateway) run(args ...string) (stdout, stderr string, code int) {
	g.t.Helper()
	var out, problems bytes.Buffer
	cmd := g.command(args...)
	cmd.Stdout, cmd.Stderr = &out, &problems
	require.NoError(g.t, cmd.Start())
	limit := time.AfterFunc(20*time.Second, func() { _ = cmd.Process.Signal(syscall.SIGQUIT) })
	defer limit.Stop()
	if err := cmd.Wait(); err != nil {
		exit, ok := errors.AsType[*exec.ExitError](err)
		require.True(g.t, ok, "%v", err)
		return out.String(), problems.String(), exit.ExitCode()
	}
	return out.String(), problems.String(), 0
}

// mustRun runs the binary and expects exit code 0.
func (g *gateway) mustRun(args ...string) (stdout, stderr string) {
	g.t.Helper()
	stdout, stderr, code := g.run(args...)
	require.Zero(g.t, code, "%v: %s", args, stderr)
	return stdout, stderr
}

// launch starts the gateway's process without waiting until it serves.
func (g *gateway) launch() {
	g.t.Helper()
	cmd := g.command("run", "--config", g.config, "--adapter", "caddyfile")
	cmd.Stdout, cmd.Stderr = &g.log, &g.log
	require.NoError(g.t, cmd.Start())
	g.process, g.ended = cmd.Process, make(chan struct{})
	ended := g.ended
	go func() {
		_ = cmd.Wait()
		g.code = cmd.ProcessState.ExitCode()
		close(ended)
	}()
}

// start starts the gateway and waits until it answers.
func (g *gateway) start() {
	g.t.Helper()
	g.launch()
	g.eventually("the gateway serves", func() bool {
		select {
		case <-g.ended:
			require.Fail(g.t, "the gateway ended at start", g.log.String())
		default:
		}
		a, err := g.try("GET", "/health", "", "")
		return err == nil && a.Status == http.StatusOK
	})
}

// fails starts the gateway, expects it to end by itself and gives what it said.
func (g *gateway) fails() string {
	g.t.Helper()
	g.launch()
	g.wait()
	require.NotZero(g.t, g.code)
	return g.log.String()
}

// wait waits until the process has ended.
func (g *gateway) wait() {
	g.t.Helper()
	select {
	case <-g.ended:
	case <-time.After(20 * time.Second):
		require.Fail(g.t, "the gateway did not end within 20 s")
	}
}

// stop ends the gateway as an orchestrator does.
func (g *gateway) stop() {
	g.t.Helper()
	require.NoError(g.t, g.process.Signal(syscall.SIGTERM))
	g.wait()
	require.Zero(g.t, g.code, "exit code")
}

// kill ends the gateway as a power cut does.
func (g *gateway) kill() {
	if g.process != nil {
		_ = g.process.Kill()
		<-g.ended
	}
}

// reload loads the gateway's Caddyfile, as it is now, into its process.
func (g *gateway) reload() (stderr string, code int) {
	g.t.Helper()
	_, stderr, code = g.run("reload", "--force", "--config", g.config, "--adapter", "caddyfile", "--address", strings.TrimPrefix(g.Admin, "http://"))
	return stderr, code
}

// eventually waits, up to 15 s, until something is so.
func (g *gateway) eventually(what string, so func() bool) {
	g.t.Helper()
	for deadline := time.Now().Add(15 * time.Second); !so(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			require.Fail(g.t, "waited in vain: "+what)
		}
	}
}

// printed waits until the gateway has printed something.
func (g *gateway) printed(text string) {
	g.t.Helper()
	g.eventually("it prints "+text, func() bool { return strings.Contains(g.log.String(), text) })
}

// output is what a process printed, safe to read while it prints.
type output struct {
	mu   sync.Mutex // guards text
	text bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

var taken sync.Map // ports handed out, to this process's tests at least

// freeAddress gives a loopback address nobody listens on. Its port is below the
// range that outgoing connections take theirs from. Caddy shares ports (by
// SO_REUSEPORT), so two gateways on one would not notice.
func freeAddress(t *testing.T) string {
	t.Helper()
	return "127.0.0.1:" + freePort(t)
}

func freePort(t *testing.T) string {
	t.Helper()
	for range 100 {
		port := strconv.Itoa(12000 + rand.IntN(20000))
		if _, given := taken.LoadOrStore(port, true); given {
			continue
		}
		listener, err := net.Listen("tcp", ":"+port)
		if err == nil {
			listener.Close()
			return port
		}
	}
	require.Fail(t, "found no free port")
	return ""
}
