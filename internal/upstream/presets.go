package upstream

import "github.com/financecommander/tollgate/internal/dialect"

// Preset is what is known of a provider beforehand.
type Preset struct {
	BaseURL     string   // the default, as the provider's own SDK takes it; "": each account has its own
	BaseSuffix  string   // added to a base URL without a path
	BaseTrim    []string // cut in turn from a base URL that ends in it
	Auth        Auth     // default AuthBearer
	KeyOptional bool     // works without a key: a server of one's own
	// Formats are the formats in which models can be asked, the best one for
	// translation first. A format with an endpoint that is not among them is
	// spoken with clients that speak it themselves, but not translated to.
	Formats []dialect.Name
	// Endpoints are paths below the base URL. `{model}` stands for the model.
	Endpoints map[dialect.Name]string
	// Streams are the paths of streamed calls where they differ.
	Streams map[dialect.Name]string
	// MaxTokensField is the chat member that limits generated tokens. OpenAI's
	// newer models refuse `max_tokens`; most others know only that.
	MaxTokensField string
	// NoStreamOptions: refuses stream_options, or reports usage without it.
	NoStreamOptions bool
	// CacheMarks: takes Anthropic's cache_control in the parts of a chat.
	CacheMarks bool
	// Prices is the provider's name in the price table, where it is another.
	Prices string
	// Version is the value of anthropic-version to send where a client sent none.
	Version string

	// inPath gives a model's name as it stands in a path; "" for one that
	// cannot. Default: [pathSegment].
	inPath func(model string) string
	// has says whether a model can be asked in a format, where that is not the
	// same for all models.
	has func(format dialect.Name, model string) bool
	// priceOf is Prices, where that is not the same for all models.
	priceOf func(model string) string
}

// Presets are the providers known by name. The source of every path is the
// provider's own API reference.
var Presets = map[string]Preset{
	// https://platform.openai.com/docs/api-reference
	"openai": {
		BaseURL: "https://api.openai.com/v1", BaseSuffix: "/v1", MaxTokensField: "max_completion_tokens",
		Formats:   []dialect.Name{dialect.OpenAIChat, dialect.OpenAIResponses},
		Endpoints: openAI(dialect.OpenAIChat, dialect.OpenAICompletions, dialect.OpenAIEmbeddings, dialect.OpenAIResponses, dialect.OpenAICount),
	},
	// https://docs.claude.com/en/api/messages
	"anthropic": {
		BaseURL: "https://api.anthropic.com", BaseTrim: []string{"/v1"}, Auth: AuthAPIKey, Version: "2023-06-01",
		Formats: []dialect.Name{dialect.AnthropicMessages},
		Endpoints: map[dialect.Name]string{
			dialect.AnthropicMessages: "/v1/messages",
			dialect.AnthropicCount:    "/v1/messages/count_tokens",
		},
	},
	// https://ai.google.dev/api/generate-content
	"gemini": {
		BaseURL: "https://generativelanguage.googleapis.com", BaseTrim: []string{"/openai", "/v1beta"}, Auth: AuthGoogKey,
		Formats: []dialect.Name{dialect.Gemini}, Prices: "google",
		Endpoints: map[dialect.Name]string{
			dialect.Gemini:           "/v1beta/{model}:generateContent",
			dialect.GeminiEmbeddings: "/v1beta/{model}:embedContent",
			EmbedBatch:               "/v1beta/{model}:batchEmbedContents",
			dialect.GeminiCount:      "/v1beta/{model}:countTokens",
		},
		Streams: map[dialect.Name]string{dialect.Gemini: "/v1beta/{model}:streamGenerateContent?alt=sse"},
		inPath:  geminiResource,
	},
	// https://docs.x.ai/docs/api-reference
	"xai": {
		BaseURL: "https://api.x.ai/v1", BaseSuffix: "/v1",
		Formats:   []dialect.Name{dialect.OpenAIChat, dialect.OpenAIResponses},
		Endpoints: openAI(dialect.OpenAIChat, dialect.OpenAICompletions, dialect.OpenAIEmbeddings, dialect.OpenAIResponses),
	},
	// https://console.groq.com/docs/openai
	"groq": {
		BaseURL: "https://api.groq.com/openai/v1", BaseSuffix: "/openai/v1", MaxTokensField: "max_completion_tokens",
		Formats:   []dialect.Name{dialect.OpenAIChat, dialect.OpenAIResponses},
		Endpoints: openAI(dialect.OpenAIChat, dialect.OpenAIResponses),
	},
	// https://api-docs.deepseek.com
	"deepseek": {
		BaseURL: "https://api.deepseek.com", BaseTrim: []string{"/v1", "/beta"},
		Formats: []dialect.Name{dialect.OpenAIChat},
		Endpoints: map[dialect.Name]string{
			dialect.OpenAIChat:        "/chat/completions",
			dialect.OpenAICompletions: "/beta/completions",
		},
	},
	// https://docs.mistral.ai/api: streams end with usage unasked.
	"mistral": {
		BaseURL: "https://api.mistral.ai/v1", BaseSuffix: "/v1", NoStreamOptions: true,
		Formats:   []dialect.Name{dialect.OpenAIChat},
		Endpoints: openAI(dialect.OpenAIChat, dialect.OpenAIEmbeddings),
	},
	// https://openrouter.ai/docs/api-reference
	"openrouter": {
		BaseURL: "https://openrouter.ai/api/v1", BaseSuffix: "/api/v1", CacheMarks: true,
		Formats:   []dialect.Name{dialect.OpenAIChat, dialect.OpenAIResponses},
		Endpoints: openAI(dialect.OpenAIChat, dialect.OpenAICompletions, dialect.OpenAIEmbeddings, dialect.OpenAIResponses),
	},
	// https://docs.ollama.com/api/openai-compatibility
	"ollama": {
		BaseURL: "http://127.0.0.1:11434/v1", BaseSuffix: "/v1", KeyOptional: true,
		Formats:   []dialect.Name{dialect.OpenAIChat, dialect.OpenAIResponses},
		Endpoints: openAI(dialect.OpenAIChat, dialect.OpenAICompletions, dialect.OpenAIEmbeddings, dialect.OpenAIResponses),
	},
}

// anyServer is what is supposed of a provider without a preset: it speaks
// OpenAI's formats, of which chat is the one that all such servers have.
var anyServer = Preset{
	Formats:   []dialect.Name{dialect.OpenAIChat},
	Endpoints: openAI(dialect.OpenAIChat, dialect.OpenAICompletions, dialect.OpenAIEmbeddings, dialect.OpenAIResponses),
}

// usualPaths are where servers take a format, below a base URL that ends in the
// version.
var usualPaths = map[dialect.Name]string{
	dialect.OpenAIChat:        "/chat/completions",
	dialect.OpenAICompletions: "/completions",
	dialect.OpenAIEmbeddings:  "/embeddings",
	dialect.OpenAIResponses:   "/responses",
	dialect.OpenAICount:       "/responses/input_tokens",
	dialect.AnthropicMessages: "/messages",
	dialect.AnthropicCount:    "/messages/count_tokens",
	dialect.Gemini:            "/models/{model}:generateContent",
}

func openAI(names ...dialect.Name) map[dialect.Name]string {
	spoken := make(map[dialect.Name]string, len(names))
	for _, name := range names {
		spoken[name] = usualPaths[name]
	}
	return spoken
}
