package gateway

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/financecommander/tollgate/internal/dialect"
	"github.com/financecommander/tollgate/internal/identity"
	"github.com/financecommander/tollgate/internal/llm"
)

// model is what the lists of models say of one.
type model struct {
	id      string
	name    string // for people
	created time.Time
	owner   string
	about   string
}

// openAIModel is an entry of OpenAI's list.
// Source: https://platform.openai.com/docs/api-reference/models/object.
type openAIModel struct {
	ID      string `json:"id"`
	Object  string `json:"object"`
	Created int64  `json:"created"`
	OwnedBy string `json:"owned_by"`
}

func (m model) openAI() openAIModel {
	return openAIModel{ID: m.id, Object: "model", Created: max(m.created.Unix(), 0), OwnedBy: m.owner}
}

// anthropicModel is an entry of Anthropic's list.
// Source: https://docs.anthropic.com/en/api/models-list.
type anthropicModel struct {
	Type        string `json:"type"`
	ID          string `json:"id"`
	DisplayName string `json:"display_name"`
	CreatedAt   string `json:"created_at"`
}

func (m model) anthropic() anthropicModel {
	created := m.created
	if created.Unix() < 0 {
		created = time.Unix(0, 0)
	}
	return anthropicModel{Type: "model", ID: m.id, DisplayName: m.name, CreatedAt: created.UTC().Format(time.RFC3339)}
}

// geminiModel is an entry of Gemini's list.
// Source: https://ai.google.dev/api/models#Model.
type geminiModel struct {
	Name        string   `json:"name"`
	Version     string   `json:"version"`
	DisplayName string   `json:"displayName"`
	Description string   `json:"description"`
	Methods     []string `json:"supportedGenerationMethods"`
}

func (m model) gemini() geminiModel {
	methods := []string{"generateContent", "streamGenerateContent", "countTokens"}
	if strings.Contains(m.id, "embed") {
		methods = []string{"embedContent", "batchEmbedContents"}
	}
	return geminiModel{Name: "models/" + m.id, Version: "001", DisplayName: m.name, Description: m.about, Methods: methods}
}

// listModels answers a list of models in the caller's dialect: the specialists,
// then the configured providers' models as `provider/model`, as far as the
// caller may use them. Lists are whole: there is no second page.
func (g *Gateway) listModels(w http.ResponseWriter, r *http.Request, e endpoint) {
	principal, err := g.caller(r)
	if err != nil {
		errorWriter(e.format).WriteError(w, err, newRequestID())
		return
	}
	models := g.modelsFor(principal)
	switch e.format {
	case dialect.AnthropicMessages:
		list := map[string]any{"data": each(models, model.anthropic), "has_more": false, "first_id": nil, "last_id": nil}
		if len(models) > 0 {
			list["first_id"], list["last_id"] = models[0].id, models[len(models)-1].id
		}
		writeJSON(w, list)
	case dialect.Gemini:
		writeJSON(w, map[string]any{"models": each(models, model.gemini)})
	default:
		writeJSON(w, map[string]any{"object": "list", "data": each(models, model.openAI)})
	}
}

func each[T any](models []model, say func(model) T) []T {
	said := make([]T, len(models))
	for i, m := range models {
		said[i] = say(m)
	}
	return said
}

// getModel answers for one model.
func (g *Gateway) getModel(w http.ResponseWriter, r *http.Request, e endpoint) {
	principal, err := g.caller(r)
	if err != nil {
		errorWriter(e.format).WriteError(w, err, newRequestID())
		return
	}
	models := g.modelsFor(principal)
	i := slices.IndexFunc(models, func(m model) bool { return m.id == e.id })
	if i < 0 {
		errorWriter(e.format).WriteError(w, &llm.Error{
			Cause: llm.CauseModelNotFound, Param: "model", Code: "model_not_found",
			Message: fmt.Sprintf("the model %q does not exist or you may not use it", shorten(e.id)),
		}, newRequestID())
		return
	}
	switch e.format {
	case dialect.AnthropicMessages:
		writeJSON(w, models[i].anthropic())
	case dialect.Gemini:
		writeJSON(w, models[i].gemini())
	default:
		writeJSON(w, models[i].openAI())
	}
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
				models = append(models, model{id: s.ID, name: s.Name, created: s.CreatedAt, owner: "tollgate", about: s.Description})
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
				plain = append(plain, model{id: id, name: name, created: time.Unix(0, 0), owner: provider.Name})
			}
		}
	}
	slices.SortFunc(plain, func(a, b model) int { return cmp.Compare(a.id, b.id) })
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
