package database_test

import (
	"path/filepath"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/database"
	"github.com/financecommander/tollgate/internal/testenv"
)

// A database that the portal's earlier backend used is refused with words that
// say what to do, and left as it is.
func TestForeignTables(t *testing.T) {
	url := testenv.Postgres(t)
	conn, err := pgx.Connect(t.Context(), url)
	require.NoError(t, err)
	defer conn.Close(t.Context())
	_, err = conn.Exec(t.Context(), "CREATE TABLE usage_logs (id serial PRIMARY KEY)")
	require.NoError(t, err)

	db, err := database.Open(url, database.Options{})
	require.NoError(t, err)
	defer db.Close()
	applied, err := db.Migrate(t.Context())
	require.ErrorIs(t, err, database.ErrForeignTable)
	require.ErrorContains(t, err, "ALTER TABLE usage_logs RENAME TO usage_logs_before_tollgate")
	require.Empty(t, applied)

	_, err = conn.Exec(t.Context(), "ALTER TABLE usage_logs RENAME TO usage_logs_before_tollgate")
	require.NoError(t, err)
	_, err = db.Migrate(t.Context())
	require.NoError(t, err)
	_, err = db.Migrate(t.Context())
	require.NoError(t, err, "its own tables are in nobody's way")
}

func TestOwnTablesInSQLite(t *testing.T) {
	db, err := database.Open("sqlite:///"+filepath.Join(t.TempDir(), "x.db"), database.Options{})
	require.NoError(t, err)
	defer db.Close()
	for range 2 {
		_, err = db.Migrate(t.Context())
		require.NoError(t, err)
	}
}
