package caddymodule

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/financecommander/tollgate/internal/identity"
	"github.com/financecommander/tollgate/internal/identity/login"
	"github.com/financecommander/tollgate/internal/identity/revocation"
	"github.com/financecommander/tollgate/internal/identity/session"
	"github.com/financecommander/tollgate/internal/mail"
	"github.com/financecommander/tollgate/internal/metrics"
	"github.com/financecommander/tollgate/internal/ratelimit"
	"github.com/financecommander/tollgate/internal/secret"
)

// openRevocations opens what knows the tokens that are no longer good. It is
// pooled, so that a reload is no moment without it.
func (e *engine) openRevocations(caddy.Context) error {
	url, err := e.databaseURL()
	if err != nil {
		return err
	}
	redisURL, err := resolveSecret("redis", e.app.Redis)
	if err != nil {
		return err
	}
	// One file for each database, as with the spool.
	file := filepath.Join(e.app.DataDir, "revocations-"+spoolName(url)+".json")
	db, client, logger := e.db, e.redis, e.logger
	e.revocations, err = hold(e, "revocations "+url+" "+redisURL+" "+file,
		func() (*revocation.Registry, error) {
			registry := revocation.New(revocation.Options{
				Store: revocation.NewDatabaseStore(db), Redis: client, File: file, Logger: logger,
			})
			metrics.WatchRevocations(registry.Age)
			return registry, nil
		},
		func(r *revocation.Registry) error {
			r.Stop()
			return nil
		})
	return err
}

// openIdentity opens what verifies tokens and makes the gateway's own.
func (e *engine) openIdentity(caddy.Context) error {
	pepper, err := resolveSecret("pepper", e.app.Pepper)
	if err != nil {
		return err
	}
	e.hasher = identity.Hasher{Pepper: newSecret(pepper)}
	if e.domains, err = identity.ParseDomains(e.app.AllowedDomains); err != nil {
		return err
	}
	issuers, signer, err := e.app.issuers(e.domains)
	if err != nil {
		return err
	}
	e.signer = signer
	if err := e.openSessions(); err != nil {
		return err
	}
	e.verifier, err = identity.New(issuers, identity.Options{
		Hasher: e.hasher, Logger: e.logger, Revocations: withdrawn{e.revocations, e.sessions},
	})
	if err != nil {
		return fmt.Errorf("jwt: %w", err)
	}
	return nil
}

// openSessions opens what keeps people signed in.
func (e *engine) openSessions() error {
	key, err := e.app.ownSecret()
	if err != nil {
		return err
	}
	e.sessions, err = session.New(session.Options{
		Store: e.db, Signer: e.signer, Secret: key, Hasher: e.hasher, Domains: e.domains, Revocations: e.revocations,
		AccessLifetime:  time.Duration(e.app.JWT.Lifetime),
		RefreshLifetime: time.Duration(e.app.Login.RefreshLifetime),
		Forget:          []func(context.Context, string) error{e.conversations.Forget},
		Reused:          metrics.RefreshTokenReused,
		Logger:          e.logger,
	})
	return err
}

// withdrawn joins what says that a token is no longer good.
type withdrawn []identity.Revocations

// Revoked implements identity.Revocations.
func (w withdrawn) Revoked(p *identity.Principal) bool {
	return slices.ContainsFunc(w, func(r identity.Revocations) bool { return r.Revoked(p) })
}

// openLogins opens the ways in which people prove who they are.
func (e *engine) openLogins(caddy.Context) error {
	key, err := e.app.ownSecret()
	if err != nil {
		return err
	}
	if err := e.openMail(key); err != nil {
		return err
	}
	set := &e.app.Login
	for _, provider := range set.OIDC {
		clientSecret, err := resolveSecret("login oidc "+provider.Name+" client_secret", provider.ClientSecret)
		if err != nil {
			return err
		}
		options := login.OIDCOptions{
			Name: provider.Name, Issuer: provider.Issuer, ClientID: provider.ClientID, ClientSecret: newSecret(clientSecret),
			RedirectURL: cmp.Or(provider.RedirectURL, set.portalURL()), Scopes: provider.Scopes,
			EmailClaim: provider.EmailClaim, TrustEmail: provider.TrustEmail,
			Store: e.db, Secret: key, Logger: e.logger,
		}
		for _, rule := range provider.Roles {
			options.Roles = append(options.Roles, login.RoleRule(rule))
		}
		method, err := login.NewOIDC(options)
		if err != nil {
			return fmt.Errorf("login oidc %s: %w", provider.Name, err)
		}
		e.logins.OIDC = append(e.logins.OIDC, method)
	}
	e.logins.Count = metrics.LogIn
	e.janitor = login.NewJanitor(e.db, e.logger)
	e.trusted, e.logins.TrustedAnywhere = e.app.trusted(e.signsIn())
	return nil
}

// signsIn tells whether there is a way to sign in that proves something.
func (e *engine) signsIn() bool { return e.logins.Email != nil || len(e.logins.OIDC) > 0 }

func (e *engine) openMail(key secret.Secret) error {
	set := &e.app.Login
	server, err := resolveSecret("login email smtp", set.Email.SMTP)
	if err != nil || server == "" {
		return err
	}
	if set.PublicURL == "" {
		return errors.New("login email needs public_url, where people reach the gateway (PUBLIC_URL), for the links in its mails")
	}
	e.mails, err = mail.New(mail.Options{URL: secret.New(server), From: set.Email.From, Logger: e.logger})
	if err != nil {
		return fmt.Errorf("login email: %w", err)
	}
	e.logins.Email, err = login.NewEmail(login.EmailOptions{
		Store: e.db, Mailer: e.mails, Secret: key, Hasher: e.hasher, Link: set.portalURL(),
		Blocked: e.db.UserBlocked, Logger: e.logger,
	})
	return err
}

// attempts limits how often a code may be asked for with one address.
func (e *engine) attempts(ctx context.Context, key string) error {
	decision, err := e.limiter.Take(ctx, ratelimit.Ask{Key: "login:" + key, Limit: perAddress, N: 1})
	if err != nil {
		return err
	}
	if !decision.Allowed {
		return ratelimit.Refusal(decision)
	}
	return nil
}

// perAddress is how many codes an address is sent. How often a code may be guessed
// is the code's own affair; see package login.
var perAddress = ratelimit.Limit{Rate: 5, Period: time.Hour, Burst: 5}

// startIdentity begins the background work of who may come in.
func (e *engine) startIdentity(ctx context.Context) {
	e.revocations.Start(context.WithoutCancel(ctx)) // pooled, it outlives this configuration
	e.sessions.Start(ctx)
	e.janitor.Start(ctx)
	if e.mails != nil {
		e.mails.Start(ctx)
	}
}

func (e *engine) stopIdentity() {
	if e.mails != nil {
		e.mails.Stop()
	}
	if e.janitor != nil {
		e.janitor.Stop()
	}
	if e.sessions != nil {
		e.sessions.Stop()
	}
}
