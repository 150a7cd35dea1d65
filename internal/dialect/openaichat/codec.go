// Package openaichat is the wire format of OpenAI's chat completions, and of
// the two older endpoints that share its request and error shapes: completions
// and embeddings. Most providers speak it.
//
// Source: https://platform.openai.com/docs/api-reference/chat.
package openaichat

import "github.com/financecommander/tollgate/internal/dialect"

// Codec is one endpoint of the format. It has no state.
type Codec struct {
	Errors
	name dialect.Name
	// input is the member without which a request makes no sense.
	input string
	// limit is the member that says how much to generate, where the caller does
	// not choose one; "" for an endpoint that generates nothing.
	limit string
}

// ChatCodec is the codec of chat completions, which requests and answers of
// other formats can be translated to and from.
type ChatCodec struct{ Codec }

// The endpoints.
var (
	Chat        = ChatCodec{Codec{name: dialect.OpenAIChat, input: "messages", limit: "max_completion_tokens"}}
	Completions = Codec{name: dialect.OpenAICompletions, input: "prompt", limit: "max_tokens"}
	Embeddings  = EmbeddingsCodec{Codec{name: dialect.OpenAIEmbeddings, input: "input"}}
)

var (
	_ dialect.Translator = Chat
	_ dialect.Codec      = Completions
	_ dialect.Embedder   = Embeddings
)

// Name implements [dialect.Codec].
func (c Codec) Name() dialect.Name { return c.name }
