package upstream_test

import (
	"cmp"
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
	messages    = dialect.AnthropicMessages
	gemini      = dialect.Gemini
)

// allFormats are the formats a provider may be asked in.
var allFormats = []dialect.Name{
	chat, completions, embeddings, responses, dialect.OpenAICount, messages, dialect.AnthropicCount,
	gemini, dialect.GeminiEmbeddings, upstream.EmbedBatch, dialect.GeminiCount,
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
	if c.Keys == nil && c.Name != "vertex" && c.Preset != "vertex" {
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
// SDKs and its documentation know. Streams go to the same place unless another
// is named.
func TestEndpoints(t *testing.T) {
	const (
		google = "https://generativelanguage.googleapis.com/v1beta/models/m-1"
		vertex = "https://aiplatform.googleapis.com/v1/projects/p-1/locations/global/publishers/google/models/m-1"
		azure  = "https://name.openai.azure.com/openai/v1"
	)
	tests := []struct {
		config upstream.Config
		bases  []string // "" is the default; all mean the same
		want   map[dialect.Name]string
		stream map[dialect.Name]string
	}{
		{upstream.Config{Name: "openai"}, []string{"", "https://api.openai.com/v1", "https://api.openai.com/v1/", "https://api.openai.com", "https://api.openai.com/", " https://api.openai.com/v1\n"}, map[dialect.Name]string{
			chat: "https://api.openai.com/v1/chat/completions", completions: "https://api.openai.com/v1/completions",
			embeddings: "https://api.openai.com/v1/embeddings", responses: "https://api.openai.com/v1/responses",
			dialect.OpenAICount: "https://api.openai.com/v1/responses/input_tokens",
		}, nil},
		{upstream.Config{Name: "azure"}, []string{
			"https://name.openai.azure.com", "https://name.openai.azure.com/", "https://name.openai.azure.com/openai",
			"https://name.openai.azure.com/openai/v1", "https://name.openai.azure.com/openai/v1/",
		}, map[dialect.Name]string{
			chat: azure + "/chat/completions", completions: azure + "/completions", embeddings: azure + "/embeddings", responses: azure + "/responses",
		}, nil},
		{upstream.Config{Name: "azure", APIVersion: "preview"}, []string{"https://name.openai.azure.com"}, map[dialect.Name]string{
			chat: azure + "/chat/completions?api-version=preview", completions: azure + "/completions?api-version=preview",
			embeddings: azure + "/embeddings?api-version=preview", responses: azure + "/responses?api-version=preview",
		}, nil},
		{upstream.Config{Name: "azure", APIVersion: "2024-10-21", Deployments: map[string]string{"m-1": "our-m"}}, []string{"https://name.openai.azure.com"}, map[dialect.Name]string{
			chat:        "https://name.openai.azure.com/openai/deployments/our-m/chat/completions?api-version=2024-10-21",
			completions: "https://name.openai.azure.com/openai/deployments/our-m/completions?api-version=2024-10-21",
			embeddings:  "https://name.openai.azure.com/openai/deployments/our-m/embeddings?api-version=2024-10-21",
			responses:   "https://name.openai.azure.com/openai/responses?api-version=2024-10-21",
		}, nil},
		{upstream.Config{Name: "anthropic"}, []string{"", "https://api.anthropic.com", "https://api.anthropic.com/", "https://api.anthropic.com/v1", "https://api.anthropic.com/v1/"}, map[dialect.Name]string{
			messages: "https://api.anthropic.com/v1/messages", dialect.AnthropicCount: "https://api.anthropic.com/v1/messages/count_tokens",
		}, nil},
		{upstream.Config{Name: "gemini"}, []string{
			"", "https://generativelanguage.googleapis.com", "https://generativelanguage.googleapis.com/", "https://generativelanguage.googleapis.com/v1beta",
			"https://generativelanguage.googleapis.com/v1beta/openai/",
		}, map[dialect.Name]string{
			gemini: google + ":generateContent", dialect.GeminiEmbeddings: google + ":embedContent",
			upstream.EmbedBatch: google + ":batchEmbedContents", dialect.GeminiCount: google + ":countTokens",
		}, map[dialect.Name]string{gemini: google + ":streamGenerateContent?alt=sse"}},
		{upstream.Config{Name: "vertex", Project: "p-1"}, []string{"", "https://aiplatform.googleapis.com", "https://aiplatform.googleapis.com/"}, map[dialect.Name]string{
			gemini: vertex + ":generateContent", dialect.GeminiCount: vertex + ":countTokens",
		}, map[dialect.Name]string{gemini: vertex + ":streamGenerateContent?alt=sse"}},
		{upstream.Config{Name: "xai"}, []string{"", "https://api.x.ai/v1", "https://api.x.ai/v1/", "https://api.x.ai"}, map[dialect.Name]string{
			chat: "https://api.x.ai/v1/chat/completions", completions: "https://api.x.ai/v1/completions",
			embeddings: "https://api.x.ai/v1/embeddings", responses: "https://api.x.ai/v1/responses",
		}, nil},
		{upstream.Config{Name: "groq"}, []string{"", "https://api.groq.com/openai/v1", "https://api.groq.com/openai/v1/", "https://api.groq.com"}, map[dialect.Name]string{
			chat: "https://api.groq.com/openai/v1/chat/completions", responses: "https://api.groq.com/openai/v1/responses",
		}, nil},
		{upstream.Config{Name: "deepseek"}, []string{
			"", "https://api.deepseek.com", "https://api.deepseek.com/", "https://api.deepseek.com/v1", "https://api.deepseek.com/beta",
			"https://api.deepseek.com/anthropic",
		}, map[dialect.Name]string{
			chat: "https://api.deepseek.com/chat/completions", completions: "https://api.deepseek.com/beta/completions",
			responses: "https://api.deepseek.com/responses", messages: "https://api.deepseek.com/anthropic/v1/messages",
		}, nil},
		{upstream.Config{Name: "mistral"}, []string{"", "https://api.mistral.ai", "https://api.mistral.ai/v1", "https://api.mistral.ai/v1/"}, map[dialect.Name]string{
			chat: "https://api.mistral.ai/v1/chat/completions", embeddings: "https://api.mistral.ai/v1/embeddings",
		}, nil},
		{upstream.Config{Name: "moonshot"}, []string{"", "https://api.moonshot.ai", "https://api.moonshot.ai/v1"}, map[dialect.Name]string{
			chat: "https://api.moonshot.ai/v1/chat/completions",
		}, nil},
		{upstream.Config{Name: "cerebras"}, []string{"", "https://api.cerebras.ai", "https://api.cerebras.ai/v1"}, map[dialect.Name]string{
			chat: "https://api.cerebras.ai/v1/chat/completions", completions: "https://api.cerebras.ai/v1/completions",
		}, nil},
		{upstream.Config{Name: "alibaba"}, []string{"", "https://dashscope-intl.aliyuncs.com", "https://dashscope-intl.aliyuncs.com/compatible-mode/v1"}, map[dialect.Name]string{
			chat:       "https://dashscope-intl.aliyuncs.com/compatible-mode/v1/chat/completions",
			embeddings: "https://dashscope-intl.aliyuncs.com/compatible-mode/v1/embeddings",
		}, nil},
		{upstream.Config{Name: "zai"}, []string{"", "https://api.z.ai", "https://api.z.ai/api/paas/v4/"}, map[dialect.Name]string{
			chat: "https://api.z.ai/api/paas/v4/chat/completions",
		}, nil},
		{upstream.Config{Name: "perplexity"}, []string{"", "https://api.perplexity.ai", "https://api.perplexity.ai/"}, map[dialect.Name]string{
			chat: "https://api.perplexity.ai/chat/completions",
		}, nil},
		{upstream.Config{Name: "huggingface"}, []string{"", "https://router.huggingface.co", "https://router.huggingface.co/v1"}, map[dialect.Name]string{
			chat: "https://router.huggingface.co/v1/chat/completions", responses: "https://router.huggingface.co/v1/responses",
		}, nil},
		{upstream.Config{Name: "openrouter"}, []string{"", "https://openrouter.ai/api/v1", "https://openrouter.ai/api/v1/"}, map[dialect.Name]string{
			chat: "https://openrouter.ai/api/v1/chat/completions", completions: "https://openrouter.ai/api/v1/completions",
			embeddings: "https://openrouter.ai/api/v1/embeddings", responses: "https://openrouter.ai/api/v1/responses",
			messages: "https://openrouter.ai/api/v1/messages",
		}, nil},
		{upstream.Config{Name: "ollama"}, []string{"", "http://127.0.0.1:11434", "http://127.0.0.1:11434/", "http://127.0.0.1:11434/v1", "http://127.0.0.1:11434/v1/"}, map[dialect.Name]string{
			chat: "http://127.0.0.1:11434/v1/chat/completions", completions: "http://127.0.0.1:11434/v1/completions",
			embeddings: "http://127.0.0.1:11434/v1/embeddings", responses: "http://127.0.0.1:11434/v1/responses",
			messages: "http://127.0.0.1:11434/v1/messages",
		}, nil},
		{upstream.Config{Name: "lmstudio"}, []string{"", "http://127.0.0.1:1234", "http://127.0.0.1:1234/v1"}, map[dialect.Name]string{
			chat: "http://127.0.0.1:1234/v1/chat/completions", completions: "http://127.0.0.1:1234/v1/completions",
			embeddings: "http://127.0.0.1:1234/v1/embeddings", responses: "http://127.0.0.1:1234/v1/responses",
			messages: "http://127.0.0.1:1234/v1/messages",
		}, nil},
		{upstream.Config{Name: "of-my-own"}, []string{"https://llm.example/a/b", "https://llm.example/a/b/"}, map[dialect.Name]string{
			chat: "https://llm.example/a/b/chat/completions", completions: "https://llm.example/a/b/completions",
			embeddings: "https://llm.example/a/b/embeddings", responses: "https://llm.example/a/b/responses",
		}, nil},
		{upstream.Config{Name: "at-the-root"}, []string{"https://llm.example", "https://llm.example/"}, map[dialect.Name]string{
			chat: "https://llm.example/chat/completions", completions: "https://llm.example/completions",
			embeddings: "https://llm.example/embeddings", responses: "https://llm.example/responses",
		}, nil},
		{upstream.Config{Name: "a-polyglot", Formats: []dialect.Name{messages, gemini}}, []string{"https://llm.example/v1"}, map[dialect.Name]string{
			completions: "https://llm.example/v1/completions", embeddings: "https://llm.example/v1/embeddings",
			messages: "https://llm.example/v1/messages", gemini: "https://llm.example/v1/models/m-1:generateContent",
		}, map[dialect.Name]string{gemini: "https://llm.example/v1/models/m-1:streamGenerateContent?alt=sse"}},
		{upstream.Config{Name: "openai", Formats: []dialect.Name{chat}}, []string{""}, map[dialect.Name]string{
			chat: "https://api.openai.com/v1/chat/completions", completions: "https://api.openai.com/v1/completions",
			embeddings: "https://api.openai.com/v1/embeddings",
		}, nil},
	}
	tested := map[string]bool{}
	for _, tt := range tests {
		tested[tt.config.Name] = true
		for _, base := range tt.bases {
			t.Run(tt.config.Name+" "+tt.config.APIVersion+" "+base, func(t *testing.T) {
				config := tt.config
				config.BaseURL = base
				p := newProvider(t, config)
				for _, format := range allFormats {
					for stream, want := range map[bool]string{false: tt.want[format], true: cmp.Or(tt.stream[format], tt.want[format])} {
						endpoint := p.Endpoint(format, "m-1", stream)
						if want == "" {
							require.Nil(t, endpoint, format)
							continue
						}
						require.Equal(t, want, endpoint.String())
						require.True(t, strings.HasPrefix(endpoint.RequestURI(), "/"), "a request line can be made of it")
						// A specialist's own base URL leads to the same places.
						rebased, same, err := p.Rebase(format, "m-1", stream, cmp.Or(base, upstream.Presets[tt.config.Name].BaseURL, "https://aiplatform.googleapis.com"))
						require.NoError(t, err)
						require.True(t, same)
						require.Equal(t, want, rebased.String())
					}
				}
				for _, format := range p.Formats() {
					require.Equal(t, format == messages && tt.config.Name == "vertex", p.Endpoint(format, "m-1", false) == nil, "%s: models can be asked in it", format)
				}
			})
		}
	}
	for name := range upstream.Presets {
		require.True(t, tested[name], "%s is tested", name)
	}
}

// The formats to translate to, the best one first.
func TestFormats(t *testing.T) {
	for name, want := range map[string][]dialect.Name{
		"openai": {chat, responses}, "anthropic": {messages}, "gemini": {gemini}, "mistral": {chat}, "acme": {chat},
		"openrouter": {chat, responses, messages}, "vertex": {gemini, messages}, "azure": {chat, responses},
	} {
		config := upstream.Config{Name: name, Project: "p-1"}
		if name == "acme" || name == "azure" {
			config.BaseURL = "https://llm.example/v1"
		}
		require.Equal(t, want, newProvider(t, config).Formats(), name)
	}
	p := newProvider(t, upstream.Config{Name: "openai", Formats: []dialect.Name{responses, chat}})
	require.Equal(t, []dialect.Name{responses, chat}, p.Formats())
	require.Equal(t, []dialect.Name{chat}, upstream.NewDemo().Formats())
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
		"no such preset":   {Name: "acme", Preset: "opnai", BaseURL: "https://llm.example", Keys: keys(key), Transport: http.DefaultTransport},
		"no such auth":     {Name: "openai", Auth: "basic", Keys: keys(key), Transport: http.DefaultTransport},
		"no such format":   {Name: "openai", Formats: []dialect.Name{"portal_chat"}, Keys: keys(key), Transport: http.DefaultTransport},
		"a foreign format": {Name: "openai", Formats: []dialect.Name{messages}, Keys: keys(key), Transport: http.DefaultTransport},
		"azure, no name":   {Name: "azure", Keys: keys(key), Transport: http.DefaultTransport},
		"a key of vertex":  {Name: "vertex", Project: "p-1", Keys: keys(key), Transport: http.DefaultTransport},
		"a bad project":    {Name: "vertex", Project: "../" + key, Transport: http.DefaultTransport},
		"a bad location":   {Name: "vertex", Project: "p-1", Location: key + ".evil.example/", Transport: http.DefaultTransport},
		"no credentials":   {Name: "vertex", Credentials: secret.New(`{"type":"service_account","private_key":"` + key + `"`), Transport: http.DefaultTransport},
		"of another type":  {Name: "vertex", Credentials: secret.New(`{"type":"authorized_user","refresh_token":"` + key + `"}`), Transport: http.DefaultTransport},
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
