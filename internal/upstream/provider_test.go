package upstream_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/financecommander/tollgate/internal/dialect"
	"github.com/financecommander/tollgate/internal/secret"
	"github.com/financecommander/tollgate/internal/upstream"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	chat        = dialect.OpenAIChat
	completions = dialect.OpenAICompletions
	embeddings  = dialect.OpenAIEmbeddings
	responses   = dialect.OpenAIResponses
)

// allFormats are the formats a provider may be asked in.
var allFormats = []dialect.Name{
	chat, completions, embeddings, responses, dialect.OpenAICount, dialect.AnthropicMessages, dialect.AnthropicCount,
	dialect.Gemini, dialect.GeminiEmbeddings, upstream.EmbedBatch, dialect.GeminiCount,
}

func keys(texts ...string) []secret.Secret {
	all := make([]secret.Secret, len(texts))
	for i, text := range texts {
		all[i] = secret.New(text)
	}
	return all
}

func newProvider(t *testing.T, c upstream.Config) *upstream.Provider {
	t.Helper()
	if c.Keys == nil {
		c.Keys = keys("key-1")
	}
	if c.Transport == nil {
		c.Transport = http.DefaultTransport
	}
	p, err := upstream.New(c)
	require.NoError(t, err)
	return p
}

// Where each provider takes each format, for every form of base URL that its
// SDKs and its documentation know.
func TestEndpoints(t *testing.T) {
	tests := []struct {
		provider string
		bases    []string // "" is the default; all mean the same
		want     map[dialect.Name]string
	}{
		{"openai", []string{"", "https://api.openai.com/v1", "https://api.openai.com/v1/", "https://api.openai.com", "https://api.openai.com/", " https://api.openai.com/v1\n"}, map[dialect.Name]string{
			chat: "https://api.openai.com/v1/chat/completions", completions: "https://api.openai.com/v1/completions",
			embeddings: "https://api.openai.com/v1/embeddings", responses: "https://api.openai.com/v1/responses",
			dialect.OpenAICount: "https://api.openai.com/v1/responses/input_tokens",
		}},
		{"anthropic", []string{"", "https://api.anthropic.com", "https://api.anthropic.com/", "https://api.anthropic.com/v1", "https://api.anthropic.com/v1/"}, map[dialect.Name]string{
			dialect.AnthropicMessages: "https://api.anthropic.com/v1/messages",
			dialect.AnthropicCount:    "https://api.anthropic.com/v1/messages/count_tokens",
		}},
		{"gemini", []string{
			"", "https://generativelanguage.googleapis.com", "https://generativelanguage.googleapis.com/", "https://generativelanguage.googleapis.com/v1beta",
			"https://generativelanguage.googleapis.com/v1beta/openai/",
		}, map[dialect.Name]string{
			dialect.Gemini:           "https://generativelanguage.googleapis.com/v1beta/models/m-1:generateContent",
			dialect.GeminiEmbeddings: "https://generativelanguage.googleapis.com/v1beta/models/m-1:embedContent",
			upstream.EmbedBatch:      "https://generativelanguage.googleapis.com/v1beta/models/m-1:batchEmbedContents",
			dialect.GeminiCount:      "https://generativelanguage.googleapis.com/v1beta/models/m-1:countTokens",
		}},
		{"xai", []string{"", "https://api.x.ai/v1", "https://api.x.ai/v1/", "https://api.x.ai"}, map[dialect.Name]string{
			chat: "https://api.x.ai/v1/chat/completions", completions: "https://api.x.ai/v1/completions",
			embeddings: "https://api.x.ai/v1/embeddings", responses: "https://api.x.ai/v1/responses",
		}},
		{"groq", []string{"", "https://api.groq.com/openai/v1", "https://api.groq.com/openai/v1/", "https://api.groq.com"}, map[dialect.Name]string{
			chat: "https://api.groq.com/openai/v1/chat/completions", responses: "https://api.groq.com/openai/v1/responses",
		}},
		{"deepseek", []string{"", "https://api.deepseek.com", "https://api.deepseek.com/", "https://api.deepseek.com/v1", "https://api.deepseek.com/beta"}, map[dialect.Name]string{
			chat: "https://api.deepseek.com/chat/completions", completions: "https://api.deepseek.com/beta/completions",
		}},
		{"mistral", []string{"", "https://api.mistral.ai", "https://api.mistral.ai/v1", "https://api.mistral.ai/v1/"}, map[dialect.Name]string{
			chat: "https://api.mistral.ai/v1/chat/completions", embeddings: "https://api.mistral.ai/v1/embeddings",
		}},
		{"openrouter", []string{"", "https://openrouter.ai/api/v1", "https://openrouter.ai/api/v1/"}, map[dialect.Name]string{
			chat: "https://openrouter.ai/api/v1/chat/completions", completions: "https://openrouter.ai/api/v1/completions",
			embeddings: "https://openrouter.ai/api/v1/embeddings", responses: "https://openrouter.ai/api/v1/responses",
		}},
		{"ollama", []string{"", "http://127.0.0.1:11434", "http://127.0.0.1:11434/", "http://127.0.0.1:11434/v1", "http://127.0.0.1:11434/v1/"}, map[dialect.Name]string{
			chat: "http://127.0.0.1:11434/v1/chat/completions", completions: "http://127.0.0.1:11434/v1/completions",
			embeddings: "http://127.0.0.1:11434/v1/embeddings", responses: "http://127.0.0.1:11434/v1/responses",
		}},
		{"of-my-own", []string{"https://llm.example/a/b", "https://llm.example/a/b/"}, map[dialect.Name]string{
			chat: "https://llm.example/a/b/chat/completions", completions: "https://llm.example/a/b/completions",
			embeddings: "https://llm.example/a/b/embeddings", responses: "https://llm.example/a/b/responses",
		}},
		{"at-the-root", []string{"https://llm.example", "https://llm.example/"}, map[dialect.Name]string{
			chat: "https://llm.example/chat/completions", completions: "https://llm.example/completions",
			embeddings: "https://llm.example/embeddings", responses: "https://llm.example/responses",
		}},
	}
	tested := map[string]bool{}
	for _, tt := range tests {
		tested[tt.provider] = true
		for _, base := range tt.bases {
			t.Run(tt.provider+" "+base, func(t *testing.T) {
				p := newProvider(t, upstream.Config{Name: tt.provider, BaseURL: base})
				for _, format := range allFormats {
					endpoint := p.Endpoint(format, "m-1", false)
					if tt.want[format] == "" {
						require.Nil(t, endpoint)
						continue
					}
					require.Equal(t, tt.want[format], endpoint.String())
					require.True(t, strings.HasPrefix(endpoint.RequestURI(), "/"), "a request line can be made of it")
				}
			})
		}
	}
	for name := range upstream.Presets {
		require.True(t, tested[name], "%s is tested", name)
	}
}

