// Package session keeps people signed in: log-ins with refresh tokens that
// rotate, tokens that people make for their programs, and the users themselves.
//
// A refresh token is good once. Whoever sends one a second time, the person or a
// thief, ends the log-in with all that came of it, so a stolen token is worth
// little for long. No table holds a token or an address.
package session

import (
	"cmp"
	"context"
	"crypto/hkdf"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/financecommander/tollgate/internal/database"
	"github.com/financecommander/tollgate/internal/identity"
	"github.com/financecommander/tollgate/internal/identity/revocation"
	"github.com/financecommander/tollgate/internal/janitor"
	"github.com/financecommander/tollgate/internal/llm"
	"github.com/financecommander/tollgate/internal/seal"
	"github.com/financecommander/tollgate/internal/secret"
)

// Defaults of [Options].
const (
	// DefaultRefreshLifetime is how long a log-in lasts that nobody uses.
	DefaultRefreshLifetime = 30 * 24 * time.Hour
	// DefaultMaxLifetime is how long one lasts however much it is used.
	DefaultMaxLifetime = 90 * 24 * time.Hour
)

// grace is how long a refresh token is answered again after it was used: two
// tabs that wake up together send the same one.
const grace = time.Minute

// Labels of the keys that are derived from the gateway's secret.
const (
	refreshLabel = "tollgate/refresh/v1"
	personLabel  = "tollgate/session/v1"
)

// ErrNotFound says that there is no such token or user, or that it is another's.
var ErrNotFound = database.ErrNotFound

// Revoker withdraws tokens on every replica; see package revocation.
type Revoker interface {
	Revoke(ctx context.Context, entries ...revocation.Entry) error
}

// Minter signs access tokens; see [identity.Signer].
type Minter interface {
	Mint(c identity.Claims) (string, error)
}

// Store is the database.
type Store interface {
	OpenSession(ctx context.Context, s database.LoginSession) error
	Session(ctx context.Context, id string) (s *database.LoginSession, barred bool, err error)
	RotateSession(ctx context.Context, id string, generation int64, now, expires time.Time) (bool, error)
	RevokeSession(ctx context.Context, id, user string, now time.Time, reason string) error
	ListSessionIDs(ctx context.Context, user string, rotatedAfter time.Time) ([]string, error)
	DeleteExpiredSessions(ctx context.Context, now time.Time, limit int) (int64, error)

	InsertAPIToken(ctx context.Context, t database.APIToken, maxLive, maxRows int64) error
	ListAPITokens(ctx context.Context, user string) ([]database.APIToken, error)
	APIToken(ctx context.Context, id string) (*database.APIToken, error)
	RevokeAPIToken(ctx context.Context, id string, now time.Time, audit *database.AuditEntry) error
	TouchAPITokens(ctx context.Context, ids []string, used time.Time) error
	DeleteOldAPITokens(ctx context.Context, before time.Time, limit int) (int64, error)

	ListUsers(ctx context.Context, after string, limit int) ([]database.PortalUser, error)
	ListBlockedUsers(ctx context.Context) ([]string, error)
	BlockUser(ctx context.Context, user string, now time.Time, audit database.AuditEntry) error
	UnblockUser(ctx context.Context, user string, audit database.AuditEntry) error
	DeleteUser(ctx context.Context, user string, audit database.AuditEntry) error
}

var _ Store = (*database.DB)(nil)

