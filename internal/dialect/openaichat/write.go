package openaichat

import (
	"net/http"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/financecommander/tollgate/internal/dialect/wire"
	"github.com/financecommander/tollgate/internal/llm"
	"github.com/financecommander/tollgate/internal/sse"
)

// ErrorBody is OpenAI's error body. The request id is beside the error, where
// clients that know only OpenAI's members pass over it.
type ErrorBody struct {
	Type      string      `json:"type,omitzero"` // the event's, in formats whose events have one
	Error     ErrorObject `json:"error"`
	RequestID string      `json:"request_id,omitzero"`
}

// ErrorObject is the error in an [ErrorBody].
type ErrorObject struct {
	Message string  `json:"message"`
	Type    string  `json:"type"`
	Param   *string `json:"param"`
	Code    *string `json:"code"`
}

// NewErrorBody says an error as OpenAI does. Its SDKs choose the class of the
// exception by the HTTP status; type and code are what programs compare.
func NewErrorBody(err *llm.Error, requestID string) ErrorBody {
	typ, code := errorWords(err.Cause)
	if err.Type != "" {
		typ = err.Type
	}
	if err.Code != "" {
		code = err.Code
	}
	return ErrorBody{
		Error:     ErrorObject{Message: err.Message, Type: typ, Param: orNull(err.Param), Code: orNull(code)},
		RequestID: requestID,
	}
}

// OfType is the body as an event of a type.
func (b ErrorBody) OfType(typ string) ErrorBody {
	b.Type = typ
	return b
}

// Append appends the body as JSON.
func (b ErrorBody) Append(dst []byte) []byte {
	// What could fail is an error's param with a client's broken UTF-8 in it.
	text, err := json.Marshal(b, jsontext.AllowInvalidUTF8(true))
	if err != nil {
		panic("error body: " + err.Error()) // three strings always marshal
	}
	return append(dst, text...)
}

// errorWords are OpenAI's type and code for a cause.
func errorWords(cause llm.Cause) (typ, code string) {
	switch cause {
	case llm.CauseInvalidRequest, llm.CauseUpstreamRejected:
		return "invalid_request_error", ""
	case llm.CauseUnauthenticated:
		return "authentication_error", "invalid_api_key"
	case llm.CauseForbidden:
		return "permission_error", "permission_denied"
	case llm.CauseModelNotFound:
		return "invalid_request_error", "model_not_found"
	case llm.CauseNotFound, llm.CauseMethodNotAllowed, llm.CauseTooLarge:
		return "invalid_request_error", string(cause)
	case llm.CauseRateLimited, llm.CauseUpstreamRateLimited:
		return "rate_limit_error", "rate_limit_exceeded"
	default:
		return "server_error", string(cause)
	}
}

// WriteError implements [dialect.ErrorWriter] with an [ErrorBody].
func (Errors) WriteError(w http.ResponseWriter, err *llm.Error, requestID string) {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("X-Request-Id", requestID)
	wire.SetRetry(h, err)
	w.WriteHeader(err.Status())
	_, _ = w.Write(NewErrorBody(err, requestID).Append(nil))
}

// AppendErrorEvent implements [dialect.ErrorWriter]. OpenAI's SDKs raise an
// error for a chunk with an error member. No [DONE] follows, so that the stream
// does not look whole to anyone.
func (Errors) AppendErrorEvent(dst []byte, err *llm.Error, requestID string) []byte {
	return sse.AppendEvent(dst, "", NewErrorBody(err, requestID).Append(nil))
}

func orNull(text string) *string {
	if text == "" {
		return nil
	}
	return &text
}
