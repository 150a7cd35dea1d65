package anthropic

import (
	"net/http"
	"strings"

	"github.com/financecommander/tollgate/internal/dialect/wire"
	"github.com/financecommander/tollgate/internal/llm"
)

// styled says what is wrong with a body as Anthropic does: "messages.0.content:
// is required".
func styled(e *llm.Error) *llm.Error {
	if rest, ok := strings.CutPrefix(e.Message, e.Param+" "); ok && e.Param != "" {
		path := strings.NewReplacer("[", ".", "]", "").Replace(e.Param)
		e.Message = path + ": " + rest
	}
	return e
}

// appendError appends Anthropic's error body. It has no member for a field at
// fault, so the message names it.
func appendError(dst []byte, err *llm.Error, requestID string) []byte {
	w := wire.Writer{Bytes: dst}
	w.Bytes = append(w.Bytes, `{"type":"error","error":{"type":`...)
	w.Bytes = wire.AppendQuote(w.Bytes, errorType(err))
	w.Name("message").Text(err.Message)
	if err.Param == threadMember && err.Cause == llm.CauseInvalidRequest {
		// At this word Anthropic's SDKs go on without a thread. Their tool runners
		// begin with one unasked.
		w.Name("details").Object().Name("error_code").Text("thread_unsupported_request")
		w.Name("unsupported").Raw([]byte(`["thread"]`)).End()
	}
	w.End()
	if requestID != "" {
		w.Name("request_id").Text(requestID)
	}
	w.End()
	return w.Bytes
}

// threadMember asks that the provider holds the conversation.
const threadMember = "thread"

// errorTypes are the error types a client may know.
var errorTypes = map[string]bool{
	"invalid_request_error": true, "authentication_error": true, "billing_error": true, "permission_error": true,
	"not_found_error": true, "request_too_large": true, "rate_limit_error": true, "timeout_error": true,
	"api_error": true, "overloaded_error": true,
}

// errorType is Anthropic's type for an error: the upstream's own, if it is one.
func errorType(err *llm.Error) string {
	if errorTypes[err.Type] {
		return err.Type
	}
	switch err.Cause {
	case llm.CauseInvalidRequest, llm.CauseMethodNotAllowed:
		return "invalid_request_error"
	case llm.CauseUpstreamRejected:
		return rejectedType(err.Status())
	case llm.CauseUnauthenticated:
		return "authentication_error"
	case llm.CauseForbidden:
		return "permission_error"
	case llm.CauseModelNotFound, llm.CauseNotFound:
		return "not_found_error"
	case llm.CauseTooLarge:
		return "request_too_large"
	case llm.CauseRateLimited, llm.CauseUpstreamRateLimited:
		return "rate_limit_error"
	case llm.CauseUpstreamOverloaded, llm.CauseUnavailable:
		return "overloaded_error"
	case llm.CauseUpstreamTimeout:
		return "timeout_error"
	default:
		return "api_error"
	}
}

// rejectedType is the type for a request that an upstream of another format
// rejected with a status.
func rejectedType(status int) string {
	switch status {
	case http.StatusNotFound:
		return "not_found_error"
	case http.StatusRequestEntityTooLarge:
		return "request_too_large"
	default:
		return "invalid_request_error"
	}
}

// status is the HTTP status for an error: Anthropic has one of its own for an
// overloaded provider.
func status(err *llm.Error) int {
	if err.Cause == llm.CauseUpstreamOverloaded && err.HTTPStatus == 0 {
		return statusOverloaded
	}
	return err.Status()
}

// WriteError implements [dialect.ErrorWriter]. Anthropic's SDKs choose the class
// of the exception by the HTTP status.
func (c Codec) WriteError(w http.ResponseWriter, err *llm.Error, requestID string) {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("X-Request-Id", requestID)
	h.Set("Request-Id", requestID)
	wire.SetRetry(h, err)
	w.WriteHeader(status(err))
	_, _ = w.Write(appendError(nil, err, requestID))
}

// AppendErrorEvent implements [dialect.ErrorWriter]. No message_stop follows, so
// that the stream does not look whole to anyone.
func (c Codec) AppendErrorEvent(dst []byte, err *llm.Error, requestID string) []byte {
	dst = append(dst, "event: error\ndata: "...)
	dst = appendError(dst, err, requestID)
	return append(dst, "\n\n"...)
}
