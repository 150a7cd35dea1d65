// Package openairesponses is the wire format of OpenAI's Responses API. Where
// client and provider both speak it, requests are edited and answers metered;
// else both are translated.
//
// Source: https://platform.openai.com/docs/api-reference/responses.
package openairesponses

import (
	"github.com/financecommander/tollgate/internal/dialect"
	"github.com/financecommander/tollgate/internal/dialect/openaichat"
	"github.com/financecommander/tollgate/internal/llm"
	"github.com/financecommander/tollgate/internal/sse"
)

// Codec is the format's codec. It has no state. Its errors are those of all of
// OpenAI's endpoints.
type Codec struct{ openaichat.Errors }

// Responses is the endpoint.
var Responses Codec

var _ dialect.Translator = Responses

// Name implements [dialect.Codec].
func (Codec) Name() dialect.Name { return dialect.OpenAIResponses }

// AppendErrorEvent implements [dialect.ErrorWriter]. Events of this format are
// told apart by their type; SDKs that know it and those that look for an error
// member both raise an error for this one.
func (Codec) AppendErrorEvent(dst []byte, err *llm.Error, requestID string) []byte {
	return sse.AppendEvent(dst, "error", openaichat.NewErrorBody(err, requestID).OfType("error").Append(nil))
}
