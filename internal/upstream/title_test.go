package upstream_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/dialect"
	"github.com/financecommander/tollgate/internal/upstream"
)

func TestTitle(t *testing.T) {
	for name := range upstream.Presets {
		require.NotEqual(t, name, upstream.Title(name), "every preset has a name for people")
	}
	require.Equal(t, "our-own", upstream.Title("our-own"))
	require.Equal(t, "Demo", upstream.Title(upstream.DemoName))
}

func TestTakesDocuments(t *testing.T) {
	takes := map[string][]dialect.Name{
		"openai":     {dialect.OpenAIChat, dialect.OpenAIResponses},
		"azure":      {dialect.OpenAIResponses},
		"anthropic":  {dialect.AnthropicMessages},
		"gemini":     {dialect.Gemini},
		"vertex":     {dialect.Gemini, dialect.AnthropicMessages},
		"openrouter": {dialect.OpenAIChat, dialect.AnthropicMessages},
	}
	for name, preset := range upstream.Presets {
		require.Equal(t, takes[name], preset.Documents, name)
		for _, format := range preset.Documents {
			require.Contains(t, preset.Formats, format, name)
		}
	}
}
