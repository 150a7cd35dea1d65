package login

import (
	"context"
	"errors"
	"path/filepath"
	"regexp"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/financecommander/tollgate/internal/database"
	"github.com/financecommander/tollgate/internal/identity"
	"github.com/financecommander/tollgate/internal/llm"
	"github.com/financecommander/tollgate/internal/mail"
	"github.com/financecommander/tollgate/internal/secret"
	"github.com/financecommander/tollgate/internal/testenv"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var testSecret = secret.New("a secret of at least thirty-two bytes, for tests")

// onBoth runs a test with each kind of database.
func onBoth(t *testing.T, test func(t *testing.T, db *database.DB)) {
	t.Helper()
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		test(t, openDatabase(t, testenv.Postgres(t)))
	})
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		test(t, newDatabase(t))
	})
}

func newDatabase(t *testing.T) *database.DB {
	t.Helper()
	return openDatabase(t, "sqlite:///"+filepath.Join(t.TempDir(), "test.db"))
}

func openDatabase(t *testing.T, url string) *database.DB {
	t.Helper()
	db, err := database.Open(url, database.Options{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	_, err = db.Migrate(t.Context())
	require.NoError(t, err)
	return db
}

func address(t *testing.T, text string) identity.Address {
	t.Helper()
	a, ok := identity.ParseAddress(text)
	require.True(t, ok)
	return a
}

// outbox is a [Mailer] that keeps what it should send.
type outbox struct {
	mu     sync.Mutex // guards what follows
	queue  []mail.Compose
	refuse error
}

func (o *outbox) Queue(compose mail.Compose) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.refuse == nil {
		o.queue = append(o.queue, compose)
	}
	return o.refuse
}

// next composes the oldest mail; nil when there is nothing to send.
func (o *outbox) next(t *testing.T) *mail.Message {
	t.Helper()
	o.mu.Lock()
	require.NotEmpty(t, o.queue)
	compose := o.queue[0]
	o.queue = o.queue[1:]
	o.mu.Unlock()
	message, err := compose(t.Context())
	require.NoError(t, err)
	return message
}

// letter is what a mail carries.
type letter struct{ Code, State string }

var link = regexp.MustCompile(`(?m)^https://ai\.example\.com/portal/\?code=([2-9A-HJ-NP-Z]{8})&state=(email:[A-Za-z0-9_-]+)$`)

func read(t *testing.T, m *mail.Message) letter {
	t.Helper()
	require.NotNil(t, m)
	found := link.FindStringSubmatch(m.Text)
	require.NotNil(t, found, m.Text)
	return letter{found[1], found[2]}
}

func newEmail(t *testing.T, store Store, edit func(*EmailOptions)) (*Email, *outbox) {
	t.Helper()
	box := &outbox{}
	o := EmailOptions{Store: store, Mailer: box, Secret: testSecret, Link: "https://ai.example.com/portal/"}
	if edit != nil {
		edit(&o)
	}
	e, err := NewEmail(o)
	require.NoError(t, err)
	return e, box
}

// sent has a code mailed to an address.
func sent(t *testing.T, e *Email, box *outbox, to string) letter {
	t.Helper()
	require.NoError(t, e.Send(address(t, to)))
	return read(t, box.next(t))
}

// requireFailed checks that an error is the one answer to all that is no proof.
func requireFailed(t *testing.T, err error, name string) {
	t.Helper()
	problem, ok := errors.AsType[*llm.Error](err)
	require.True(t, ok, "%s: %v", name, err)
	want, _ := errors.AsType[*llm.Error](Failed(nil))
	require.Equal(t, want.Message, problem.Message, name)
	require.Equal(t, 403, problem.Status(), name)
}

func requireStatus(t *testing.T, err error, status int, says, name string) {
	t.Helper()
	problem, ok := errors.AsType[*llm.Error](err)
	require.True(t, ok, "%s: %v", name, err)
	require.Equal(t, status, problem.Status(), "%s: %v", name, err)
	require.Contains(t, problem.Message, says, name)
}

// later is a store in which it is later.
type later struct {
	Store
	by time.Duration
}

func (s later) TryLoginCode(ctx context.Context, id string, most int, now time.Time) (*database.LoginCode, error) {
	return s.Store.TryLoginCode(ctx, id, most, now.Add(s.by))
}

func (s later) TryNewestLoginCode(ctx context.Context, hash string, most int, now time.Time) (*database.LoginCode, error) {
	return s.Store.TryNewestLoginCode(ctx, hash, most, now.Add(s.by))
}

func (s later) UseLoginCode(ctx context.Context, id string, now time.Time) error {
	return s.Store.UseLoginCode(ctx, id, now.Add(s.by))
}

// counted is a store that counts what is asked of it.
type counted struct {
	Store
	mu    sync.Mutex
	calls []string
}

func (s *counted) note(call string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls = append(s.calls, call)
}

func (s *counted) taken() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	calls := s.calls
	s.calls = nil
	return calls
}

func (s *counted) InsertLoginCode(ctx context.Context, c database.LoginCode) error {
	s.note("insert")
	return s.Store.InsertLoginCode(ctx, c)
}

func (s *counted) TryLoginCode(ctx context.Context, id string, most int, now time.Time) (*database.LoginCode, error) {
	s.note("try")
	return s.Store.TryLoginCode(ctx, id, most, now)
}

func (s *counted) TryNewestLoginCode(ctx context.Context, hash string, most int, now time.Time) (*database.LoginCode, error) {
	s.note("try newest")
	return s.Store.TryNewestLoginCode(ctx, hash, most, now)
}

func (s *counted) UseLoginCode(ctx context.Context, id string, now time.Time) error {
	s.note("use")
	return s.Store.UseLoginCode(ctx, id, now)
}

// broken is a store whose database is gone.
type broken struct{}

var errBroken = errors.New("dial postgres://user:hunter2@db")

func (broken) InsertLoginCode(context.Context, database.LoginCode) error { return errBroken }

func (broken) TryLoginCode(context.Context, string, int, time.Time) (*database.LoginCode, error) {
	return nil, errBroken
}

func (broken) TryNewestLoginCode(context.Context, string, int, time.Time) (*database.LoginCode, error) {
	return nil, errBroken
}

func (broken) UseLoginCode(context.Context, string, time.Time) error { return errBroken }

func (broken) DeleteExpiredLoginCodes(context.Context, time.Time, int) (int64, error) {
	return 0, errBroken
}
