package identity

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/maypok86/otter/v2"

	"github.com/financecommander/tollgate/internal/llm"
	"github.com/financecommander/tollgate/internal/secret"
)

// DefaultCacheSize is how many verified tokens are remembered: with some 2 KB
// each, 20 MB when that many users are active at once.
const DefaultCacheSize = 10_000

// Revocations tells which tokens are no longer good although they have not
// expired. It is asked on every call, so it must answer from memory.
type Revocations interface {
	Revoked(p *Principal) bool
}

// Options are what issuers share. The zero value is good.
type Options struct {
	Hasher      Hasher            // how addresses become hashes
	Revocations Revocations       // nil: no token is ever revoked
	CacheSize   int               // verified tokens to remember; 0: [DefaultCacheSize], negative: none
	Transport   http.RoundTripper // fetches the JWKS; nil: a direct one that obeys HTTPS_PROXY
	Logger      *slog.Logger      // failed JWKS fetches; nil: silent
}

// Verifier verifies tokens. It is safe for concurrent use.
type Verifier struct {
	issuers     map[string]*issuer // by "iss"; "" is the one for tokens without
	parser      *jwt.Parser
	hasher      Hasher
	revocations Revocations
	cache       *otter.Cache[cacheKey, verified] // nil: none
	fingerprint [sha256.Size]byte                // of the issuers' configuration
}

// cacheKey is the whole SHA-256 of configuration and token. A part of either
// would let one token stand for another (CVE-2026-35030).
type cacheKey [sha256.Size]byte

// verified is a cached verification.
type verified struct {
	principal *Principal
	until     time.Time // never after the token's "exp"
}

// New makes a verifier and checks the configuration; it does no I/O.
func New(issuers []Issuer, options Options) (*Verifier, error) {
	v := &Verifier{
		issuers: make(map[string]*issuer, len(issuers)),
		parser: jwt.NewParser(
			jwt.WithValidMethods(knownAlgorithms),
			jwt.WithStrictDecoding(),
			jwt.WithJSONNumber(),
			jwt.WithoutClaimsValidation(), // each issuer's validator does it
		),
		hasher:      options.Hasher,
		revocations: options.Revocations,
		fingerprint: fingerprint(issuers),
	}
	if len(issuers) == 0 {
		return nil, errors.New("no issuer of tokens is configured")
	}
	names := make(map[string]bool)
	for _, config := range issuers {
		ready, err := newIssuer(config, options)
		if err != nil {
			return nil, err
		}
		if _, taken := v.issuers[config.Issuer]; taken {
			return nil, fmt.Errorf("issuer %q: another issuer has the same \"iss\" %q", config.Name, config.Issuer)
		}
		if names[config.Name] {
			return nil, fmt.Errorf("two issuers have the name %q", config.Name)
		}
		v.issuers[config.Issuer], names[config.Name] = ready, true
	}
	if options.CacheSize >= 0 {
		// Without an expiry of otter's own, which would cost a goroutine: each
		// entry says how long it is good, and is asked on every hit.
		cache, err := otter.New(&otter.Options[cacheKey, verified]{MaximumSize: cmp.Or(options.CacheSize, DefaultCacheSize)})
		if err != nil {
			return nil, fmt.Errorf("make the token cache: %w", err)
		}
		v.cache = cache
	}
	return v, nil
}

func fingerprint(issuers []Issuer) (sum [sha256.Size]byte) {
	hash := sha256.New()
	for _, i := range issuers {
		key := i.Secret.Reveal()
		i.Secret = secret.Secret{}
		fmt.Fprintf(hash, "%q %#v\n", key, i) // every field, also of those to come
	}
	hash.Sum(sum[:0])
	return sum
}

// Start fetches the issuers' JWKS in the background, at once and then every
// refresh interval, until ctx ends or [Verifier.Close]. It waits for nothing: a
// JWKS that cannot be had makes tokens of its issuer 503 until it can.
func (v *Verifier) Start(ctx context.Context) {
	for _, i := range v.issuers {
		if remote, ok := i.keys.(*remoteKeys); ok {
			remote.start(ctx)
		}
	}
}

// Close ends all fetching and waits for it. It may be called twice. Requests
// still under way are judged by the keys at hand.
func (v *Verifier) Close() {
	for _, i := range v.issuers {
		if remote, ok := i.keys.(*remoteKeys); ok {
			remote.close()
		}
	}
}