// A provider of another name can take a preset's quirks.
func TestPresetByName(t *testing.T) {
	p := newProvider(t, upstream.Config{Name: "mistral-eu", Preset: "mistral", BaseURL: "https://eu.mistral.example"})
	require.Equal(t, "https://eu.mistral.example/v1/chat/completions", p.Endpoint(chat, "m-1", false).String())
	require.False(t, p.AskUsage)
	require.Equal(t, "max_tokens", p.MaxTokensField)
	openai := newProvider(t, upstream.Config{Name: "openai"})
	require.True(t, openai.AskUsage)
	require.Equal(t, "max_completion_tokens", openai.MaxTokensField)
}

func TestNewRefuses(t *testing.T) {
	const key = "sk-very-secret"
	tests := map[string]upstream.Config{
		"no key":           {Name: "openai", Transport: http.DefaultTransport},
		"no transport":     {Name: "openai", Keys: keys(key)},
		"no preset":        {Name: "acme", Keys: keys(key), Transport: http.DefaultTransport},
		"no scheme":        {Name: "openai", BaseURL: "api.openai.com/v1", Keys: keys(key), Transport: http.DefaultTransport},
		"another scheme":   {Name: "openai", BaseURL: "ftp://api.openai.com", Keys: keys(key), Transport: http.DefaultTransport},
		"no host":          {Name: "openai", BaseURL: "https:///v1", Keys: keys(key), Transport: http.DefaultTransport},
		"a user":           {Name: "openai", BaseURL: "https://" + key + "@api.openai.com", Keys: keys(key), Transport: http.DefaultTransport},
		"a query":          {Name: "openai", BaseURL: "https://api.openai.com/v1?key=" + key, Keys: keys(key), Transport: http.DefaultTransport},
		"a fragment":       {Name: "openai", BaseURL: "https://api.openai.com/v1#" + key, Keys: keys(key), Transport: http.DefaultTransport},
		"a control letter": {Name: "openai", BaseURL: "https://api.openai.com/\x01" + key, Keys: keys(key), Transport: http.DefaultTransport},
	}
	for name, config := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := upstream.New(config)
			require.ErrorContains(t, err, "provider "+config.Name)
			require.NotContains(t, err.Error(), key)
			require.Equal(t, name == "no key", fmt.Sprint(err) == "provider openai: "+upstream.ErrNoKey.Error())
		})
	}
	p, err := upstream.New(upstream.Config{Name: "ollama", Transport: http.DefaultTransport})
	require.NoError(t, err, "a server of one's own needs no key")
	h := http.Header{}
	require.NoError(t, p.Authorize(t.Context(), h, true))
	require.Empty(t, h)
}

