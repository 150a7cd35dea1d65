package database

import (
	"bytes"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestResponseStates(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, db *DB) {
		ctx := t.Context()
		_, err := db.Migrate(ctx)
		require.NoError(t, err)

		want := ResponseState{
			ID: "resp_1", Owner: "o", CreatedAt: day, ExpiresAt: day.Add(time.Hour), Size: 5,
			Content: []byte("\x00\xff'); DROP TABLE response_states; --"),
		}
		require.NoError(t, db.InsertResponseState(ctx, want))
		require.True(t, IsUnique(db.InsertResponseState(ctx, want)), "an id is given once")

		got, err := db.ResponseState(ctx, "resp_1", "o", day)
		require.NoError(t, err)
		require.Equal(t, &want, got)

		for name, find := range map[string]struct {
			id, owner string
			now       time.Time
		}{
			"unknown": {"resp_2", "o", day}, "another's": {"resp_1", "p", day}, "nobody's": {"resp_1", "", day},
			"expired": {"resp_1", "o", want.ExpiresAt}, "long expired": {"resp_1", "o", day.AddDate(1, 0, 0)},
		} {
			_, err := db.ResponseState(ctx, find.id, find.owner, find.now)
			require.ErrorIs(t, err, ErrNotFound, name)
			require.ErrorIs(t, db.DeleteResponseState(ctx, find.id, find.owner, find.now), ErrNotFound, name)
		}
		require.NoError(t, db.DeleteResponseState(ctx, "resp_1", "o", day))
		require.ErrorIs(t, db.DeleteResponseState(ctx, "resp_1", "o", day), ErrNotFound)
	})
}

// Times of SQLite are texts; they must compare as times do, whatever their zone
// and fraction.
func TestResponseStatesExpireInOrder(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, db *DB) {
		ctx := t.Context()
		_, err := db.Migrate(ctx)
		require.NoError(t, err)
		zone := time.FixedZone("", -7*3600)
		after := []time.Duration{0, 1, 999, 1000, 1500, 10_000, 100_000_000, 120_000_000, 999_999_000, 1_000_000_000}
		for i, d := range after {
			require.NoError(t, db.InsertResponseState(ctx, ResponseState{
				ID: fmt.Sprint(i), Owner: "o", CreatedAt: day, ExpiresAt: day.Add(d).In(zone), Content: []byte{},
			}))
		}
		for i, expires := range after {
			for _, now := range after {
				_, err := db.ResponseState(ctx, fmt.Sprint(i), "o", day.Add(now))
				if expires.Truncate(time.Microsecond) > now.Truncate(time.Microsecond) {
					require.NoError(t, err, "%v at %v", expires, now)
				} else {
					require.ErrorIs(t, err, ErrNotFound, "%v at %v", expires, now)
				}
			}
		}
		for _, test := range []struct {
			now  time.Duration
			want int64
		}{{-1000, 0}, {100_000_000, 3}, {100_000_000, 3}, {100_000_000, 1}, {100_000_000, 0}, {time.Hour, 3}, {time.Hour, 0}} {
			deleted, err := db.DeleteExpiredResponseStates(ctx, day.Add(test.now), 3)
			require.NoError(t, err)
			require.Equal(t, test.want, deleted)
		}
	})
}

func TestLargeResponseState(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, db *DB) {
		ctx := t.Context()
		_, err := db.Migrate(ctx)
		require.NoError(t, err)
		content := bytes.Repeat([]byte{0, 1, 0xff, '\''}, 33<<18)
		require.NoError(t, db.InsertResponseState(ctx, ResponseState{ID: "x", Owner: "o", CreatedAt: day, ExpiresAt: day.AddDate(0, 0, 30), Content: content}))
		got, err := db.ResponseState(ctx, "x", "o", day)
		require.NoError(t, err)
		require.True(t, bytes.Equal(content, got.Content))
	})
}

func TestReplicasDeleteExpiredResponseStates(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, db *DB) {
		ctx := t.Context()
		_, err := db.Migrate(ctx)
		require.NoError(t, err)
		for i := range 100 {
			require.NoError(t, db.InsertResponseState(ctx, ResponseState{
				ID: strings.Repeat("x", i+1), Owner: "o", CreatedAt: day, ExpiresAt: day, Content: []byte{1},
			}))
		}
		var (
			wg    sync.WaitGroup
			total atomic.Int64
		)
		for range 4 {
			wg.Go(func() {
				for range 100 {
					deleted, err := db.DeleteExpiredResponseStates(ctx, day, 7)
					if err != nil {
						t.Errorf("delete: %v", err)
					}
					total.Add(deleted)
					if deleted == 0 {
						return
					}
				}
			})
		}
		wg.Wait()
		// Who found all that was left locked by others has ended early.
		rest, err := db.DeleteExpiredResponseStates(ctx, day, 100)
		require.NoError(t, err)
		require.EqualValues(t, 100, total.Load()+rest)
	})
}
