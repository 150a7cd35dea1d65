package caddymodule

import (
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/financecommander/tollgate/internal/identity"
	"github.com/financecommander/tollgate/internal/ratelimit"
	"github.com/financecommander/tollgate/internal/secret"
)

// ownIssuer is the `iss` of the tokens that the gateway makes itself.
const ownIssuer = "tollgate"

// JWT says whose tokens are good.
type JWT struct {
	// Secret of the tokens that the gateway makes itself (the portal's log-in,
	// `tollgate token`), at least 32 bytes. Default: one made at first start
	// and kept in the data folder as `jwt.secret`, mode 0600.
	Secret string `json:"secret,omitempty"`
	// How long those tokens are good. Default: 8h.
	Lifetime caddy.Duration `json:"lifetime,omitempty"`
	// Further issuers whose tokens are good here.
	Issuers []Issuer `json:"issuers,omitempty"`
}

// Issuer is somebody else who issues tokens. Exactly one of Secret, PublicKeys
// and JWKS says how they are verified.
type Issuer struct {
	// Name in logs and metrics. Required.
	Name string `json:"name"`
	// The exact `iss` of its tokens. Only an issuer with a Secret may leave it
	// empty, for tokens without one.
	Issuer string `json:"issuer,omitempty"`
	// What the gateway is called in `aud`. Required unless a Secret is used or
	// AnyAudience is true.
	Audience    []string `json:"audience,omitempty"`
	AnyAudience bool     `json:"any_audience,omitempty"`
	// Clock difference forgiven. Default: 30s.
	Leeway caddy.Duration `json:"leeway,omitempty"`

	// HMAC secret, at least 32 bytes.
	Secret string `json:"secret,omitempty"`
	// PEM with public keys or certificates, often `{file./etc/keys.pem}`.
	PublicKeys string `json:"public_keys,omitempty"`
	// Address of a JSON Web Key Set: https, or http on this machine.
	JWKS string `json:"jwks,omitempty"`
	// How often the JWKS is fetched. Default: 5m.
	Refresh caddy.Duration `json:"refresh,omitempty"`
	// Accepted `alg`s. Default: HS256 for a secret, else the key's own.
	Algorithms []string `json:"algorithms,omitempty"`
	// Which claim (dotted path) holds `subject`, `email`, `name`, `roles`,
	// `specialists`. Default: the claim of that name, `sub` for the subject.
	Claims map[string]string `json:"claims,omitempty"`
	// Claims that must have this value, or contain it.
	Require map[string]string `json:"require,omitempty"`
	// What tokens get for what their claims say, besides what they say of it
	// themselves.
	Rules []IssuerRule `json:"rules,omitempty"`
}

// IssuerRule gives something to tokens whose claim (dotted path) is, or
// contains, a value. Of several rate limits the first that fits counts.
type IssuerRule struct {
	Claim string `json:"claim"`
	Value string `json:"value"`
	// A role: `admin`, `viewer`, or one that only other modules know.
	Role string `json:"role,omitempty"`
	// The user's own limit of model calls, `600/h`, in the place of the zone
	// `default`.
	RateLimit string `json:"rate_limit,omitempty"`
	// Specialists and models, besides those the token names.
	Specialists []string `json:"specialists,omitempty"`
}

// issuers gives identity's form of all issuers, the gateway's own first, and
// the signer of the own tokens.
func (a *App) issuers(domains identity.Domains) ([]identity.Issuer, *identity.Signer, error) {
	key, err := a.ownSecret()
	if err != nil {
		return nil, nil, err
	}
	signer, err := identity.NewSigner(key, ownIssuer)
	if err != nil {
		return nil, nil, fmt.Errorf("jwt secret: %w", err)
	}
	issuers := []identity.Issuer{{
		Name: ownIssuer, Issuer: ownIssuer, Own: true, Secret: key, People: a.Login.people(), Domains: domains,
	}}
	if !a.JWT.claimsBare() {
		// Tokens that an older backend made with the same secret have no `iss`.
		issuers = append(issuers, identity.Issuer{Name: "secret", Secret: key})
	}
	for i := range a.JWT.Issuers {
		issuer, err := a.JWT.Issuers[i].resolve()
		if err != nil {
			return nil, nil, err
		}
		issuers = append(issuers, issuer)
	}
	return issuers, signer, nil
}

// claimsBare says that a configured issuer takes the tokens without `iss`.
func (j JWT) claimsBare() bool {
	for i := range j.Issuers {
		if j.Issuers[i].Issuer == "" {
			return true
		}
	}
	return false
}

// ownSecret is JWT_SECRET, or the one kept in the data folder.
func (a *App) ownSecret() (secret.Secret, error) {
	text, err := resolveSecret("jwt secret", a.JWT.Secret)
	if err != nil {
		return secret.Secret{}, err
	}
	if text != "" {
		return secret.New(text), nil
	}
	path := filepath.Join(a.DataDir, "jwt.secret")
	key, created, err := identity.LoadOrCreateSecret(path)
	if err != nil {
		return secret.Secret{}, fmt.Errorf("jwt secret: %w", err)
	}
	if created {
		a.logger.Info("made a secret for tokens; set JWT_SECRET to use your own", slog.String("file", path))
	}
	return key, nil
}

func (i *Issuer) resolve() (identity.Issuer, error) {
	issuer := identity.Issuer{
		Name: i.Name, Issuer: i.Issuer, Audience: i.Audience, AnyAudience: i.AnyAudience,
		Leeway: time.Duration(i.Leeway), JWKS: i.JWKS, RefreshInterval: time.Duration(i.Refresh),
		Algorithms: i.Algorithms, Require: i.Require,
		Claims: identity.ClaimMap{
			Subject: i.Claims["subject"], Email: i.Claims["email"], Name: i.Claims["name"],
			Roles: i.Claims["roles"], Specialists: i.Claims["specialists"],
		},
	}
	for name := range i.Claims {
		switch name {
		case "subject", "email", "name", "roles", "specialists":
		default:
			return issuer, fmt.Errorf("issuer %q: there is no claim %q to map; there are subject, email, name, roles, specialists", i.Name, name)
		}
	}
	for _, rule := range i.Rules {
		issuer.Rules = append(issuer.Rules, identity.Rule{
			Claim: rule.Claim, Value: rule.Value, Role: rule.Role, UserRate: rule.RateLimit, Specialists: rule.Specialists,
		})
		if _, err := ratelimit.ParseLimit(rule.RateLimit); rule.RateLimit != "" && err != nil {
			return issuer, fmt.Errorf("issuer %q: %w", i.Name, err)
		}
	}
	key, err := resolveSecret("issuer "+i.Name+" secret", i.Secret)
	if err != nil {
		return issuer, err
	}
	if i.Secret != "" {
		issuer.Secret = secret.New(key)
	}
	issuer.PublicKeys, err = resolveSecret("issuer "+i.Name+" public_keys", i.PublicKeys)
	return issuer, err
}
