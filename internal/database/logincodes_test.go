package database

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// code is one that was mailed on the test's day, good for ten minutes.
func code(id, emailHash string, age time.Duration) LoginCode {
	return LoginCode{
		ID: id, EmailHash: emailHash, CodeHash: []byte{0, 0xff, '\''},
		CreatedAt: day.Add(-age), ExpiresAt: day.Add(10*time.Minute - age),
	}
}

func TestLoginCodes(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, db *DB) {
		ctx := t.Context()
		_, err := db.Migrate(ctx)
		require.NoError(t, err)
		want := code("one", "alice", 0)
		require.NoError(t, db.InsertLoginCode(ctx, want))
		require.True(t, IsUnique(db.InsertLoginCode(ctx, want)), "an id is given once")

		got, err := db.TryLoginCode(ctx, "one", 5, day)
		require.NoError(t, err)
		want.Attempts = 1
		require.Equal(t, &want, got)
		_, err = db.TryLoginCode(ctx, "one", 1, day)
		require.ErrorIs(t, err, ErrNotFound, "tried too often")
		_, err = db.TryLoginCode(ctx, "two", 5, day)
		require.ErrorIs(t, err, ErrNotFound, "unknown")
		_, err = db.TryLoginCode(ctx, "one", 5, want.ExpiresAt)
		require.ErrorIs(t, err, ErrNotFound, "expired")
		require.ErrorIs(t, db.UseLoginCode(ctx, "one", want.ExpiresAt), ErrNotFound, "expired")
		require.ErrorIs(t, db.UseLoginCode(ctx, "two", day), ErrNotFound, "unknown")

		require.NoError(t, db.UseLoginCode(ctx, "one", day))
		require.ErrorIs(t, db.UseLoginCode(ctx, "one", day), ErrNotFound, "used")
		_, err = db.TryLoginCode(ctx, "one", 5, day)
		require.ErrorIs(t, err, ErrNotFound, "used")
	})
}

func TestNewestLoginCode(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, db *DB) {
		ctx := t.Context()
		_, err := db.Migrate(ctx)
		require.NoError(t, err)
		for _, c := range []LoginCode{
			code("old", "alice", 2*time.Minute), code("new", "alice", time.Minute), code("expired", "alice", time.Hour),
			code("other", "bob", 0),
		} {
			require.NoError(t, db.InsertLoginCode(ctx, c))
		}
		newest := func(hash string, now time.Time) string {
			c, err := db.TryNewestLoginCode(ctx, hash, 2, now)
			if errors.Is(err, ErrNotFound) {
				return ""
			}
			require.NoError(t, err)
			return c.ID
		}
		require.Equal(t, "new", newest("alice", day))
		require.Equal(t, "new", newest("alice", day))
		require.Empty(t, newest("alice", day), "tried too often; the older one does not take its place")
		require.NoError(t, db.UseLoginCode(ctx, "new", day))
		require.Equal(t, "old", newest("alice", day), "the newest that is live")
		require.Equal(t, "other", newest("bob", day))
		require.Empty(t, newest("", day))
		require.Empty(t, newest("alice", day.Add(time.Hour)))
	})
}

// Many who try at once get no more attempts than one after the other, and one of
// them the code.
func TestLoginCodesAreTriedAndUsedInParallel(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, db *DB) {
		ctx := t.Context()
		_, err := db.Migrate(ctx)
		require.NoError(t, err)
		require.NoError(t, db.InsertLoginCode(ctx, code("old", "alice", time.Minute)))
		require.NoError(t, db.InsertLoginCode(ctx, code("new", "alice", 0)))
		var (
			wg                  sync.WaitGroup
			byID, typed, winner atomic.Int64
		)
		count := func(counter *atomic.Int64, err error) {
			if err == nil {
				counter.Add(1)
			} else if !errors.Is(err, ErrNotFound) {
				t.Errorf("unexpected: %v", err)
			}
		}
		for range 40 {
			wg.Go(func() { _, err := db.TryLoginCode(ctx, "old", 7, day); count(&byID, err) })
			wg.Go(func() { _, err := db.TryNewestLoginCode(ctx, "alice", 5, day); count(&typed, err) })
		}
		wg.Wait()
		require.EqualValues(t, 7, byID.Load())
		require.EqualValues(t, 5, typed.Load())
		for range 40 {
			wg.Go(func() { count(&winner, db.UseLoginCode(ctx, "new", day)) })
		}
		wg.Wait()
		require.EqualValues(t, 1, winner.Load())
	})
}

func TestExpiredLoginCodesAreDeleted(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, db *DB) {
		ctx := t.Context()
		_, err := db.Migrate(ctx)
		require.NoError(t, err)
		for i := range 5 {
			require.NoError(t, db.InsertLoginCode(ctx, code(fmt.Sprint(i), "", time.Duration(i)*time.Minute)))
		}
		require.NoError(t, db.UseLoginCode(ctx, "4", day))
		now := day.Add(8 * time.Minute) // 2, 3 and 4 have expired
		for _, want := range []int64{2, 1, 0} {
			deleted, err := db.DeleteExpiredLoginCodes(ctx, now, 2)
			require.NoError(t, err)
			require.Equal(t, want, deleted)
		}
		require.Equal(t, []string{"0", "1"}, column(t, db, "SELECT id FROM login_codes ORDER BY id"))
	})
}
