package upstream

import (
	"context"
	"maps"
	"net/http"

	"github.com/financecommander/tollgate/internal/secret"
)

// Auth says how a provider wants its key.
type Auth string

// The ways a key is sent.
const (
	AuthBearer   Auth = "bearer"         // Authorization: Bearer KEY
	AuthAPIKey   Auth = "x-api-key"      // x-api-key: KEY
	AuthGoogKey  Auth = "x-goog-api-key" // x-goog-api-key: KEY
	AuthAzureKey Auth = "api-key"        // api-key: KEY
	AuthNone     Auth = "none"           // no key: local servers
)

func authHeader(style Auth, key secret.Secret) http.Header {
	switch style {
	case AuthAPIKey, AuthGoogKey, AuthAzureKey:
		return http.Header{http.CanonicalHeaderKey(string(style)): {key.Reveal()}}
	case AuthNone:
		return nil
	default:
		return http.Header{"Authorization": {"Bearer " + key.Reveal()}}
	}
}

// Auths are the ways that a configuration can name.
var Auths = []Auth{AuthBearer, AuthAPIKey, AuthGoogKey, AuthAzureKey, AuthNone}

// Authorize puts the provider's own headers, which may be secret too, and the
// next key into a request's headers. A request to another host gets neither.
// Where a token must be fetched first, ctx bounds that.
func (p *Provider) Authorize(ctx context.Context, h http.Header, withKey bool) error {
	if p.version != nil && h["Anthropic-Version"] == nil {
		h["Anthropic-Version"] = p.version
	}
	if !withKey {
		return nil
	}
	maps.Copy(h, p.headers)
	if p.preset.tokens != nil {
		token, err := p.preset.tokens.get(ctx)
		if err != nil {
			return err
		}
		h["Authorization"] = []string{"Bearer " + token}
		return nil
	}
	if len(p.auth) == 0 {
		return nil
	}
	i := 0
	if len(p.auth) > 1 {
		i = int(p.turn.Add(1) % uint64(len(p.auth)))
	}
	maps.Copy(h, p.auth[i])
	return nil
}
