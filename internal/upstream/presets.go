package upstream

import "github.com/financecommander/tollgate/internal/dialect"

// Preset is what is known of a provider beforehand.
type Preset struct {
	BaseURL     string   // the default, as the provider's own SDK takes it; "": each account has its own
	BaseSuffix  string   // added to a base URL without a path
	BaseTrim    []string // cut in turn from a base URL that ends in it
	Auth        Auth     // default AuthBearer
	KeyOptional bool     // works without a key
	Local       bool     // a server of one's own, that need not be there
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
	// Documents are the formats in which it takes PDF files.
	Documents []dialect.Name
	// Prices is the provider's name in the price table, where it is another.
	Prices string
	// Version is the value of anthropic-version to send where a client sent none.
	Version string

	// inPath gives a model's name as it stands in a path; "" for one that
	// cannot. Default: [pathSegment].
	inPath func(model string) string
	// unknown: nothing but the formats' usual paths is known of it.
	unknown bool
	// vertex: Google's cloud, where models of two makers have two formats.
	vertex bool
	// prepare fits the preset to a configuration. The preset is the provider's
	// own, its maps are not.
	prepare func(*Preset, *Config) error
	// tokens are where Authorize gets a bearer token; nil: it has keys.
	tokens *tokens
}

// anthropicVersion is the version of the API whose bodies are written here.
const anthropicVersion = "2023-06-01"

