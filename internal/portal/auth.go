package portal

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net/http"

	"github.com/financecommander/tollgate/internal/identity"
	"github.com/financecommander/tollgate/internal/identity/session"
	"github.com/financecommander/tollgate/internal/llm"
)

// AuthOptions are what signing in is made of.
type AuthOptions struct {
	// Trusted lets people sign in with an e-mail address and no proof that it is
	// theirs, while it says so: for a gateway that listens on loopback only.
	// nil: never.
	Trusted func() bool
	// Login are the other ways to sign in.
	Login LoginMethods
	// Domains are the mail domains whose people may sign in.
	Domains identity.Domains
	// Sessions keeps people signed in, and has their API tokens; nil: nobody signs
	// in here.
	Sessions *session.Manager
	// Hasher names users; the same as the verifier's.
	Hasher identity.Hasher
	// Limit takes one attempt to sign in from the bucket of a key, and is the error
	// to answer with when it is empty; nil: no limit.
	Limit func(ctx context.Context, key string) error
	// Audit is the log of what admins changed; nil: there is none.
	Audit AuditLog
}

func (h *Handler) authRoutes() {
	h.handle("/auth/refresh", methods{http.MethodPost: h.withSessions(h.refresh)})
	h.handle("/auth/logout", methods{http.MethodPost: h.withSessions(h.logout)})
	h.handle("/auth/me", methods{http.MethodGet: authenticated(h.me)})
	h.handle("/auth/verify", methods{http.MethodGet: authenticated(h.verify)})
	h.tokenRoutes()
	h.userRoutes()
	h.auditRoutes()
}

// withSessions passes on requests when people can sign in at all.
func (h *Handler) withSessions(serve handlerFunc) handlerFunc {
	return func(w http.ResponseWriter, r *http.Request) error {
		if h.o.Auth.Sessions == nil {
			return &llm.Error{Cause: llm.CauseNotFound, Message: "signing in is turned off on this gateway"}
		}
		return serve(w, r)
	}
}

// pairAnswer is what a sign-in answers, whatever kind it is of, and a refresh.
func pairAnswer(p session.Pair) loginAnswer {
	return loginAnswer{
		AccessToken:  p.AccessToken,
		RefreshToken: p.RefreshToken,
		TokenType:    "bearer",
		ExpiresIn:    int64(p.ExpiresIn.Seconds()),
		Email:        p.Address.Reveal(),
	}
}

type refreshRequest struct {
	RefreshToken string `json:"refresh_token"`
}

// refresh gives new tokens for a refresh token, which is all the caller needs.
func (h *Handler) refresh(w http.ResponseWriter, r *http.Request) error {
	var req refreshRequest
	if err := readOpenJSON(w, r, &req); err != nil {
		return err
	}
	pair, err := h.o.Auth.Sessions.Refresh(r.Context(), req.RefreshToken)
	if err != nil {
		return err
	}
	return writeJSON(w, pairAnswer(pair))
}

// logout withdraws the caller's tokens. The access token may have expired by
// now; the refresh token is enough.
func (h *Handler) logout(w http.ResponseWriter, r *http.Request) error {
	var req refreshRequest
	given, err := hasBody(r)
	if err != nil {
		return &llm.Error{Cause: llm.CauseInvalidRequest, Message: "the request body ended early", Err: err}
	}
	if given {
		if err := readOpenJSON(w, r, &req); err != nil {
			return err
		}
	}
	p, _ := identity.FromContext(r.Context())
	if err := h.o.Auth.Sessions.Close(r.Context(), p, req.RefreshToken); err != nil {
		return err
	}
	return writeJSON(w, map[string]bool{"logged_out": true})
}

// hasBody tells whether a request has a body, which stays to be read.
func hasBody(r *http.Request) (bool, error) {
	buffered := bufio.NewReader(r.Body)
	_, err := buffered.Peek(1)
	if errors.Is(err, io.EOF) {
		return false, nil
	}
	r.Body = struct {
		io.Reader
		io.Closer
	}{buffered, r.Body}
	return err == nil, err
}

// me tells callers who they are.
func (h *Handler) me(w http.ResponseWriter, r *http.Request, p *identity.Principal) error {
	answer := map[string]string{
		"id":         p.UserHash,
		"email":      p.Email(),
		"name":       p.Name,
		"avatar_url": "",
		"provider":   p.Issuer,
		"role":       p.Role(),
	}
	if h.o.Auth.Sessions != nil {
		if person, ok := h.o.Auth.Sessions.Person(r.Context(), p); ok {
			answer["avatar_url"], answer["provider"] = person.Avatar, person.Provider
		}
	}
	return writeJSON(w, answer)
}

// verify shows callers the claims of their own token.
func (h *Handler) verify(w http.ResponseWriter, _ *http.Request, p *identity.Principal) error {
	claims := p.Claims()
	if claims == nil {
		claims = map[string]any{}
	}
	return writeJSON(w, map[string]any{"user": claims})
}
