package portal

import (
	"context"
	"crypto/rand"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/financecommander/tollgate/internal/identity"
	"github.com/financecommander/tollgate/internal/identity/login"
	"github.com/financecommander/tollgate/internal/identity/session"
	"github.com/financecommander/tollgate/internal/llm"
)

// LoginMethods are the ways to sign in. Any set of them may be on.
type LoginMethods struct {
	Email *login.Email  // nil: no codes by mail
	OIDC  []*login.OIDC // in the order in which pages show them
	// TrustedAnywhere lets [AuthOptions.Trusted] count for all machines, not just
	// this one.
	TrustedAnywhere bool
	// Count is told of each log-in by its way (trusted, email or a provider's name),
	// and whether it was let in; nil: nobody counts.
	Count func(way string, ok bool)
}

// trustedName is what log-ins without proof are called.
const trustedName = "trusted"

func (h *Handler) loginRoutes() {
	h.handle("/auth/login", methods{http.MethodPost: h.withSessions(h.login)})
	h.handle("/auth/providers", methods{http.MethodGet: h.listProviders})
	h.handle("/auth/{provider}", methods{http.MethodGet: h.withSessions(h.beginLogin)})
	// The pattern is wider than the path, since http.ServeMux would not know which
	// of /auth/{provider}/callback and /auth/tokens/{id} comes first.
	h.handleAs("/auth/{provider}/callback", "/auth/{provider}/{callback}", methods{http.MethodPost: h.withSessions(h.finishLogin)})
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

// login signs people in by their e-mail address: at once where they are trusted,
// else by what it has sent to the address.
func (h *Handler) login(w http.ResponseWriter, r *http.Request) error {
	var req loginRequest
	if err := readOpenJSON(w, r, &req); err != nil {
		return err
	}
	address, ok := identity.ParseAddress(req.Email)
	if !ok {
		return unprocessable("email", "must be an e-mail address")
	}
	email, trusted := h.o.Auth.Login.Email, h.trusts(r)
	if !trusted && email == nil {
		return forbidden(h.otherWays())
	}
	if trusted {
		err := h.signIn(w, r, session.Person{Address: address, Name: address.Local(), Provider: trustedName})
		return h.counted(trustedName, err)
	}
	if err := h.admits(address); err != nil {
		return err
	}
	// From here on nothing may depend on whose address it is, neither the answer
	// nor its time.
	if err := h.limit(r.Context(), "login:"+h.o.Auth.Hasher.HashEmail(address.Reveal())); err != nil {
		return err
	}
	if err := email.Send(address); err != nil {
		return err
	}
	return forbidden("Check your inbox for a sign-in link") // the frontend knows this text
}

// trusts tells whether an address alone is enough for the caller.
func (h *Handler) trusts(r *http.Request) bool {
	o := h.o.Auth
	return o.Trusted != nil && o.Trusted() && (o.Login.TrustedAnywhere || fromThisMachine(r))
}

// otherWays says how to sign in when an address alone is not enough.
func (h *Handler) otherWays() string {
	names := make([]string, 0, len(h.o.Auth.Login.OIDC))
	for _, p := range h.o.Auth.Login.OIDC {
		names = append(names, p.Name())
	}
	switch trusted := h.o.Auth.Trusted; {
	case len(names) > 0:
		return "an e-mail address alone is not enough here; sign in with " + strings.Join(names, " or ")
	case trusted != nil && trusted():
		return "signing in with an e-mail address alone works only straight from the gateway's own " +
			"machine (http://localhost), not through a proxy; ask your operator for a token (made with \"tollgate token\")"
	}
	return "signing in with an e-mail address alone works only on a gateway that listens on " +
		"loopback; ask your operator for a token (made with \"tollgate token\")"
}

// admits refuses addresses of other domains than those that may sign in.
func (h *Handler) admits(address identity.Address) error {
	if !h.o.Auth.Domains.Allow(address.Domain()) {
		return forbidden("addresses of this domain may not sign in; allowed: " + h.o.Auth.Domains.String())
	}
	return nil
}

func (h *Handler) limit(ctx context.Context, key string) error {
	if h.o.Auth.Limit == nil {
		return nil
	}
	return h.o.Auth.Limit(ctx, key)
}

// signIn opens a log-in for somebody who has proved who they are.
func (h *Handler) signIn(w http.ResponseWriter, r *http.Request, person session.Person) error {
	if err := h.admits(person.Address); err != nil {
		return err
	}
	pair, err := h.o.Auth.Sessions.Open(r.Context(), person)
	if errors.Is(err, identity.ErrBlocked) {
		return login.Failed(err)
	}
	if err != nil {
		return err
	}
	return writeJSON(w, pairAnswer(pair))
}

// counted passes on how a log-in by this way ended, once it is counted. Requests
// that are malformed, and those that nobody could decide, are not.
func (h *Handler) counted(way string, err error) error {
	if refused := err != nil; h.o.Auth.Login.Count != nil && (!refused || asProblem(err).Status() == http.StatusForbidden) {
		h.o.Auth.Login.Count(way, !refused)
	}
	return err
}

type providerAnswer struct {
	Name string `json:"name"`
	Type string `json:"type"` // email, oidc or trusted
}

// listProviders says how the caller can sign in.
func (h *Handler) listProviders(w http.ResponseWriter, r *http.Request) error {
	providers := []providerAnswer{}
	if h.o.Auth.Sessions != nil {
		if h.trusts(r) {
			providers = append(providers, providerAnswer{trustedName, trustedName})
		}
		if h.o.Auth.Login.Email != nil {
			providers = append(providers, providerAnswer{login.EmailName, login.EmailName})
		}
		for _, p := range h.o.Auth.Login.OIDC {
			providers = append(providers, providerAnswer{p.Name(), "oidc"})
		}
	}
	return writeJSON(w, map[string]any{"providers": providers})
}

// oidcProvider gives the provider that the path names.
func (h *Handler) oidcProvider(r *http.Request) (*login.OIDC, error) {
	name := r.PathValue("provider")
	i := slices.IndexFunc(h.o.Auth.Login.OIDC, func(p *login.OIDC) bool { return p.Name() == name })
	if i < 0 {
		return nil, &llm.Error{Cause: llm.CauseNotFound, Message: "there is no such way to sign in on this gateway; GET /auth/providers lists them"}
	}
	return h.o.Auth.Login.OIDC[i], nil
}

// beginLogin says where to go to sign in with a provider.
func (h *Handler) beginLogin(w http.ResponseWriter, r *http.Request) error {
	provider, err := h.oidcProvider(r)
	if err != nil {
		return err
	}
	browser := readBrowser(r, provider)
	if browser == "" {
		browser = rand.Text()
	}
	authURL, err := provider.Begin(r.Context(), browser)
	if err != nil {
		return err
	}
	http.SetCookie(w, browserCookie(provider, browser))
	return writeJSON(w, map[string]string{"auth_url": authURL})
}

type callbackRequest struct {
	Code  string `json:"code"`
	State string `json:"state"`
	Email string `json:"email"` // with a code from a mail that was typed, instead of the state
}

// maxCode and maxState bound what comes back from a provider or a mail.
const (
	maxCode  = 4 << 10
	maxState = 4 << 10
)

// finishLogin signs in by what a mail said or a provider sent back.
func (h *Handler) finishLogin(w http.ResponseWriter, r *http.Request) error {
	if r.PathValue("callback") != "callback" {
		return notFound()
	}
	var provider *login.OIDC
	byMail := r.PathValue("provider") == login.EmailName && h.o.Auth.Login.Email != nil
	if !byMail {
		var err error
		if provider, err = h.oidcProvider(r); err != nil {
			return err
		}
	}
	var req callbackRequest
	if err := readOpenJSON(w, r, &req); err != nil {
		return err
	}
	person, err := h.prove(r, provider, req)
	if err == nil {
		err = h.signIn(w, r, person)
	}
	return h.counted(r.PathValue("provider"), err)
}

// prove checks what is to prove who the caller is. provider is nil for codes from
// mails.
func (h *Handler) prove(r *http.Request, provider *login.OIDC, req callbackRequest) (session.Person, error) {
	typed := provider == nil && req.State == "" && req.Email != ""
	switch {
	case req.Code == "" || len(req.Code) > maxCode:
		return session.Person{}, unprocessable("code", "is missing or too long")
	case !typed && (req.State == "" || len(req.State) > maxState):
		return session.Person{}, unprocessable("state", "is missing or too long")
	case typed:
		address, ok := identity.ParseAddress(req.Email)
		if !ok {
			return session.Person{}, unprocessable("email", "must be an e-mail address")
		}
		return h.o.Auth.Login.Email.RedeemTyped(r.Context(), address, req.Code)
	case provider == nil:
		return h.o.Auth.Login.Email.RedeemLink(r.Context(), req.Code, req.State)
	}
	return provider.Finish(r.Context(), req.Code, req.State, readBrowser(r, provider), sameOrigin(r))
}

// browserCookie ties a visit to a provider to the browser that began it: else
// somebody could send another person a link that signs them in as the sender. It
// holds for as long as a visit may take.
func browserCookie(provider *login.OIDC, value string) *http.Cookie {
	name := "tollgate-login"
	if provider.Secure() {
		name = "__Host-" + name // no other host, above or below, can set it
	}
	return &http.Cookie{ //nolint:gosec // not Secure only where the portal itself is on http://localhost
		Name: name, Value: value, Path: "/", MaxAge: int(login.Lifetime / time.Second),
		Secure: provider.Secure(), HttpOnly: true, SameSite: http.SameSiteStrictMode,
	}
}

var browserValue = regexp.MustCompile(`^[A-Z2-7]{26}$`) // of rand.Text

// readBrowser gives the value of the cookie; "" when there is none. A browser
// keeps its value, so that several tabs can sign in at once.
func readBrowser(r *http.Request, provider *login.OIDC) string {
	cookie, err := r.Cookie(browserCookie(provider, "").Name)
	if err != nil || !browserValue.MatchString(cookie.Value) {
		return ""
	}
	return cookie.Value
}

// sameOrigin tells whether a page of the gateway's own origin sent the request: only
// those send the cookie. Programs that are no browsers send neither header, and
// have nobody who could be tricked.
func sameOrigin(r *http.Request) bool {
	if site := r.Header.Get("Sec-Fetch-Site"); site != "" {
		return site == "same-origin"
	}
	origin, err := url.Parse(r.Header.Get("Origin"))
	return err == nil && origin.Host != "" && strings.EqualFold(origin.Host, r.Host)
}

// fromThisMachine tells whether a request came over loopback, was meant for
// loopback and passed no proxy. The Host is checked because a page elsewhere can
// have its own name resolve to 127.0.0.1 (DNS rebinding) and then read our
// answers; the forwarding headers because a public proxy on the same machine is
// a loopback peer as well; and the page that sent it, if one did, because CORS may
// let pages of any origin read our answers.
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
	if text := r.Header.Get("Origin"); text != "" {
		origin, err := url.Parse(text)
		if err != nil || !isLoopback(origin.Host) {
			return false
		}
	}
	return isLoopback(r.Host)
}

// isLoopback tells whether a host, with or without a port, is this machine.
func isLoopback(host string) bool {
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
