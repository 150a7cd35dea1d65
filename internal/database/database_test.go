package database

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/financecommander/tollgate/internal/testenv"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// onBoth runs a test on a fresh database of each kind, not yet migrated.
func onBoth(t *testing.T, test func(t *testing.T, db *DB)) {
	t.Helper()
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		test(t, open(t, testenv.Postgres(t)))
	})
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		test(t, open(t, "sqlite:///"+filepath.Join(t.TempDir(), "test.db")))
	})
}

func open(t testing.TB, url string) *DB {
	t.Helper()
	db, err := Open(url, Options{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	return db
}

func migrated(t testing.TB, url string) *DB {
	t.Helper()
	db := open(t, url)
	_, err := db.Migrate(t.Context())
	require.NoError(t, err)
	return db
}

// column reads one column of a query, as text.
func column(t testing.TB, db *DB, query string, args ...any) []string {
	t.Helper()
	var values []string
	require.NoError(t, db.gorm.Raw(query, args...).Scan(&values).Error)
	return values
}

func TestParseURL(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		url  string
		want target
		err  string
	}{
		{url: "postgresql://u:p@h:5432/d?sslmode=require", want: target{Postgres, "postgres://u:p@h:5432/d?sslmode=require"}},
		{url: "postgres://h/d", want: target{Postgres, "postgres://h/d"}},
		{url: "postgresql+asyncpg://u@h/d", want: target{Postgres, "postgres://u@h/d"}},
		{url: "postgresql+psycopg2://u@h/d", want: target{Postgres, "postgres://u@h/d"}},
		{url: "sqlite:///./app.db", want: target{SQLite, "./app.db"}},
		{url: "sqlite:///app.db", want: target{SQLite, "app.db"}},
		{url: "sqlite:////var/lib/app.db", want: target{SQLite, "/var/lib/app.db"}},
		{url: "sqlite+aiosqlite:///./app.db", want: target{SQLite, "./app.db"}},
		{url: "sqlite:////a%20b/c?.db", err: "no parameters"},
		{url: "sqlite:////a%20b/c%3F.db", want: target{SQLite, "/a b/c?.db"}},
		{url: "sqlite://", want: target{SQLite, memory}},
		{url: "sqlite:///:memory:", want: target{SQLite, memory}},
		{url: "sqlite://:memory:", want: target{SQLite, memory}},
		{url: "sqlite://app.db", err: "three slashes"},
		{url: "sqlite:////a%zz", err: "bad escape"},
		{url: "mysql://u:secret@h/d", err: `unknown scheme "mysql"`},
		{url: "u:secret@h/d", err: "want postgresql"},
		{url: "", err: "want postgresql"},
	} {
		t.Run(test.url, func(t *testing.T) {
			t.Parallel()
			got, err := parseURL(test.url)
			if test.err != "" {
				require.ErrorContains(t, err, test.err)
				require.NotContains(t, err.Error(), "secret")
				return
			}
			require.NoError(t, err)
			require.Equal(t, test.want, got)
		})
	}
}

func FuzzParseURL(f *testing.F) {
	f.Add("postgresql://u:p%zz@h/d")
	f.Add("sqlite:////x%2Fy")
	f.Add("postgres://%")
	f.Fuzz(func(t *testing.T, raw string) {
		target, err := parseURL(raw)
		if err == nil {
			_, pool, err := target.dialector()
			if err == nil {
				pool.Close()
			}
		}
	})
}

func TestErrorsHoldNoPassword(t *testing.T) {
	t.Parallel()
	for _, url := range []string{
		"postgresql://user:hunter2@127.0.0.1:1/db",            // nobody listens
		"postgresql://user:hunter2@127.0.0.1:99999/db",        // no such port
		"postgresql://user:hunter2%zz@127.0.0.1/db",           // bad escape
		"postgresql://user:hunter2#x@127.0.0.1/db",            // unescaped '#'
		"postgresql://user:hunter2@127.0.0.1/db?sslmode=what", // bad parameter
		"oracle://user:hunter2@h/db",
	} {
		db, err := Open(url, Options{})
		if err == nil {
			err = db.Ping(t.Context())
			require.NoError(t, db.Close())
		}
		require.Error(t, err, url)
		require.NotContains(t, err.Error(), "hunter2", url)
	}
}

func TestOpenDoesNotDial(t *testing.T) {
	t.Parallel()
	open(t, "postgresql://nobody@127.0.0.1:1/none")
	path := filepath.Join(t.TempDir(), "sub", "app.db")
	db := open(t, "sqlite:///"+path)
	require.NoFileExists(t, path)
	require.NoError(t, db.Ping(t.Context()))
	require.FileExists(t, path)
}

func TestSQLiteFilesArePrivate(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "made", "for it")
	db := migrated(t, "sqlite:///"+strings.ReplaceAll(filepath.Join(dir, "a?b.db"), "?", "%3F"))
	for name, mode := range map[string]fs.FileMode{".": 0o700, "..": 0o700, "a?b.db": 0o600, "a?b.db-wal": 0o600} {
		info, err := os.Stat(filepath.Join(dir, name))
		require.NoError(t, err)
		require.Equal(t, mode, info.Mode().Perm(), name)
	}
	require.Equal(t, []string{"wal"}, column(t, db, "PRAGMA journal_mode"))
	require.Equal(t, []string{"2"}, column(t, db, "PRAGMA synchronous")) // FULL
}

