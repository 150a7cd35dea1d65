package gateway

import (
	"cmp"
	"fmt"
	"time"

	"github.com/financecommander/tollgate/internal/llm"
	"github.com/financecommander/tollgate/internal/specialist"
)

// resolveStep finds the targets of a call that the gateway makes by itself: its
// specialist's, or its model, and then its own fallbacks.
func (ex *exchange) resolveStep(c *Call) *llm.Error {
	var refused *llm.Error
	if c.Specialist != "" {
		s, err := ex.g.specialistNamed(c.Specialist)
		if err != nil {
			return err
		}
		refused = ex.resolveSpecialist(s)
	} else {
		refused = ex.addTarget(specialist.Target{Provider: c.Provider, Model: c.Model})
	}
	if refused != nil && (refused.Cause == llm.CauseForbidden || refused.Cause == llm.CauseModelNotFound) {
		return refused // who may not use the first choice does not get others in its place
	}
	for _, to := range c.Fallbacks {
		refused = cmp.Or(refused, ex.addTarget(to))
	}
	if len(ex.route.targets) > 0 {
		return nil
	}
	return refused
}

// specialistNamed finds a specialist by id or alias, one of the configuration's
// among them.
func (g *Gateway) specialistNamed(name string) (*specialist.Specialist, *llm.Error) {
	if g.Specialists != nil {
		for _, name := range []string{name, g.Aliases[name]} {
			if s, ok := g.Specialists.Get(name); ok {
				return s, nil
			}
		}
		if !g.Specialists.Loaded() {
			return nil, notLoaded()
		}
	}
	return nil, &llm.Error{
		Cause: llm.CauseModelNotFound, Param: "model", Code: "model_not_found",
		Message: fmt.Sprintf("there is no specialist %q", shorten(name)),
	}
}

// addTarget adds a model of a provider, by exactly these two names, or says why
// not. No specialist's place or price is its own, and it counts under no
// specialist's name: whoever writes a pipeline makes up no labels.
func (ex *exchange) addTarget(to specialist.Target) *llm.Error {
	name := configuredName(to.Provider)
	provider := ex.g.providers[name]
	if ex.g.demo != nil {
		provider = ex.g.demo
	}
	names := []string{to.Model, to.Provider + "/" + to.Model}
	if provider != nil {
		names = append(names, provider.Name+"/"+to.Model)
	}
	if !ex.g.mayUse(ex.principal, name+"/"+to.Model, names...) || provider != nil && !provider.Serves(to.Model) {
		// The same answer for what does not exist and what is not allowed.
		return &llm.Error{
			Cause: llm.CauseModelNotFound, Param: "model", Code: "model_not_found",
			Message: fmt.Sprintf("the model %q of %q does not exist or you may not use it", shorten(to.Model), shorten(to.Provider)),
		}
	}
	if provider == nil {
		return &llm.Error{
			Cause: llm.CauseUnavailable, Param: "model",
			Message: fmt.Sprintf("the model %q needs the provider %q, which has no key here; ask the operator to set it", shorten(to.Model), shorten(to.Provider)),
		}
	}
	t, err := ex.target(provider, to.Model, nil)
	if err != nil {
		return err
	}
	ex.route.targets = append(ex.route.targets, t)
	return nil
}

func notLoaded() *llm.Error {
	return &llm.Error{
		Cause: llm.CauseUnavailable, Param: "model", RetryAfter: 2 * time.Second,
		Message: "the gateway does not know its specialists yet, since its database does not answer; try again shortly",
	}
}
