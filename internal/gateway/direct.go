package gateway

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/financecommander/tollgate/internal/dialect/portalchat"
	"github.com/financecommander/tollgate/internal/identity"
	"github.com/financecommander/tollgate/internal/llm"
	"github.com/financecommander/tollgate/internal/upstream"
	"github.com/financecommander/tollgate/pricing"
)

// directLabel is what the rows of direct chat say in the place of a specialist.
var directLabel = Label{ID: "direct", Name: "Direct chat"}

// resolveDirect finds the target of a direct chat: a model of a configured
// provider, by exactly these two names. No alias and no specialist stands for
// it.
func (ex *exchange) resolveDirect(call portalchat.Call) *llm.Error {
	provider, ok := ex.g.providers[configuredName(call.Provider)]
	if _, known := upstream.Presets[configuredName(call.Provider)]; !ok && known && ex.g.demo != nil {
		provider, ok = ex.g.demo, true
	}
	model := call.ModelName
	if !ok || !provider.Serves(model) || !ex.g.mayUse(ex.principal, provider.Name+"/"+model, model) {
		// The same answer for what does not exist and what is not allowed.
		return &llm.Error{
			Cause: llm.CauseModelNotFound, Param: "model", Code: "model_not_found",
			Message: fmt.Sprintf("the model %q of %q does not exist or you may not use it; GET /chat/direct/models lists what you may use", shorten(model), shorten(call.Provider)),
		}
	}
	t, err := ex.target(provider, model, nil)
	if err != nil {
		return err
	}
	ex.route.targets = []target{t}
	return nil
}

// DirectProvider is a provider that can be chatted with.
type DirectProvider struct {
	ID     string        `json:"id"`
	Name   string        `json:"name"` // for people
	Models []DirectModel `json:"models"`
}

// DirectModel is one of its models. Prices are in USD per million tokens, those
// that calls are billed with; a model whose price is not known has 0.
type DirectModel struct {
	ID          string        `json:"id"`
	Name        string        `json:"name"`
	Tier        string        `json:"tier"`
	Context     int64         `json:"context"` // the longest input, in tokens; 0: not known
	Description string        `json:"description"`
	Input       pricing.Money `json:"input_price"`
	Output      pricing.Money `json:"output_price"`
}

// DirectModels lists what a caller may chat with directly: the configured
// providers, or the demo where there is none, with the models that are known of
// them. Providers without a model that the caller may use are not in it.
func (g *Gateway) DirectModels(p *identity.Principal) []DirectProvider {
	list := []DirectProvider{}
	for _, provider := range g.providers {
		models := g.directModels(p, provider)
		if len(models) > 0 {
			list = append(list, DirectProvider{ID: provider.Name, Name: upstream.Title(provider.Name), Models: models})
		}
	}
	slices.SortFunc(list, func(a, b DirectProvider) int {
		return cmp.Or(strings.Compare(strings.ToLower(a.Name), strings.ToLower(b.Name)), strings.Compare(a.ID, b.ID))
	})
	return list
}

func (g *Gateway) directModels(p *identity.Principal, provider *upstream.Provider) []DirectModel {
	names := provider.Models()
	if names == nil {
		for _, m := range g.Prices.Models(tableName(provider.Name)) {
			if !m.Deprecated {
				names = append(names, m.Name)
			}
		}
	}
	if provider.Demo() {
		names = []string{upstream.DemoName}
	}
	slices.Sort(names)
	var models []DirectModel
	for _, name := range names {
		if !g.mayUse(p, provider.Name+"/"+name, name) {
			continue
		}
		if m, ok := g.directModel(provider, name); ok {
			models = append(models, m)
		}
	}
	return models
}

// directModel describes a model; ok is false for one that cannot chat.
func (g *Gateway) directModel(provider *upstream.Provider, name string) (m DirectModel, ok bool) {
	m = DirectModel{ID: name, Name: name, Tier: "standard"}
	known, found := g.price(provider, name)
	if !found {
		return m, true
	}
	if known.Kind != "" && known.Kind != "chat" || len(known.OutputModalities) > 0 && !slices.Contains(known.OutputModalities, "text") {
		return m, false
	}
	m.Context = known.ContextWindow
	m.Input, m.Output, _ = known.PerMillion(pricing.At{Time: time.Now()})
	return m, true
}
