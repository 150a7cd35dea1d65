// Package e2e drives the real binary, started as a process of its own, with
// official clients that know nothing of the gateway but a base URL and a key.
package e2e

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const (
	upstreamKey = "sk-upstream-0123456789abcdef" // what the fake OpenAI takes
	userEmail   = "alice@example.com"
	jwtSecret   = "a secret of at least thirty-two bytes, for tests"
	// promptMarker stands in prompts so that logs can be searched for it.
	promptMarker = "zebra-crossing-4711"
)

var (
	buildDir string // removed by TestMain
	build    = sync.OnceValues(buildGateway)
)

func TestMain(m *testing.M) {
	code := m.Run()
	if buildDir != "" {
		_ = os.RemoveAll(buildDir)
	}
	os.Exit(code)
}

// buildGateway gives the path of the binary: TOLLGATE_BIN, or one built now.
func buildGateway() (string, error) {
	if path := os.Getenv("TOLLGATE_BIN"); path != "" {
		return filepath.Abs(path)
	}
	dir, err := os.MkdirTemp("", "tollgate-e2e-")
	if err != nil {
		return "", err
	}
	buildDir = dir
	path := filepath.Join(dir, "tollgate")
	output, err := exec.Command("go", "build", "-o", path, "../cmd/tollgate").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build the gateway: %w\n%s", err, output)
	}
	return path, nil
}

// gateway is a running gateway process.
type gateway struct {
	URL   string // http://127.0.0.1:port
	Token string // of a user without roles

	env  []string
	path string
	log  *syncBuffer
}

// startGateway runs the default configuration with nothing but the given names
// in its environment, and stops it when the test ends.
func startGateway(t *testing.T, env map[string]string) *gateway {
	t.Helper()
	path, err := build()
	require.NoError(t, err)

	home, address := t.TempDir(), cmp.Or(env["LISTEN"], freeAddress(t))
	g := &gateway{URL: "http://" + address, path: path, log: &syncBuffer{}, env: []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + home,
		"XDG_DATA_HOME=" + home + "/share", "XDG_CONFIG_HOME=" + home + "/config",
		"LISTEN=" + address, "ADMIN_LISTEN=off", "DATA_DIR=" + home + "/data", "JWT_SECRET=" + jwtSecret,
		"DATABASE_URL=sqlite:///" + home + "/tollgate.db",
	}}
	for name, value := range env {
		g.env = append(g.env, name+"="+value)
	}
	g.Token = g.mint(t, "--subject", "alice", "--email", userEmail)

	process := g.command(context.Background(), "run", "--config", "Caddyfile", "--adapter", "caddyfile")
	process.Stdout, process.Stderr = g.log, g.log
	require.NoError(t, process.Start())
	ended := make(chan error, 1)
	go func() { ended <- process.Wait() }()
	t.Cleanup(func() {
		g.stop(t, process.Process, ended)
		if t.Failed() {
			t.Logf("the gateway's log:\n%s", g.log)
		}
	})
	g.waitHealthy(t, ended)
	return g
}

// command runs the binary in the root of the repository.
func (g *gateway) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, g.path, args...)
	cmd.Dir, cmd.Env = "..", g.env
	return cmd
}

// mint makes a token with the gateway's own verb.
func (g *gateway) mint(t *testing.T, args ...string) string {
	t.Helper()
	cmd := g.command(t.Context(), append([]string{"token"}, args...)...)
	var problems bytes.Buffer
	cmd.Stderr = &problems
	output, err := cmd.Output()
	require.NoError(t, err, problems.String())
	return strings.TrimSpace(string(output))
}

func (g *gateway) waitHealthy(t *testing.T, ended chan error) {
	t.Helper()
	deadline := time.After(20 * time.Second)
	for {
		if response, err := http.Get(g.URL + "/health"); err == nil {
			var health struct{ Status string }
			_ = json.NewDecoder(response.Body).Decode(&health)
			_ = response.Body.Close()
			if health.Status == "healthy" { // "degraded" until database and spool are ready
				return
			}
		}
		select {
		case err := <-ended:
			ended <- err
			t.Fatalf("the gateway ended at start: %v", err)
		case <-deadline:
			t.Fatal("the gateway did not become healthy")
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (g *gateway) stop(t *testing.T, process *os.Process, ended chan error) {
	t.Helper()
	_ = process.Signal(syscall.SIGTERM)
	select {
	case err := <-ended:
		if err != nil {
			t.Errorf("the gateway stopped with %v", err)
		}
	case <-time.After(15 * time.Second):
		_ = process.Kill()
		t.Errorf("the gateway did not stop within 15 s: %v", <-ended)
	}
}

// requireQuietLog checks that the log holds nothing that is no business of its
// readers. It is asked once the calls under test are done.
func (g *gateway) requireQuietLog(t *testing.T) {
	t.Helper()
	log := g.log.String()
	for name, text := range map[string]string{
		"token's signature": g.Token[strings.LastIndex(g.Token, ".")+1:], "upstream's key": upstreamKey,
		"address": userEmail, "prompt": promptMarker, "secret": jwtSecret,
	} {
		require.NotContains(t, log, text, "the log holds the %s", name)
	}
}

// usageRow is what the tests look at in a row of the usage log.
type usageRow struct {
	ID           string      `json:"id"`
	SpecialistID string      `json:"specialist_id"`
	Provider     string      `json:"provider"`
	Model        string      `json:"model"`
	InputTokens  int64       `json:"input_tokens"`
	OutputTokens int64       `json:"output_tokens"`
	CostUSD      json.Number `json:"cost_usd"`
	Success      bool        `json:"success"`
}

// rows reads the user's usage log, newest first.
func (g *gateway) rows(t *testing.T) []usageRow {
	t.Helper()
	status, _, body := g.do(t, http.MethodGet, "/usage/logs?limit=1000", g.Token, "")
	require.Equal(t, http.StatusOK, status, body)
	var page struct{ Logs []usageRow }
	require.NoError(t, json.Unmarshal([]byte(body), &page))
	return page.Logs
}

// waitRows waits until the usage log has as many rows as wanted, and gives them.
func (g *gateway) waitRows(t *testing.T, want int) []usageRow {
	t.Helper()
	deadline := time.Now().Add(5 * time.Second)
	for {
		rows := g.rows(t)
		if len(rows) >= want || time.Now().After(deadline) {
			require.Len(t, rows, want)
			return rows
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// do makes one call of the portal's API; token may be empty.
func (g *gateway) do(t *testing.T, method, path, token, body string) (int, http.Header, string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, g.URL+path, strings.NewReader(body))
	require.NoError(t, err)
	request.Header.Set("Content-Type", "application/json")
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	response, err := http.DefaultTransport.RoundTrip(request) // follows no redirect: there must be none
	require.NoError(t, err)
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return response.StatusCode, response.Header, string(answer)
}

func freeAddress(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer listener.Close()
	return listener.Addr().String()
}

// skipOrFail skips a test that lacks something, and fails it in CI.
func skipOrFail(t *testing.T, format string, args ...any) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf(format, args...)
	}
	t.Skipf(format, args...)
}

// syncBuffer is a buffer that a process writes while a test reads.
type syncBuffer struct {
	mu sync.Mutex // guards b
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}
