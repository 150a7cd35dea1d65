package portal

import (
	"cmp"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/financecommander/tollgate/internal/identity"
	"github.com/financecommander/tollgate/internal/identity/session"
	"github.com/financecommander/tollgate/internal/llm"
)

// The number of rows on a page of users, and of the audit log.
const (
	defaultRows = 50
	maxRows     = 1000
)

func (h *Handler) userRoutes() {
	h.handle("/auth/users", methods{http.MethodGet: h.withSessions(forAdmins(h.listUsers))})
	h.handle("/auth/users/{user}", methods{
		http.MethodPut:    h.withSessions(forAdmins(h.updateUser)),
		http.MethodDelete: h.withSessions(forAdmins(h.deleteUser)),
	})
}

type userView struct {
	UserHash    string     `json:"user_hash"`
	Provider    string     `json:"provider"`
	CreatedAt   time.Time  `json:"created_at"`
	LastLoginAt *time.Time `json:"last_login_at"` // null: never
	Blocked     bool       `json:"blocked"`
}

// listUsers gives a page of users by their hash.
func (h *Handler) listUsers(w http.ResponseWriter, r *http.Request, _ *identity.Principal) error {
	query, limit, err := readPage(r)
	if err != nil {
		return err
	}
	after := query.Get("after")
	if after != "" && !isHash(after) {
		return unprocessable("after", `must be the "next" of an earlier answer`)
	}
	users, err := h.o.Auth.Sessions.Users(r.Context(), after, limit+1) // one more says whether there is a next page
	if err != nil {
		return err
	}
	var next *string
	if len(users) > limit {
		users = users[:limit]
		next = &users[limit-1].UserHash
	}
	views := make([]userView, len(users))
	for i, u := range users {
		views[i] = userView(u)
	}
	return writeJSON(w, map[string]any{"users": views, "next": next})
}

type userRequest struct {
	Blocked *bool `json:"blocked"`
}

// updateUser blocks a user, or lets one in again.
func (h *Handler) updateUser(w http.ResponseWriter, r *http.Request, p *identity.Principal) error {
	user, err := anotherUser(r, p)
	if err != nil {
		return err
	}
	var req userRequest
	if err := readJSON(w, r, &req); err != nil {
		return err
	}
	if req.Blocked == nil {
		return unprocessable("blocked", "must be true or false")
	}
	if *req.Blocked {
		err = h.o.Auth.Sessions.Block(r.Context(), user, sessionActor(w, p))
	} else {
		err = h.o.Auth.Sessions.Unblock(r.Context(), user, sessionActor(w, p))
	}
	if errors.Is(err, session.ErrNotFound) {
		return noUser()
	}
	if err != nil {
		return err
	}
	return writeJSON(w, map[string]any{"user_hash": user, "blocked": *req.Blocked})
}

// deleteUser forgets a user.
func (h *Handler) deleteUser(w http.ResponseWriter, r *http.Request, p *identity.Principal) error {
	user, err := anotherUser(r, p)
	if err != nil {
		return err
	}
	if err := h.o.Auth.Sessions.Delete(r.Context(), user, sessionActor(w, p)); err != nil {
		return err
	}
	return writeJSON(w, map[string]bool{"deleted": true})
}

// anotherUser reads the user that a request is about, who is not the caller:
// admins who shut themselves out could not let themselves in again.
func anotherUser(r *http.Request, p *identity.Principal) (string, error) {
	user := r.PathValue("user")
	switch {
	case !isHash(user):
		return "", noUser()
	case user == p.UserHash:
		return "", forbidden("you cannot block or delete yourself: ask another admin")
	}
	return user, nil
}

func noUser() error {
	return &llm.Error{Cause: llm.CauseNotFound, Message: "there is no user of this hash"}
}

// isHash tells whether a text is in the form of a user's hash.
func isHash(text string) bool {
	return len(text) == 64 && strings.Trim(text, "0123456789abcdef") == ""
}

// readPage reads a query that asks for a page, and how many rows it shall have.
func readPage(r *http.Request) (url.Values, int, error) {
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, 0, unprocessable("query", "is not a valid query string")
	}
	limit, err := strconv.Atoi(cmp.Or(query.Get("limit"), strconv.Itoa(defaultRows)))
	if err != nil || limit < 1 || limit > maxRows {
		return nil, 0, unprocessable("limit", "must be 1 to "+strconv.Itoa(maxRows))
	}
	return query, limit, nil
}
