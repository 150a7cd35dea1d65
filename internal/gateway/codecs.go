package gateway

import (
	"github.com/financecommander/tollgate/internal/dialect"
	"github.com/financecommander/tollgate/internal/dialect/anthropic"
	"github.com/financecommander/tollgate/internal/dialect/gemini"
	"github.com/financecommander/tollgate/internal/dialect/openaichat"
	"github.com/financecommander/tollgate/internal/dialect/openairesponses"
)

// translator gives the codec of a format that can be translated to and from;
// nil: it cannot. Gemini's bodies do not say what its paths do.
func translator(format dialect.Name, model string, stream bool) dialect.Translator {
	switch format {
	case dialect.OpenAIChat:
		return openaichat.Chat
	case dialect.OpenAIResponses:
		return openairesponses.Responses
	case dialect.AnthropicMessages:
		return anthropic.Messages
	case dialect.Gemini:
		return gemini.Generate{Model: model, Streaming: stream}
	default:
		return nil
	}
}

// embedder gives the codec of a format for embeddings; nil: it is none.
func embedder(format dialect.Name, model string, batch bool) dialect.Embedder {
	switch format {
	case dialect.OpenAIEmbeddings:
		return openaichat.Embeddings
	case dialect.GeminiEmbeddings:
		return gemini.Embed{Model: model, Batch: batch}
	default:
		return nil
	}
}

// counter gives the codec of a format that counts tokens; nil: it is none.
func counter(format dialect.Name, model string) dialect.TokenCounter {
	switch format {
	case dialect.OpenAICount:
		return openairesponses.Count
	case dialect.AnthropicCount:
		return anthropic.Count
	case dialect.GeminiCount:
		return gemini.Count{Model: model}
	default:
		return nil
	}
}

// errorWriter gives the way a format's clients are told of errors.
func errorWriter(format dialect.Name) ErrorWriter {
	switch format {
	case dialect.AnthropicMessages, dialect.AnthropicCount:
		return anthropic.Messages
	case dialect.Gemini, dialect.GeminiCount, dialect.GeminiEmbeddings:
		return gemini.Generate{}
	case "", dialect.PortalChat:
		return portalErrors{}
	default:
		return openaichat.Chat
	}
}

// The faces that are the same for every call are made once.
var faces = map[dialect.Name]face{
	dialect.OpenAIChat:        newClient(openaichat.Chat),
	dialect.OpenAIResponses:   newClient(openairesponses.Responses),
	dialect.AnthropicMessages: newClient(anthropic.Messages),
	dialect.OpenAICompletions: client{Codec: openaichat.Completions, own: []dialect.Name{dialect.OpenAICompletions}},
	dialect.OpenAIEmbeddings:  embeddings{openaichat.Embeddings, false},
}

// faceOf is the caller's side of a model call that a path asks for.
func faceOf(e endpoint) face {
	switch e.format {
	case dialect.PortalChat:
		return portal{stream: e.stream, direct: e.direct}
	case dialect.GeminiEmbeddings:
		return embeddings{embedder(e.format, e.model, e.batch), e.batch}
	case dialect.Gemini:
		c := newClient(translator(e.format, e.model, e.stream))
		c.array = e.array
		return c
	default:
		return faces[e.format]
	}
}
