package caddymodule

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/financecommander/tollgate/internal/identity"
	"github.com/financecommander/tollgate/internal/llm"
	"github.com/financecommander/tollgate/internal/metrics"
	"github.com/financecommander/tollgate/internal/ratelimit"
)

func init() {
	caddy.RegisterModule(RateLimit{})
}

// RateLimit lets so many requests through and refuses the rest with 429 in the
// caller's dialect. Each zone is a token bucket per key; a request must be
// granted by all of them, and one that is refused takes nothing from any. The
// buckets are in Redis when the app has one, else in process.
//
// A token that has a limit of its own (an API token) is asked for in that, too.
// An issuer's rule can give a user a limit in the place of the zone `default`.
//
// Answers carry `X-RateLimit-Limit`, `-Remaining` and `-Reset` (seconds) of the
// tightest zone, and OpenAI's `x-ratelimit-*-requests`.
type RateLimit struct {
	// The zones. Default: one named `default` with 60/h per caller.
	Zones []Zone `json:"zones,omitempty"`

	// Take nothing for the request itself, which opens a WebSocket, but for each
	// call that is made over it. Default: false.
	PerCall bool `json:"per_call,omitempty"`

	app     *App
	zones   []zone
	limiter ratelimit.Limiter
}

// Zone is one kind of bucket.
type Zone struct {
	// Name, part of the key; zones of one name share their buckets.
	Name string `json:"name"`
	// Whose bucket: text with placeholders. Default: `{llm.caller}`, the user
	// where a valid token was sent, else the client's IP address, of IPv6 the /64
	// (of `X-Forwarded-For` only from the server's `trusted_proxies`).
	Key string `json:"key,omitempty"`
	// How many in which time, `60/h`, `10/s`, `100/10m`, with the bucket's size
	// behind it if that differs: `60/h burst 10`. `off` limits nothing.
	Limit string `json:"limit"`
}

type zone struct {
	name  string
	key   string // "": the caller
	limit ratelimit.Limit
}

const (
	callerKey    = "{llm.caller}"
	defaultLimit = "60/h"
	// defaultZone is the zone that users and tokens can have limits of their own in.
	defaultZone = "default"
)

// CaddyModule returns the Caddy module information.
func (RateLimit) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.llm_rate_limit", New: func() caddy.Module { return new(RateLimit) }}
}

// Provision finds the app and reads the limits.
func (l *RateLimit) Provision(ctx caddy.Context) (err error) {
	if l.app, err = theApp(ctx); err != nil {
		return err
	}
	l.limiter = l.app.engine.limiter
	if len(l.Zones) == 0 {
		l.Zones = []Zone{{Name: defaultZone, Limit: defaultLimit}}
	}
	names := make(map[string]bool)
	for _, z := range l.Zones {
		if z.Name == "" || names[z.Name] {
			return fmt.Errorf("rate limit zone %q: each zone needs a name of its own", z.Name)
		}
		names[z.Name] = true
		text := caddy.NewReplacer().ReplaceKnown(z.Limit, "")
		if text == "off" {
			continue
		}
		limit, err := ratelimit.ParseLimit(text)
		if err != nil {
			return fmt.Errorf("rate limit zone %q: %w", z.Name, err)
		}
		key := z.Key
		if key == callerKey {
			key = ""
		}
		l.zones = append(l.zones, zone{z.Name, key, limit})
	}
	return nil
}

// ServeHTTP implements caddyhttp.MiddlewareHandler.
func (l *RateLimit) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	if len(l.zones) == 0 {
		return next.ServeHTTP(w, r)
	}
	if err := l.app.engine.enter(r); err != nil {
		return refuse(r, err)
	}
	defer l.app.engine.leave() // held for the handlers behind, too
	if l.PerCall {
		caddyhttp.SetVar(r.Context(), spendVar, spender(l.spend))
		return next.ServeHTTP(w, r)
	}
	decision, err := l.take(r, principalOf(r))
	if err != nil {
		return refuse(r, asLLMError(err))
	}
	ratelimit.SetHeaders(w.Header(), decision)
	if !decision.Allowed {
		return refuse(r, ratelimit.Refusal(decision))
	}
	return next.ServeHTTP(w, r)
}

