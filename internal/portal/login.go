package portal

import (
	"errors"
	"net"
	"net/http"
	"net/netip"
	"strings"

	"github.com/financecommander/tollgate/internal/identity"
	"github.com/financecommander/tollgate/internal/identity/session"
)

func (h *Handler) loginRoutes() {
	h.handle("/auth/login", methods{http.MethodPost: h.login})
}

type loginRequest struct {
	Email string `json:"email"`
}

// loginAnswer is what a sign-in gives.
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
	if h.o.Auth.Trusted == nil || !h.o.Auth.Trusted() || h.o.Auth.Sessions == nil {
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
	pair, err := h.o.Auth.Sessions.Open(r.Context(), session.Person{Address: email, Name: email.Local(), Provider: "trusted"})
	if errors.Is(err, identity.ErrBlocked) {
		return forbidden("this address may not sign in; ask your operator")
	}
	if err != nil {
		return err
	}
	return writeJSON(w, pairAnswer(pair))
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
