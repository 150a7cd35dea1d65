// Package anthropic is the wire format of Anthropic's Messages API and of the
// call beside it that counts a request's tokens.
//
// Source: https://docs.anthropic.com/en/api/messages, and its pages on
// streaming (…/messages-streaming) and errors (…/errors).
package anthropic

import "github.com/financecommander/tollgate/internal/dialect"

// Format is the name of the format in package llm's values, that of messages
// also where tokens are counted.
const Format = dialect.AnthropicMessages

// Codec is one endpoint of the format. It has no state.
type Codec struct {
	name dialect.Name
}

// MessagesCodec is the codec of POST /v1/messages.
type MessagesCodec struct{ Codec }

// CountCodec is the codec of POST /v1/messages/count_tokens, whose requests are
// those of messages without what only an answer needs.
type CountCodec struct{ Codec }

// The endpoints.
var (
	Messages = MessagesCodec{Codec{name: dialect.AnthropicMessages}}
	Count    = CountCodec{Codec{name: dialect.AnthropicCount}}
)

var (
	_ dialect.Codec        = Messages
	_ dialect.Translator   = Messages
	_ dialect.Codec        = Count
	_ dialect.TokenCounter = Count
)

// Name implements [dialect.Codec].
func (c Codec) Name() dialect.Name { return c.name }
