package session

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/financecommander/tollgate/internal/database"
	"github.com/financecommander/tollgate/internal/identity"
	"github.com/financecommander/tollgate/internal/identity/revocation"
	"github.com/financecommander/tollgate/internal/llm"
	"github.com/financecommander/tollgate/internal/secret"
	"github.com/financecommander/tollgate/internal/testenv"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var testSecret = secret.New("0123456789abcdef0123456789abcdef")

// clock is the real one, moved on by hand.
type clock struct{ ahead atomic.Int64 }

func (c *clock) now() time.Time           { return time.Now().Add(time.Duration(c.ahead.Load())) }
func (c *clock) advance(by time.Duration) { c.ahead.Add(int64(by)) }

// replica is one gateway: a manager and what judges its tokens.
type replica struct {
	*Manager
	t        testing.TB
	db       *database.DB
	verifier *identity.Verifier
	clock    *clock
	reuses   *atomic.Int64
	log      *logBuffer
}

type logBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func openDatabase(t testing.TB, url string) *database.DB {
	t.Helper()
	db, err := database.Open(url, database.Options{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	_, err = db.Migrate(t.Context())
	require.NoError(t, err)
	return db
}

func newReplica(t testing.TB, db *database.DB, edit func(*Options)) *replica {
	t.Helper()
	registry := revocation.New(revocation.Options{Store: revocation.NewDatabaseStore(db)})
	signer, err := identity.NewSigner(testSecret, "tollgate")
	require.NoError(t, err)
	r := &replica{t: t, db: db, clock: new(clock), reuses: new(atomic.Int64), log: new(logBuffer)}
	o := Options{
		Store: db, Signer: signer, Secret: testSecret, Revocations: registry,
		Reused: func() { r.reuses.Add(1) }, Logger: slog.New(slog.NewTextHandler(r.log, nil)),
	}
	if edit != nil {
		edit(&o)
	}
	r.Manager, err = New(o)
	require.NoError(t, err)
	r.now = r.clock.now
	r.verifier, err = identity.New([]identity.Issuer{{Name: "tollgate", Issuer: "tollgate", Own: true, Secret: testSecret}},
		identity.Options{Revocations: registry})
	require.NoError(t, err)
	t.Cleanup(r.verifier.Close)
	return r
}

// onBoth runs a test with a replica on a database of each kind.
func onBoth(t *testing.T, test func(t *testing.T, r *replica)) {
	t.Helper()
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		test(t, newReplica(t, openDatabase(t, testenv.Postgres(t)), nil))
	})
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		test(t, newReplica(t, onSQLite(t), nil))
	})
}

func onSQLite(t testing.TB) *database.DB {
	t.Helper()
	return openDatabase(t, "sqlite:///"+filepath.Join(t.TempDir(), "test.db"))
}

func person(t testing.TB, text string) Person {
	t.Helper()
	address, ok := identity.ParseAddress(text)
	require.True(t, ok)
	return Person{Address: address, Name: "Alice A.", Provider: "email"}
}

// open signs a person in.
func (r *replica) open(text string, roles ...string) Pair {
	r.t.Helper()
	p := person(r.t, text)
	p.Roles = roles
	pair, err := r.Open(context.Background(), p)
	require.NoError(r.t, err)
	return pair
}

// refresh must succeed.
func (r *replica) refreshed(pair Pair) Pair {
	r.t.Helper()
	next, err := r.Refresh(context.Background(), pair.RefreshToken)
	require.NoError(r.t, err)
	return next
}

// principal is whom an access token names, which must be good.
func (r *replica) principal(token string) *identity.Principal {
	r.t.Helper()
	p, err := r.verifier.Verify(context.Background(), token)
	require.NoError(r.t, err)
	return p
}

// requireOut checks that none of the tokens is good for anything any more.
func (r *replica) requireOut(pairs ...Pair) {
	r.t.Helper()
	for i, pair := range pairs {
		_, err := r.Refresh(context.Background(), pair.RefreshToken)
		requireCause(r.t, llm.CauseUnauthenticated, err)
		_, err = r.verifier.Verify(context.Background(), pair.AccessToken)
		require.Error(r.t, err, "access token %d", i)
		requireCause(r.t, llm.CauseUnauthenticated, err)
	}
}

func requireCause(t testing.TB, want llm.Cause, err error) {
	t.Helper()
	judged, ok := errors.AsType[*llm.Error](err)
	require.True(t, ok, "got %v, want an *llm.Error", err)
	require.Equal(t, want, judged.Cause, "%v", err)
	require.NotEmpty(t, judged.Message)
}

// session gives the row of a refresh token's log-in.
func (r *replica) session(token string) *database.LoginSession {
	r.t.Helper()
	sent, ok := r.parseRefreshToken(token)
	require.True(r.t, ok)
	row, _, err := r.db.Session(context.Background(), sent.session)
	require.NoError(r.t, err)
	return row
}
