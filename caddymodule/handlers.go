package caddymodule

import (
	"errors"
	"net/http"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/financecommander/tollgate/internal/gateway"
	"github.com/financecommander/tollgate/internal/identity"
	"github.com/financecommander/tollgate/internal/llm"
	"github.com/financecommander/tollgate/internal/portal"
)

func init() {
	caddy.RegisterModule(Proxy{})
	caddy.RegisterModule(Portal{})
	caddy.RegisterModule(CORS{})
	caddy.RegisterModule(ErrorResponder{})
}

// Proxy answers model calls: `/v1/…` and the portal's `/chat/send` and
// `/chat/stream`. Other paths go to the next handler. It serves callers that
// `llm_jwt` has verified, and nobody else.
type Proxy struct {
	// Serve callers without a token, too: for gateways behind another
	// authentication. Default: false.
	Anonymous bool `json:"anonymous,omitempty"`

	app     *App
	gateway *gateway.Gateway
}

// CaddyModule returns the Caddy module information.
func (Proxy) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.llm_proxy", New: func() caddy.Module { return new(Proxy) }}
}

// Provision finds the app.
func (p *Proxy) Provision(ctx caddy.Context) (err error) {
	if p.app, err = theApp(ctx); err != nil {
		return err
	}
	p.gateway = p.app.engine.newGateway(p.Anonymous)
	return nil
}

// ServeHTTP implements caddyhttp.MiddlewareHandler.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	if !p.gateway.Serves(r) {
		return next.ServeHTTP(w, r)
	}
	if err := p.app.engine.enter(r); err != nil {
		return refuse(r, err)
	}
	defer p.app.engine.leave()
	p.gateway.ServeHTTP(newStreamWriter(w, r), r)
	return nil
}

// Portal serves the web frontend's API: health, sign-in, specialists and the
// usage log. Other paths go to the next handler, or, if it is the last, get a
// JSON 404.
type Portal struct {
	// Answer paths that are not the API's with a JSON 404. Default: false.
	Last bool `json:"last,omitempty"`
	// Origins whose pages may open the chat's WebSocket, beside the gateway's own;
	// `*` for all. Default: none.
	Origins []string `json:"origins,omitempty"`

	app    *App
	portal *portal.Handler
}

// CaddyModule returns the Caddy module information.
func (Portal) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.llm_portal", New: func() caddy.Module { return new(Portal) }}
}

// Provision finds the app.
func (p *Portal) Provision(ctx caddy.Context) (err error) {
	if p.app, err = theApp(ctx); err != nil {
		return err
	}
	p.portal = p.app.newPortal(p.Origins)
	return nil
}

// ServeHTTP implements caddyhttp.MiddlewareHandler.
func (p *Portal) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	if !p.Last && !p.portal.Serves(r) {
		return next.ServeHTTP(w, r)
	}
	if err := p.app.engine.enter(r); err != nil {
		return refuse(r, err)
	}
	defer p.app.engine.leave()
	p.portal.ServeHTTP(w, p.withPrincipal(r))
	return nil
}

// withPrincipal gives the request as the portal expects it: with the verified
// caller in its context. Where none is needed, a good token still says who it
// is that signs out.
func (p *Portal) withPrincipal(r *http.Request) *http.Request {
	who := principalOf(r)
	if who == nil && portal.Open(r) {
		token, err := identity.TokenFromRequest(r)
		identity.Strip(r)
		if err == nil && token != "" {
			who, _ = p.app.engine.verifier.Verify(r.Context(), token)
		}
	}
	if who == nil {
		return r
	}
	return r.WithContext(identity.NewContext(r.Context(), who))
}

// CORS lets browser pages of other origins call the gateway. It answers
// preflights before anything counts or logs them.
type CORS struct {
	// Origins such as `https://portal.example.com`; `*` for all.
	Origins []string `json:"origins"`
}

// CaddyModule returns the Caddy module information.
func (CORS) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.llm_cors", New: func() caddy.Module { return new(CORS) }}
}

// ServeHTTP implements caddyhttp.MiddlewareHandler.
func (c *CORS) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) (err error) {
	portal.CORS(c.Origins, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		err = next.ServeHTTP(w, r)
	})).ServeHTTP(w, r)
	return err
}

// ErrorResponder answers the errors of a site in the caller's dialect. It
// belongs into error routes (`handle_errors`).
type ErrorResponder struct{}

// CaddyModule returns the Caddy module information.
func (ErrorResponder) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.llm_error", New: func() caddy.Module { return new(ErrorResponder) }}
}

// ServeHTTP implements caddyhttp.MiddlewareHandler.
func (ErrorResponder) ServeHTTP(w http.ResponseWriter, r *http.Request, _ caddyhttp.Handler) error {
	err := refusal(r)
	if err.Status() == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", "Bearer") // required of every 401 (RFC 9110, 15.5.2)
	}
	gateway.WriteError(w, r, err)
	return nil
}

// refusal is why the request failed: in our handlers' words if it was one of
// them, else by the status of Caddy's error, whose text stays in the log.
func refusal(r *http.Request) *llm.Error {
	if err, ok := caddyhttp.GetVar(r.Context(), errorVar).(*llm.Error); ok {
		return err
	}
	err, _ := r.Context().Value(caddyhttp.ErrorCtxKey).(error)
	failed, ok := errors.AsType[caddyhttp.HandlerError](err)
	if !ok {
		return asLLMError(err)
	}
	e := &llm.Error{Cause: causeOf(failed.StatusCode), HTTPStatus: failed.StatusCode, Message: http.StatusText(failed.StatusCode), Err: err}
	if e.Cause == llm.CauseUnavailable {
		e.RetryAfter = time.Second
	}
	return e
}

func causeOf(status int) llm.Cause {
	switch status {
	case http.StatusUnauthorized:
		return llm.CauseUnauthenticated
	case http.StatusForbidden:
		return llm.CauseForbidden
	case http.StatusNotFound:
		return llm.CauseNotFound
	case http.StatusMethodNotAllowed:
		return llm.CauseMethodNotAllowed
	case http.StatusRequestEntityTooLarge:
		return llm.CauseTooLarge
	case http.StatusTooManyRequests:
		return llm.CauseRateLimited
	case http.StatusServiceUnavailable:
		return llm.CauseUnavailable
	}
	if status >= 400 && status < 500 {
		return llm.CauseInvalidRequest
	}
	return llm.CauseInternal
}

var (
	_ caddyhttp.MiddlewareHandler = (*Proxy)(nil)
	_ caddyhttp.MiddlewareHandler = (*Portal)(nil)
	_ caddyhttp.MiddlewareHandler = (*CORS)(nil)
	_ caddyhttp.MiddlewareHandler = (*ErrorResponder)(nil)
	_ caddy.Provisioner           = (*Proxy)(nil)
	_ caddy.Provisioner           = (*Portal)(nil)
)
