package portalchat

import (
	"maps"
	"net/http"
	"strconv"

	"github.com/go-json-experiment/json"

	"github.com/financecommander/tollgate/internal/dialect/wire"
	"github.com/financecommander/tollgate/internal/llm"
)

// errorBody is the portal's error shape. Error and Detail hold the same text,
// since browser clients show one or the other.
type errorBody struct {
	Error     string         `json:"error"`
	Detail    string         `json:"detail"`
	Details   map[string]any `json:"details"`
	RequestID string         `json:"request_id,omitempty"`
}

// WriteError answers a request with the portal's error shape.
func WriteError(w http.ResponseWriter, err *llm.Error, requestID string) {
	text := message(err)
	details := map[string]any{"cause": string(err.Cause)}
	if err.Param != "" {
		details[err.Param] = err.Message
	}
	maps.Copy(details, err.Details)
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	if requestID != "" {
		h.Set("X-Request-Id", requestID)
	}
	wire.SetRetryAfter(h, err)
	if err.Cause == llm.CauseUnauthenticated {
		h.Set("WWW-Authenticate", "Bearer")
	}
	body, _ := json.Marshal(errorBody{Error: text, Detail: text, Details: details, RequestID: requestID})
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status(err))
	_, _ = w.Write(body)
}

// status is 422 where the body's fields are wrong, as the old backend's was.
func status(err *llm.Error) int {
	if err.Cause == llm.CauseInvalidRequest && err.Param != "" && err.HTTPStatus == 0 {
		return http.StatusUnprocessableEntity
	}
	return err.Status()
}

func message(err *llm.Error) string {
	if err.Message == "" {
		return http.StatusText(err.Status())
	}
	return err.Message
}
