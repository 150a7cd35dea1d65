package e2e

import (
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/upstreamtest"
)

// TestBrowser walks through the portal in a real browser, on a page with the
// manners of the web frontend (js/page); js/browser.test.js holds the steps.
func TestBrowser(t *testing.T) {
	t.Parallel()
	node, chromium := findNode(t), findChromium(t)
	page, err := filepath.Abs("js/page")
	require.NoError(t, err)
	upstream := upstreamtest.New(t, manners)
	settings := map[string]string{
		"OPENAI_API_KEY": upstreamKey, "OPENAI_BASE_URL": upstream.URL() + "/v1", "PORTAL_DIR": page, "RATE_LIMIT": "1000/s",
	}
	g := startGateway(t, settings)

	cmd := exec.CommandContext(t.Context(), node, "--test", "--test-reporter=spec", "browser.test.js")
	cmd.Dir = "js"
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "CHROMIUM=" + chromium,
		"TOLLGATE_URL=" + g.URL, "JWT_SECRET=" + jwtSecret,
	}
	output, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, output)
	} else {
		t.Logf("%s", output)
	}
	g.requireQuietLog(t)
}

// manners is an upstream that answers "slow 12 word" with twelve words one after
// the other, "instant …" with all at once and "delayed …" with all at once, but
// late.
func manners(w http.ResponseWriter, r *http.Request) {
	var asked struct {
		Messages []struct{ Content string }
	}
	if err := json.NewDecoder(r.Body).Decode(&asked); err != nil || len(asked.Messages) == 0 {
		http.Error(w, "no messages", http.StatusBadRequest)
		return
	}
	how, rest, _ := strings.Cut(asked.Messages[len(asked.Messages)-1].Content, " ")
	number, label, _ := strings.Cut(rest, " ")
	count, _ := strconv.Atoi(number)
	words := make([]string, count)
	for i := range words {
		words[i] = label + strconv.Itoa(i+1)
		if i > 0 {
			words[i] = " " + words[i]
		}
	}
	events := upstreamtest.ChatEvents(true, words...)
	switch how {
	case "slow":
		upstreamtest.Drip(50*time.Millisecond, events...)(w, r)
	case "delayed":
		select {
		case <-time.After(600 * time.Millisecond):
		case <-r.Context().Done():
			return
		}
		fallthrough
	default:
		upstreamtest.Stream(events...)(w, r)
	}
}

// findChromium gives the path of the browser.
func findChromium(t *testing.T) string {
	t.Helper()
	if path := os.Getenv("CHROMIUM"); path != "" {
		return path
	}
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	skipOrFail(t, "no Chromium found; Debian: apt install chromium")
	return ""
}
