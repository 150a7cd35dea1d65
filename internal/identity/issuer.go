package identity

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/financecommander/tollgate/internal/secret"
)

// Defaults and bounds of an [Issuer].
const (
	DefaultLeeway          = 30 * time.Second // clocks of well-kept machines differ by less
	MaxLeeway              = 5 * time.Minute  // beyond that a clock is broken, not skewed
	DefaultRefreshInterval = 5 * time.Minute  // how long a withdrawn JWKS key may still be believed
	DefaultMaxKeyAge       = 24 * time.Hour   // an outage of an issuer that lasts longer is noticed otherwise
)

// Issuer is one source of tokens: whom to believe, by which keys, and what the
// claims mean. Exactly one of Secret, PublicKeys and JWKS must be set.
type Issuer struct {
	// Name is what metrics and logs call the issuer; required, and no two
	// issuers share one.
	Name string

	// Issuer is the "iss" of its tokens, compared exactly. It may be empty for
	// one issuer, which must have a Secret: that one gets the tokens without
	// "iss", and no others.
	Issuer string

	// Own says that the gateway itself issues these tokens, so that it believes what
	// they say of kind, session and rate.
	Own bool

	// Audience is what we are called in "aud"; a token must name at least one.
	// An issuer with a Secret may leave it empty, and then "aud" is not checked:
	// a secret is shared with us alone. A public key signs for many services, so
	// there an empty list is an error unless AnyAudience says it is meant.
	Audience    []string
	AnyAudience bool

	// Leeway is the clock difference forgiven for exp, nbf and iat. 0:
	// [DefaultLeeway]; negative: none; at most [MaxLeeway].
	Leeway time.Duration

	Secret     secret.Secret // HMAC secret, at least [MinSecretBytes]
	PublicKeys string        // PEM: one or more public keys or certificates (RSA ≥ 2048 bits, P-256/384/521, Ed25519)
	JWKS       string        // address of a JSON Web Key Set (RFC 7517): https, or http on this machine

	// RefreshInterval is how often the JWKS is fetched. 0: [DefaultRefreshInterval].
	RefreshInterval time.Duration
	// MaxKeyAge is how long the last keys of a JWKS are good while it cannot be
	// fetched. 0: [DefaultMaxKeyAge]; at least the RefreshInterval.
	MaxKeyAge time.Duration

	// Algorithms are the values of "alg" to accept. Empty: HS256 for a secret,
	// RS256 for an RSA key, the curve's own for the others, and for a JWKS key
	// that names its "alg", that one. A key is only ever used for the
	// algorithms of its own kind.
	Algorithms []string

	// Claims says which claims hold what we need.
	Claims ClaimMap

	// Require lists claims (dotted paths) and the text each must have, or, where
	// the claim is a list, contain.
	Require map[string]string

	// Rules give something to tokens for what their claims say.
	Rules []Rule

	// People gives the role "admin" or "viewer" to people by their verified
	// address.
	People map[string]string

	// Domains are those whose people may use tokens of a log-in and API tokens;
	// none: all. It is for the gateway's own tokens: they stop working when their
	// address's domain is taken off the list.
	Domains Domains
}

// ClaimMap names the claim that holds each fact. A dot goes into an object, as
// in "realm_access.roles"; a claim whose own name has dots is found first.
// Empty: the default in the comment.
type ClaimMap struct {
	Subject     string // "sub"
	Email       string // "email"; not believed when "email_verified" is false
	Name        string // "name"
	Roles       string // "roles": a list, or a text with spaces between
	Specialists string // "specialists": likewise; absent: all, an empty list: none
}

// issuer is an [Issuer] made ready.
type issuer struct {
	config    Issuer
	keys      keySource
	people    map[Address]string
	validator *jwt.Validator // of exp, nbf, iat and aud; "iss" has chosen the issuer
}

func newIssuer(config Issuer, options Options) (*issuer, error) {
	if config.Name == "" {
		return nil, errors.New("an issuer needs a name")
	}
	keys, err := config.keySource(options)
	if err == nil {
		err = config.check()
	}
	people, bad := parsePeople(config.People)
	if err := cmp.Or(err, bad); err != nil {
		return nil, fmt.Errorf("issuer %q: %w", config.Name, err)
	}
	config.Claims = config.Claims.withDefaults()
	validation := []jwt.ParserOption{
		jwt.WithExpirationRequired(),
		jwt.WithIssuedAt(),
		jwt.WithLeeway(max(0, cmp.Or(config.Leeway, DefaultLeeway))),
	}
	if len(config.Audience) > 0 {
		validation = append(validation, jwt.WithAudience(config.Audience...))
	}
	return &issuer{config: config, keys: keys, people: people, validator: jwt.NewValidator(validation...)}, nil
}

func (config Issuer) check() error {
	for _, rule := range config.Rules {
		if err := rule.check(); err != nil {
			return err
		}
	}
	switch {
	case config.Own && (config.Secret.IsZero() || config.Issuer == ""):
		return errors.New(`the gateway's own issuer needs a secret and an "iss"`)
	case !config.Own && !config.Domains.IsZero():
		return errors.New("domains are for the gateway's own issuer")
	case config.Leeway > MaxLeeway:
		return fmt.Errorf("a leeway of %v is too much; at most %v", config.Leeway, MaxLeeway)
	case slices.Contains(config.Audience, ""):
		return errors.New("an audience cannot be empty")
	case len(config.Audience) > 0 && config.AnyAudience:
		return errors.New("either an audience or any audience, not both")
	case !config.Secret.IsZero():
		return nil
	case config.Issuer == "":
		return errors.New(`an issuer with public keys needs the "iss" of its tokens`)
	case len(config.Audience) == 0 && !config.AnyAudience:
		return errors.New("an issuer with public keys signs for others too: say our audience, or allow any explicitly")
	}
	return nil
}

// keySource makes the one kind of keys that is configured.
func (config Issuer) keySource(options Options) (keySource, error) {
	for _, name := range config.Algorithms {
		if !slices.Contains(knownAlgorithms, name) {
			return nil, fmt.Errorf("algorithm %q is not one of %s", name, strings.Join(knownAlgorithms, ", "))
		}
	}
	kinds := 0
	for _, set := range []bool{!config.Secret.IsZero(), config.PublicKeys != "", config.JWKS != ""} {
		if set {
			kinds++
		}
	}
	switch {
	case kinds != 1:
		return nil, fmt.Errorf("needs exactly one of a secret, public keys and a JWKS address; %d are set", kinds)
	case !config.Secret.IsZero():
		if err := checkSecret(config.Secret); err != nil {
			return nil, err
		}
		return pinKeys([]any{[]byte(config.Secret.Reveal())}, config.Algorithms)
	case config.PublicKeys != "":
		keys, err := parsePublicKeys(config.PublicKeys)
		if err != nil {
			return nil, err
		}
		return pinKeys(keys, config.Algorithms)
	}
	for _, name := range config.Algorithms {
		if !slices.Contains(publicKeyAlgorithms, name) {
			return nil, fmt.Errorf("algorithm %q has no public key, so a JWKS cannot hold one", name)
		}
	}
	return newRemoteKeys(config, options)
}

func (m ClaimMap) withDefaults() ClaimMap {
	return ClaimMap{
		Subject:     cmp.Or(m.Subject, "sub"),
		Email:       cmp.Or(m.Email, "email"),
		Name:        cmp.Or(m.Name, "name"),
		Roles:       cmp.Or(m.Roles, "roles"),
		Specialists: cmp.Or(m.Specialists, "specialists"),
	}
}
