package gateway

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"strconv"

	"github.com/go-json-experiment/json"

	"github.com/financecommander/tollgate/internal/dialect/openaichat"
	"github.com/financecommander/tollgate/internal/identity"
	"github.com/financecommander/tollgate/internal/llm"
)

// model is an entry of GET /v1/models, in OpenAI's shape.
type model struct {
	ID      string `json:"id"`
	Object  string `json:"object"`
	Created int64  `json:"created"`
	OwnedBy string `json:"owned_by"`
}

// listModels answers GET /v1/models: the specialists, then the configured
// providers' models as `provider/model`, as far as the caller may use them.
func (g *Gateway) listModels(w http.ResponseWriter, r *http.Request) {
	principal, err := g.caller(r)
	if err != nil {
		openaichat.Chat.WriteError(w, err, newRequestID())
		return
	}
	writeJSON(w, map[string]any{"object": "list", "data": g.modelsFor(principal)})
}

// getModel answers GET /v1/models/{id}.
func (g *Gateway) getModel(w http.ResponseWriter, r *http.Request) {
	principal, err := g.caller(r)
	if err != nil {
		openaichat.Chat.WriteError(w, err, newRequestID())
		return
	}
	id := r.PathValue("id")
	models := g.modelsFor(principal)
	if i := slices.IndexFunc(models, func(m model) bool { return m.ID == id }); i >= 0 {
		writeJSON(w, models[i])
		return
	}
	openaichat.Chat.WriteError(w, &llm.Error{
		Cause: llm.CauseModelNotFound, Param: "model", Code: "model_not_found",
		Message: fmt.Sprintf("the model %q does not exist or you may not use it", shorten(id)),
	}, newRequestID())
}

func (g *Gateway) caller(r *http.Request) (*identity.Principal, *llm.Error) {
	ex := exchange{g: g, r: r}
	err := ex.identify()
	return ex.principal, err
}

func (g *Gateway) modelsFor(p *identity.Principal) []model {
	models := []model{}
	if g.Specialists != nil {
		for _, s := range g.Specialists.List() {
			if g.mayUse(p, s.ID, s.Aliases...) {
				models = append(models, model{ID: s.ID, Object: "model", Created: max(s.CreatedAt.Unix(), 0), OwnedBy: "tollgate"})
			}
		}
	}
	var plain []model
	for _, provider := range g.providers {
		names := provider.Models()
		if names == nil {
			for _, m := range g.Prices.Models(tableName(provider.Name)) {
				names = append(names, m.Name)
			}
		}
		for _, name := range names {
			if id := provider.Name + "/" + name; g.mayUse(p, id, name) {
				plain = append(plain, model{ID: id, Object: "model", OwnedBy: provider.Name})
			}
		}
	}
	slices.SortFunc(plain, func(a, b model) int { return cmp.Compare(a.ID, b.ID) })
	return append(models, plain...)
}

func writeJSON(w http.ResponseWriter, v any) {
	body, _ := json.Marshal(v, json.Deterministic(true))
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	_, _ = w.Write(body)
}

// wrongMethod answers a path that exists, asked with another method.
func (g *Gateway) wrongMethod(allow string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Allow", allow)
		ErrorWriterFor(r).WriteError(w, &llm.Error{
			Cause: llm.CauseMethodNotAllowed, Message: fmt.Sprintf("this path takes %s only", allow),
		}, newRequestID())
	}
}

func (g *Gateway) unknownPath(w http.ResponseWriter, r *http.Request) {
	ErrorWriterFor(r).WriteError(w, &llm.Error{
		Cause: llm.CauseNotFound, Message: "there is no such path",
	}, newRequestID())
}
