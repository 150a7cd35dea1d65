package database

import (
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestRevocations(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, db *DB) {
		ctx := t.Context()
		_, err := db.Migrate(ctx)
		require.NoError(t, err)
		forever := time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC)
		odd := "x'); DROP TABLE revocations; --"
		require.NoError(t, db.UpsertRevocations(ctx, nil))
		require.NoError(t, db.UpsertRevocations(ctx, []Revocation{
			{Kind: "token", Value: odd, IssuedBefore: forever, ExpiresAt: day, Reason: "log-out"},
			{Kind: "user", Value: odd, IssuedBefore: day, ExpiresAt: day.Add(time.Hour), Reason: "block"},
		}))
		first := listed(t, db, time.Time{})
		require.Len(t, first, 2)
		require.WithinDuration(t, time.Now(), first["token"].ChangedAt, time.Minute, "the clocks of test and server are one")
		require.Equal(t, Revocation{
			Kind: "token", Value: odd, IssuedBefore: forever, ExpiresAt: day, Reason: "log-out",
			ChangedAt: first["token"].ChangedAt,
		}, first["token"])

		// The later of each time stays, whatever the order.
		require.NoError(t, db.UpsertRevocations(ctx, []Revocation{
			{Kind: "token", Value: odd, IssuedBefore: day, ExpiresAt: day.Add(time.Minute), Reason: "again"},
			{Kind: "user", Value: odd, IssuedBefore: day.Add(500 * time.Millisecond), ExpiresAt: day.Add(time.Minute), Reason: "again"},
		}))
		second := listed(t, db, time.Time{})
		require.Equal(t, forever, second["token"].IssuedBefore)
		require.Equal(t, day.Add(time.Minute), second["token"].ExpiresAt)
		require.Equal(t, day.Add(500*time.Millisecond), second["user"].IssuedBefore)
		require.Equal(t, day.Add(time.Hour), second["user"].ExpiresAt)
		require.Equal(t, "again", second["user"].Reason)
		require.True(t, second["user"].ChangedAt.After(first["user"].ChangedAt))

		require.Empty(t, listed(t, db, second["user"].ChangedAt))
		require.Len(t, listed(t, db, first["user"].ChangedAt), 2)
	})
}

func listed(t *testing.T, db *DB, after time.Time) map[string]Revocation {
	t.Helper()
	rows, err := db.ListRevocations(t.Context(), after)
	require.NoError(t, err)
	byKind := make(map[string]Revocation)
	for _, row := range rows {
		byKind[row.Kind] = row
	}
	require.Len(t, byKind, len(rows))
	return byKind
}

// The time of a change is written by SQL; it must compare with one that Go gives,
// whatever its fraction.
func TestRevocationsChangesCompareAsTimes(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, db *DB) {
		_, err := db.Migrate(t.Context())
		require.NoError(t, err)
		for i := range 50 {
			require.NoError(t, db.UpsertRevocations(t.Context(), []Revocation{{Kind: "token", Value: strconv.Itoa(i), IssuedBefore: day, ExpiresAt: day}}))
		}
		all, err := db.ListRevocations(t.Context(), time.Time{})
		require.NoError(t, err)
		require.Len(t, all, 50)
		for _, row := range all {
			later, err := db.ListRevocations(t.Context(), row.ChangedAt)
			require.NoError(t, err)
			want := 0
			for _, other := range all {
				if other.ChangedAt.After(row.ChangedAt) {
					want++
				}
			}
			require.Len(t, later, want)
		}
	})
}

func TestRevocationsUnderLoad(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, db *DB) {
		_, err := db.Migrate(t.Context())
		require.NoError(t, err)
		var writers sync.WaitGroup
		for w := range 8 {
			writers.Go(func() {
				for i := range 10 {
					at := day.Add(time.Duration(w*10+i) * time.Second)
					if err := db.UpsertRevocations(t.Context(), []Revocation{
						{Kind: "session", Value: "a", IssuedBefore: at, ExpiresAt: at},
						{Kind: "user", Value: "b", IssuedBefore: at, ExpiresAt: at},
					}); err != nil {
						t.Error(err)
					}
				}
			})
		}
		writers.Wait()
		rows := listed(t, db, time.Time{})
		require.Equal(t, day.Add(79*time.Second), rows["session"].IssuedBefore)
		require.Equal(t, day.Add(79*time.Second), rows["user"].ExpiresAt)
	})
}

func TestExpiredRevocationsAreDeleted(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, db *DB) {
		_, err := db.Migrate(t.Context())
		require.NoError(t, err)
		for i := range 5 {
			require.NoError(t, db.UpsertRevocations(t.Context(), []Revocation{
				{Kind: "token", Value: strconv.Itoa(i), IssuedBefore: day, ExpiresAt: day.Add(time.Duration(i) * time.Minute)},
			}))
		}
		deleted, err := db.DeleteExpiredRevocations(t.Context(), day.Add(3*time.Minute), 3)
		require.NoError(t, err)
		require.EqualValues(t, 3, deleted)
		deleted, err = db.DeleteExpiredRevocations(t.Context(), day.Add(3*time.Minute), 3)
		require.NoError(t, err)
		require.EqualValues(t, 1, deleted)
		require.Equal(t, []string{"4"}, column(t, db, "SELECT value FROM revocations"))
	})
}
