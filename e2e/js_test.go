package e2e

import (
	"os"
	"os/exec"
	"testing"
)

// TestOpenAINode drives the gateway with the official client for JavaScript;
// js/openai.test.js holds the calls.
func TestOpenAINode(t *testing.T) {
	t.Parallel()
	node := findNode(t)
	upstream := newFakeOpenAI(t)
	settings := map[string]string{
		"OPENAI_API_KEY": upstreamKey, "OPENAI_BASE_URL": upstream.URL + "/v1", "RATE_LIMIT": "1000/s",
	}
	g := startGateway(t, settings)
	settings["RATE_LIMIT"] = "1/s"
	limited := startGateway(t, settings)

	cmd := exec.CommandContext(t.Context(), node, "--test", "--test-reporter=spec", "openai.test.js")
	cmd.Dir = "js"
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"),
		"TOLLGATE_URL=" + g.URL, "TOLLGATE_TOKEN=" + g.Token,
		"TOLLGATE_LIMITED_URL=" + limited.URL, "TOLLGATE_LIMITED_TOKEN=" + limited.Token,
		"UPSTREAM_URL=" + upstream.URL, "PROMPT_MARKER=" + promptMarker,
	}
	output, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, output)
	} else {
		t.Logf("%s", output)
	}
	g.requireQuietLog(t)
	limited.requireQuietLog(t)
}
