package upstream_test

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/dialect"
	"github.com/financecommander/tollgate/internal/upstream"
)

// How each provider is told the key.
func TestAuthorize(t *testing.T) {
	bearer := http.Header{"Authorization": {"Bearer key-1"}}
	want := map[string]http.Header{
		"anthropic": {"X-Api-Key": {"key-1"}, "Anthropic-Version": {"2023-06-01"}},
		"gemini":    {"X-Goog-Api-Key": {"key-1"}},
		"azure":     {"Api-Key": {"key-1"}},
	}
	for name := range upstream.Presets {
		if name == "vertex" {
			continue // has tokens, not keys
		}
		config := upstream.Config{Name: name}
		if name == "azure" {
			config.BaseURL = "https://name.openai.azure.com"
		}
		expected := want[name]
		if expected == nil {
			expected = bearer
		}
		h := http.Header{}
		require.NoError(t, newProvider(t, config).Authorize(t.Context(), h, true))
		require.Equal(t, expected, h, name)
	}
	for auth, expected := range map[upstream.Auth]http.Header{
		upstream.AuthBearer: bearer, upstream.AuthAPIKey: {"X-Api-Key": {"key-1"}}, upstream.AuthGoogKey: {"X-Goog-Api-Key": {"key-1"}},
		upstream.AuthAzureKey: {"Api-Key": {"key-1"}}, upstream.AuthNone: {},
	} {
		h := http.Header{}
		p := newProvider(t, upstream.Config{Name: "azure", BaseURL: "https://name.openai.azure.com", Auth: auth})
		require.NoError(t, p.Authorize(t.Context(), h, true))
		require.Equal(t, expected, h, auth)
	}
	_, err := upstream.New(upstream.Config{Name: "lab", BaseURL: "http://lab.example", Auth: upstream.AuthNone, Transport: http.DefaultTransport})
	require.NoError(t, err, "no key is needed where none is sent")
}

// The version of Anthropic's API is no secret, and the client's own stays.
func TestAnthropicVersion(t *testing.T) {
	p := newProvider(t, upstream.Config{Name: "anthropic"})
	h := http.Header{}
	require.NoError(t, p.Authorize(t.Context(), h, false))
	require.Equal(t, http.Header{"Anthropic-Version": {"2023-06-01"}}, h)
	h = http.Header{"Anthropic-Version": {"2024-01-01"}}
	require.NoError(t, p.Authorize(t.Context(), h, true))
	require.Equal(t, "2024-01-01", h.Get("Anthropic-Version"))

	h = http.Header{}
	p = newProvider(t, upstream.Config{Name: "acme", BaseURL: "https://llm.example/v1", Formats: []dialect.Name{chat, messages}})
	require.NoError(t, p.Authorize(t.Context(), h, true))
	require.Equal(t, "2023-06-01", h.Get("Anthropic-Version"))
}

func TestPriceNames(t *testing.T) {
	for _, tt := range []struct {
		config      upstream.Config
		model, want string
	}{
		{upstream.Config{Name: "openai"}, "gpt-4o", "openai"},
		{upstream.Config{Name: "openai", BaseURL: "https://proxy.example/v1"}, "gpt-4o", "openai"},
		{upstream.Config{Name: "gemini"}, "gemini-2.5-pro", "google"},
		{upstream.Config{Name: "azure-eu", Preset: "azure", BaseURL: "https://eu.openai.azure.com"}, "gpt-4o", "openai"},
		{upstream.Config{Name: "vertex", Project: "p-1"}, "gemini-2.5-pro", "google"},
		{upstream.Config{Name: "vertex-eu", Preset: "vertex", Project: "p-1"}, "claude-sonnet-4-5@20250929", "anthropic"},
		{upstream.Config{Name: "second", Preset: "openai"}, "gpt-4o", "openai"},
		{upstream.Config{Name: "lab", Preset: "openai", BaseURL: "http://lab.example/v1"}, "gpt-4o", "lab"},
		{upstream.Config{Name: "acme", BaseURL: "http://lab.example/v1"}, "gpt-4o", "acme"},
	} {
		require.Equal(t, tt.want, newProvider(t, tt.config).PriceName(tt.model), tt.config.Name)
	}
	require.Equal(t, upstream.DemoName, upstream.NewDemo().PriceName("gpt-4o"))
}

func TestEncodeOptions(t *testing.T) {
	for name, want := range map[string]dialect.EncodeOptions{
		"openai":     {MaxTokensField: "max_completion_tokens", AskUsage: true, StrictChat: true},
		"mistral":    {MaxTokensField: "max_tokens", StrictChat: true},
		"openrouter": {MaxTokensField: "max_tokens", AskUsage: true},
		"alibaba":    {MaxTokensField: "max_tokens", AskUsage: true},
		"cerebras":   {MaxTokensField: "max_completion_tokens", AskUsage: true, StrictChat: true},
		"perplexity": {MaxTokensField: "max_tokens", StrictChat: true},
	} {
		require.Equal(t, want, newProvider(t, upstream.Config{Name: name}).EncodeOptions(chat), name)
	}
	vertex := newProvider(t, upstream.Config{Name: "vertex", Project: "p-1"})
	require.True(t, vertex.EncodeOptions(messages).Vertex)
	require.False(t, vertex.PassThrough(messages), "its bodies have a version and no model")
	require.True(t, vertex.EncodeOptions(gemini).Vertex, "its bodies may have labels")
	require.True(t, vertex.PassThrough(gemini))
	require.True(t, newProvider(t, upstream.Config{Name: "anthropic"}).PassThrough(messages))
}

func TestModelID(t *testing.T) {
	p := newProvider(t, upstream.Config{Name: "azure", BaseURL: "https://name.openai.azure.com", Deployments: map[string]string{"gpt-4o": "our-4o"}})
	require.Equal(t, "our-4o", p.ModelID("gpt-4o"))
	require.Equal(t, "gpt-4o-mini", p.ModelID("gpt-4o-mini"))
}
