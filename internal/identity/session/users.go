package session

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/financecommander/tollgate/internal/database"
	"github.com/financecommander/tollgate/internal/identity"
	"github.com/financecommander/tollgate/internal/identity/revocation"
)

// User is who signed in at least once, or was blocked.
type User struct {
	UserHash    string
	Provider    string // how they last signed in; "": never
	CreatedAt   time.Time
	LastLoginAt *time.Time // nil: never
	Blocked     bool
}

// Users gives at most limit users by their hash, those after the given one; ""
// for the first.
func (m *Manager) Users(ctx context.Context, after string, limit int) ([]User, error) {
	rows, err := m.o.Store.ListUsers(ctx, after, limit)
	if err != nil {
		return nil, outage(err)
	}
	users := make([]User, len(rows))
	for i, row := range rows {
		users[i] = User{UserHash: row.UserHash, Provider: row.Provider, CreatedAt: row.CreatedAt, Blocked: row.BlockedAt != nil}
		if row.Provider != "" {
			users[i].LastLoginAt = &row.LastLoginAt
		}
	}
	return users, nil
}

// Block keeps a user from signing in, and ends at once what the user has:
// log-ins, API tokens, tokens of other issuers. If it fails, it is to be tried
// again.
func (m *Manager) Block(ctx context.Context, user string, by Actor) error {
	ctx = context.WithoutCancel(ctx)
	if err := m.o.Store.BlockUser(ctx, user, m.now(), by.entry("user.block", user)); err != nil {
		return outage(err)
	}
	m.look(ctx)
	entries, err := m.allOf(ctx, user, "blocked")
	if err == nil {
		err = m.o.Revocations.Revoke(ctx, entries...)
	}
	if err != nil {
		return outage(err)
	}
	return nil
}

// Unblock lets a user sign in again; what blocking ended stays ended.
// [ErrNotFound] when nobody of that hash is known.
func (m *Manager) Unblock(ctx context.Context, user string, by Actor) error {
	ctx = context.WithoutCancel(ctx)
	err := m.o.Store.UnblockUser(ctx, user, by.entry("user.unblock", user))
	if errors.Is(err, database.ErrNotFound) {
		return ErrNotFound
	}
	if err != nil {
		return outage(err)
	}
	m.look(ctx)
	return nil
}

// Delete forgets a user: what the user has is ended as by [Manager.Block], and
// deleted, with what [Options.Forget] knows of. Usage rows stay, they are the
// books. The user may sign in anew. If it fails, it is to be tried again.
func (m *Manager) Delete(ctx context.Context, user string, by Actor) error {
	ctx = context.WithoutCancel(ctx)
	// Rows come last: they say what is left to do.
	entries, err := m.allOf(ctx, user, "deleted")
	if err == nil {
		err = m.o.Revocations.Revoke(ctx, entries...)
	}
	if err != nil {
		return outage(err)
	}
	for _, forget := range m.o.Forget {
		if err := forget(ctx, user); err != nil {
			return outage(fmt.Errorf("forget a user: %w", err))
		}
	}
	if err := m.o.Store.DeleteUser(ctx, user, by.entry("user.delete", user)); err != nil {
		return outage(err)
	}
	m.look(ctx)
	return nil
}

// allOf lists what ends all tokens that a user has now. The entry for the user
// is for those of other issuers. It goes by the time that tokens say they were
// issued, in whole seconds and by another machine's clock, so our own are listed
// one by one, and it spares the second that has just begun: who is let in again
// at once shall be in.
func (m *Manager) allOf(ctx context.Context, user, reason string) ([]revocation.Entry, error) {
	now := m.now()
	entries := []revocation.Entry{{
		Kind: revocation.User, Value: user, Reason: reason,
		IssuedBefore: now.Truncate(time.Second).Add(-time.Microsecond), ExpiresAt: now.Add(longestToken),
	}}
	sessions, err := m.o.Store.ListSessionIDs(ctx, user, now.Add(-m.o.AccessLifetime))
	if err != nil {
		return nil, err
	}
	for _, id := range sessions {
		entries = append(entries, m.sessionEntry(id, reason))
	}
	tokens, err := m.o.Store.ListAPITokens(ctx, user)
	if err != nil {
		return nil, err
	}
	for i := range tokens {
		if tokens[i].ExpiresAt.After(now) {
			entries = append(entries, tokenEntry(&tokens[i], reason))
		}
	}
	return entries, nil
}

// longestToken is longer than a token of any issuer lives, so that blocking
// outlasts all that were there.
const longestToken = 11 * 365 * 24 * time.Hour

// Revoked implements [identity.Revocations] for users who are blocked: those of
// other issuers get new tokens there while they are.
func (m *Manager) Revoked(p *identity.Principal) bool {
	blocked := m.blocked.Load()
	return blocked != nil && (*blocked)[p.UserHash]
}

var _ identity.Revocations = (*Manager)(nil)

// look learns who is blocked. What was known stays when the database does not
// answer.
func (m *Manager) look(ctx context.Context) {
	m.looking.Lock()
	defer m.looking.Unlock()
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	users, err := m.o.Store.ListBlockedUsers(ctx)
	if err != nil {
		if ctx.Err() == nil || errors.Is(ctx.Err(), context.DeadlineExceeded) {
			m.o.Logger.LogAttrs(ctx, slog.LevelWarn, "who is blocked could not be read; trying again shortly", slog.Any("error", err))
		}
		return
	}
	blocked := make(map[string]bool, len(users))
	for _, user := range users {
		blocked[user] = true
	}
	m.blocked.Store(&blocked)
}
