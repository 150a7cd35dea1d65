package portal

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"github.com/financecommander/tollgate/internal/identity"
)

type loginRequest struct {
	Email string `json:"email"`
}

// loginAnswer is what a sign-in gives. RefreshToken is always there because
// clients store it unseen. It is empty: this gateway cannot refresh a token yet,
// and with an empty one the frontend goes to the sign-in page instead of trying.
type loginAnswer struct {
	AccessToken  string `json:"access_token"`
	RefreshToken string `json:"refresh_token"`
	TokenType    string `json:"token_type"`
	ExpiresIn    int64  `json:"expires_in"` // seconds (RFC 6749, 5.1)
	Email        string `json:"email"`
}

// login gives a token for an e-mail address without any proof that it is the
// caller's. It is there for development and refuses everything that did not come
// straight from this machine.
func (h *Handler) login(w http.ResponseWriter, r *http.Request) error {
	var req loginRequest
	if err := readJSON(w, r, &req); err != nil {
		return err
	}
	email, ok := parseAddress(req.Email)
	if !ok {
		return unprocessable("email", "must be an e-mail address")
	}
	if h.o.DevLogin == nil || !h.o.DevLogin() || h.o.Tokens == nil {
		return forbidden("signing in with an e-mail address alone works only on a gateway that listens on " +
			"loopback; ask your operator for a token (made with \"tollgate token\")")
	}
	if !fromThisMachine(r) {
		return forbidden("signing in with an e-mail address alone works only straight from the gateway's own " +
			"machine (http://localhost), not through a proxy; ask your operator for a token (made with \"tollgate token\")")
	}
	if len(h.o.AllowedDomains) > 0 && !slices.Contains(h.o.AllowedDomains, email.domain) {
		return forbidden("addresses of this domain may not sign in; allowed: " + strings.Join(h.o.AllowedDomains, ", "))
	}
	token, err := h.o.Tokens.Mint(identity.Claims{
		Subject:  h.o.Hasher.HashEmail(email.String()), // subjects reach logs, addresses must not
		Email:    email.String(),
		Name:     email.local,
		Lifetime: h.o.TokenLifetime,
	})
	if err != nil {
		return fmt.Errorf("issue a token: %w", err)
	}
	return writeJSON(w, loginAnswer{
		AccessToken: token,
		TokenType:   "bearer",
		ExpiresIn:   int64(h.o.TokenLifetime.Seconds()),
		Email:       email.String(),
	})
}

// fromThisMachine tells whether a request came over loopback, was meant for
// loopback and passed no proxy. The Host is checked because a page elsewhere can
// have its own name resolve to 127.0.0.1 (DNS rebinding) and then read our
// answers; the forwarding headers because a public proxy on the same machine is
// a loopback peer as well.
func fromThisMachine(r *http.Request) bool {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil || !peer.Addr().Unmap().IsLoopback() {
		return false
	}
	for _, name := range []string{"Forwarded", "X-Forwarded-For", "X-Real-Ip", "Via"} {
		if _, proxied := r.Header[name]; proxied {
			return false
		}
	}
	host := r.Host
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.Trim(host, "[]")
	if strings.EqualFold(host, "localhost") {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Unmap().IsLoopback()
}

// me tells callers who they are.
func (h *Handler) me(w http.ResponseWriter, _ *http.Request, p *identity.Principal) error {
	role := "user"
	if p.HasRole(AdminRole) {
		role = AdminRole
	}
	return writeJSON(w, map[string]string{
		"id":         p.UserHash,
		"email":      p.Email(),
		"name":       p.Name,
		"avatar_url": "",
		"provider":   p.Issuer,
		"role":       role,
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
