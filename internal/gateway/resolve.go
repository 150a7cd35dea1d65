package gateway

import (
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/financecommander/tollgate/internal/dialect"
	"github.com/financecommander/tollgate/internal/dialect/portalchat"
	"github.com/financecommander/tollgate/internal/identity"
	"github.com/financecommander/tollgate/internal/llm"
	"github.com/financecommander/tollgate/internal/metrics"
	"github.com/financecommander/tollgate/internal/specialist"
	"github.com/financecommander/tollgate/internal/upstream"
	"github.com/financecommander/tollgate/pricing"
)

// route is where a call may go.
type route struct {
	specialist *specialist.Specialist // nil: a plain model was asked for
	targets    []target               // the first choice first
}

// target is one place a call may go to.
type target struct {
	provider *upstream.Provider
	model    string         // by the name it is called and priced; see modelID
	formats  []dialect.Name // to speak with it, the best first; never empty
	baseURL  string         // a specialist's own; "": the provider's
	price    *pricing.Model // nil: not known
	counts   *metrics.Call
}

// resolve finds the targets for the call's model: a specialist's id or alias,
// an alias of the configuration, `provider/model`, or a model that exactly one
// configured provider is known to have.
func (ex *exchange) resolve() *llm.Error {
	switch f := ex.face.(type) {
	case portal:
		if f.direct {
			return ex.resolveDirect(ex.call.(portalchat.Call))
		}
	case *step:
		return ex.resolveStep(&f.Call)
	}
	name := ex.call.Model()
	if to, ok := ex.g.Aliases[name]; ok {
		name = to
	}
	if ex.g.Specialists != nil {
		if s, ok := ex.g.Specialists.Get(name); ok {
			return ex.resolveSpecialist(s)
		}
	}
	provider, model, ok := ex.g.findModel(name)
	if !ok && ex.g.Specialists != nil && !ex.g.Specialists.Loaded() {
		return notLoaded()
	}
	if !ok || !ex.g.mayUse(ex.principal, provider.Name+"/"+model, model, name, ex.call.Model()) {
		// The same answer for what does not exist and what is not allowed.
		return &llm.Error{
			Cause: llm.CauseModelNotFound, Param: "model", Code: "model_not_found",
			Message: fmt.Sprintf("the model %q does not exist or you may not use it; GET /v1/models lists what you may use", shorten(ex.call.Model())),
		}
	}
	t, err := ex.target(provider, model, nil)
	if err != nil {
		return err
	}
	ex.route.targets = []target{t}
	return nil
}

func (ex *exchange) resolveSpecialist(s *specialist.Specialist) *llm.Error {
	if !ex.g.mayUse(ex.principal, s.ID, slices.Concat([]string{ex.call.Model()}, s.Aliases)...) {
		return &llm.Error{
			Cause: llm.CauseForbidden, Param: "model",
			Message: fmt.Sprintf("your token may not use the specialist %q", s.ID),
		}
	}
	ex.route.specialist = s
	var refused *llm.Error
	var missing string // a provider that is not configured
	for to := range s.Targets() {
		provider := ex.g.providers[to.Provider]
		if ex.g.demo != nil {
			provider = ex.g.demo
		}
		if provider == nil {
			missing = to.Provider
			continue
		}
		t, err := ex.target(provider, to.Model, s)
		if err != nil {
			refused = err
			continue
		}
		ex.route.targets = append(ex.route.targets, t)
	}
	switch {
	case len(ex.route.targets) > 0:
		return nil
	case refused != nil:
		return refused
	default:
		return notConfigured(s.ID, missing)
	}
}

func notConfigured(id, provider string) *llm.Error {
	return &llm.Error{
		Cause: llm.CauseUnavailable, Param: "model",
		Message: fmt.Sprintf("the specialist %q needs the provider %q, which has no key here; ask the operator to set it", id, provider),
	}
}

