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
	"github.com/financecommander/tollgate/internal/llm"
)

// Pair is what signing in gives, and refreshing gives again.
type Pair struct {
	AccessToken, RefreshToken string
	ExpiresIn                 time.Duration // of the access token
	Address                   identity.Address
}

// String and Format print no token.
func (p Pair) String() string               { return "pair of tokens" }
func (p Pair) Format(f fmt.State, _ rune)   { _, _ = f.Write([]byte(p.String())) }
func (p Pair) LogValue() slog.Value         { return slog.StringValue(p.String()) }
func (p Pair) MarshalJSON() ([]byte, error) { return []byte(`"` + p.String() + `"`), nil }

// Why a log-in ended.
const (
	reasonLogout = "logout"
	reasonReuse  = "refresh token reused"
	reasonBarred = "user blocked or deleted"
	reasonDomain = "domain not allowed"
)

// Open signs a person in, whose address somebody has proved. The error is
// [identity.ErrBlocked] when an admin has blocked the user.
func (m *Manager) Open(ctx context.Context, person Person) (Pair, error) {
	if person.Address == (identity.Address{}) {
		return Pair{}, errors.New("a log-in needs an address")
	}
	person = person.tidy()
	now := m.now()
	row := database.LoginSession{
		ID: newSessionID(), UserHash: m.o.Hasher.HashEmail(person.Address.Reveal()), Provider: person.Provider,
		Generation: 1, RotatedAt: now, CreatedAt: now, ExpiresAt: now.Add(m.o.RefreshLifetime),
	}
	var err error
	if row.Person, err = m.sealPerson(person, row.UserHash, row.ID); err != nil {
		return Pair{}, fmt.Errorf("encode person: %w", err)
	}
	err = m.o.Store.OpenSession(ctx, row)
	if errors.Is(err, database.ErrBlocked) {
		return Pair{}, identity.ErrBlocked
	}
	if err != nil {
		return Pair{}, outage(err)
	}
	return m.pair(&row, person)
}

// Refresh gives new tokens for a refresh token. Of several who send the same one
// at once, all get the same new refresh token. The error is an [*llm.Error]: 401
// when the person must sign in again.
func (m *Manager) Refresh(ctx context.Context, token string) (Pair, error) {
	sent, ok := m.parseRefreshToken(token)
	if !ok {
		return Pair{}, ended("not a refresh token of ours")
	}
	// One turn is the rule. Each further one is another caller who was quicker, and
	// whoever comes second in two generations has an old token.
	for range 3 {
		pair, done, err := m.refresh(ctx, sent)
		if done || err != nil {
			return pair, err
		}
	}
	return Pair{}, outage(errors.New("a session kept changing while it was refreshed"))
}

// refresh is one turn of [Manager.Refresh]; done is false when another caller
// changed the log-in meanwhile.
func (m *Manager) refresh(ctx context.Context, sent refreshToken) (pair Pair, done bool, err error) {
	row, barred, err := m.o.Store.Session(ctx, sent.session)
	if errors.Is(err, database.ErrNotFound) {
		return Pair{}, false, ended("no such session")
	}
	if err != nil {
		return Pair{}, false, outage(err)
	}
	person, err := m.admit(ctx, row, barred)
	if err != nil {
		return Pair{}, false, err
	}
	now := m.now()
	switch {
	case sent.generation == row.Generation:
		expires := now.Add(m.o.RefreshLifetime)
		if last := row.CreatedAt.Add(m.o.MaxLifetime); expires.After(last) {
			expires = last
		}
		rotated, err := m.o.Store.RotateSession(ctx, row.ID, row.Generation, now, expires)
		if err != nil {
			return Pair{}, false, outage(err)
		}
		if !rotated {
			return Pair{}, false, nil
		}
		row.Generation++
	case sent.generation == row.Generation-1 && now.Sub(row.RotatedAt) <= grace:
		// The caller gets what another of its tabs got a moment ago.
	default:
		return Pair{}, false, m.reused(ctx, row)
	}
	pair, err = m.pair(row, person)
	return pair, err == nil, err
}

// admit says whose log-in it is, if that may still be used.
func (m *Manager) admit(ctx context.Context, row *database.LoginSession, barred bool) (Person, error) {
	if row.RevokedAt != nil {
		return Person{}, ended("the session was revoked")
	}
	if !m.now().Before(row.ExpiresAt) {
		return Person{}, ended("the session has expired")
	}
	if barred {
		return Person{}, m.expel(ctx, row, reasonBarred)
	}
	person, ok := m.openPerson(row)
	if !ok {
		return Person{}, ended("the session does not open")
	}
	if !m.o.Domains.Allow(person.Address.Domain()) {
		return Person{}, m.expel(ctx, row, reasonDomain)
	}
	if m.o.Roles != nil {
		person.Roles = m.o.Roles(person)
	}
	return person, nil
}

