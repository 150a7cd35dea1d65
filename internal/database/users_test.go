package database

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func loginSession(id, user string) LoginSession {
	return LoginSession{
		ID: id, UserHash: user, Provider: "email", Person: []byte{0, 1, 0xff}, Generation: 1,
		RotatedAt: day, CreatedAt: day, ExpiresAt: day.AddDate(0, 0, 30),
	}
}

func apiToken(id, user string) APIToken {
	return APIToken{ID: id, UserHash: user, Name: "n", Specialists: `["a"]`, Rate: "1/h", CreatedAt: day, ExpiresAt: day.Add(time.Hour)}
}

func onBothMigrated(t *testing.T, test func(t *testing.T, db *DB)) {
	t.Helper()
	onBoth(t, func(t *testing.T, db *DB) {
		_, err := db.Migrate(t.Context())
		require.NoError(t, err)
		test(t, db)
	})
}

func TestSessions(t *testing.T) {
	t.Parallel()
	onBothMigrated(t, func(t *testing.T, db *DB) {
		ctx := t.Context()
		want := loginSession("s", "alice")
		require.NoError(t, db.OpenSession(ctx, want))
		require.True(t, IsUnique(db.OpenSession(ctx, want)), "an id is given once")
		got, barred, err := db.Session(ctx, "s")
		require.NoError(t, err)
		require.False(t, barred)
		require.Equal(t, &want, got)
		_, _, err = db.Session(ctx, "t")
		require.ErrorIs(t, err, ErrNotFound)

		later := day.Add(time.Hour)
		for name, bad := range map[string]struct {
			id         string
			generation int64
			now        time.Time
		}{
			"unknown": {"t", 1, later}, "old": {"s", 0, later}, "to come": {"s", 2, later}, "expired": {"s", 1, want.ExpiresAt},
		} {
			rotated, err := db.RotateSession(ctx, bad.id, bad.generation, bad.now, bad.now)
			require.NoError(t, err)
			require.False(t, rotated, name)
		}
		rotated, err := db.RotateSession(ctx, "s", 1, later, later.AddDate(0, 0, 30))
		require.NoError(t, err)
		require.True(t, rotated)
		want.Generation, want.RotatedAt, want.ExpiresAt = 2, later, later.AddDate(0, 0, 30)
		got, _, err = db.Session(ctx, "s")
		require.NoError(t, err)
		require.Equal(t, &want, got)

		require.NoError(t, db.OpenSession(ctx, loginSession("old", "alice")))
		ids, err := db.ListSessionIDs(ctx, "alice", day)
		require.NoError(t, err)
		require.Equal(t, []string{"s"}, ids)

		require.NoError(t, db.RevokeSession(ctx, "s", "bob", later, "not bob's"))
		got, _, err = db.Session(ctx, "s")
		require.NoError(t, err)
		require.Nil(t, got.RevokedAt)
		require.NoError(t, db.RevokeSession(ctx, "s", "alice", later, "why"))
		require.NoError(t, db.RevokeSession(ctx, "s", "alice", later.Add(1), "again"))
		got, _, err = db.Session(ctx, "s")
		require.NoError(t, err)
		require.Equal(t, later, *got.RevokedAt)
		require.Equal(t, "why", got.RevokedReason)
		rotated, err = db.RotateSession(ctx, "s", 2, later, later)
		require.NoError(t, err)
		require.False(t, rotated, "a revoked one stays where it is")
	})
}

func TestOneOfManyRotates(t *testing.T) {
	t.Parallel()
	onBothMigrated(t, func(t *testing.T, db *DB) {
		require.NoError(t, db.OpenSession(t.Context(), loginSession("s", "alice")))
		var won atomic.Int64
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				rotated, err := db.RotateSession(t.Context(), "s", 1, day, day.Add(time.Hour))
				if err != nil {
					t.Errorf("rotate: %v", err)
				}
				if rotated {
					won.Add(1)
				}
			})
		}
		wg.Wait()
		require.EqualValues(t, 1, won.Load())
	})
}

func TestExpiredSessionsAreDeleted(t *testing.T) {
	t.Parallel()
	onBothMigrated(t, func(t *testing.T, db *DB) {
		for i := range 7 {
			require.NoError(t, db.OpenSession(t.Context(), loginSession(fmt.Sprint(i), "alice")))
		}
		for _, test := range []struct {
			now  time.Time
			want int64
		}{{day.AddDate(0, 0, 30).Add(-time.Second), 0}, {day.AddDate(0, 0, 30), 5}, {day.AddDate(0, 0, 30), 2}, {day.AddDate(1, 0, 0), 0}} {
			deleted, err := db.DeleteExpiredSessions(t.Context(), test.now, 5)
			require.NoError(t, err)
			require.Equal(t, test.want, deleted)
		}
	})
}

