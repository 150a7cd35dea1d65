package upstream_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/dialect"
	"github.com/financecommander/tollgate/internal/secret"
	"github.com/financecommander/tollgate/internal/upstream"
)

// A model's name, which a caller may have made up, leads to a model or nowhere.
func TestModelsInPaths(t *testing.T) {
	google := newProvider(t, upstream.Config{Name: "gemini"})
	vertex := newProvider(t, upstream.Config{Name: "vertex", Project: "example.com:p-1", Location: "europe-west4"})
	azure := newProvider(t, upstream.Config{
		Name: "azure", BaseURL: "https://name.openai.azure.com", APIVersion: "2024-10-21",
		Deployments: map[string]string{"a/b": "c"},
	})
	const (
		models    = "https://generativelanguage.googleapis.com/v1beta/"
		published = "https://europe-west4-aiplatform.googleapis.com/v1/projects/example.com:p-1/locations/europe-west4/publishers/"
		deployed  = "https://name.openai.azure.com/openai/deployments/"
	)
	for _, tt := range []struct {
		p      *upstream.Provider
		format dialect.Name
		model  string
		stream bool
		want   string // "": none
	}{
		{google, gemini, "gemini-2.5-flash", false, models + "models/gemini-2.5-flash:generateContent"},
		{google, gemini, "models/gemini-2.5-flash", false, models + "models/gemini-2.5-flash:generateContent"},
		{google, gemini, "tunedModels/mine-1", true, models + "tunedModels/mine-1:streamGenerateContent?alt=sse"},
		{google, gemini, "models/../files/x", false, ""},
		{google, gemini, "tunedModels/a/b", false, ""},
		{google, gemini, "cachedContents/x", false, ""},
		{google, gemini, "x:countTokens", false, ""},
		{google, gemini, "models/", false, ""},
		{google, gemini, "models/models/x", false, ""},

		{vertex, gemini, "gemini-2.5-pro", true, published + "google/models/gemini-2.5-pro:streamGenerateContent?alt=sse"},
		{vertex, gemini, "publishers/google/models/gemini-2.5-pro", false, published + "google/models/gemini-2.5-pro:generateContent"},
		{vertex, dialect.GeminiCount, "gemini-2.5-pro", false, published + "google/models/gemini-2.5-pro:countTokens"},
		{vertex, messages, "gemini-2.5-pro", false, ""},
		{vertex, messages, "claude-sonnet-4-5@20250929", false, published + "anthropic/models/claude-sonnet-4-5@20250929:rawPredict"},
		{vertex, messages, "publishers/anthropic/models/claude-opus-4-6", true, published + "anthropic/models/claude-opus-4-6:streamRawPredict"},
		{vertex, gemini, "claude-opus-4-6", false, ""},
		{vertex, dialect.GeminiCount, "claude-opus-4-6", false, ""},
		{vertex, messages, "publishers/anthropic/models/claude/../../x", true, ""},

		{azure, chat, "gpt-4o", false, deployed + "gpt-4o/chat/completions?api-version=2024-10-21"},
		{azure, chat, "a/b", false, deployed + "c/chat/completions?api-version=2024-10-21"},
		{azure, chat, "b/c", false, ""},
		{azure, responses, "b/c", false, "https://name.openai.azure.com/openai/responses?api-version=2024-10-21"},
	} {
		endpoint := tt.p.Endpoint(tt.format, tt.model, tt.stream)
		if tt.want == "" {
			require.Nil(t, endpoint, tt.model)
			continue
		}
		require.NotNil(t, endpoint, tt.model)
		require.Equal(t, tt.want, endpoint.String())
	}
	for _, location := range []string{"global", "us", "eu"} {
		p := newProvider(t, upstream.Config{Name: "vertex", Project: "p-1", Location: location})
		host := map[string]string{"global": "aiplatform.googleapis.com", "us": "aiplatform.us.rep.googleapis.com", "eu": "aiplatform.eu.rep.googleapis.com"}[location]
		require.Equal(t, "https://"+host+"/v1/projects/p-1/locations/"+location+"/publishers/google/models/m:generateContent", p.Endpoint(gemini, "m", false).String())
	}
}

// No two requests share a URL that one of them could change.
func TestEndpointsAreNotMixedUp(t *testing.T) {
	p := newProvider(t, upstream.Config{Name: "gemini"})
	first := p.Endpoint(gemini, "a", false)
	second := p.Endpoint(gemini, "b", false)
	require.Equal(t, "/v1beta/models/a:generateContent", first.Path)
	require.Equal(t, "/v1beta/models/b:generateContent", second.Path)
}

func FuzzModelInPath(f *testing.F) {
	for _, model := range []string{
		"gemini-2.5-flash", "tunedModels/x", "models/../x", "%2e%2e/x", "a?key=b", "a#b", "a\r\nHost: x", "..", ".", "",
		"publishers/anthropic/models/claude-3@1", "//evil.example", "@evil.example", "a:b", "\x00", "ä", strings.Repeat("a", 300),
	} {
		f.Add(model)
	}
	providers := make(map[string]*upstream.Provider)
	for _, c := range []upstream.Config{
		{Name: "gemini", Keys: keys("k")},
		{Name: "vertex", Project: "p-1"},
		{Name: "azure", BaseURL: "https://name.openai.azure.com", APIVersion: "2024-10-21", Keys: []secret.Secret{secret.New("k")}},
	} {
		c.Transport = http.DefaultTransport
		p, err := upstream.New(c)
		require.NoError(f, err)
		providers[c.Name] = p
	}
	f.Fuzz(func(t *testing.T, model string) {
		for name, p := range providers {
			for _, format := range allFormats {
				for _, stream := range []bool{false, true} {
					endpoint := p.Endpoint(format, model, stream)
					if endpoint == nil {
						continue
					}
					plain := p.Endpoint(format, map[bool]string{true: "claude-x", false: "x"}[strings.Contains(endpoint.Path, "/anthropic/")], stream)
					again, err := url.Parse(endpoint.String())
					require.NoError(t, err, name)
					require.Equal(t, endpoint.Path, again.Path)
					require.Equal(t, plain.Host, again.Host)
					require.Equal(t, plain.RawQuery, again.RawQuery)
					require.Empty(t, again.Fragment)
					require.Equal(t, strings.Count(plain.Path, "/"), strings.Count(again.EscapedPath(), "/"), "as deep as any model's: %s", again)
					require.NotContains(t, again.Path, "..")
					require.Equal(t, plain.Path[strings.LastIndexAny(plain.Path, ":/"):], again.Path[strings.LastIndexAny(again.Path, ":/"):], "the same method")
				}
			}
		}
	})
}

func BenchmarkEndpoint(b *testing.B) {
	for name, model := range map[string]string{"openai": "gpt-4o", "gemini": "gemini-2.5-flash"} {
		p, err := upstream.New(upstream.Config{Name: name, Keys: keys("k"), Transport: http.DefaultTransport})
		require.NoError(b, err)
		format := p.Formats()[0]
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if p.Endpoint(format, model, true) == nil {
					b.Fatal("no endpoint")
				}
			}
		})
	}
}