// reused ends a log-in of which an old token was sent: there are two who have
// it, and nobody can tell which is the person.
func (m *Manager) reused(ctx context.Context, row *database.LoginSession) error {
	m.o.Reused()
	m.o.Logger.LogAttrs(ctx, slog.LevelWarn, "an old refresh token was sent; its log-in is ended, the user must sign in again",
		slog.String("user", row.UserHash), slog.String("session", row.ID))
	return m.expel(ctx, row, reasonReuse)
}

// expel ends a log-in, and says so to who uses it.
func (m *Manager) expel(ctx context.Context, row *database.LoginSession, reason string) error {
	// The caller may leave; what must end ends all the same.
	if err := m.end(context.WithoutCancel(ctx), row.ID, row.UserHash, reason); err != nil {
		return outage(err)
	}
	return ended(reason)
}

// end revokes a log-in with the access tokens that came of it. The tokens come
// first: while that fails the log-in can be ended again.
func (m *Manager) end(ctx context.Context, session, user, reason string) error {
	ctx, cancel := context.WithTimeout(ctx, endTimeout)
	defer cancel()
	if err := m.o.Revocations.Revoke(ctx, m.sessionEntry(session, reason)); err != nil {
		return fmt.Errorf("revoke a session's access tokens: %w", err)
	}
	return m.o.Store.RevokeSession(ctx, session, user, m.now(), reason)
}

// endTimeout bounds what goes on after its caller has left.
const endTimeout = 10 * time.Second

func (m *Manager) sessionEntry(session, reason string) revocation.Entry {
	return revocation.Entry{
		Kind: revocation.Session, Value: session, Reason: reason,
		ExpiresAt: m.now().Add(m.o.AccessLifetime),
	}
}

// Close signs a person out: p, the caller if its token is good, and whoever the
// refresh token is of, if there is one. Either may be missing; when p is known, a
// refresh token of somebody else is left alone.
func (m *Manager) Close(ctx context.Context, p *identity.Principal, token string) error {
	sent, genuine := m.parseRefreshToken(token)
	if p == nil && !genuine {
		return ended("neither token is good")
	}
	if p != nil {
		if err := m.closeCaller(ctx, p); err != nil {
			return err
		}
	}
	if !genuine || p != nil && p.Session == sent.session {
		return nil
	}
	row, _, err := m.o.Store.Session(ctx, sent.session)
	switch {
	case errors.Is(err, database.ErrNotFound):
		return nil // swept, so it has ended
	case err != nil:
		return outage(err)
	case p != nil && p.UserHash != row.UserHash:
		return nil
	}
	if err := m.end(context.WithoutCancel(ctx), row.ID, row.UserHash, reasonLogout); err != nil {
		return outage(err)
	}
	return nil
}

// closeCaller revokes an access token and the log-in it came from.
func (m *Manager) closeCaller(ctx context.Context, p *identity.Principal) error {
	switch {
	case p.Kind == identity.KindAPI:
		return &llm.Error{Cause: llm.CauseForbidden, Message: "an API token cannot sign out; revoke it instead"}
	case p.TokenID == "" && p.Session == "":
		return &llm.Error{Cause: llm.CauseForbidden, Message: "your token has no id to withdraw it by; it ends when it expires"}
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), endTimeout)
	defer cancel()
	if p.TokenID != "" {
		err := m.o.Revocations.Revoke(ctx, revocation.Entry{
			Kind: revocation.Token, Value: p.TokenID, Reason: reasonLogout, ExpiresAt: p.ExpiresAt,
		})
		if err != nil {
			return outage(err)
		}
	}
	if p.Session == "" {
		return nil
	}
	if err := m.end(ctx, p.Session, p.UserHash, reasonLogout); err != nil {
		return outage(err)
	}
	return nil
}

// pair makes the tokens of a log-in's current generation.
func (m *Manager) pair(row *database.LoginSession, person Person) (Pair, error) {
	refresh, ok := m.refreshToken(row.ID, row.Generation)
	if !ok {
		return Pair{}, errors.New("a session has a bad id")
	}
	access, err := m.o.Signer.Mint(identity.Claims{
		Subject: row.UserHash, // subjects reach logs, addresses must not
		Email:   person.Address.Reveal(), Name: person.Name, Roles: person.Roles,
		Session: row.ID, Lifetime: m.o.AccessLifetime,
	})
	if err != nil {
		return Pair{}, fmt.Errorf("issue an access token: %w", err)
	}
	return Pair{AccessToken: access, RefreshToken: refresh, ExpiresIn: m.o.AccessLifetime, Address: person.Address}, nil
}
