package responsestate

import (
	"bytes"
	"context"
	"log/slog"
	"math/rand"
	"path/filepath"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/financecommander/tollgate/internal/database"
	"github.com/financecommander/tollgate/internal/secret"
	"github.com/financecommander/tollgate/internal/testenv"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// onBoth runs a test on a fresh database of each kind.
func onBoth(t *testing.T, test func(t *testing.T, db *database.DB)) {
	t.Helper()
	for name, url := range map[string]func(t *testing.T) string{
		"postgres": func(t *testing.T) string { t.Helper(); return testenv.Postgres(t) },
		"sqlite":   func(t *testing.T) string { t.Helper(); return "sqlite:///" + filepath.Join(t.TempDir(), "test.db") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, migrated(t, url(t)))
		})
	}
}

func migrated(t *testing.T, url string) *database.DB {
	t.Helper()
	db, err := database.Open(url, database.Options{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	_, err = db.Migrate(t.Context())
	require.NoError(t, err)
	return db
}

func newTestStore(t *testing.T, key string, table table) *Store {
	t.Helper()
	s, err := newStore(secret.New(key), table, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	return s
}

// example is an entry as it comes back, that is, in UTC and microseconds.
func example() Entry {
	now := time.Now().UTC().Truncate(time.Microsecond)
	return Entry{
		ID: "resp_1", Owner: "alice", Model: "gpt-5", CreatedAt: now, ExpiresAt: now.Add(Lifetime),
		Input:    []byte(`[{"role":"user","content":"a very private question"}]`),
		Output:   []byte(`[{"type":"message"}]`),
		Response: []byte(`{"id":"resp_1"}`),
	}
}

func TestStore(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, db *database.DB) {
		ctx := t.Context()
		s := newTestStore(t, "key", db)
		want := example()
		given := want
		given.ExpiresAt = time.Time{}
		require.NoError(t, s.Save(ctx, given))
		require.True(t, database.IsUnique(s.Save(ctx, given)), "an id is given once")

		got, err := s.Load(ctx, want.ID, want.Owner)
		require.NoError(t, err)
		require.Equal(t, &want, got)

		for name, find := range map[string][2]string{"unknown": {"resp_2", "alice"}, "another's": {"resp_1", "bob"}, "nobody's": {"resp_1", ""}} {
			_, err := s.Load(ctx, find[0], find[1])
			require.Equal(t, ErrNotFound, err, name)
			require.Equal(t, ErrNotFound, s.Delete(ctx, find[0], find[1]), name)
		}
		_, err = newTestStore(t, "another key", db).Load(ctx, want.ID, want.Owner)
		require.Equal(t, ErrNotFound, err, "what does not open is not there")

		require.NoError(t, s.Delete(ctx, want.ID, want.Owner))
		_, err = s.Load(ctx, want.ID, want.Owner)
		require.Equal(t, ErrNotFound, err)
	})
}

func TestExpiredEntries(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, db *database.DB) {
		ctx := t.Context()
		s := newTestStore(t, "key", db)
		for i := range 2*sweepBatch + 10 {
			e := example()
			e.ID += string(rune('a' + i))
			e.ExpiresAt = e.CreatedAt
			require.NoError(t, s.Save(ctx, e))
			if i == 0 {
				_, err := s.Load(ctx, e.ID, e.Owner)
				require.Equal(t, ErrNotFound, err)
				require.Equal(t, ErrNotFound, s.Delete(ctx, e.ID, e.Owner))
			}
		}
		kept := example()
		require.NoError(t, s.Save(ctx, kept))
		s.Sweep(ctx)
		left, err := db.DeleteExpiredResponseStates(ctx, time.Now(), 1)
		require.NoError(t, err)
		require.Zero(t, left, "all batches were swept")
		_, err = s.Load(ctx, kept.ID, kept.Owner)
		require.NoError(t, err)
	})
}

func TestEntriesAreBounded(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, db *database.DB) {
		ctx := t.Context()
		s := newTestStore(t, "key", db)
		e := example()
		e.Input = make([]byte, MaxEntry)
		err := s.Save(ctx, e)
		require.ErrorIs(t, err, ErrTooLarge)
		require.ErrorContains(t, err, "the most is 33554432")

		// The worst there is: as large as allowed, and without any regularity.
		source := rand.New(rand.NewSource(1))
		e.Input = e.Input[:MaxEntry-100]
		_, _ = source.Read(e.Input)
		require.NoError(t, s.Save(ctx, e))
		got, err := s.Load(ctx, e.ID, e.Owner)
		require.NoError(t, err)
		require.True(t, bytes.Equal(e.Input, got.Input))
	})
}

// Who reads the database learns nothing of what was said, and cannot put one
// conversation in the place of another.
func TestContentIsSealedToItsRow(t *testing.T) {
	t.Parallel()
	url := testenv.Postgres(t)
	ctx := t.Context()
	s := newTestStore(t, "key", migrated(t, url))
	first, second := example(), example()
	second.ID = "resp_2"
	third := example()
	third.ID, third.Owner = "resp_3", "bob"
	for _, e := range []Entry{first, second, third} {
		require.NoError(t, s.Save(ctx, e))
	}
	conn, err := pgx.Connect(ctx, url)
	require.NoError(t, err)
	defer conn.Close(context.Background())

	var row string
	require.NoError(t, conn.QueryRow(ctx, "SELECT encode(content, 'escape') || r::text FROM response_states r WHERE id = 'resp_1'").Scan(&row))
	for _, text := range []string{"private", "gpt-5", "message", "role"} {
		require.NotContains(t, row, text)
	}
	_, err = conn.Exec(ctx, "UPDATE response_states SET content = (SELECT content FROM response_states WHERE id = 'resp_1')")
	require.NoError(t, err)
	_, err = s.Load(ctx, "resp_1", "alice")
	require.NoError(t, err)
	_, err = s.Load(ctx, "resp_2", "alice")
	require.Equal(t, ErrNotFound, err)
	_, err = s.Load(ctx, "resp_3", "bob")
	require.Equal(t, ErrNotFound, err)
}

func TestAnOutageIsNotNotFound(t *testing.T) {
	t.Parallel()
	url := "sqlite:///" + filepath.Join(t.TempDir(), "empty.db")
	db, err := database.Open(url, database.Options{})
	require.NoError(t, err)
	defer db.Close()
	s := newTestStore(t, "key", db)
	_, err = s.Load(t.Context(), "a", "b")
	require.Error(t, err)
	require.NotErrorIs(t, err, ErrNotFound)
	err = s.Delete(t.Context(), "a", "b")
	require.Error(t, err)
	require.NotErrorIs(t, err, ErrNotFound)
	require.Error(t, s.Save(t.Context(), example()))
}

func TestNewWantsASecret(t *testing.T) {
	t.Parallel()
	_, err := New(secret.Secret{}, nil, slog.New(slog.DiscardHandler))
	require.Error(t, err)
}

func TestUnpackIsStrict(t *testing.T) {
	t.Parallel()
	whole := example()
	packed := whole.pack()
	for i := range packed {
		require.False(t, new(Entry).unpack(packed[:i]), "cut to %d", i)
	}
	require.False(t, new(Entry).unpack(append(packed, 0)))
	require.False(t, new(Entry).unpack([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01}), "a length beyond all memory")
	require.True(t, new(Entry).unpack(packed))
}
