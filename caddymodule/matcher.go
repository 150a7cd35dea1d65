package caddymodule

import (
	"net/http"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/financecommander/tollgate/internal/gateway"
)

func init() {
	caddy.RegisterModule(MatchSpending{})
}

// MatchSpending matches model calls: requests that cost money, in any dialect
// and under any of its paths. It is what `llm_gateway` limits with, and asks the
// very code that routes such calls, so that no way of writing a path slips
// through a limit.
type MatchSpending struct{}

// CaddyModule returns the Caddy module information.
func (MatchSpending) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.matchers.llm_spending", New: func() caddy.Module { return new(MatchSpending) }}
}

// UnmarshalCaddyfile sets up the matcher from Caddyfile tokens:
//
//	llm_spending
func (m *MatchSpending) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	for d.Next() {
		if d.NextArg() {
			return d.ArgErr()
		}
	}
	return nil
}

// MatchWithError implements caddyhttp.RequestMatcherWithError.
func (MatchSpending) MatchWithError(r *http.Request) (bool, error) { return gateway.Spends(r), nil }

var (
	_ caddyhttp.RequestMatcherWithError = (*MatchSpending)(nil)
	_ caddyfile.Unmarshaler             = (*MatchSpending)(nil)
)
