package upstreamtest

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
)

// Case is one recorded exchange with a provider.
type Case struct {
	Name          string   `json:"case"`     // provider/api/what, which is also its path in a Replay
	Provider      string   `json:"provider"` // who answered: "groq"
	API           string   `json:"api"`      // "openai.chat", "openai.responses", …
	Model         string   `json:"model"`
	ResponseModel string   `json:"response_model"` // as the answer names it
	Stream        bool     `json:"stream"`
	Status        int      `json:"status"`
	Features      []string `json:"features"`
	Finish        []string `json:"finish"` // finish reasons in the API's own words
	Usage         *Usage   `json:"usage"`  // nil: the provider reported none

	Header  http.Header `json:"-"` // the answer's, as far as they were kept
	Body    []byte      `json:"-"` // the answer's
	Request []byte      `json:"-"` // the request's body; nil where it was not kept
}

// Usage are the provider's own numbers in one form for all: inclusive totals,
// and parts of them. A nil number was not reported.
type Usage struct {
	Input         int64    `json:"input_tokens"`
	Output        int64    `json:"output_tokens"`
	Cached        *int64   `json:"cached_input_tokens"`
	CacheCreation *int64   `json:"cache_creation_tokens"`
	Reasoning     *int64   `json:"reasoning_tokens"`
	InputAudio    *int64   `json:"input_audio_tokens"`
	OutputAudio   *int64   `json:"output_audio_tokens"`
	InputImage    *int64   `json:"input_image_tokens"`
	OutputImage   *int64   `json:"output_image_tokens"`
	Total         *int64   `json:"total_tokens"`
	CostUSD       *float64 `json:"cost_usd"`
}

// Is says whether the case has a feature, such as "include_usage".
func (c Case) Is(feature string) bool { return slices.Contains(c.Features, feature) }

// OfAPI selects the cases of some APIs.
func OfAPI(apis ...string) func(Case) bool {
	return func(c Case) bool { return slices.Contains(apis, c.API) }
}

// Cases returns the recorded exchanges that keep accepts, in the order of their
// names; a nil keep accepts all. It skips or fails the test where there are no
// recordings.
func Cases(t testing.TB, keep func(Case) bool) []Case {
	t.Helper()
	all, err := loadAll()
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("recorded traffic is needed in CI: %v", err)
		}
		t.Skipf("no recorded traffic: %v", err)
	}
	var kept []Case
	for _, c := range all {
		if keep == nil || keep(c) {
			kept = append(kept, c)
		}
	}
	if len(kept) == 0 {
		t.Fatal("no recorded case fits the filter")
	}
	return kept
}

// loadAll reads the recordings once per process.
var loadAll = sync.OnceValues(func() ([]Case, error) {
	root, err := repository()
	if err != nil {
		return nil, err
	}
	traces := filepath.Join(root, "..", "shared", "traces")
	metas, err := filepath.Glob(filepath.Join(traces, "*", "*", "*", "meta.json"))
	if err != nil {
		return nil, err
	}
	if len(metas) == 0 {
		return nil, &os.PathError{Op: "read", Path: filepath.Join("..", "shared", "traces"), Err: os.ErrNotExist}
	}
	slices.Sort(metas)
	cases := make([]Case, len(metas))
	for i, meta := range metas {
		if cases[i], err = load(meta); err != nil {
			return nil, err
		}
	}
	return cases, nil
})

// repository is the folder of go.mod, found by walking up.
func repository() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", &os.PathError{Op: "find", Path: "go.mod", Err: os.ErrNotExist}
		}
		dir = parent
	}
}

func load(meta string) (Case, error) {
	text, err := os.ReadFile(meta)
	if err != nil {
		return Case{}, err
	}
	var c struct {
		Case
		Request  struct{ File string }
		Response struct {
			File    string
			Headers map[string]string
		}
	}
	if err := json.Unmarshal(text, &c); err != nil {
		return Case{}, err
	}
	dir := filepath.Dir(meta)
	if c.Body, err = os.ReadFile(filepath.Join(dir, c.Response.File)); err != nil {
		return Case{}, err
	}
	if c.Request.File != "" {
		if c.Case.Request, err = os.ReadFile(filepath.Join(dir, c.Request.File)); err != nil {
			return Case{}, err
		}
	}
	c.Header = http.Header{}
	for name, value := range c.Response.Headers {
		c.Header.Set(name, value)
	}
	return c.Case, nil
}
