package e2e

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/testenv"
	"github.com/financecommander/tollgate/internal/upstreamtest"
)

// TestBrowser walks through the portal in a real browser, on a page with the
// manners of the web frontend (js/page); js/browser.test.js holds the steps.
func TestBrowser(t *testing.T) {
	t.Parallel()
	page := portalPage(t)
	upstream, box := upstreamtest.New(t, manners), testenv.Mail(t, "portal", "mail password")
	settings := map[string]string{
		"OPENAI_API_KEY": upstreamKey, "OPENAI_BASE_URL": upstream.URL() + "/v1", "PORTAL_DIR": page, "RATE_LIMIT": "1000/s",
	}
	g := startGateway(t, settings)
	// Another one wants proof of the address.
	settings["LISTEN"] = freeAddress(t)
	settings["PUBLIC_URL"] = "http://" + settings["LISTEN"]
	settings["SMTP_URL"], settings["SMTP_FROM"] = box.URL(), "Portal <portal@example.com>"
	proving := startGateway(t, settings)

	walk(t, "browser.test.js", "TOLLGATE_URL="+g.URL, "PROVING_URL="+proving.URL, "LINKS_URL="+links(t, box))
	g.requireQuietLog(t)
	proving.requireQuietLog(t)
}

// TestBrowserRunsPipelines runs pipelines on the same page, with the demo provider
// behind all of their steps; js/pipelines.test.js holds the steps.
func TestBrowserRunsPipelines(t *testing.T) {
	t.Parallel()
	g := startGateway(t, map[string]string{"PORTAL_DIR": portalPage(t), "RATE_LIMIT": "1000/s"})
	walk(t, "pipelines.test.js", "TOLLGATE_URL="+g.URL, "QUERY="+promptMarker)
	g.requireQuietLog(t)
}

// portalPage is the folder of the page, where there is a browser for it.
func portalPage(t *testing.T) string {
	t.Helper()
	findNode(t)
	findChromium(t)
	page, err := filepath.Abs("js/page")
	require.NoError(t, err)
	return page
}

// walk runs a file of tests in the browser.
func walk(t *testing.T, file string, env ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), findNode(t), "--test", "--test-reporter=spec", file)
	cmd.Dir = "js"
	cmd.Env = append([]string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "CHROMIUM=" + findChromium(t), "JWT_SECRET=" + jwtSecret,
	}, env...)
	output, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, output)
	} else {
		t.Logf("%s", output)
	}
}

var mailedLink = regexp.MustCompile(`https?://\S+/portal/\?\S+`)

// links serves the link in the last mail to ?to=, or 404.
func links(t *testing.T, box *testenv.Mailbox) string {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mails := box.To(r.URL.Query().Get("to"))
		if len(mails) == 0 {
			http.NotFound(w, r)
			return
		}
		_, _ = io.WriteString(w, mailedLink.FindString(mails[len(mails)-1]))
	}))
	t.Cleanup(server.Close)
	return server.URL
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
