package caddymodule

import (
	"net/http"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/financecommander/tollgate/internal/gateway"
	"github.com/financecommander/tollgate/internal/portal"
)

func init() {
	caddy.RegisterModule(MatchSpending{})
	caddy.RegisterModule(MatchSigningIn{})
	caddy.RegisterModule(MatchOpen{})
}

// These matchers are what `llm_gateway` routes with. Each asks the very code that
// answers such requests, so that no way of writing a path slips through a limit
// or past the authentication.

// MatchSpending matches requests that cost money: model calls, in any dialect and
// under any of its paths, and runs of pipelines.
type MatchSpending struct{}

// MatchSigningIn matches requests by which people sign in, which anybody may
// send, and which deserve a small limit for that.
type MatchSigningIn struct{}

// MatchOpen matches all requests of the portal's API that need no access token:
// signing in, refreshing and signing out, health, the documentation, and opening
// the chat's WebSocket, whose first message has the token.
type MatchOpen struct{}

// CaddyModule returns the Caddy module information.
func (MatchSpending) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.matchers.llm_spending", New: func() caddy.Module { return new(MatchSpending) }}
}

// CaddyModule returns the Caddy module information.
func (MatchSigningIn) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.matchers.llm_signing_in", New: func() caddy.Module { return new(MatchSigningIn) }}
}

// CaddyModule returns the Caddy module information.
func (MatchOpen) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.matchers.llm_open", New: func() caddy.Module { return new(MatchOpen) }}
}

// UnmarshalCaddyfile sets up the matcher from Caddyfile tokens:
//
//	llm_spending
func (*MatchSpending) UnmarshalCaddyfile(d *caddyfile.Dispenser) error { return wordless(d) }

// UnmarshalCaddyfile sets up the matcher from Caddyfile tokens:
//
//	llm_signing_in
func (*MatchSigningIn) UnmarshalCaddyfile(d *caddyfile.Dispenser) error { return wordless(d) }

// UnmarshalCaddyfile sets up the matcher from Caddyfile tokens:
//
//	llm_open
func (*MatchOpen) UnmarshalCaddyfile(d *caddyfile.Dispenser) error { return wordless(d) }

// wordless reads a matcher that takes no arguments.
func wordless(d *caddyfile.Dispenser) error {
	for d.Next() {
		if d.NextArg() {
			return d.ArgErr()
		}
	}
	return nil
}

// MatchWithError implements caddyhttp.RequestMatcherWithError.
func (MatchSpending) MatchWithError(r *http.Request) (bool, error) {
	return gateway.Spends(r) || portal.Spends(r), nil
}

// MatchWithError implements caddyhttp.RequestMatcherWithError.
func (MatchSigningIn) MatchWithError(r *http.Request) (bool, error) { return portal.SignsIn(r), nil }

// MatchWithError implements caddyhttp.RequestMatcherWithError.
func (MatchOpen) MatchWithError(r *http.Request) (bool, error) { return portal.Open(r), nil }

var (
	_ caddyhttp.RequestMatcherWithError = (*MatchSpending)(nil)
	_ caddyhttp.RequestMatcherWithError = (*MatchSigningIn)(nil)
	_ caddyhttp.RequestMatcherWithError = (*MatchOpen)(nil)
	_ caddyfile.Unmarshaler             = (*MatchSpending)(nil)
	_ caddyfile.Unmarshaler             = (*MatchSigningIn)(nil)
	_ caddyfile.Unmarshaler             = (*MatchOpen)(nil)
)
