package caddymodule

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/caddyauth"

	"github.com/financecommander/tollgate/internal/identity"
	"github.com/financecommander/tollgate/internal/llm"
	"github.com/financecommander/tollgate/internal/metrics"
)

func init() {
	caddy.RegisterModule(Authenticator{})
}

// Authenticator verifies JWTs for Caddy's `authentication` handler. The token
// is taken from `Authorization: Bearer`, `x-api-key`, `x-goog-api-key` or
// `?key=`, so that every SDK can carry it, and removed from the request, so
// that nothing behind logs or forwards it.
//
// On success these placeholders are set, none of which holds an address:
//
// Placeholder | Description
// ------------|------------
// `{http.auth.user.id}` | hash that names the user in the usage log
// `{http.auth.user.issuer}` | configured name of the issuer
// `{http.auth.user.token_id}` | the token's `jti`
//
// A missing or bad token is 401. An issuer whose keys cannot be fetched is 503,
// if `llm_error` handles the site's errors, as in `llm_gateway`.
type Authenticator struct {
	app *App
}

// CaddyModule returns the Caddy module information.
func (Authenticator) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.authentication.providers.llm_jwt",
		New: func() caddy.Module { return new(Authenticator) },
	}
}

// Provision finds the app.
func (a *Authenticator) Provision(ctx caddy.Context) (err error) {
	a.app, err = theApp(ctx)
	return err
}

// The request variables that handlers of ours pass to each other.
const (
	principalVar = "llm_principal" // *identity.Principal
	errorVar     = "llm_error"     // *llm.Error: why a request was refused
)

// Authenticate implements caddyauth.Authenticator.
func (a *Authenticator) Authenticate(_ http.ResponseWriter, r *http.Request) (caddyauth.User, bool, error) {
	principal, err := a.verify(r)
	if err != nil {
		refusal := asLLMError(err)
		metrics.Refused(refusal.Status(), refusal.Cause)
		caddyhttp.SetVar(r.Context(), errorVar, refusal)
		if refusal.Cause == llm.CauseUnavailable {
			return caddyauth.User{}, false, refusal
		}
		return caddyauth.User{}, false, nil
	}
	caddyhttp.SetVar(r.Context(), principalVar, principal)
	a.app.engine.sessions.Used(principal)
	return caddyauth.User{
		ID:       principal.UserHash,
		Metadata: map[string]string{"issuer": principal.Issuer, "token_id": principal.TokenID},
	}, true, nil
}

func (a *Authenticator) verify(r *http.Request) (*identity.Principal, error) {
	token, err := identity.TokenFromRequest(r)
	identity.Strip(r)
	if err != nil {
		return nil, err
	}
	if token == "" {
		return nil, &llm.Error{
			Cause: llm.CauseUnauthenticated, Code: "invalid_api_key",
			Message: "no token was sent: sign in, or send one as `Authorization: Bearer TOKEN`, `x-api-key` or `x-goog-api-key`",
		}
	}
	// Before the start it is not known what was revoked.
	if err := a.app.engine.enter(r); err != nil {
		return nil, err
	}
	defer a.app.engine.leave()
	return a.app.engine.verifier.Verify(r.Context(), token)
}

// callerVar gives a request's verified caller to the gateway: of calls that the
// portal makes (over a WebSocket, for triage) it is in their context, together
// with the variables of the request that they came of; of others it is in such a
// variable.
func callerVar(r *http.Request) (*identity.Principal, bool) {
	if p, ok := identity.FromContext(r.Context()); ok {
		return p, true
	}
	p := principalOf(r)
	return p, p != nil
}

// principalOf gives the verified caller; nil: there is none.
func principalOf(r *http.Request) *identity.Principal {
	p, _ := caddyhttp.GetVar(r.Context(), principalVar).(*identity.Principal)
	return p
}

// theApp finds the app, made empty if the configuration has none.
func theApp(ctx caddy.Context) (*App, error) {
	module, err := ctx.App("llm")
	if err != nil {
		return nil, fmt.Errorf("get the llm app: %w", err)
	}
	return module.(*App), nil
}

// asLLMError makes any error one a caller may see.
func asLLMError(err error) *llm.Error {
	if e, ok := errors.AsType[*llm.Error](err); ok {
		return e
	}
	return &llm.Error{Cause: llm.CauseInternal, Message: "the gateway failed on this call", Err: err}
}

var (
	_ caddyauth.Authenticator = (*Authenticator)(nil)
	_ caddy.Provisioner       = (*Authenticator)(nil)
)
