package e2e

import (
	"net"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/upstreamtest/fakes"
)

// TestIndependentMock puts providers behind the gateway that were written by
// others (@copilotkit/aimock), as a second opinion on the formats.
func TestIndependentMock(t *testing.T) {
	t.Parallel()
	url := "http://" + startAimock(t)
	g := startGateway(t, map[string]string{
		"OPENAI_API_KEY": fakes.Key, "OPENAI_BASE_URL": url + "/v1", "ANTHROPIC_API_KEY": fakes.Key, "ANTHROPIC_BASE_URL": url,
		"GEMINI_API_KEY": fakes.Key, "GEMINI_BASE_URL": url, "RATE_LIMIT": "10000/s",
	})
	var targets []target
	for _, model := range []string{"openai/gpt-4o", "anthropic/claude-haiku-4-5", "gemini/gemini-2.5-flash"} {
		kind, _, _ := strings.Cut(model, "/")
		targets = append(targets, target{Name: "gateway to " + kind, Kind: fakes.Kind(kind), URL: g.URL, Key: g.Token, Model: model})
	}
	runNode(t, "aimock.test.js", targets)
}

// startAimock runs the mock until the test ends and gives its address.
func startAimock(t *testing.T) string {
	t.Helper()
	node := findNode(t)
	address := freeAddress(t)
	_, port, err := net.SplitHostPort(address)
	require.NoError(t, err)
	cmd := exec.CommandContext(t.Context(), node, "node_modules/.bin/llmock", "-p", port, "-f", "aimock.json", "-c", "5", "--strict", "--log-level", "warn")
	cmd.Dir = "js"
	log := &syncBuffer{}
	cmd.Stdout, cmd.Stderr = log, log
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	require.Eventually(t, func() bool {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	}, 20*time.Second, 20*time.Millisecond, "the mock did not start: %s", log)
	return address
}
