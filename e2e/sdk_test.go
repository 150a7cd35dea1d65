package e2e

import (
	"encoding/json"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/upstreamtest/fakes"
)

// target is what an SDK talks to: a fake provider itself, or a provider behind
// the gateway. The JSON is for js/targets.js.
type target struct {
	Name     string     `json:"name"`
	Direct   bool       `json:"direct"`
	Kind     fakes.Kind `json:"kind"`
	URL      string     `json:"url"`
	Key      string     `json:"key"`
	Model    string     `json:"model"`
	Thinker  string     `json:"thinker"`
	Embedder string     `json:"embedder"`
	// What stands between the URL and each SDK's own paths: a base URL may name
	// the dialect and the version, or not.
	OpenAI    string `json:"openai"`
	Anthropic string `json:"anthropic"`
	Gemini    string `json:"gemini"`

	fake *fakes.Server
}

// startFakes starts a provider of each kind.
func startFakes(t *testing.T) []target {
	t.Helper()
	all := []target{
		{Kind: fakes.OpenAI, Model: "gpt-4o", Thinker: "gpt-5", Embedder: "text-embedding-3-small"},
		{Kind: fakes.OpenAIChat, Model: "mistral-large-latest", Thinker: "magistral-medium-latest", Embedder: "mistral-embed"},
		{Kind: fakes.Anthropic, Model: "claude-haiku-4-5", Thinker: "claude-haiku-4-5"},
		{Kind: fakes.Gemini, Model: "gemini-2.5-flash", Thinker: "gemini-3-pro-preview", Embedder: "gemini-embedding-001"},
	}
	for i := range all {
		one := &all[i]
		one.fake = fakes.New(t, one.Kind)
		one.Name, one.Direct = string(one.Kind)+" itself", true
		one.URL, one.Key, one.OpenAI = one.fake.URL(), fakes.Key, "/v1"
	}
	return all
}

// behindGateway puts the fakes behind one gateway. The base URLs of the SDKs take
// every form that is meant to work.
func behindGateway(t *testing.T, direct []target) (*gateway, []target) {
	t.Helper()
	g := startGateway(t, map[string]string{
		"OPENAI_API_KEY": fakes.Key, "OPENAI_BASE_URL": direct[0].fake.BaseURL(),
		"MISTRAL_API_KEY": fakes.Key, "MISTRAL_BASE_URL": direct[1].fake.BaseURL(),
		"ANTHROPIC_API_KEY": fakes.Key, "ANTHROPIC_BASE_URL": direct[2].fake.BaseURL(),
		"GEMINI_API_KEY": fakes.Key, "GEMINI_BASE_URL": direct[3].fake.BaseURL(),
		"RATE_LIMIT": "10000/s",
	})
	var all []target
	for i, one := range []target{
		{Name: "openai", OpenAI: "/v1"},
		{Name: "mistral", OpenAI: "/openai", Anthropic: "/anthropic", Gemini: "/gemini"},
		{Name: "anthropic", OpenAI: "/openai/v1", Anthropic: "/anthropic"},
		{Name: "gemini", OpenAI: "/v1", Gemini: "/gemini"},
	} {
		provider := one.Name + "/"
		one.Kind, one.fake, one.URL, one.Key = direct[i].Kind, direct[i].fake, g.URL, g.Token
		one.Name = "gateway to " + string(one.Kind)
		one.Model, one.Thinker = provider+direct[i].Model, provider+direct[i].Thinker
		if direct[i].Embedder != "" {
			one.Embedder = provider + direct[i].Embedder
		}
		all = append(all, one)
	}
	return g, all
}

// sdk is an official client, run against targets.
type sdk struct {
	name string
	run  func(*testing.T, []target)
	own  []fakes.Kind // the kinds that speak its dialect
}

