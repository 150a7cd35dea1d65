package portal

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	jsonv2 "github.com/go-json-experiment/json"

	"github.com/financecommander/tollgate/internal/dialect/wire"
	"github.com/financecommander/tollgate/internal/llm"
)

// writeJSON answers 200 with a JSON object.
func writeJSON(w http.ResponseWriter, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode answer: %w", err)
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(append(body, '\n')) // the caller may have left; nobody is there to tell
	return nil
}

// readJSON decodes a request's body, of at most maxBody bytes: see
// [readLargeJSON].
func readJSON(w http.ResponseWriter, r *http.Request, v any) error {
	return readLargeJSON(w, r, maxBody, v)
}

// maxOpenBody bounds the bodies of those who need no token: a code and a state, or
// a refresh token. So many strangers' bodies may be in memory at one time.
const maxOpenBody = 16 << 10

// readOpenJSON decodes the body of a request that anybody may send.
func readOpenJSON(w http.ResponseWriter, r *http.Request, v any) error {
	return readLargeJSON(w, r, maxOpenBody, v)
}

// A body may take patience to arrive, and longer by its size at slowest: who
// stops in the middle of one shall not hold what there is of it for ever.
const (
	patience = 30 * time.Second
	slowest  = 64 << 10 // bytes per second
)

// readLargeJSON decodes a request's body: one JSON object of at most limit bytes,
// valid UTF-8, no name twice, names in exact case, nothing behind it. Members
// that v does not have are ignored, as frontends send more than one server
// needs. Faults of single members are 422 and name the member, others are 400.
func readLargeJSON(w http.ResponseWriter, r *http.Request, limit int64, v any) error {
	body, err := readBody(w, r, limit)
	if err != nil {
		return err
	}
	if string(bytes.TrimSpace(body)) == "null" {
		return &llm.Error{Cause: llm.CauseInvalidRequest, Message: "the request body must be one JSON object"}
	}
	err = jsonv2.Unmarshal(body, v)
	if mismatch, ok := errors.AsType[*jsonv2.SemanticError](err); ok && mismatch.JSONPointer != "" {
		return unprocessable(wire.MemberPath(string(mismatch.JSONPointer)), "has the wrong type")
	}
	if err != nil {
		return &llm.Error{Cause: llm.CauseInvalidRequest, Message: "the request body must be one JSON object", Err: err}
	}
	return nil
}

// readBody reads a request's body, of at most limit bytes.
func readBody(w http.ResponseWriter, r *http.Request, limit int64) ([]byte, error) {
	control := http.NewResponseController(w) // some writers in tests and of sockets know no deadline
	_ = control.SetReadDeadline(time.Now().Add(patience + time.Duration(limit/slowest)*time.Second))
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	_ = control.SetReadDeadline(time.Time{}) // or it would end the request later
	if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
		return nil, &llm.Error{
			Cause:   llm.CauseTooLarge,
			Message: fmt.Sprintf("the request body is larger than %d KiB", limit>>10),
		}
	}
	if err != nil {
		return nil, &llm.Error{Cause: llm.CauseInvalidRequest, Message: "the request body ended early", Err: err}
	}
	return body, nil
}

// unprocessable is a 422 that names the field at fault.
func unprocessable(field, problem string) error {
	return &llm.Error{
		Cause:      llm.CauseInvalidRequest,
		HTTPStatus: http.StatusUnprocessableEntity,
		Param:      field,
		Message:    field + " " + problem,
	}
}

func forbidden(message string) error {
	return &llm.Error{Cause: llm.CauseForbidden, Message: message}
}

func notFound() error {
	return &llm.Error{Cause: llm.CauseNotFound, Message: "there is nothing at this address"}
}

// asProblem gives the error a caller may see: err itself when it is one, else
// an internal error that says nothing.
func asProblem(err error) *llm.Error {
	if problem, ok := errors.AsType[*llm.Error](err); ok {
		return problem
	}
	return &llm.Error{
		Cause:   llm.CauseInternal,
		Message: "something went wrong in the gateway; give the request id when you report it",
		Err:     err,
	}
}
