package upstream

import "github.com/financecommander/tollgate/internal/dialect"

// Preset is what is known of a provider beforehand.
type Preset struct {
	BaseURL     string   // the default, as the provider's own SDK takes it
	BaseSuffix  string   // added to a base URL without a path
	BaseTrim    []string // cut in turn from a base URL that ends in it
	Auth        Auth     // default AuthBearer
	KeyOptional bool     // works without a key: a server of one's own
	Endpoints   map[dialect.Name]string
	// MaxTokensField is the chat member that limits generated tokens. OpenAI's
	// newer models refuse `max_tokens`; most others know only that.
	MaxTokensField string
	// NoStreamOptions: refuses stream_options, or reports usage without it.
	NoStreamOptions bool
}

// Presets are the providers known by name. Each speaks OpenAI's formats; the
// source of every path is the provider's own API reference.
var Presets = map[string]Preset{
	// https://platform.openai.com/docs/api-reference
	"openai": {
		BaseURL: "https://api.openai.com/v1", BaseSuffix: "/v1", MaxTokensField: "max_completion_tokens",
		Endpoints: openAI(dialect.OpenAIChat, dialect.OpenAICompletions, dialect.OpenAIEmbeddings, dialect.OpenAIResponses),
	},
	// https://docs.anthropic.com/en/api/openai-sdk
	"anthropic": {
		BaseURL: "https://api.anthropic.com", BaseTrim: []string{"/v1"},
		Endpoints: map[dialect.Name]string{dialect.OpenAIChat: "/v1/chat/completions"},
	},
	// https://ai.google.dev/gemini-api/docs/openai
	"gemini": {
		BaseURL: "https://generativelanguage.googleapis.com", BaseTrim: []string{"/openai", "/v1beta"},
		Endpoints: map[dialect.Name]string{
			dialect.OpenAIChat:       "/v1beta/openai/chat/completions",
			dialect.OpenAIEmbeddings: "/v1beta/openai/embeddings",
		},
	},
	// https://docs.x.ai/docs/api-reference
	"xai": {
		BaseURL: "https://api.x.ai/v1", BaseSuffix: "/v1",
		Endpoints: openAI(dialect.OpenAIChat, dialect.OpenAICompletions, dialect.OpenAIEmbeddings, dialect.OpenAIResponses),
	},
	// https://console.groq.com/docs/openai
	"groq": {
		BaseURL: "https://api.groq.com/openai/v1", BaseSuffix: "/openai/v1",
		MaxTokensField: "max_completion_tokens",
		Endpoints:      openAI(dialect.OpenAIChat, dialect.OpenAIResponses),
	},
	// https://api-docs.deepseek.com
	"deepseek": {
		BaseURL: "https://api.deepseek.com", BaseTrim: []string{"/v1", "/beta"},
		Endpoints: map[dialect.Name]string{
			dialect.OpenAIChat:        "/chat/completions",
			dialect.OpenAICompletions: "/beta/completions",
		},
	},
	// https://docs.mistral.ai/api: streams end with usage unasked.
	"mistral": {
		BaseURL: "https://api.mistral.ai/v1", BaseSuffix: "/v1", NoStreamOptions: true,
		Endpoints: openAI(dialect.OpenAIChat, dialect.OpenAIEmbeddings),
	},
	// https://openrouter.ai/docs/api-reference
	"openrouter": {
		BaseURL: "https://openrouter.ai/api/v1", BaseSuffix: "/api/v1",
		Endpoints: openAI(dialect.OpenAIChat, dialect.OpenAICompletions, dialect.OpenAIEmbeddings, dialect.OpenAIResponses),
	},
	// https://docs.ollama.com/api/openai-compatibility
	"ollama": {
		BaseURL: "http://127.0.0.1:11434/v1", BaseSuffix: "/v1", KeyOptional: true,
		Endpoints: openAI(dialect.OpenAIChat, dialect.OpenAICompletions, dialect.OpenAIEmbeddings, dialect.OpenAIResponses),
	},
}

func openAI(names ...dialect.Name) map[dialect.Name]string {
	paths := map[dialect.Name]string{
		dialect.OpenAIChat:        "/chat/completions",
		dialect.OpenAICompletions: "/completions",
		dialect.OpenAIEmbeddings:  "/embeddings",
		dialect.OpenAIResponses:   "/responses",
	}
	spoken := make(map[dialect.Name]string, len(names))
	for _, name := range names {
		spoken[name] = paths[name]
	}
	return spoken
}