var sdks = []sdk{
	{"openai for JavaScript", inNode("sdk-openai.test.js"), []fakes.Kind{fakes.OpenAI, fakes.OpenAIChat}},
	{"openai for Go", inGo(openAIWithGo), []fakes.Kind{fakes.OpenAI, fakes.OpenAIChat}},
	{"anthropic for JavaScript", inNode("sdk-anthropic.test.js"), []fakes.Kind{fakes.Anthropic}},
	{"anthropic for Go", inGo(anthropicWithGo), []fakes.Kind{fakes.Anthropic}},
	{"google for JavaScript", inNode("sdk-google.test.js"), []fakes.Kind{fakes.Gemini}},
	{"google for Go", inGo(googleWithGo), []fakes.Kind{fakes.Gemini}},
}

// TestSDKsAlone lets every official SDK talk to the fakes of its own dialect,
// without the gateway: what the SDKs do there is what they must do behind it.
func TestSDKsAlone(t *testing.T) {
	t.Parallel()
	direct := startFakes(t)
	for _, s := range sdks {
		var own []target
		for _, one := range direct {
			if slices.Contains(s.own, one.Kind) {
				own = append(own, one)
			}
		}
		t.Run(s.name, func(t *testing.T) { s.run(t, own) })
	}
}

// TestSDKs lets every official SDK talk to every kind of provider through the
// gateway.
func TestSDKs(t *testing.T) {
	t.Parallel()
	g, targets := behindGateway(t, startFakes(t))
	for _, s := range sdks {
		t.Run(s.name, func(t *testing.T) { s.run(t, targets) })
	}
	g.requireQuietLog(t)
	for _, one := range targets {
		requireNoComplaints(t, one)
	}
	requireTrueRows(t, g.rows(t))
}

// meant are the complaints that the tests provoke in a provider of the SDK's own
// dialect, where requests pass through as they are.
var meant = []string{"resp_unknown", "call_id x", "text content blocks must be non-empty"}

// requireNoComplaints checks that a strict provider found nothing wrong in what the
// gateway wrote.
func requireNoComplaints(t *testing.T, one target) {
	t.Helper()
	for _, problem := range one.fake.Problems() {
		known := func(text string) bool { return strings.Contains(problem, text) }
		require.True(t, slices.ContainsFunc(meant, known), "%s: %s", one.Name, problem)
	}
}

// requireTrueRows checks that every answer was written down with what it cost.
func requireTrueRows(t *testing.T, rows []usageRow) {
	t.Helper()
	require.NotEmpty(t, rows)
	for _, row := range rows {
		if !row.Success || strings.Contains(row.Model, "embed") {
			continue
		}
		require.EqualValues(t, fakes.InputTokens, row.InputTokens, "%+v", row)
		if row.OutputTokens != fakes.OutputTokens {
			require.EqualValues(t, fakes.OutputTokens+fakes.ReasoningTokens, row.OutputTokens, "%+v", row)
		}
	}
}

// inGo runs an SDK's tests for each target in turn.
func inGo(run func(*testing.T, target)) func(*testing.T, []target) {
	return func(t *testing.T, targets []target) {
		t.Helper()
		for _, one := range targets {
			t.Run(one.Name, func(t *testing.T) { run(t, one) })
		}
	}
}

// inNode runs an SDK's tests for all targets in one process.
func inNode(file string) func(*testing.T, []target) {
	return func(t *testing.T, targets []target) { t.Helper(); runNode(t, file, targets) }
}

func runNode(t *testing.T, file string, targets []target) {
	t.Helper()
	text, err := json.Marshal(targets)
	require.NoError(t, err)
	cmd := exec.CommandContext(t.Context(), findNode(t), "--test", "--test-reporter=spec", file)
	cmd.Dir = "js"
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "TARGETS=" + string(text)}
	if output, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, output)
	}
}

// findNode gives Node.js where it and the clients are installed.
func findNode(t *testing.T) string {
	t.Helper()
	node, err := exec.LookPath("node")
	if err != nil {
		skipOrFail(t, "node is not installed; Debian: apt install nodejs npm")
	}
	if _, err := os.Stat("js/node_modules/@copilotkit/aimock"); err != nil {
		skipOrFail(t, "the clients are not installed; run npm ci in e2e/js")
	}
	return node
}
