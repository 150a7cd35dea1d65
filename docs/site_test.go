package docs

import (
	"bytes"
	"errors"
	"fmt"
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
	dir, err := os.MkdirTemp("", "tollgate-docs-")
	if err != nil {
		return "", err
	}
	buildDir = dir
	path := filepath.Join(dir, "tollgate")
	if output, err := exec.Command("go", "build", "-o", path, "../cmd/tollgate").CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the gateway: %w\n%s", err, output)
	}
	return path, nil
}

// site is a running gateway in a folder of its own, as a reader of the
// documentation would have it.
type site struct {
	binary         string
	dir            string // its working directory
	address, admin string
	token          string // of you@example.com
	env            []string
	log            *syncBuffer
}

func defaultConfig(t *testing.T) string { return read(t, "../Caddyfile") }

// startSite runs a Caddyfile, on free ports and with further variables, until
// the test ends.
func startSite(t *testing.T, config string, variables ...string) *site {
	t.Helper()
	built, err := build()
	require.NoError(t, err)
	repository, err := filepath.Abs("..")
	require.NoError(t, err)
	dir := t.TempDir()
	bin := filepath.Join(dir, "bin")
	require.NoError(t, os.Mkdir(bin, 0o700))
	g := &site{
		binary: filepath.Join(bin, "tollgate"), dir: dir, address: freeAddress(t), admin: freeAddress(t), log: &syncBuffer{},
	}
	require.NoError(t, os.Symlink(built, g.binary))
	host, port, err := net.SplitHostPort(g.address)
	require.NoError(t, err)
	g.env = []string{
		"PATH=" + bin + ":" + os.Getenv("PATH"), "HOME=" + dir, "XDG_DATA_HOME=" + dir + "/share", "XDG_CONFIG_HOME=" + dir + "/config",
		"LISTEN=" + g.address, "LISTEN_HOST=" + host, "LISTEN_PORT=" + port, "ADMIN_LISTEN=" + g.admin, "REPOSITORY=" + repository,
		"SHOP_SECRET=" + strings.Repeat("shop", 8),
	}
	g.env = append(g.env, variables...)
	g.write(t, "Caddyfile", config)
	token, err := g.run(t, g.binary, "token", "--email", "you@example.com", "--config", "Caddyfile")
	require.NoError(t, err)
	g.token = strings.TrimSpace(token)
	g.env = append(g.env, "TOKEN="+g.token)
	g.start(t)
	return g
}

func (g *site) start(t *testing.T) {
	t.Helper()
	process := exec.Command(g.binary, "run", "--config", "Caddyfile", "--adapter", "caddyfile")
	process.Dir, process.Env, process.Stdout, process.Stderr = g.dir, g.env, g.log, g.log
	require.NoError(t, process.Start())
	ended := make(chan struct{})
	go func() {
		_ = process.Wait()
		close(ended)
	}()
	t.Cleanup(func() {
		_ = process.Process.Signal(syscall.SIGTERM)
		select {
		case <-ended:
		case <-time.After(15 * time.Second):
			_ = process.Process.Kill()
			t.Error("the gateway did not stop within 15 s")
		}
		if t.Failed() {
			t.Logf("the gateway's log:\n%s", g.log)
		}
	})
	deadline := time.Now().Add(20 * time.Second)
	for {
		response, err := http.Get("http://" + g.address + "/health")
		if err == nil {
			_ = response.Body.Close()
			return
		}
		require.True(t, time.Now().Before(deadline), "the gateway does not answer:\n%s", g.log)
		time.Sleep(20 * time.Millisecond)
	}
}

// local leads an example to the gateway's own ports.
func (g *site) local(text string) string {
	return strings.NewReplacer("127.0.0.1:8080", g.address, "127.0.0.1:2019", g.admin).Replace(text)
}

// write puts a file into the gateway's folder.
func (g *site) write(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(g.dir, name)
	require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
	return path
}

// run runs a program in the gateway's folder and gives what it printed; on
// failure with what it complained about.
func (g *site) run(t *testing.T, program string, args ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program, args...)
	cmd.Dir, cmd.Env = g.dir, g.env
	var complaints bytes.Buffer
	cmd.Stderr = &complaints
	output, err := cmd.Output()
	if err != nil {
		return string(output) + complaints.String(), errors.Join(err, errors.New(program))
	}
	return string(output), nil
}

func freeAddress(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer listener.Close()
	return listener.Addr().String()
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
