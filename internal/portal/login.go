package portal

import (
	"cmp"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"

	"github.com/financecommander/tollgate/internal/identity"
)

func (h *Handler) loginRoutes() {
	h.handle("/auth/login", methods{http.MethodPost: h.login})
}

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
	email, ok := identity.ParseAddress(req.Email)
	if !ok {
		return unprocessable("email", "must be an e-mail address")
	}
	if h.o.Auth.Trusted == nil || !h.o.Auth.Trusted() || h.o.Auth.Tokens == nil {
		return forbidden("signing in with an e-mail address alone works only on a gateway that listens on " +
			"loopback; ask your operator for a token (made with \"tollgate token\")")
	}
	if !fromThisMachine(r) {
		return forbidden("signing in with an e-mail address alone works only straight from the gateway's own " +
			"machine (http://localhost), not through a proxy; ask your operator for a token (made with \"tollgate token\")")
	}
	if !h.o.Auth.Domains.Allow(email.Domain()) {
		return forbidden("addresses of this domain may not sign in; allowed: " + h.o.Auth.Domains.String())
	}
	lifetime := cmp.Or(h.o.Auth.TokenLifetime, identity.DefaultLifetime)
	token, err := h.o.Auth.Tokens.Mint(identity.Claims{
		Subject:  h.o.Auth.Hasher.HashEmail(email.Reveal()), // subjects reach logs, addresses must not
		Email:    email.Reveal(),
		Name:     email.Local(),
		Lifetime: lifetime,
	})
	if err != nil {
		return fmt.Errorf("issue a token: %w", err)
	}
	return writeJSON(w, loginAnswer{
		AccessToken: token,
		TokenType:   "bearer",
		ExpiresIn:   int64(lifetime.Seconds()),
		Email:       email.Reveal(),
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