// Verify checks a token and says whose it is. The error is an [*llm.Error]:
// [llm.CauseUnauthenticated] when the token is not good, and
// [llm.CauseUnavailable] when its issuer's keys cannot be had.
func (v *Verifier) Verify(ctx context.Context, token string) (*Principal, error) {
	switch {
	case token == "":
		return nil, refuse(messageMissing, nil)
	case len(token) > MaxTokenBytes:
		return nil, refuse(messageTooLong, fmt.Errorf("%d bytes", len(token)))
	}
	key := v.cacheKey(token)
	p, ok := v.cached(key)
	if !ok {
		var err error
		if p, err = v.verify(ctx, token, key); err != nil {
			return nil, err
		}
	}
	if v.revocations != nil && v.revocations.Revoked(p) {
		return nil, refuse(messageRevoked, nil)
	}
	return p, nil
}

// verify does the whole work, and remembers a good end.
func (v *Verifier) verify(ctx context.Context, token string, key cacheKey) (*Principal, error) {
	if err := checkForm(token); err != nil {
		return nil, refuse(messageMalformed, err)
	}
	claims := jwt.MapClaims{}
	var from *issuer
	_, err := v.parser.ParseWithClaims(token, claims, func(token *jwt.Token) (chosen any, err error) {
		from, chosen, err = v.chooseKey(ctx, token)
		return chosen, err
	})
	if err != nil {
		if judged, ok := errors.AsType[*llm.Error](err); ok {
			return nil, judged
		}
		return nil, refuse(messageSignature, err)
	}
	if err := checkDates(claims); err != nil {
		return nil, refuse(messageClaims, err)
	}
	if err := from.validator.Validate(claims); err != nil {
		return nil, refusalOf(err)
	}
	p, err := from.principal(claims, v.hasher)
	if judged, ok := errors.AsType[*llm.Error](err); ok {
		return nil, judged
	}
	if err != nil {
		return nil, refuse(messageClaims, err)
	}
	if p.TokenID == "" {
		p.TokenID = IDOf(token)
	}
	v.remember(key, p, from.keys.trust())
	return p, nil
}

// chooseKey picks the one issuer that may judge the token, by its "iss", and
// that issuer's key. Nothing in the token is to be believed here.
func (v *Verifier) chooseKey(ctx context.Context, token *jwt.Token) (*issuer, any, error) {
	if err := checkHeader(token); err != nil {
		return nil, nil, refuse(messageMalformed, err)
	}
	kid, err := keyID(token)
	if err != nil {
		return nil, nil, refuse(messageMalformed, err)
	}
	name, err := token.Claims.GetIssuer()
	if err != nil {
		return nil, nil, refuse(messageIssuer, err)
	}
	from, ok := v.issuers[name]
	if !ok {
		return nil, nil, refuse(messageIssuer, errors.New(`no issuer is configured for the token's "iss"`))
	}
	key, err := from.keys.key(ctx, token.Method.Alg(), kid)
	return from, key, err
}

// IDOf names a token (three parts with dots between) that has no id of its own, so
// that it can be revoked: by the hash of what was signed, since the same can be
// signed more than once.
func IDOf(token string) string {
	sum := sha256.Sum256([]byte(token[:strings.LastIndexByte(token, '.')]))
	return "sha256:" + hex.EncodeToString(sum[:])
}

func (v *Verifier) cacheKey(token string) cacheKey {
	var space [2048]byte // keeps usual tokens off the heap
	text := append(space[:0], v.fingerprint[:]...)
	return sha256.Sum256(append(text, token...))
}

func (v *Verifier) cached(key cacheKey) (*Principal, bool) {
	if v.cache == nil {
		return nil, false
	}
	entry, ok := v.cache.GetIfPresent(key)
	if !ok || !time.Now().Before(entry.until) {
		return nil, false
	}
	return entry.principal, true
}

// remember caches a verification until the token expires, without the leeway,
// or until the issuer's keys must be asked again.
func (v *Verifier) remember(key cacheKey, p *Principal, trust time.Duration) {
	until := p.ExpiresAt
	if trust > 0 {
		if asked := time.Now().Add(trust); asked.Before(until) {
			until = asked
		}
	}
	if v.cache != nil && time.Now().Before(until) {
		v.cache.Set(key, verified{p, until})
	}
}