// Options are what a [Manager] works with.
type Options struct {
	Store       Store            // required
	Signer      Minter           // of the gateway's own tokens; required
	Secret      secret.Secret    // from which the keys of refresh tokens and of stored people are derived; required
	Hasher      identity.Hasher  // the same as the verifier's
	Domains     identity.Domains // whose people may stay signed in
	Revocations Revoker          // required

	AccessLifetime  time.Duration // 0: [identity.DefaultLifetime]
	RefreshLifetime time.Duration // of an unused log-in; 0: [DefaultRefreshLifetime], or AccessLifetime if that is longer
	MaxLifetime     time.Duration // of any log-in; 0: [DefaultMaxLifetime], or RefreshLifetime if that is longer

	// Roles gives a person's roles anew at each refresh; nil: they stay as they were
	// at the log-in.
	Roles func(Person) []string
	// Forget is asked, one after the other, to delete what else there is of a user
	// who is deleted. Each may be asked again for the same user.
	Forget []func(ctx context.Context, userHash string) error
	// Reused is called when a refresh token was sent that had been used before; nil:
	// nobody counts.
	Reused func()

	Logger *slog.Logger // nil: silent
}

// Manager opens, refreshes and ends log-ins, and keeps API tokens and users. It
// is safe for concurrent use, also beside those of other replicas.
type Manager struct {
	o        Options
	now      func() time.Time
	tokenKey []byte    // authenticates refresh tokens
	people   *seal.Box // encrypts whom a log-in is of
	uses     uses

	blocked atomic.Pointer[map[string]bool] // as of the last look; nil before the first
	looking sync.Mutex                      // one look at a time, so that an older one never replaces a newer

	janitor *janitor.Janitor // of expired rows, which are good for nothing meanwhile

	mu   sync.Mutex // guards stop
	stop context.CancelFunc
	wg   sync.WaitGroup
}

// New makes a manager; it does no I/O.
func New(o Options) (*Manager, error) {
	if o.Store == nil || o.Signer == nil || o.Revocations == nil {
		return nil, errors.New("sessions need a store, a signer and revocations")
	}
	if o.Secret.IsZero() {
		return nil, errors.New("sessions need the gateway's secret")
	}
	o.AccessLifetime = cmp.Or(o.AccessLifetime, identity.DefaultLifetime)
	// Longer ones of one kind stretch the defaults of the next.
	o.RefreshLifetime = cmp.Or(o.RefreshLifetime, max(DefaultRefreshLifetime, o.AccessLifetime))
	o.MaxLifetime = cmp.Or(o.MaxLifetime, max(DefaultMaxLifetime, o.RefreshLifetime))
	if o.AccessLifetime < 0 || o.RefreshLifetime < o.AccessLifetime || o.MaxLifetime < o.RefreshLifetime {
		return nil, fmt.Errorf("access tokens (%v) must not outlive an unused log-in (%v), nor that the longest log-in (%v)",
			o.AccessLifetime, o.RefreshLifetime, o.MaxLifetime)
	}
	if o.Reused == nil {
		o.Reused = func() {}
	}
	o.Logger = cmp.Or(o.Logger, slog.New(slog.DiscardHandler))
	key, err := hkdf.Key(sha256.New, []byte(o.Secret.Reveal()), nil, refreshLabel, sha256.Size)
	if err != nil {
		return nil, fmt.Errorf("derive the key of refresh tokens: %w", err)
	}
	people, err := seal.New(o.Secret, personLabel)
	if err != nil {
		return nil, err
	}
	m := &Manager{o: o, now: time.Now, tokenKey: key, people: people}
	m.janitor = m.newJanitor()
	return m, nil
}

// What callers are told. A person reads it after a stream, so it says what to do.
const (
	messageEnded  = "your session has ended: please sign in again"
	messageOutage = "sign-in is not possible at the moment: please try again in a few seconds"
)

// ended is the error for a refresh token that is not good: 401.
func ended(why string) error {
	return &llm.Error{Cause: llm.CauseUnauthenticated, Message: messageEnded, Err: errors.New(why)}
}

// outage is the error for what the database or the revocations cannot do now:
// 503, since a 401 would make clients log their user out.
func outage(err error) error {
	if judged, ok := errors.AsType[*llm.Error](err); ok {
		return judged
	}
	return &llm.Error{Cause: llm.CauseUnavailable, Message: messageOutage, RetryAfter: 5 * time.Second, Err: err}
}
