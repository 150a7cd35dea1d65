package session

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/financecommander/tollgate/internal/database"
	"github.com/financecommander/tollgate/internal/identity"
	"github.com/financecommander/tollgate/internal/identity/revocation"
	"github.com/financecommander/tollgate/internal/llm"
)

// Bounds of API tokens.
const (
	// MaxTokens is how many good ones a user may have.
	MaxTokens = 100
	// maxTokenRows bounds those that are kept for show as well, so that nobody
	// fills the table, and every replica's list of revocations, by making and
	// revoking tokens.
	maxTokenRows = 1000
	// oldTokens is how long a token that is no longer good is kept for show.
	oldTokens = 30 * 24 * time.Hour
)

// TokenRequest is what somebody wants of a new API token. Whoever takes it from
// a caller checks its form.
type TokenRequest struct {
	Name        string
	Specialists []string // nil: all that the caller may use
	Rate        string   // "100/h"; "": none of its own
	Lifetime    time.Duration
}

// APIToken is a token that a user made for a program, without the token itself.
type APIToken struct {
	ID          string
	UserHash    string
	Name        string
	Specialists []string // nil: all
	Rate        string
	CreatedAt   time.Time
	ExpiresAt   time.Time
	LastUsedAt  *time.Time // nil: never
	RevokedAt   *time.Time // nil: good until it expires
}

// Actor is an admin who changes what is another's, for the audit log.
type Actor struct {
	UserHash  string
	RequestID string
}

func (a Actor) entry(action, object string) database.AuditEntry {
	return database.AuditEntry{ActorHash: a.UserHash, RequestID: a.RequestID, Action: action, Object: object}
}

// MintToken makes an API token for the caller: for no more than the caller's own
// token is good for, and without the caller's roles. The token is given once.
func (m *Manager) MintToken(ctx context.Context, p *identity.Principal, req TokenRequest) (APIToken, string, error) {
	if err := mayHoldTokens(p); err != nil {
		return APIToken{}, "", err
	}
	specialists, err := narrow(p, req.Specialists)
	if err != nil {
		return APIToken{}, "", err
	}
	now := m.now().UTC().Truncate(time.Second) // as the token itself says
	t := APIToken{
		ID: rand.Text(), UserHash: p.UserHash, Name: req.Name, Specialists: specialists, Rate: req.Rate,
		CreatedAt: now, ExpiresAt: now.Add(req.Lifetime),
	}
	token, err := m.o.Signer.Mint(identity.Claims{
		ID: t.ID, Kind: identity.KindAPI, Subject: t.UserHash, Email: p.Email(), Name: p.Name,
		Specialists: t.Specialists, Rate: t.Rate, UserRate: p.UserRate, Lifetime: req.Lifetime,
	})
	if err != nil {
		return APIToken{}, "", fmt.Errorf("issue an API token: %w", err)
	}
	if len(token) > identity.MaxTokenBytes {
		return APIToken{}, "", forbidden("the token would be too long to be accepted: name fewer specialists")
	}
	list, err := json.Marshal(t.Specialists)
	if err != nil {
		return APIToken{}, "", fmt.Errorf("encode specialists: %w", err)
	}
	err = m.o.Store.InsertAPIToken(ctx, database.APIToken{
		ID: t.ID, UserHash: t.UserHash, Name: t.Name, Specialists: string(list), Rate: t.Rate,
		CreatedAt: t.CreatedAt, ExpiresAt: t.ExpiresAt,
	}, MaxTokens, maxTokenRows)
	switch {
	case errors.Is(err, database.ErrTooMany):
		return APIToken{}, "", &llm.Error{
			Cause: llm.CauseForbidden, HTTPStatus: http.StatusConflict,
			Message: fmt.Sprintf("you have as many API tokens as there may be (%d): revoke some that you no longer need", MaxTokens),
		}
	case errors.Is(err, database.ErrBlocked):
		return APIToken{}, "", forbidden("you are blocked")
	case err != nil:
		return APIToken{}, "", outage(err)
	}
	return t, token, nil
}

