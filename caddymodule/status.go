package caddymodule

import (
	"context"
	"net"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/financecommander/tollgate/internal/portal"
	"github.com/financecommander/tollgate/internal/secret"
)

// checks are the dependencies that /health and /llm/status report.
func (e *engine) checks() map[string]func(context.Context) error {
	checks := map[string]func(context.Context) error{
		"database": e.db.Ping,
		"redis":    nil,
		"spool":    func(context.Context) error { return e.ledger.Admit() },
	}
	if client := e.redis; client != nil {
		checks["redis"] = func(ctx context.Context) error { return client.Ping(ctx).Err() }
	}
	return checks
}

// newPortal makes the portal of one llm_portal handler. Pages of the given origins
// may open WebSockets, beside its own.
func (a *App) newPortal(origins []string) *portal.Handler {
	e := a.engine
	return portal.New(portal.Options{
		Version: Version, Checks: e.checks(), Logger: a.logger,
		Specialists: e.specialists, Editor: e.editor, Usage: e.db, Conversations: e.conversations,
		Chat: e.chat(origins), Pipelines: e.portalPipelines(),
		Auth: portal.AuthOptions{
			Trusted: e.trusted, Domains: e.domains, Sessions: e.sessions, Login: e.logins,
			Hasher: e.hasher, Limit: e.attempts, Audit: e.db,
		},
	})
}

// loopbackOnly says whether every server of the configuration listens on this
// machine alone, where signing in needs no proof. It holds once the
// configuration is complete, so it is asked per request.
func (a *App) loopbackOnly() bool {
	module, err := a.ctx.AppIfConfigured("http")
	if err != nil {
		return false
	}
	for _, server := range module.(*caddyhttp.App).Servers {
		for _, address := range server.Listen {
			if !isLoopback(address) {
				return false
			}
		}
	}
	return true
}

func isLoopback(address string) bool {
	parsed, err := caddy.ParseNetworkAddress(address)
	if err != nil {
		return false
	}
	return parsed.IsUnixNetwork() || parsed.Host == "localhost" || net.ParseIP(parsed.Host).IsLoopback()
}

func (e *engine) status(ctx context.Context) Status {
	s := Status{
		Providers: []ProviderStatus{}, Dependencies: make(map[string]string),
		Specialists: len(e.specialists.List()), Prices: e.prices.Version(),
	}
	for _, p := range e.providers {
		s.Providers = append(s.Providers, ProviderStatus{Name: p.Name})
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	for name, check := range e.checks() {
		if check == nil {
			s.Dependencies[name] = "off"
			continue
		}
		s.Dependencies[name] = "ok"
		if err := check(ctx); err != nil {
			s.Dependencies[name] = err.Error()
		}
	}
	s.Spool = e.spoolStatus()
	return s
}

func newSecret(text string) secret.Secret {
	if text == "" {
		return secret.Secret{}
	}
	return secret.New(text)
}
