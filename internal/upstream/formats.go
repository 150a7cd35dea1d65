package upstream

import (
	"fmt"
	"maps"
	"slices"

	"github.com/financecommander/tollgate/internal/dialect"
)

// Generative are the formats in which models can be asked for answers.
var Generative = []dialect.Name{dialect.OpenAIChat, dialect.OpenAIResponses, dialect.AnthropicMessages, dialect.Gemini}

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
	dialect.Gemini:            "/{model}:generateContent",
}

// usual are the usual paths of formats.
func usual(formats ...dialect.Name) map[dialect.Name]string { return below("", formats...) }

// below are the usual paths of formats, below another one.
func below(prefix string, formats ...dialect.Name) map[dialect.Name]string {
	paths := make(map[dialect.Name]string, len(formats))
	for _, format := range formats {
		paths[format] = prefix + usualPaths[format]
	}
	return paths
}

// counting are the calls that count tokens for a format.
var counting = map[dialect.Name]dialect.Name{
	dialect.OpenAIResponses:   dialect.OpenAICount,
	dialect.AnthropicMessages: dialect.AnthropicCount,
	dialect.Gemini:            dialect.GeminiCount,
}

// speak makes formats the only ones in which models can be asked. Calls of
// other kinds stay as they are.
func (p *Preset) speak(formats []dialect.Name) error {
	spoken := maps.Clone(p.Endpoints)
	for _, format := range Generative {
		if !slices.Contains(formats, format) {
			delete(spoken, format)
			delete(spoken, counting[format])
		}
	}
	for _, format := range formats {
		switch {
		case !slices.Contains(Generative, format):
			return fmt.Errorf("formats: %s is none in which a model can be asked; those are %v", format, Generative)
		case spoken[format] != "":
		case !p.unknown:
			return fmt.Errorf("formats: where it takes %s is not known", format)
		default:
			spoken[format] = usualPaths[format]
		}
	}
	p.Endpoints, p.Formats = spoken, formats
	return nil
}
