package gemini

import (
	"net/http"
	"strconv"
	"strings"

	"github.com/financecommander/tollgate/internal/dialect/wire"
	"github.com/financecommander/tollgate/internal/llm"
	"github.com/financecommander/tollgate/internal/sse"
)

// statusWords are Google's words for HTTP statuses.
// Source: https://cloud.google.com/apis/design/errors#handling_errors.
var statusWords = map[int]string{
	http.StatusBadRequest:            "INVALID_ARGUMENT",
	http.StatusUnauthorized:          "UNAUTHENTICATED",
	http.StatusForbidden:             "PERMISSION_DENIED",
	http.StatusNotFound:              "NOT_FOUND",
	http.StatusMethodNotAllowed:      "UNIMPLEMENTED",
	http.StatusConflict:              "ABORTED",
	http.StatusRequestEntityTooLarge: "INVALID_ARGUMENT",
	http.StatusUnprocessableEntity:   "INVALID_ARGUMENT",
	http.StatusTooManyRequests:       "RESOURCE_EXHAUSTED",
	llm.StatusClientClosedRequest:    "CANCELLED",
	http.StatusInternalServerError:   "INTERNAL",
	http.StatusNotImplemented:        "UNIMPLEMENTED",
	http.StatusBadGateway:            "UNAVAILABLE", // see statusWord
	http.StatusServiceUnavailable:    "UNAVAILABLE",
	http.StatusGatewayTimeout:        "DEADLINE_EXCEEDED",
}

func statusWord(cause llm.Cause, status int) string {
	switch cause {
	case llm.CauseUpstreamAuth, llm.CauseUpstreamInvalid: // trying again would not help
		return "INTERNAL"
	default: // the status tells it
	}
	if word, ok := statusWords[status]; ok {
		return word
	}
	if status >= 500 {
		return "INTERNAL"
	}
	return "INVALID_ARGUMENT"
}

type errorBody struct {
	Error errorObject `json:"error"`
}

type errorObject struct {
	Code    int           `json:"code"`
	Message string        `json:"message"`
	Status  string        `json:"status"`
	Details []errorDetail `json:"details,omitempty"`
}

// errorDetail is one of the kinds of google.rpc.
type errorDetail struct {
	Type            string           `json:"@type"`
	RequestID       string           `json:"requestId,omitzero"`       // RequestInfo
	RetryDelay      string           `json:"retryDelay,omitzero"`      // RetryInfo
	FieldViolations []fieldViolation `json:"fieldViolations,omitzero"` // BadRequest
	Reason          string           `json:"reason,omitzero"`          // ErrorInfo
}

type fieldViolation struct {
	Field       string `json:"field"`
	Description string `json:"description"`
}

const googleRPC = "type.googleapis.com/google.rpc."

// appendError says an error as Google does.
func appendError(dst []byte, err *llm.Error, requestID string) []byte {
	status := err.Status()
	body := errorBody{Error: errorObject{Code: status, Message: err.Message, Status: statusWord(err.Cause, status)}}
	add := func(d errorDetail) { body.Error.Details = append(body.Error.Details, d) }
	if err.Code != "" {
		add(errorDetail{Type: googleRPC + "ErrorInfo", Reason: strings.ToUpper(err.Code)})
	}
	if err.Param != "" {
		violation := fieldViolation{Field: err.Param, Description: err.Message}
		add(errorDetail{Type: googleRPC + "BadRequest", FieldViolations: []fieldViolation{violation}})
	}
	if err.RetryAfter > 0 {
		seconds := strconv.FormatFloat(err.RetryAfter.Seconds(), 'f', -1, 64)
		add(errorDetail{Type: googleRPC + "RetryInfo", RetryDelay: seconds + "s"})
	}
	if requestID != "" {
		add(errorDetail{Type: googleRPC + "RequestInfo", RequestID: requestID})
	}
	return append(dst, marshal(body)...)
}

// WriteError implements [dialect.ErrorWriter].
func (Errors) WriteError(w http.ResponseWriter, err *llm.Error, requestID string) {
	h := w.Header()
	h.Set("Content-Type", "application/json; charset=UTF-8")
	h.Set("X-Request-Id", requestID)
	wire.SetRetryAfter(h, err)
	w.WriteHeader(err.Status())
	_, _ = w.Write(appendError(nil, err, requestID))
}

// AppendErrorEvent implements [dialect.ErrorWriter]. Google's SDKs raise an
// error for a chunk with an error member.
func (Errors) AppendErrorEvent(dst []byte, err *llm.Error, requestID string) []byte {
	return sse.AppendEvent(dst, "", appendError(nil, err, requestID))
}
