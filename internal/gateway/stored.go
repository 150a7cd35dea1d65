package gateway

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/financecommander/tollgate/internal/dialect"
	"github.com/financecommander/tollgate/internal/jsonedit"
	"github.com/financecommander/tollgate/internal/llm"
	"github.com/financecommander/tollgate/internal/responsestate"
)

// Responses keeps answers that callers of the Responses API asked to have kept,
// where the upstream speaks another format and cannot keep them.
type Responses interface {
	Save(context.Context, responsestate.Entry) error
	// Load gives an answer to its owner; responsestate.ErrNotFound to all others.
	Load(ctx context.Context, id, owner string) (*responsestate.Entry, error)
	Delete(ctx context.Context, id, owner string) error
}

// storeTimeout bounds a look into the store.
const storeTimeout = 5 * time.Second

// keptPrefix is how the ids of answers begin that the gateway made itself and so
// may have kept. An id without it is an upstream's.
const keptPrefix = `"resp_tg`

// expand puts a kept conversation in front of a call that continues it. A
// previous answer that an upstream keeps is the upstream's to know.
func (ex *exchange) expand() *llm.Error {
	if ex.face.name() != dialect.OpenAIResponses || !bytes.Contains(ex.body.bytes(), []byte(keptPrefix)) {
		return nil
	}
	id := previousID(ex.body.bytes())
	if id == "" {
		return nil // the words stand elsewhere in it
	}
	entry, err := ex.g.stored(ex.r.Context(), id, ex.owner())
	if err != nil {
		err.Param, err.Code = "previous_response_id", "previous_response_not_found"
		if err.Cause == llm.CauseNotFound {
			err.Cause, err.HTTPStatus = llm.CauseInvalidRequest, http.StatusBadRequest
		}
		return err
	}
	expanded, failure := responsestate.Expand(ex.body.bytes(), entry)
	if failure != nil {
		return asError(failure)
	}
	ex.body.free()
	ex.body = &buffer{b: expanded, kept: true}
	ex.rewritten, ex.previousID = true, id
	call, err := ex.face.read(expanded)
	ex.call = call
	return err
}

// previousID is the answer that a body continues; "" for none. The body was read
// before, so it is well formed.
func previousID(body []byte) (id string) {
	s := jsonedit.NewScanner(body)
	for name := range s.Members {
		if string(name) == "previous_response_id" && s.Kind() == jsonedit.KindString {
			id = string(s.Text(nil))
		}
	}
	return id
}

// stored looks an answer up.
func (g *Gateway) stored(ctx context.Context, id, owner string) (*responsestate.Entry, *llm.Error) {
	notFound := &llm.Error{
		Cause:   llm.CauseNotFound,
		Message: fmt.Sprintf("the response %q is not kept here: it was not stored, has expired or is another user's", shorten(id)),
	}
	if g.Responses == nil {
		return nil, notFound
	}
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	entry, err := g.Responses.Load(ctx, id, owner)
	switch {
	case errors.Is(err, responsestate.ErrNotFound):
		return nil, notFound
	case err != nil:
		return nil, &llm.Error{
			Cause: llm.CauseUnavailable, RetryAfter: 2 * time.Second, Err: err,
			Message: "stored responses cannot be read at the moment; try again shortly",
		}
	}
	return entry, nil
}

// storing says whether the gateway keeps the answer: the caller asked for it,
// and the upstream cannot.
func (ex *exchange) storing(format dialect.Name) bool {
	return ex.g.Responses != nil && ex.face.name() == dialect.OpenAIResponses && format != dialect.OpenAIResponses &&
		ex.request.Store != nil && *ex.request.Store
}

// keepResponse keeps a whole answer before its caller sees the end, so that the
// next call may refer to it at once.
func (ex *exchange) keepResponse(e dialect.Encoder) {
	encoder, ok := e.(interface {
		ResponseID() string
		Final() []byte
	})
	if !ok {
		return
	}
	var response struct {
		Output json.RawMessage `json:"output"`
	}
	err := json.Unmarshal(encoder.Final(), &response)
	var input []byte
	if err == nil {
		input, err = responsestate.InputItems(ex.body.bytes())
	}
	if err == nil {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ex.r.Context()), storeTimeout)
		defer cancel()
		err = ex.g.Responses.Save(ctx, responsestate.Entry{
			ID: encoder.ResponseID(), Owner: ex.owner(), Model: ex.call.Model(), CreatedAt: time.Now(),
			Input: input, Output: response.Output, Response: encoder.Final(),
		})
	}
	if err != nil {
		ex.g.Logger.LogAttrs(ex.r.Context(), slog.LevelError, "a response that was to be stored could not be",
			slog.String("request_id", ex.requestID), slog.Any("error", err))
	}
}

// serveStored answers GET and DELETE of a kept answer, and GET of its input.
func (g *Gateway) serveStored(w http.ResponseWriter, r *http.Request, e endpoint) {
	id := newRequestID()
	refuse := func(err *llm.Error) { errorWriter(e.format).WriteError(w, err, id) }
	ex := exchange{g: g, r: r}
	if err := ex.identify(); err != nil {
		refuse(err)
		return
	}
	entry, err := g.stored(r.Context(), e.id, ex.owner())
	switch {
	case r.Method != http.MethodGet && r.Method != http.MethodDelete:
		w.Header().Set("Allow", "GET, DELETE")
		refuse(&llm.Error{Cause: llm.CauseMethodNotAllowed, Message: "this path takes GET and DELETE only"})
	case err != nil:
		refuse(err)
	case e.operation == opStoredItems:
		writeJSON(w, itemList(entry))
	case r.Method == http.MethodGet:
		writeJSON(w, json.RawMessage(entry.Response))
	default:
		ctx, cancel := context.WithTimeout(r.Context(), storeTimeout)
		defer cancel()
		if err := g.Responses.Delete(ctx, e.id, ex.owner()); err != nil {
			refuse(&llm.Error{Cause: llm.CauseUnavailable, RetryAfter: 2 * time.Second, Err: err, Message: "the response could not be deleted; try again shortly"})
			return
		}
		writeJSON(w, map[string]any{"id": e.id, "object": "response", "deleted": true})
	}
}

// itemList is a kept answer's input, as one page.
func itemList(entry *responsestate.Entry) map[string]any {
	list := map[string]any{"object": "list", "data": json.RawMessage(entry.Input), "has_more": false, "first_id": nil, "last_id": nil}
	var items []struct {
		ID *string `json:"id"`
	}
	if json.Unmarshal(entry.Input, &items) == nil && len(items) > 0 {
		list["first_id"], list["last_id"] = items[0].ID, items[len(items)-1].ID
	}
	return list
}
