package e2e

import (
	"encoding/json"
	"os"
	"os/exec"
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

// TestSDKsAlone lets every official SDK talk to the fakes of its own dialect,
// without the gateway: what the SDKs do there is what they must do behind it.
func TestSDKsAlone(t *testing.T) {
	t.Parallel()
	direct := startFakes(t)
	openAI, anthropic, gemini := direct[:2], direct[2:3], direct[3:]
	t.Run("openai for JavaScript", func(t *testing.T) { runNode(t, "sdk-openai.test.js", openAI) })
	t.Run("anthropic for JavaScript", func(t *testing.T) { runNode(t, "sdk-anthropic.test.js", anthropic) })
	t.Run("google for JavaScript", func(t *testing.T) { runNode(t, "sdk-google.test.js", gemini) })
}

// TestSDKs lets every official SDK talk to every kind of provider through the
// gateway.
func TestSDKs(t *testing.T) {
	t.Parallel()
	g, targets := behindGateway(t, startFakes(t))
	t.Run("openai for JavaScript", func(t *testing.T) { runNode(t, "sdk-openai.test.js", targets) })
	t.Run("anthropic for JavaScript", func(t *testing.T) { runNode(t, "sdk-anthropic.test.js", targets) })
	t.Run("google for JavaScript", func(t *testing.T) { runNode(t, "sdk-google.test.js", targets) })
	g.requireQuietLog(t)
}

// runNode runs one SDK's tests in one process.
func runNode(t *testing.T, file string, targets []target) {
	t.Helper()
	node, err := exec.LookPath("node")
	if err != nil {
		skipOrFail(t, "node is not installed; Debian: apt install nodejs npm")
	}
	if _, err := os.Stat("js/node_modules/@google/genai"); err != nil {
		skipOrFail(t, "the clients are not installed; run npm ci in e2e/js")
	}
	text, err := json.Marshal(targets)
	require.NoError(t, err)
	cmd := exec.CommandContext(t.Context(), node, "--test", "--test-reporter=spec", file)
	cmd.Dir = "js"
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "TARGETS=" + string(text)}
	if output, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, output)
	}
}
