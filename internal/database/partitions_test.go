package database

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/testenv"
)

func TestUsagePartitions(t *testing.T) {
	t.Parallel()
	db := migrated(t, testenv.Postgres(t))
	ctx := t.Context()
	now := time.Now().UTC()
	partitionOf := func(n int) string {
		return strings.Join(column(t, db, "SELECT tableoid::regclass FROM usage_logs WHERE id = ?", fmt.Sprintf("0193a5b0-0000-7000-8000-%012d", n)), " ")
	}
	insert := func(n int, at time.Time) {
		_, err := db.InsertUsage(ctx, array(usageRecord(n, at, "")))
		require.NoError(t, err)
	}

	firstOfMonth := time.Date(now.Year(), now.Month(), 1, 0, 0, 0, 0, time.UTC)
	insert(1, firstOfMonth)
	insert(2, firstOfMonth.AddDate(0, 3, 0).Add(-time.Microsecond))
	insert(3, firstOfMonth.AddDate(0, 3, 0)) // no month covers it yet
	require.Equal(t, firstOfMonth.Format("usage_logs_2006_01"), partitionOf(1))
	require.Equal(t, firstOfMonth.AddDate(0, 2, 0).Format("usage_logs_2006_01"), partitionOf(2))
	require.Equal(t, "usage_logs_default", partitionOf(3))

	// A month later, at the last day: months have different lengths.
	later := firstOfMonth.AddDate(0, 2, -1)
	require.NoError(t, db.EnsurePartitions(ctx, later))
	require.Equal(t, firstOfMonth.AddDate(0, 3, 0).Format("usage_logs_2006_01"), partitionOf(3))
	insert(3, firstOfMonth.AddDate(0, 3, 0)) // still the same record
	require.Equal(t, []string{"3"}, column(t, db, "SELECT count(*) FROM usage_logs"))
	require.NoError(t, db.EnsurePartitions(ctx, later))
}

func TestPartitionsWaitForNoForgottenSession(t *testing.T) {
	t.Parallel()
	url := testenv.Postgres(t)
	db := migrated(t, url)
	forgotten, err := pgx.Connect(t.Context(), url)
	require.NoError(t, err)
	defer forgotten.Close(context.WithoutCancel(t.Context()))
	_, err = forgotten.Exec(t.Context(), "BEGIN; SELECT * FROM usage_logs_default")
	require.NoError(t, err)

	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond) // shorter than its own lock_timeout
	defer cancel()
	next := time.Now().AddDate(0, 1, 0)
	require.Error(t, db.EnsurePartitions(ctx, next))
	_, err = db.InsertUsage(t.Context(), array(usageRecord(1, next.AddDate(1, 0, 0), "")))
	require.NoError(t, err, "rows go on landing in the default partition")

	_, err = forgotten.Exec(t.Context(), "ROLLBACK")
	require.NoError(t, err)
	require.NoError(t, db.EnsurePartitions(t.Context(), next))
}

func TestEnsurePartitionsInReplicas(t *testing.T) {
	t.Parallel()
	db := migrated(t, testenv.Postgres(t))
	later := time.Now().AddDate(1, 0, 0)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if err := db.EnsurePartitions(t.Context(), later); err != nil {
				t.Errorf("ensure partitions: %v", err)
			}
		})
	}
	wg.Wait()
}
