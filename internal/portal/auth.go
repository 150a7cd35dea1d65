package portal

import (
	"net/http"
	"time"

	"github.com/financecommander/tollgate/internal/identity"
)

// AuthOptions are what signing in is made of.
type AuthOptions struct {
	// Trusted lets people sign in with an e-mail address and no proof that it is
	// theirs, while it says so: for a gateway that listens on loopback only.
	// nil: never.
	Trusted func() bool
	// Domains are the mail domains whose people may sign in.
	Domains identity.Domains
	// Tokens issues the tokens of /auth/login; TokenLifetime is how long they
	// are good, by default [identity.DefaultLifetime].
	Tokens        Minter
	TokenLifetime time.Duration
	// Hasher names users; the same as the verifier's.
	Hasher identity.Hasher
}

// Minter issues access tokens.
type Minter interface {
	Mint(identity.Claims) (string, error)
}

func (h *Handler) authRoutes() {
	h.handle("/auth/me", methods{http.MethodGet: authenticated(h.me)})
	h.handle("/auth/verify", methods{http.MethodGet: authenticated(h.verify)})
}

// me tells callers who they are.
func (h *Handler) me(w http.ResponseWriter, _ *http.Request, p *identity.Principal) error {
	return writeJSON(w, map[string]string{
		"id":         p.UserHash,
		"email":      p.Email(),
		"name":       p.Name,
		"avatar_url": "",
		"provider":   p.Issuer,
		"role":       p.Role(),
	})
}

// verify shows callers the claims of their own token.
func (h *Handler) verify(w http.ResponseWriter, _ *http.Request, p *identity.Principal) error {
	claims := p.Claims()
	if claims == nil {
		claims = map[string]any{}
	}
	return writeJSON(w, map[string]any{"user": claims})
}
