package identity

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"
)

// Principal is a caller whose token was verified. It is shared by all requests
// that carry the same token: read it, never change it.
//
// Printing, logging or encoding a Principal shows its hash, issuer, roles and
// token id, and neither address, subject nor claims (a subject is often an
// address too).
type Principal struct {
	Subject   string    // the issuer's name for the caller; may be an e-mail address, so not for logs
	Name      string    // how to address the caller; may be empty
	Roles     []string  // as the token says, in its order
	Issuer    string    // the configured name of the issuer ([Issuer.Name]); bounded, so good as a metric label
	TokenID   string    // "jti", or, when the issuer sets none, a hash of what it signed
	IssuedAt  time.Time // "iat", UTC; zero when the issuer sets none
	ExpiresAt time.Time // "exp", UTC

	// Kind says what the token is for, and Session names the log-in ("sid") that
	// it came from; both empty for tokens that were not given out by a log-in.
	Kind    Kind
	Session string

	// Rate is a limit of requests, such as "100/h", that the token itself has
	// beside its user's; empty: none.
	Rate string
	// UserRate is the user's own limit of model calls, in the place of the default
	// one; empty: the default. An issuer's [Rule] gives it, and API tokens that the
	// user makes keep it.
	UserRate string

	// Specialists lists the specialists and models the token is good for. Nil
	// means all; ask [Principal.MayUse], which also knows wildcards.
	Specialists []string

	// UserHash names the caller in every table, log line, metric and limit: the
	// EmailHash, or, without an address, a hash of issuer and subject.
	UserHash  string
	EmailHash string // see [Hasher]; empty when the token has no (verified) address

	// A pointer, so that printing a struct that holds a Principal prints an
	// address of memory, not the address of a person.
	private *private
}

type private struct {
	email  string
	claims map[string]any
}

// Email is the caller's address, trimmed and lower-cased, for showing it to the
// caller alone (/auth/me). Never log, store or forward it.
func (p *Principal) Email() string {
	if p.private == nil {
		return ""
	}
	return p.private.email
}

// Claims are all of the token's claims, for showing them to the caller alone
// (/auth/verify). Numbers are [json.Number]. The map is the caller's own; objects
// inside it are shared, like the Principal.
func (p *Principal) Claims() map[string]any {
	if p.private == nil {
		return nil
	}
	return maps.Clone(p.private.claims)
}

// Kind is what a token of ours is for.
type Kind string

// The kinds of tokens.
const (
	// KindAccess tokens are given out by a log-in, or by another issuer.
	KindAccess Kind = ""
	// KindAPI tokens are made by their users for programs. They spend and read,
	// but give out no further tokens and administer nothing.
	KindAPI Kind = "api"
)

// The roles that decide something here; a token may have others.
const (
	RoleAdmin  = "admin"  // everything, and the specialists and usage of all
	RoleViewer = "viewer" // reads everybody's usage, and nothing else
	RoleUser   = "user"   // what is left: calls models, sees their own
)

// Role is the one of the three roles that decides: admin before viewer before
// user. An API token is never an admin's.
func (p *Principal) Role() string {
	switch {
	case p.HasRole(RoleAdmin) && p.Kind != KindAPI:
		return RoleAdmin
	case p.HasRole(RoleViewer):
		return RoleViewer
	}
	return RoleUser
}

// HasRole tells whether the token gives the role, compared exactly.
func (p *Principal) HasRole(role string) bool { return slices.Contains(p.Roles, role) }

// MayUse tells whether the token is good for a specialist or model of this
// name. An entry of [Principal.Specialists] matches exactly, or, when it ends in
// "*", as a prefix: "openai/*" is every model of that provider.
func (p *Principal) MayUse(name string) bool {
	return p.Specialists == nil || slices.ContainsFunc(p.Specialists, func(entry string) bool {
		prefix, wild := strings.CutSuffix(entry, "*")
		return entry == name || wild && strings.HasPrefix(name, prefix)
	})
}

// String implements [fmt.Stringer] without personal data.
func (p Principal) String() string {
	return fmt.Sprintf("principal(user=%s issuer=%s roles=%v token=%s)", p.UserHash, p.Issuer, p.Roles, p.TokenID)
}

// Format implements [fmt.Formatter]: every verb prints [Principal.String].
func (p Principal) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(p.String())) }

// LogValue implements [slog.LogValuer] without personal data.
func (p Principal) LogValue() slog.Value {
	return slog.GroupValue(
		slog.String("user", p.UserHash),
		slog.String("issuer", p.Issuer),
		slog.Any("roles", p.Roles),
		slog.String("token_id", p.TokenID),
	)
}

// MarshalJSON implements [json.Marshaler] without personal data.
func (p Principal) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		User    string   `json:"user"`
		Issuer  string   `json:"issuer"`
		Roles   []string `json:"roles"`
		TokenID string   `json:"token_id"`
	}{p.UserHash, p.Issuer, p.Roles, p.TokenID})
}

type contextKey struct{}

// NewContext gives a context that carries the principal.
func NewContext(ctx context.Context, p *Principal) context.Context {
	return context.WithValue(ctx, contextKey{}, p)
}

// FromContext gives the principal [NewContext] put there; false when the call
// is anonymous.
func FromContext(ctx context.Context) (*Principal, bool) {
	p, ok := ctx.Value(contextKey{}).(*Principal)
	return p, ok && p != nil
}