// Presets are the providers known by name. The source of every path is the
// provider's own API reference.
var Presets = map[string]Preset{
	// https://platform.openai.com/docs/api-reference
	"openai": {
		BaseURL: "https://api.openai.com/v1", BaseSuffix: "/v1", MaxTokensField: "max_completion_tokens",
		Formats:   []dialect.Name{dialect.OpenAIChat, dialect.OpenAIResponses},
		Endpoints: usual(dialect.OpenAIChat, dialect.OpenAICompletions, dialect.OpenAIEmbeddings, dialect.OpenAIResponses, dialect.OpenAICount),
		Documents: []dialect.Name{dialect.OpenAIChat, dialect.OpenAIResponses},
	},
	// https://learn.microsoft.com/azure/ai-foundry/openai/api-version-lifecycle
	"azure": {
		BaseTrim: []string{"/v1", "/openai"}, Auth: AuthAzureKey, MaxTokensField: "max_completion_tokens", Prices: "openai",
		Formats: []dialect.Name{dialect.OpenAIChat, dialect.OpenAIResponses},
		Endpoints: below("/openai/v1",
			dialect.OpenAIChat, dialect.OpenAICompletions, dialect.OpenAIEmbeddings, dialect.OpenAIResponses),
		Documents: []dialect.Name{dialect.OpenAIResponses},
		prepare:   prepareAzure,
	},
	// https://docs.claude.com/en/api/messages
	"anthropic": {
		BaseURL: "https://api.anthropic.com", BaseTrim: []string{"/v1"}, Auth: AuthAPIKey, Version: anthropicVersion,
		Formats:   []dialect.Name{dialect.AnthropicMessages},
		Endpoints: below("/v1", dialect.AnthropicMessages, dialect.AnthropicCount),
		Documents: []dialect.Name{dialect.AnthropicMessages},
	},
	// https://ai.google.dev/api/generate-content
	"gemini": {
		BaseURL: "https://generativelanguage.googleapis.com", BaseTrim: []string{"/openai", "/v1beta"}, Auth: AuthGoogKey,
		Formats: []dialect.Name{dialect.Gemini}, Prices: "google", Documents: []dialect.Name{dialect.Gemini},
		Endpoints: map[dialect.Name]string{
			dialect.Gemini:           "/v1beta/{model}:generateContent",
			dialect.GeminiEmbeddings: "/v1beta/{model}:embedContent",
			EmbedBatch:               "/v1beta/{model}:batchEmbedContents",
			dialect.GeminiCount:      "/v1beta/{model}:countTokens",
		},
		Streams: map[dialect.Name]string{dialect.Gemini: "/v1beta/{model}:streamGenerateContent?alt=sse"},
		inPath:  geminiResource,
	},
	// https://cloud.google.com/vertex-ai/generative-ai/docs/model-reference/inference
	// https://docs.claude.com/en/api/claude-on-vertex-ai
	"vertex": {
		KeyOptional: true, // it has credentials
		Formats:     []dialect.Name{dialect.Gemini, dialect.AnthropicMessages},
		Documents:   []dialect.Name{dialect.Gemini, dialect.AnthropicMessages},
		Endpoints: map[dialect.Name]string{
			dialect.Gemini:            vertexModels + "google/models/{model}:generateContent",
			dialect.GeminiCount:       vertexModels + "google/models/{model}:countTokens",
			dialect.AnthropicMessages: vertexModels + "anthropic/models/{model}:rawPredict",
		},
		Streams: map[dialect.Name]string{
			dialect.Gemini:            vertexModels + "google/models/{model}:streamGenerateContent?alt=sse",
			dialect.AnthropicMessages: vertexModels + "anthropic/models/{model}:streamRawPredict",
		},
		vertex: true, inPath: vertexModel, prepare: prepareVertex,
	},
	// https://docs.x.ai/docs/api-reference
	"xai": {
		BaseURL: "https://api.x.ai/v1", BaseSuffix: "/v1",
		Formats:   []dialect.Name{dialect.OpenAIChat, dialect.OpenAIResponses},
		Endpoints: usual(dialect.OpenAIChat, dialect.OpenAICompletions, dialect.OpenAIEmbeddings, dialect.OpenAIResponses),
	},
	// https://console.groq.com/docs/openai
	"groq": {
		BaseURL: "https://api.groq.com/openai/v1", BaseSuffix: "/openai/v1", MaxTokensField: "max_completion_tokens",
		Formats:   []dialect.Name{dialect.OpenAIChat, dialect.OpenAIResponses},
		Endpoints: usual(dialect.OpenAIChat, dialect.OpenAIResponses),
	},
	// https://api-docs.deepseek.com
	"deepseek": {
		BaseURL: "https://api.deepseek.com", BaseTrim: []string{"/v1", "/beta", "/anthropic"},
		Formats: []dialect.Name{dialect.OpenAIChat, dialect.AnthropicMessages},
		Endpoints: map[dialect.Name]string{
			dialect.OpenAIChat:        "/chat/completions",
			dialect.OpenAICompletions: "/beta/completions",
			dialect.OpenAIResponses:   "/responses",
			dialect.AnthropicMessages: "/anthropic/v1/messages",
		},
	},
	// https://docs.mistral.ai/api: streams end with usage unasked.
	"mistral": {
		BaseURL: "https://api.mistral.ai/v1", BaseSuffix: "/v1", NoStreamOptions: true,
		Formats:   []dialect.Name{dialect.OpenAIChat},
		Endpoints: usual(dialect.OpenAIChat, dialect.OpenAIEmbeddings),
	},
	// https://platform.kimi.ai/docs/api/chat
	"moonshot": {
		BaseURL: "https://api.moonshot.ai/v1", BaseSuffix: "/v1",
		Formats:   []dialect.Name{dialect.OpenAIChat},
		Endpoints: usual(dialect.OpenAIChat),
	},
	// https://inference-docs.cerebras.ai/api-reference/chat-completions
	"cerebras": {
		BaseURL: "https://api.cerebras.ai/v1", BaseSuffix: "/v1", MaxTokensField: "max_completion_tokens",
		Formats:   []dialect.Name{dialect.OpenAIChat},
		Endpoints: usual(dialect.OpenAIChat, dialect.OpenAICompletions),
	},
	// https://www.alibabacloud.com/help/en/model-studio/compatibility-of-openai-with-dashscope
	"alibaba": {
		BaseURL: "https://dashscope-intl.aliyuncs.com/compatible-mode/v1", BaseSuffix: "/compatible-mode/v1", CacheMarks: true,
		Formats:   []dialect.Name{dialect.OpenAIChat},
		Endpoints: usual(dialect.OpenAIChat, dialect.OpenAIEmbeddings),
	},
	// https://docs.z.ai/api-reference/llm/chat-completion
	"zai": {
		BaseURL: "https://api.z.ai/api/paas/v4", BaseSuffix: "/api/paas/v4",
		Formats:   []dialect.Name{dialect.OpenAIChat},
		Endpoints: usual(dialect.OpenAIChat),
	},
	// https://docs.perplexity.ai/docs/sonar/openai-compatibility: every event of
	// a stream has usage, asked for or not.
	"perplexity": {
		BaseURL: "https://api.perplexity.ai", NoStreamOptions: true,
		Formats:   []dialect.Name{dialect.OpenAIChat},
		Endpoints: usual(dialect.OpenAIChat),
	},
	// https://huggingface.co/docs/inference-providers
	"huggingface": {
		BaseURL: "https://router.huggingface.co/v1", BaseSuffix: "/v1",
		Formats:   []dialect.Name{dialect.OpenAIChat},
		Endpoints: usual(dialect.OpenAIChat, dialect.OpenAIResponses),
	},
	// https://openrouter.ai/docs/api/api-reference
	"openrouter": {
		BaseURL: "https://openrouter.ai/api/v1", BaseSuffix: "/api/v1", CacheMarks: true,
		Formats: []dialect.Name{dialect.OpenAIChat, dialect.OpenAIResponses, dialect.AnthropicMessages},
		Endpoints: usual(dialect.OpenAIChat, dialect.OpenAICompletions, dialect.OpenAIEmbeddings, dialect.OpenAIResponses,
			dialect.AnthropicMessages),
		Documents: []dialect.Name{dialect.OpenAIChat, dialect.AnthropicMessages},
	},
	// https://docs.ollama.com/api/openai-compatibility
	// https://docs.ollama.com/api/anthropic-compatibility
	"ollama": {
		BaseURL: "http://127.0.0.1:11434/v1", BaseSuffix: "/v1", KeyOptional: true, Local: true,
		Formats: []dialect.Name{dialect.OpenAIChat, dialect.OpenAIResponses, dialect.AnthropicMessages},
		Endpoints: usual(dialect.OpenAIChat, dialect.OpenAICompletions, dialect.OpenAIEmbeddings, dialect.OpenAIResponses,
			dialect.AnthropicMessages),
	},
	// https://lmstudio.ai/docs/developer/rest
	"lmstudio": {
		BaseURL: "http://127.0.0.1:1234/v1", BaseSuffix: "/v1", KeyOptional: true, Local: true,
		Formats: []dialect.Name{dialect.OpenAIChat, dialect.OpenAIResponses, dialect.AnthropicMessages},
		Endpoints: usual(dialect.OpenAIChat, dialect.OpenAICompletions, dialect.OpenAIEmbeddings, dialect.OpenAIResponses,
			dialect.AnthropicMessages),
	},
}

// anyServer is what is supposed of a provider without a preset: it speaks
// OpenAI's formats, of which chat is the one that all such servers have.
var anyServer = Preset{
	Formats:   []dialect.Name{dialect.OpenAIChat},
	Endpoints: usual(dialect.OpenAIChat, dialect.OpenAICompletions, dialect.OpenAIEmbeddings, dialect.OpenAIResponses),
	// For who says that it speaks these, too.
	Streams: map[dialect.Name]string{dialect.Gemini: "/{model}:streamGenerateContent?alt=sse"},
	inPath:  geminiResource, Version: anthropicVersion, unknown: true,
}