// findModel finds the provider of a plain model's name. Where the gateway has
// no provider at all, the demo provider takes any name a provider could have.
func (g *Gateway) findModel(name string) (*upstream.Provider, string, bool) {
	if provider, model, ok := strings.Cut(name, "/"); ok && model != "" {
		if p, ok := g.providers[provider]; ok {
			return p, model, p.Serves(model)
		}
		if _, known := upstream.Presets[provider]; known && g.demo != nil {
			return g.demo, model, true
		}
	}
	var found *upstream.Provider
	for _, provider := range g.Prices.ProvidersOf(name) {
		if g.demo != nil {
			return g.demo, name, true
		}
		if p, ok := g.providers[configuredName(provider)]; ok && p.Serves(name) {
			if found != nil {
				return nil, "", false // two have it: the caller must say which
			}
			found = p
		}
	}
	return found, name, found != nil
}

// configuredName is what configuration calls a provider of the price table,
// which names providers after their companies.
func configuredName(provider string) string {
	if provider == "google" {
		return "gemini"
	}
	return provider
}

// tableName is the reverse of [configuredName].
func tableName(provider string) string {
	if provider == "gemini" {
		return "google"
	}
	return provider
}

// mayUse says whether a caller's token is good for a thing under any of its
// names.
func (g *Gateway) mayUse(p *identity.Principal, name string, others ...string) bool {
	return p == nil || p.MayUse(name) || slices.ContainsFunc(others, p.MayUse)
}

// target puts a target together. It refuses where the provider speaks no format
// that the call can be said in.
func (ex *exchange) target(p *upstream.Provider, model string, s *specialist.Specialist) (target, *llm.Error) {
	t := target{provider: p, model: model, formats: ex.face.formats(p, model, ex.call.Stream())}
	if len(t.formats) == 0 {
		return target{}, &llm.Error{
			Cause: llm.CauseInvalidRequest, Param: "model",
			Message: fmt.Sprintf("the provider %q does not answer %s calls", p.Name, ex.face.name()),
		}
	}
	labels := metrics.Labels{Provider: p.Name, Model: metrics.Other}
	if price, ok := ex.g.price(p, model); ok {
		t.price, labels.Model = price, price.Name
	}
	if s != nil {
		labels.Model, labels.Specialist = model, s.ID // configured names
		if err := t.specialize(s); err != nil {
			return target{}, err
		}
	} else if slices.Contains(p.Models(), model) {
		labels.Model = model
	}
	if p.Demo() {
		labels.Model = upstream.DemoName
	}
	t.counts = metrics.For(labels)
	return t, nil
}

// price finds a model's price: a provider's own, which an operator's file may
// have, or that of the company whose models it has.
func (g *Gateway) price(p *upstream.Provider, model string) (*pricing.Model, bool) {
	if price, ok := g.Prices.Lookup(p.Name, model); ok {
		return price, true
	}
	return g.Prices.Lookup(p.PriceName(model), model)
}

// modelID is the model as the provider itself names it.
func (t *target) modelID() string { return t.provider.ModelID(t.model) }

// specialize applies what a specialist says of price and place.
func (t *target) specialize(s *specialist.Specialist) *llm.Error {
	if s.Pricing != nil && t.model == s.Model {
		price, err := pricing.NewModel(s.Pricing.InputPer1M.String(), s.Pricing.OutputPer1M.String())
		if err != nil {
			return &llm.Error{Cause: llm.CauseInternal, Message: fmt.Sprintf("the specialist %q has a price that cannot be read", s.ID), Err: err}
		}
		t.price = price
	}
	if s.BaseURL != "" && t.provider.Name == s.Provider && t.model == s.Model {
		t.baseURL = s.BaseURL
		if _, _, err := t.endpoint(t.formats[0], false); err != nil {
			return &llm.Error{Cause: llm.CauseInternal, Message: fmt.Sprintf("the specialist %q has a base_url that cannot be used", s.ID), Err: err}
		}
	}
	return nil
}

// endpoint is where the target takes a format, and whether the provider's key
// may go there.
func (t *target) endpoint(format dialect.Name, stream bool) (at *url.URL, withKey bool, err error) {
	if t.baseURL != "" {
		return t.provider.Rebase(format, t.model, stream, t.baseURL)
	}
	return t.provider.Endpoint(format, t.model, stream), true, nil
}

// shorten keeps what a caller sent from filling an error message.
func shorten(s string) string {
	if runes := []rune(s); len(runes) > 100 {
		return string(runes[:100]) + "…"
	}
	return s
}