// A key goes to its provider's own scheme and host only, as do its headers.
func TestRebase(t *testing.T) {
	p := newProvider(t, upstream.Config{Name: "openai", Headers: http.Header{"Openai-Organization": {"org-1"}}})
	tests := map[string]struct {
		base, want string
		same       bool
	}{
		"same host":         {"https://api.openai.com/v2", "https://api.openai.com/v2/chat/completions", true},
		"same, no version":  {"https://api.openai.com", "https://api.openai.com/v1/chat/completions", true},
		"another scheme":    {"http://api.openai.com/v1", "http://api.openai.com/v1/chat/completions", false},
		"another port":      {"https://api.openai.com:8443/v1", "https://api.openai.com:8443/v1/chat/completions", false},
		"another host":      {"https://evil.example/v1", "https://evil.example/v1/chat/completions", false},
		"a host that looks": {"https://api.openai.com.evil.example/v1", "https://api.openai.com.evil.example/v1/chat/completions", false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			endpoint, same, err := p.Rebase(chat, "m-1", false, tt.base)
			require.NoError(t, err)
			require.Equal(t, tt.want, endpoint.String())
			require.Equal(t, tt.same, same)
			h := http.Header{}
			require.NoError(t, p.Authorize(t.Context(), h, same))
			require.Equal(t, tt.same, len(h) > 0, "%v", h)
		})
	}
	_, _, err := p.Rebase(chat, "m-1", false, "https://user@api.openai.com")
	require.Error(t, err)
	anthropic := newProvider(t, upstream.Config{Name: "anthropic"})
	endpoint, _, err := anthropic.Rebase(embeddings, "m-1", false, "https://x.example")
	require.NoError(t, err)
	require.Nil(t, endpoint, "a format that is not spoken")
}

// Keys take turns, also when many ask at once.
func TestKeyRotation(t *testing.T) {
	p := newProvider(t, upstream.Config{Name: "openai", Keys: keys("a", "b", "c")})
	var mu sync.Mutex // guards counts
	counts := map[string]int{}
	var running sync.WaitGroup
	for range 30 {
		running.Go(func() {
			for range 10 {
				h := http.Header{}
				require.NoError(t, p.Authorize(t.Context(), h, true))
				mu.Lock()
				counts[h.Get("Authorization")]++
				mu.Unlock()
			}
		})
	}
	running.Wait()
	require.Equal(t, map[string]int{"Bearer a": 100, "Bearer b": 100, "Bearer c": 100}, counts)
}

func TestModels(t *testing.T) {
	p := newProvider(t, upstream.Config{Name: "openai", Models: []string{"b", "a"}})
	models := p.Models()
	slices.Sort(models)
	require.Equal(t, []string{"a", "b"}, models)
	require.True(t, p.Serves("a"))
	require.False(t, p.Serves("c"))
	p = newProvider(t, upstream.Config{Name: "openai"})
	require.Nil(t, p.Models())
	require.True(t, p.Serves("anything"))
}

func TestTimeouts(t *testing.T) {
	p := newProvider(t, upstream.Config{Name: "openai", Timeouts: upstream.Timeouts{BetweenBytes: 1}})
	require.Equal(t, upstream.Timeouts{FirstByte: upstream.DefaultFirstByte, BetweenBytes: 1, Total: upstream.DefaultTotal}, p.Timeouts)
}
