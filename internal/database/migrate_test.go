package database

import (
	"context"
	"io/fs"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/testenv"
)

func TestMigrate(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, db *DB) {
		all := migrationNames(t)
		pending, err := db.Pending(t.Context())
		require.NoError(t, err)
		require.Equal(t, all, pending)

		applied, err := db.Migrate(t.Context())
		require.NoError(t, err)
		var names []string
		for _, a := range applied {
			names = append(names, a.Name)
			require.Positive(t, a.Duration)
		}
		require.Equal(t, all, names)

		pending, err = db.Pending(t.Context())
		require.NoError(t, err)
		require.Empty(t, pending)
		applied, err = db.Migrate(t.Context())
		require.NoError(t, err)
		require.Empty(t, applied)
	})
}

func TestMigrationsCanBeUndone(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, db *DB) {
		_, err := db.Migrate(t.Context())
		require.NoError(t, err)
		provider, err := db.migrator()
		require.NoError(t, err)
		_, err = provider.DownTo(t.Context(), 0)
		require.NoError(t, err)
		_, err = db.Migrate(t.Context())
		require.NoError(t, err)
	})
}

// Every migration must bound its waits for locks: one that waits for a forgotten
// session stops all traffic on the table behind it.
func TestPostgresMigrationsBoundTheirWaits(t *testing.T) {
	t.Parallel()
	files, err := fs.Glob(migrations, "migrations/postgres/*.sql")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		text, err := migrations.ReadFile(file)
		require.NoError(t, err)
		for _, section := range strings.Split(string(text), "-- +goose ")[1:] {
			require.Contains(t, section, "SET LOCAL lock_timeout = ", file)
			require.Contains(t, section, "SET LOCAL statement_timeout = ", file)
		}
		require.NotContains(t, string(text), "NO TRANSACTION", file)
	}
	sqlite, err := fs.Glob(migrations, "migrations/sqlite/*.sql")
	require.NoError(t, err)
	require.Len(t, sqlite, len(files), "both dialects have the same migrations")
}

func TestReplicasMigrateOnce(t *testing.T) {
	t.Parallel()
	url := testenv.Postgres(t)
	var (
		wg    sync.WaitGroup
		mu    sync.Mutex
		total int
	)
	for range 4 {
		db := open(t, url)
		wg.Go(func() {
			applied, err := db.Migrate(t.Context())
			mu.Lock()
			defer mu.Unlock()
			total += len(applied)
			if err != nil {
				t.Errorf("migrate: %v", err)
			}
		})
	}
	wg.Wait()
	require.Equal(t, len(migrationNames(t)), total)
}

func migrationNames(t *testing.T) (names []string) {
	t.Helper()
	files, err := migrations.ReadDir("migrations/postgres")
	require.NoError(t, err)
	for _, file := range files {
		names = append(names, file.Name())
	}
	return names
}

func TestMigrateGivesUpWhenAnotherHoldsTheLock(t *testing.T) {
	t.Parallel()
	db := open(t, testenv.Postgres(t))
	held := &migrationLock{}
	require.NoError(t, held.Lock(t.Context(), db.pool))
	var err error
	for _, patience := range []time.Duration{time.Second, 20 * time.Second} { // a busy machine may not come to the lock in the first
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		_, err = db.Migrate(ctx)
		cancel()
		require.Error(t, err)
		if strings.Contains(err.Error(), "another process") {
			break
		}
	}
	require.ErrorContains(t, err, "another process is migrating")
	require.NoError(t, held.Unlock(t.Context(), db.pool))
	_, err = db.Migrate(t.Context())
	require.NoError(t, err)
	require.Zero(t, db.pool.Stats().InUse)
}