func TestUsers(t *testing.T) {
	t.Parallel()
	onBothMigrated(t, func(t *testing.T, db *DB) {
		ctx := t.Context()
		audit := AuditEntry{ActorHash: "boss", Action: "test"}
		require.NoError(t, db.OpenSession(ctx, loginSession("s", "alice")))
		require.NoError(t, db.OpenSession(ctx, loginSession("b", "bob")))
		again := loginSession("s2", "alice")
		again.Provider, again.CreatedAt = "google", day.Add(time.Hour)
		require.NoError(t, db.OpenSession(ctx, again))
		users, err := db.ListUsers(ctx, "", 1)
		require.NoError(t, err)
		require.Equal(t, []PortalUser{{UserHash: "alice", Provider: "google", CreatedAt: day, LastLoginAt: day.Add(time.Hour)}}, users)
		users, err = db.ListUsers(ctx, "alice", 9)
		require.NoError(t, err)
		require.Len(t, users, 1)

		require.NoError(t, db.InsertAPIToken(ctx, apiToken("t", "alice"), 9, 9))
		require.NoError(t, db.BlockUser(ctx, "alice", day.Add(time.Minute), audit))
		require.NoError(t, db.BlockUser(ctx, "alice", day.Add(time.Hour), audit))
		users, err = db.ListUsers(ctx, "", 1)
		require.NoError(t, err)
		require.Equal(t, day.Add(time.Minute), *users[0].BlockedAt, "since when is kept")
		blocked, err := db.ListBlockedUsers(ctx)
		require.NoError(t, err)
		require.Equal(t, []string{"alice"}, blocked)
		for id, barred := range map[string]bool{"s": true, "s2": true, "b": false} {
			s, got, err := db.Session(ctx, id)
			require.NoError(t, err)
			require.Equal(t, barred, got)
			require.Equal(t, barred, s.RevokedAt != nil)
		}
		token, err := db.APIToken(ctx, "t")
		require.NoError(t, err)
		require.Equal(t, day.Add(time.Minute), *token.RevokedAt)
		require.ErrorIs(t, db.OpenSession(ctx, loginSession("s3", "alice")), ErrBlocked)
		_, _, err = db.Session(ctx, "s3")
		require.ErrorIs(t, err, ErrNotFound, "nothing is left of a log-in that was refused")
		require.ErrorIs(t, db.InsertAPIToken(ctx, apiToken("t2", "alice"), 9, 9), ErrBlocked)

		require.ErrorIs(t, db.UnblockUser(ctx, "nobody", audit), ErrNotFound)
		require.NoError(t, db.UnblockUser(ctx, "alice", audit))
		require.NoError(t, db.OpenSession(ctx, loginSession("s4", "alice")))

		require.NoError(t, db.gorm.Exec("INSERT INTO login_codes (id, email_hash, code_hash, attempts, created_at, expires_at)"+
			" VALUES ('c', 'alice', 'x', 0, ?, ?)", day, day).Error)
		require.NoError(t, db.DeleteUser(ctx, "alice", audit))
		require.NoError(t, db.DeleteUser(ctx, "alice", audit), "deleting is done again when a part failed")
		require.Equal(t, []string{"1"}, column(t, db, "SELECT count(*) FROM portal_users"))
		require.Equal(t, []string{"1"}, column(t, db, "SELECT count(*) FROM login_sessions"))
		require.Equal(t, []string{"0"}, column(t, db, "SELECT count(*) FROM api_tokens"))
		require.Equal(t, []string{"0"}, column(t, db, "SELECT count(*) FROM login_codes"))
		entries, err := db.ListAudit(ctx, "", 99)
		require.NoError(t, err)
		require.Len(t, entries, 5, "two of blocking, one of unblocking, two of deleting")
	})
}

// A write and its audit entry are there together or not at all.
func TestNoChangeOfUsersWithoutAudit(t *testing.T) {
	t.Parallel()
	onBothMigrated(t, func(t *testing.T, db *DB) {
		ctx := t.Context()
		require.NoError(t, db.OpenSession(ctx, loginSession("s", "alice")))
		require.NoError(t, db.InsertAPIToken(ctx, apiToken("t", "alice"), 9, 9))
		require.NoError(t, db.gorm.Exec("DROP TABLE audit_log").Error)
		audit := AuditEntry{ActorHash: "boss", Action: "test"}
		require.Error(t, db.BlockUser(ctx, "alice", day, audit))
		require.Error(t, db.UnblockUser(ctx, "alice", audit))
		require.Error(t, db.DeleteUser(ctx, "alice", audit))
		require.Error(t, db.RevokeAPIToken(ctx, "t", day, &audit))
		s, barred, err := db.Session(ctx, "s")
		require.NoError(t, err)
		require.False(t, barred)
		require.Nil(t, s.RevokedAt)
		token, err := db.APIToken(ctx, "t")
		require.NoError(t, err)
		require.Nil(t, token.RevokedAt)
	})
}

