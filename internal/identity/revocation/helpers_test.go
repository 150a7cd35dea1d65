package revocation

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/financecommander/tollgate/internal/database"
	"github.com/financecommander/tollgate/internal/identity"
	"github.com/financecommander/tollgate/internal/llm"
	"github.com/financecommander/tollgate/internal/redisdb"
	"github.com/financecommander/tollgate/internal/testenv"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// everywhere is how soon a revocation must be in force on every replica.
const everywhere = time.Second

var errAway = errors.New("connection refused")

// memoryStore is a store with a clock of its own that can be away.
type memoryStore struct {
	mu      sync.Mutex
	rows    map[key]row
	away    error
	reads   int
	deletes []int64
}

type row struct {
	entry   Entry
	changed time.Time
}

func newMemoryStore() *memoryStore { return &memoryStore{rows: make(map[key]row)} }

func (s *memoryStore) setAway(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.away = err
}

// put is a change that was dated earlier than it is seen.
func (s *memoryStore) put(e Entry, changed time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rows[e.key()] = row{e, changed}
}

func (s *memoryStore) has(e Entry) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.rows[e.key()]
	return ok
}

func (s *memoryStore) Write(_ context.Context, entries []Entry) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.away != nil {
		return s.away
	}
	for _, e := range entries {
		if old, ok := s.rows[e.key()]; ok {
			e = e.merge(old.entry)
		}
		s.rows[e.key()] = row{e, time.Now()}
	}
	return nil
}

func (s *memoryStore) Read(_ context.Context, changedAfter time.Time) (entries []Entry, latest time.Time, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.away != nil {
		return nil, time.Time{}, s.away
	}
	s.reads++
	for _, r := range s.rows {
		if r.changed.After(changedAfter) {
			entries = append(entries, r.entry)
		}
		if r.changed.After(latest) {
			latest = r.changed
		}
	}
	return entries, latest, nil
}

func (s *memoryStore) DeleteExpired(_ context.Context, then time.Time, limit int) (deleted int64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.away != nil {
		return 0, s.away
	}
	for k, r := range s.rows {
		if deleted < int64(limit) && !r.entry.ExpiresAt.After(then) {
			delete(s.rows, k)
			deleted++
		}
	}
	s.deletes = append(s.deletes, deleted)
	return deleted, nil
}

// switchable is a real store that can be cut off.
type switchable struct {
	Store
	memoryStore
}

func (s *switchable) Write(ctx context.Context, entries []Entry) error {
	if err := s.cut(); err != nil {
		return err
	}
	return s.Store.Write(ctx, entries)
}

func (s *switchable) Read(ctx context.Context, changedAfter time.Time) ([]Entry, time.Time, error) {
	if err := s.cut(); err != nil {
		return nil, time.Time{}, err
	}
	return s.Store.Read(ctx, changedAfter)
}

func (s *switchable) DeleteExpired(ctx context.Context, then time.Time, limit int) (int64, error) {
	if err := s.cut(); err != nil {
		return 0, err
	}
	return s.Store.DeleteExpired(ctx, then, limit)
}

func (s *switchable) cut() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.away
}

// lockedBuffer takes log lines of several goroutines.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) count(text string) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return strings.Count(b.buf.String(), text)
}

func logTo(b *lockedBuffer) *slog.Logger { return slog.New(slog.NewTextHandler(b, nil)) }

func openDatabase(t testing.TB, url string) *database.DB {
	t.Helper()
	db, err := database.Open(url, database.Options{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	return db
}

func postgres(t testing.TB) (url string, db *database.DB) {
	t.Helper()
	url = testenv.Postgres(t)
	db = openDatabase(t, url)
	_, err := db.Migrate(t.Context())
	require.NoError(t, err)
	return url, db
}

func openRedis(t testing.TB, url string) redis.UniversalClient {
	t.Helper()
	client, err := redisdb.Open(url)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, client.Close()) })
	return client
}

func started(t testing.TB, o Options) *Registry {
	t.Helper()
	r := New(o)
	r.Start(t.Context())
	t.Cleanup(r.Stop)
	return r
}

// subscribed waits until n replicas listen, so that a test that is about what is
// pushed does not begin before.
func subscribed(t testing.TB, client redis.UniversalClient, n int64) {
	t.Helper()
	require.Eventually(t, func() bool {
		counts, err := client.PubSubNumSub(t.Context(), channel).Result()
		return err == nil && counts[channel] == n
	}, 10*time.Second, 10*time.Millisecond)
}

func tokenEntry(id string) Entry {
	return Entry{Kind: Token, Value: id, ExpiresAt: time.Now().Add(time.Hour), Reason: "log-out"}
}

func holder(id string) *identity.Principal {
	return &identity.Principal{TokenID: id, Session: "s-" + id, UserHash: "u-" + id, IssuedAt: time.Now().Truncate(time.Second)}
}

// requireSoon waits until a token is refused by all, and tells how long that took
// since the revocation was made. A busy machine may be late at times.
func requireSoon(t testing.TB, since time.Time, id string, replicas ...*Registry) time.Duration {
	t.Helper()
	for i, r := range replicas {
		for !r.Revoked(holder(id)) {
			require.Less(t, time.Since(since), 5*everywhere, "replica %d still takes %s", i, id)
			time.Sleep(time.Millisecond)
		}
	}
	return time.Since(since)
}

func requireUnavailable(t testing.TB, err error) {
	t.Helper()
	judged, ok := errors.AsType[*llm.Error](err)
	require.True(t, ok, "got %v", err)
	require.Equal(t, llm.CauseUnavailable, judged.Cause)
	require.NotEmpty(t, judged.Message)
}