// Tokens gives all API tokens of a user, newest first.
func (m *Manager) Tokens(ctx context.Context, user string) ([]APIToken, error) {
	rows, err := m.o.Store.ListAPITokens(ctx, user)
	if err != nil {
		return nil, outage(err)
	}
	tokens := make([]APIToken, len(rows))
	for i := range rows {
		if tokens[i], err = tokenOf(&rows[i]); err != nil {
			return nil, err
		}
	}
	return tokens, nil
}

// RevokeToken withdraws an API token at once, everywhere. Without an admin it
// must be the user's own, and is [ErrNotFound] else; with one it may be anybody's.
func (m *Manager) RevokeToken(ctx context.Context, id, user string, admin *Actor) error {
	row, err := m.o.Store.APIToken(ctx, id)
	if errors.Is(err, database.ErrNotFound) {
		return ErrNotFound
	}
	if err != nil {
		return outage(err)
	}
	own := row.UserHash == user
	if !own && admin == nil {
		return ErrNotFound
	}
	// The token first: while that fails, it can be tried again.
	if err := m.o.Revocations.Revoke(ctx, tokenEntry(row, "revoked")); err != nil {
		return outage(err)
	}
	var audit *database.AuditEntry
	if !own {
		audit = new(admin.entry("token.revoke", row.ID))
	}
	if err := m.o.Store.RevokeAPIToken(context.WithoutCancel(ctx), row.ID, m.now(), audit); err != nil {
		return outage(err)
	}
	return nil
}

func tokenEntry(row *database.APIToken, reason string) revocation.Entry {
	return revocation.Entry{Kind: revocation.Token, Value: row.ID, ExpiresAt: row.ExpiresAt, Reason: reason}
}

func tokenOf(row *database.APIToken) (APIToken, error) {
	t := APIToken{
		ID: row.ID, UserHash: row.UserHash, Name: row.Name, Rate: row.Rate, CreatedAt: row.CreatedAt,
		ExpiresAt: row.ExpiresAt, LastUsedAt: row.LastUsedAt, RevokedAt: row.RevokedAt,
	}
	if err := json.Unmarshal([]byte(row.Specialists), &t.Specialists); err != nil {
		return APIToken{}, fmt.Errorf("decode specialists of API token %s: %w", row.ID, err)
	}
	return t, nil
}

// mayHoldTokens refuses those whom an API token would let do more than their own
// token does: it has no roles, and without the viewer's it may call models.
func mayHoldTokens(p *identity.Principal) error {
	switch {
	case p.Kind == identity.KindAPI:
		return forbidden("an API token cannot make further ones: sign in to do that")
	case p.Role() == identity.RoleViewer:
		return forbidden("your role is viewer, which has no API tokens")
	case p.UserHash == "":
		return errors.New("principal without user hash")
	}
	return nil
}

// narrow gives what a new token is good for: what is asked for, if the caller's
// own token covers it, else all that the caller's own is good for. The result is
// never empty, since a token that lists nothing is good for everything.
func narrow(p *identity.Principal, asked []string) ([]string, error) {
	if p.Specialists != nil && len(p.Specialists) == 0 {
		return nil, forbidden("your own token is good for no specialist, so there is nothing to make one for")
	}
	if len(asked) == 0 {
		return slices.Clone(p.Specialists), nil
	}
	for _, name := range asked {
		if p.Specialists != nil && !slices.ContainsFunc(p.Specialists, func(own string) bool { return covers(own, name) }) {
			return nil, &llm.Error{
				Cause: llm.CauseForbidden, Param: "specialists",
				Message: "specialists may list only what your own token is good for",
			}
		}
	}
	return slices.Clone(asked), nil
}

// covers tells whether every name that one entry of [identity.Principal.MayUse]
// matches is matched by another as well.
func covers(own, asked string) bool {
	prefix, wild := strings.CutSuffix(own, "*")
	if !wild {
		return own == asked
	}
	return strings.HasPrefix(strings.TrimSuffix(asked, "*"), prefix)
}

func forbidden(message string) error {
	return &llm.Error{Cause: llm.CauseForbidden, Message: message}
}