func TestAPITokens(t *testing.T) {
	t.Parallel()
	onBothMigrated(t, func(t *testing.T, db *DB) {
		ctx := t.Context()
		want := apiToken("t", "alice")
		require.NoError(t, db.InsertAPIToken(ctx, want, 2, 3))
		got, err := db.APIToken(ctx, "t")
		require.NoError(t, err)
		require.Equal(t, &want, got)
		_, err = db.APIToken(ctx, "none")
		require.ErrorIs(t, err, ErrNotFound)

		newer := apiToken("newer", "alice")
		newer.CreatedAt = day.Add(time.Second)
		require.NoError(t, db.InsertAPIToken(ctx, newer, 2, 3))
		require.NoError(t, db.InsertAPIToken(ctx, apiToken("b", "bob"), 2, 3))
		list, err := db.ListAPITokens(ctx, "alice")
		require.NoError(t, err)
		require.Equal(t, []APIToken{newer, want}, list)

		require.ErrorIs(t, db.InsertAPIToken(ctx, apiToken("x", "alice"), 2, 3), ErrTooMany, "two are good")
		require.NoError(t, db.RevokeAPIToken(ctx, "t", day.Add(time.Minute), nil))
		require.NoError(t, db.InsertAPIToken(ctx, apiToken("x", "alice"), 2, 3))
		late := apiToken("y", "alice")
		late.CreatedAt = day.Add(2 * time.Hour)
		require.ErrorIs(t, db.InsertAPIToken(ctx, late, 2, 3), ErrTooMany, "none is good, but there are three rows")

		require.NoError(t, db.TouchAPITokens(ctx, []string{"x", "b", "none"}, day.Add(time.Minute)))
		require.NoError(t, db.TouchAPITokens(ctx, []string{"x"}, day))
		for id, used := range map[string]bool{"x": true, "b": true, "newer": false} {
			got, err := db.APIToken(ctx, id)
			require.NoError(t, err)
			require.Equal(t, used, got.LastUsedAt != nil, id)
			if used {
				require.Equal(t, day.Add(time.Minute), *got.LastUsedAt)
			}
		}

		deleted, err := db.DeleteOldAPITokens(ctx, day.Add(time.Minute), 9)
		require.NoError(t, err)
		require.EqualValues(t, 1, deleted, "the revoked one")
		deleted, err = db.DeleteOldAPITokens(ctx, day.Add(time.Hour), 2)
		require.NoError(t, err)
		require.EqualValues(t, 2, deleted)
		deleted, err = db.DeleteOldAPITokens(ctx, day.Add(time.Hour), 2)
		require.NoError(t, err)
		require.EqualValues(t, 1, deleted)
	})
}

// Blocking, deleting, signing in and making tokens at once end in an order, and
// never in a deadlock.
func TestUsersChangeInAnOrder(t *testing.T) {
	t.Parallel()
	onBothMigrated(t, func(t *testing.T, db *DB) {
		audit := AuditEntry{ActorHash: "boss", Action: "test"}
		var wg sync.WaitGroup
		for worker, work := range []func(ctx context.Context, id string) error{
			func(ctx context.Context, id string) error { return db.OpenSession(ctx, loginSession(id, "alice")) },
			func(ctx context.Context, id string) error {
				return db.InsertAPIToken(ctx, apiToken(id, "alice"), 99, 99)
			},
			func(ctx context.Context, _ string) error { return db.BlockUser(ctx, "alice", day, audit) },
			func(ctx context.Context, _ string) error { return db.UnblockUser(ctx, "alice", audit) },
			func(ctx context.Context, _ string) error { return db.DeleteUser(ctx, "alice", audit) },
		} {
			wg.Go(func() {
				for i := range 20 {
					err := work(t.Context(), strings.Repeat("x", worker+1)+fmt.Sprint(i))
					if err != nil && !errors.Is(err, ErrBlocked) && !errors.Is(err, ErrNotFound) {
						t.Errorf("worker %d: %v", worker, err)
					}
				}
			})
		}
		wg.Wait()
		require.NoError(t, db.BlockUser(t.Context(), "alice", day, audit))
		require.Equal(t, []string{"0"}, column(t, db, "SELECT count(*) FROM login_sessions WHERE revoked_at IS NULL"))
		require.Equal(t, []string{"0"}, column(t, db, "SELECT count(*) FROM api_tokens WHERE revoked_at IS NULL"))
	})
}
