package gateway

import (
	"net/http"

	"github.com/financecommander/tollgate/internal/dialect/portalchat"
	"github.com/financecommander/tollgate/internal/llm"
)

// ErrorWriter says an error as a caller's dialect has it.
type ErrorWriter interface {
	WriteError(w http.ResponseWriter, err *llm.Error, requestID string)
}

type portalErrors struct{}

func (portalErrors) WriteError(w http.ResponseWriter, err *llm.Error, requestID string) {
	portalchat.WriteError(w, err, requestID)
}

// ErrorWriterFor gives the error form of the dialect that a request's path
// belongs to; the portal's for a path of none.
func ErrorWriterFor(r *http.Request) ErrorWriter { return errorWriter(locate(r).format) }

// WriteError answers a request that one of the handlers before the gateway
// refused, in the caller's dialect.
func WriteError(w http.ResponseWriter, r *http.Request, err *llm.Error) {
	ErrorWriterFor(r).WriteError(w, err, newRequestID())
}
