package caddymodule

import (
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/caddyserver/caddy/v2"

	"github.com/financecommander/tollgate/internal/identity"
)

// Login says how people sign in to the portal. Any set of ways may be on.
type Login struct {
	// Who may sign in with an e-mail address and no proof that it is theirs:
	// `loopback` (straight from this machine, while nothing but loopback is
	// listened on), `anywhere` (anybody who reaches the gateway), `off`.
	// Default: `loopback`, or `off` if there is another way.
	Trusted string `json:"trusted,omitempty"`
	// One-time codes by mail.
	Email EmailLogin `json:"email,omitzero"`
	// OpenID Connect providers. One whose client id comes out empty is off.
	OIDC []OIDCLogin `json:"oidc,omitempty"`

	// Where people reach the gateway, such as `https://ai.example.com`. Links in
	// mails and answers of OpenID Connect providers lead to `/portal/` there.
	// Required by these two.
	PublicURL string `json:"public_url,omitempty"`
	// Addresses of admins and of viewers, who see everybody's usage and nothing
	// else. They count for tokens that the gateway makes.
	Admins  []string `json:"admins,omitempty"`
	Viewers []string `json:"viewers,omitempty"`
	// How long a log-in lasts without being used. Default: 30d, and at most 90d
	// however much it is used.
	RefreshLifetime caddy.Duration `json:"refresh_lifetime,omitempty"`
}

// EmailLogin sends one-time codes. It is on when SMTP does not come out empty.
type EmailLogin struct {
	// The mail server: `smtp://user:password@host:587` (with STARTTLS) or
	// `smtps://host:465`. Default: none, no codes by mail.
	SMTP string `json:"smtp,omitempty"`
	// The sender: `portal@example.com` or `AI Portal <portal@example.com>`.
	// Required with SMTP.
	From string `json:"from,omitempty"`
}

// OIDCLogin is an OpenID Connect provider (authorization code with PKCE).
type OIDCLogin struct {
	// Name in paths: `/auth/<name>`. Required.
	Name string `json:"name"`
	// The issuer: `https://accounts.google.com`,
	// `https://login.microsoftonline.com/<tenant>/v2.0`. Required.
	Issuer string `json:"issuer,omitempty"`
	// What the provider calls the gateway.
	ClientID     string `json:"client_id,omitempty"`
	ClientSecret string `json:"client_secret,omitempty"`
	// What is asked for. Default: `openid email profile`.
	Scopes []string `json:"scopes,omitempty"`
	// Which claim holds the address. Default: `email`.
	EmailClaim string `json:"email_claim,omitempty"`
	// Believe addresses that the provider does not say to be verified: only for
	// one whose people cannot choose their address. Default: false.
	TrustEmail bool `json:"trust_email,omitempty"`
	// Where the provider sends people back to. Default: `/portal/` at the public
	// URL.
	RedirectURL string `json:"redirect_url,omitempty"`
	// Roles by claims.
	Roles []RoleRule `json:"roles,omitempty"`
}

// RoleRule gives a role to those whose claim is, or contains, a value.
type RoleRule struct {
	Role  string `json:"role"`
	Claim string `json:"claim"`
	Value string `json:"value"`
}

// The values of Login.Trusted.
const (
	trustedLoopback = "loopback"
	trustedAnywhere = "anywhere"
	trustedOff      = "off"
)

// resolve replaces placeholders, leaves out what is off, and checks the rest.
// Secrets stay as they are until they are used.
func (l *Login) resolve() error {
	repl := caddy.NewReplacer()
	for _, field := range []*string{&l.Trusted, &l.PublicURL, &l.Email.From} {
		*field = strings.TrimSpace(repl.ReplaceKnown(*field, ""))
	}
	l.PublicURL = strings.TrimSuffix(l.PublicURL, "/")
	l.Admins, l.Viewers = words(repl, l.Admins), words(repl, l.Viewers)

	var on []OIDCLogin
	for _, provider := range l.OIDC {
		for _, field := range []*string{&provider.Issuer, &provider.ClientID, &provider.RedirectURL, &provider.EmailClaim} {
			*field = strings.TrimSpace(repl.ReplaceKnown(*field, ""))
		}
		if provider.ClientID != "" {
			on = append(on, provider)
		}
	}
	l.OIDC = on
	return l.check()
}

// words replaces placeholders in texts that may hold several words, with commas
// or spaces between, each.
func words(repl *caddy.Replacer, texts []string) (all []string) {
	for _, text := range texts {
		for word := range strings.FieldsFuncSeq(repl.ReplaceKnown(text, ""), func(r rune) bool { return r == ',' || r == ' ' }) {
			all = append(all, word)
		}
	}
	return all
}

func (l *Login) check() error {
	switch l.Trusted {
	case "", trustedLoopback, trustedAnywhere, trustedOff:
	default:
		return fmt.Errorf("login: trusted is %q; it can be loopback, anywhere or off", l.Trusted)
	}
	if l.PublicURL != "" {
		u, err := url.Parse(l.PublicURL)
		if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
			return errors.New("login: public_url is an address such as https://ai.example.com")
		}
	}
	for _, address := range append(append([]string{}, l.Admins...), l.Viewers...) {
		if _, ok := identity.ParseAddress(address); !ok {
			return errors.New("login: admins and viewers are e-mail addresses")
		}
	}
	for _, provider := range l.OIDC {
		if l.PublicURL == "" && provider.RedirectURL == "" {
			return fmt.Errorf("login: oidc %s needs public_url, where people reach the gateway (PUBLIC_URL)", provider.Name)
		}
	}
	return nil
}

// people gives the roles of addresses.
func (l *Login) people() map[string]string {
	people := make(map[string]string, len(l.Admins)+len(l.Viewers))
	for _, address := range l.Viewers {
		people[address] = identity.RoleViewer
	}
	for _, address := range l.Admins {
		people[address] = identity.RoleAdmin
	}
	return people
}

// trusted says when an address alone is enough to sign in. others says that
// there is another way.
func (a *App) trusted(others bool) (when func() bool, anywhere bool) {
	switch a.Login.Trusted {
	case trustedAnywhere:
		return func() bool { return true }, true
	case trustedLoopback:
		return a.loopbackOnly, false
	case "":
		if !others {
			return a.loopbackOnly, false
		}
	}
	return nil, false
}

// warnTrusted says at each start who signs in without proof, and when nobody
// signs in at all. others says that there is another way.
func (a *App) warnTrusted(trusted func() bool, others bool) {
	switch {
	case trusted == nil || !trusted():
		if !others {
			a.logger.Info("nobody can sign in to the portal, as an address alone is not trusted here and there is no other way; " +
				"set up codes by mail or OpenID Connect, or make tokens with \"tollgate token\"")
		}
	case a.Login.Trusted == trustedAnywhere:
		a.logger.Warn("anybody who reaches this gateway can sign in as anybody, without proof (login trusted anywhere); " +
			"set up codes by mail or OpenID Connect and remove it")
	default:
		a.logger.Warn("whoever sits at this machine can sign in as anybody, without proof, while the gateway listens on loopback alone; " +
			"set up codes by mail or OpenID Connect to end it")
	}
}

// portalURL is where people come back to with a code.
func (l *Login) portalURL() string { return l.PublicURL + "/portal/" }
