package portal

import (
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/financecommander/tollgate/internal/identity"
	"github.com/financecommander/tollgate/internal/identity/session"
	"github.com/financecommander/tollgate/internal/llm"
	"github.com/financecommander/tollgate/internal/ratelimit"
)

// Bounds of what an API token may state.
const (
	maxTokenName        = 100 // characters
	maxTokenSpecialists = 100
	maxSpecialistEntry  = 200 // bytes; "provider/model" can be long
	defaultTokenDays    = 365
	maxTokenDays        = 3650
)

func (h *Handler) tokenRoutes() {
	h.handle("/auth/tokens", methods{
		http.MethodPost: h.withSessions(inPerson(h.createToken)),
		http.MethodGet:  h.withSessions(inPerson(h.listTokens)),
	})
	h.handle("/auth/tokens/{id}", methods{http.MethodDelete: h.withSessions(inPerson(h.revokeToken))})
}

// inPerson passes on requests of people who signed in: a program's token that is
// stolen shall not give its thief further ones, nor take the owner's away.
func inPerson(serve callerFunc) handlerFunc {
	return authenticated(func(w http.ResponseWriter, r *http.Request, p *identity.Principal) error {
		if p.Kind == identity.KindAPI {
			return forbidden("an API token cannot do this: sign in")
		}
		return serve(w, r, p)
	})
}

type tokenRequest struct {
	Name        string    `json:"name"`
	Specialists *[]string `json:"specialists"`
	Rate        string    `json:"rate"`
	Days        *int      `json:"expires_in_days"`
}

// tokenView is an API token in the API's JSON.
type tokenView struct {
	ID          string     `json:"id"`
	Name        string     `json:"name"`
	Token       string     `json:"token,omitempty"` // when it was just made
	Specialists []string   `json:"specialists"`     // null: all
	Rate        string     `json:"rate"`
	CreatedAt   time.Time  `json:"created_at"`
	ExpiresAt   time.Time  `json:"expires_at"`
	LastUsedAt  *time.Time `json:"last_used_at"`
	RevokedAt   *time.Time `json:"revoked_at,omitempty"`
}

func tokenViewOf(t session.APIToken) tokenView {
	return tokenView{
		ID: t.ID, Name: t.Name, Specialists: t.Specialists, Rate: t.Rate, CreatedAt: t.CreatedAt,
		ExpiresAt: t.ExpiresAt, LastUsedAt: t.LastUsedAt, RevokedAt: t.RevokedAt,
	}
}

// createToken makes an API token of the caller's own, and shows it this once.
func (h *Handler) createToken(w http.ResponseWriter, r *http.Request, p *identity.Principal) error {
	var req tokenRequest
	if err := readJSON(w, r, &req); err != nil {
		return err
	}
	wanted, err := req.read()
	if err != nil {
		return err
	}
	made, token, err := h.o.Auth.Sessions.MintToken(r.Context(), p, wanted)
	if err != nil {
		return err
	}
	view := tokenViewOf(made)
	view.Token = token
	return writeJSON(w, view)
}

// read checks a request and puts defaults in.
func (req tokenRequest) read() (session.TokenRequest, error) {
	wanted := session.TokenRequest{Name: strings.TrimSpace(req.Name), Rate: strings.TrimSpace(req.Rate)}
	length := utf8.RuneCountInString(wanted.Name)
	if length < 1 || length > maxTokenName || strings.ContainsFunc(wanted.Name, unicode.IsControl) {
		return wanted, unprocessable("name", "must have 1 to "+strconv.Itoa(maxTokenName)+" characters, none of them a control character")
	}
	if wanted.Rate != "" {
		if _, err := ratelimit.ParseLimit(wanted.Rate); err != nil {
			return wanted, unprocessable("rate", `must be requests per time, such as "100/h" or "20/10m"`)
		}
	}
	days := defaultTokenDays
	if req.Days != nil {
		days = *req.Days
	}
	if days < 1 || days > maxTokenDays {
		return wanted, unprocessable("expires_in_days", "must be 1 to "+strconv.Itoa(maxTokenDays))
	}
	wanted.Lifetime = time.Duration(days) * 24 * time.Hour
	if req.Specialists == nil {
		return wanted, nil
	}
	wanted.Specialists = *req.Specialists
	return wanted, checkTokenSpecialists(wanted.Specialists)
}

func checkTokenSpecialists(list []string) error {
	if len(list) < 1 || len(list) > maxTokenSpecialists {
		return unprocessable("specialists", "must have 1 to "+strconv.Itoa(maxTokenSpecialists)+" items; leave it out for all that you may use")
	}
	for i, entry := range list {
		if entry == "" || len(entry) > maxSpecialistEntry || strings.ContainsFunc(entry, notInEntry) {
			return unprocessable("specialists["+strconv.Itoa(i)+"]",
				`must be an id, an alias, a "provider/model" or the beginning of one with a "*" behind it`)
		}
	}
	return nil
}

func notInEntry(c rune) bool {
	return unicode.IsControl(c) || unicode.IsSpace(c) || c == utf8.RuneError
}

// listTokens shows callers their own tokens, and admins those of a user.
func (h *Handler) listTokens(w http.ResponseWriter, r *http.Request, p *identity.Principal) error {
	user := p.UserHash
	if asked := r.URL.Query().Get("user_hash"); asked != "" && asked != user {
		if p.Role() != identity.RoleAdmin {
			return forbidden("only admins see the API tokens of others")
		}
		user = asked
	}
	tokens, err := h.o.Auth.Sessions.Tokens(r.Context(), user)
	if err != nil {
		return err
	}
	views := make([]tokenView, len(tokens))
	for i, t := range tokens {
		views[i] = tokenViewOf(t)
	}
	return writeJSON(w, map[string]any{"tokens": views})
}

// revokeToken withdraws a token of the caller's own, or, for admins, anybody's.
func (h *Handler) revokeToken(w http.ResponseWriter, r *http.Request, p *identity.Principal) error {
	var admin *session.Actor
	if p.Role() == identity.RoleAdmin {
		admin = new(sessionActor(w, p))
	}
	err := h.o.Auth.Sessions.RevokeToken(r.Context(), r.PathValue("id"), p.UserHash, admin)
	if errors.Is(err, session.ErrNotFound) {
		return &llm.Error{Cause: llm.CauseNotFound, Message: "you have no API token of this id"}
	}
	if err != nil {
		return err
	}
	return writeJSON(w, map[string]bool{"revoked": true})
}

// sessionActor names the admin who changes something, for the audit log.
func sessionActor(w http.ResponseWriter, p *identity.Principal) session.Actor {
	return session.Actor{UserHash: p.UserHash, RequestID: requestID(w)}
}