// spendVar is the request variable that gives the calls of a WebSocket their
// limit.
const spendVar = "llm_spend"

// spender takes a call over a WebSocket out of its caller's buckets. header gets
// where they stand then.
type spender func(r *http.Request, p *identity.Principal, header http.Header) *llm.Error

func (l *RateLimit) spend(r *http.Request, p *identity.Principal, header http.Header) *llm.Error {
	decision, err := l.take(r, p)
	if err != nil {
		return asLLMError(err)
	}
	ratelimit.SetHeaders(header, decision)
	if !decision.Allowed {
		return ratelimit.Refusal(decision)
	}
	return nil
}

func (l *RateLimit) take(r *http.Request, p *identity.Principal) (ratelimit.Decision, error) {
	var space [4]ratelimit.Ask
	asks := space[:0]
	for i := range l.zones {
		z := &l.zones[i]
		ask := ratelimit.Ask{Key: z.name + ":" + z.keyOf(r, p), Limit: z.limit, N: 1}
		if z.isDefault() && p != nil {
			asks = appendOwn(asks, &ask, p)
		}
		asks = append(asks, ask)
	}
	return l.limiter.Take(r.Context(), asks...)
}

// isDefault says whether a zone is the one of each caller's calls.
func (z *zone) isDefault() bool { return z.name == defaultZone && z.key == "" }

// appendOwn puts the limits that a caller brings along in force: the user's in
// the place of the default zone's, the token's beside it. A limit stands in its
// bucket's key, since a bucket has one for ever.
func appendOwn(asks []ratelimit.Ask, ask *ratelimit.Ask, p *identity.Principal) []ratelimit.Ask {
	if p.UserRate != "" {
		if limit, err := ratelimit.ParseLimit(p.UserRate); err == nil {
			ask.Key, ask.Limit = p.UserRate+":"+ask.Key, limit
		}
	}
	if p.Rate != "" {
		if limit, err := ratelimit.ParseLimit(p.Rate); err == nil {
			asks = append(asks, ratelimit.Ask{Key: "token:" + p.Rate + ":" + p.TokenID, Limit: limit, N: 1})
		}
	}
	return asks
}

// keyOf evaluates a zone's key for a request. The text comes from the
// configuration alone; what a client sent is a value in it, never evaluated.
func (z *zone) keyOf(r *http.Request, p *identity.Principal) string {
	if z.key == "" {
		return callerOf(r, p)
	}
	repl := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	return repl.ReplaceAll(z.key, "")
}

// callerDigits of a user's hash are enough to tell users apart, and short enough
// for a key that needs no hashing of its own.
const callerDigits = 32

// callerOf names who a request is from: the user, else the IP address.
func callerOf(r *http.Request, p *identity.Principal) string {
	if p != nil {
		return "user:" + p.UserHash[:min(len(p.UserHash), callerDigits)]
	}
	ip, _ := caddyhttp.GetVar(r.Context(), caddyhttp.ClientIPVarKey).(string)
	return "ip:" + networkOf(ip)
}

// networkBits are those of an IPv6 address that are one customer's: the rest of it
// is theirs to choose anew for every request (RFC 6177).
const networkBits = 64

// networkOf is what an address has in common with those of the same client.
func networkOf(ip string) string {
	addr, err := netip.ParseAddr(ip)
	if err != nil {
		return ip
	}
	addr = addr.Unmap()
	if addr.Is4() {
		return addr.String()
	}
	network, _ := addr.WithZone("").Prefix(networkBits) // an IPv6 address has as many bits
	return network.String()
}

// refuse counts an error and hands it to the site's error routes, where llm_error
// says it in the caller's dialect.
func refuse(r *http.Request, err *llm.Error) error {
	metrics.Refused(err.Status(), err.Cause)
	caddyhttp.SetVar(r.Context(), errorVar, err)
	return caddyhttp.Error(err.Status(), errors.New(err.Message))
}

var (
	_ caddyhttp.MiddlewareHandler = (*RateLimit)(nil)
	_ caddy.Provisioner           = (*RateLimit)(nil)
)