func TestSQLiteInMemory(t *testing.T) {
	t.Parallel()
	db := migrated(t, "sqlite://:memory:")
	require.Equal(t, []string{"0"}, column(t, db, "SELECT count(*) FROM usage_logs"))
}

func TestIsUnique(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, db *DB) {
		require.NoError(t, db.gorm.Exec("CREATE TABLE x (a int PRIMARY KEY, b int UNIQUE, c int CHECK (c > 0))").Error)
		require.NoError(t, db.gorm.Exec("INSERT INTO x VALUES (1, 1, 1)").Error)
		require.True(t, IsUnique(db.gorm.Exec("INSERT INTO x VALUES (1, 2, 1)").Error))
		require.True(t, IsUnique(db.gorm.Exec("INSERT INTO x VALUES (2, 1, 1)").Error))
		require.False(t, IsUnique(db.gorm.Exec("INSERT INTO x VALUES (2, 2, 0)").Error))
		require.False(t, IsUnique(nil))
	})
}

func TestSpecialists(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, db *DB) {
		ctx := t.Context()
		_, err := db.Migrate(ctx)
		require.NoError(t, err)
		empty, err := db.SpecialistsRevision(ctx)
		require.NoError(t, err)

		want := Specialist{
			ID: "a", Name: "A", Description: "d", Provider: "openai", Model: "gpt-4o", SystemPrompt: "p",
			Temperature: new(0.3), MaxTokens: 4096, Pinned: true, InputPer1M: new("0.1"), Fallbacks: "[]",
			Aliases: `["x"]`, PromptHistory: "[]", Version: 1, CreatedAt: day, UpdatedAt: day,
		}
		plain := Specialist{ID: "b", Name: "B", Fallbacks: "[]", Aliases: "[]", PromptHistory: "[]", Version: 1}
		seeded, err := db.SeedSpecialists(ctx, []Specialist{want, plain})
		require.NoError(t, err)
		require.True(t, seeded)

		all, err := db.ListSpecialists(ctx)
		require.NoError(t, err)
		require.Len(t, all, 2)
		all[0].CreatedAt, all[0].UpdatedAt = all[0].CreatedAt.UTC(), all[0].UpdatedAt.UTC()
		require.Equal(t, want, all[0])
		require.Nil(t, all[1].Temperature)
		require.Nil(t, all[1].InputPer1M)
		require.WithinDuration(t, time.Now(), all[1].CreatedAt, time.Minute)

		one, err := db.Specialist(ctx, "a")
		require.NoError(t, err)
		require.Equal(t, "gpt-4o", one.Model)
		_, err = db.Specialist(ctx, "none")
		require.ErrorIs(t, err, ErrNotFound)

		filled, err := db.SpecialistsRevision(ctx)
		require.NoError(t, err)
		require.NotEqual(t, empty, filled)
		require.NoError(t, db.gorm.Exec("DELETE FROM specialists").Error)
		seeded, err = db.SeedSpecialists(ctx, []Specialist{want})
		require.NoError(t, err)
		require.False(t, seeded, "what was deleted stays deleted")
	})
}
