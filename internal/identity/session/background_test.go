package session

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/hex"
	"fmt"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/database"
	"github.com/financecommander/tollgate/internal/identity"
	"github.com/financecommander/tollgate/internal/testenv"
)

func TestSweep(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, r *replica) {
		ctx := t.Context()
		pair := r.open("alice@example.com")
		p := r.principal(pair.AccessToken)
		short, _ := r.minted(p, TokenRequest{Name: "short"})
		long, _ := r.minted(p, TokenRequest{Name: "long", Lifetime: 365 * 24 * time.Hour})
		revoked, _ := r.minted(p, TokenRequest{Name: "revoked", Lifetime: 365 * 24 * time.Hour})
		require.NoError(t, r.RevokeToken(ctx, revoked.ID, p.UserHash, nil))
		id := r.session(pair.RefreshToken).ID
		names := func() (names []string) {
			tokens, err := r.Tokens(ctx, p.UserHash)
			require.NoError(t, err)
			for _, token := range tokens {
				names = append(names, token.Name)
			}
			return names
		}

		r.clock.advance(30*24*time.Hour - time.Minute)
		r.janitor.Sweep(ctx)
		_, _, err := r.db.Session(ctx, id)
		require.NoError(t, err)
		require.ElementsMatch(t, []string{short.Name, long.Name, revoked.Name}, names())

		r.clock.advance(2 * time.Hour)
		r.janitor.Sweep(ctx)
		_, _, err = r.db.Session(ctx, id)
		require.ErrorIs(t, err, database.ErrNotFound)
		require.Equal(t, []string{"long"}, names())
	})
}

// countingStore counts what the background asks for.
type countingStore struct {
	Store
	looks, sweeps, touches, rows atomic.Int64
}

func (s *countingStore) ListBlockedUsers(context.Context) ([]string, error) {
	s.looks.Add(1)
	return []string{"blocked"}, nil
}

func (s *countingStore) DeleteExpiredSessions(_ context.Context, _ time.Time, limit int) (int64, error) {
	s.sweeps.Add(1)
	n := min(s.rows.Load(), int64(limit))
	s.rows.Add(-n)
	return n, nil
}

func (s *countingStore) DeleteOldAPITokens(context.Context, time.Time, int) (int64, error) {
	return 0, nil
}

func (s *countingStore) TouchAPITokens(context.Context, []string, time.Time) error {
	s.touches.Add(1)
	return nil
}

func TestBackground(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := new(countingStore)
		store.rows.Store(3*sweepBatch + 1)
		m := newKeys(t, "key")
		m.o.Store = store
		m.Stop() // without a start
		m.Start(t.Context())
		m.Start(t.Context())
		synctest.Wait()
		require.EqualValues(t, 1, store.looks.Load())
		require.True(t, m.Revoked(&identity.Principal{UserHash: "blocked"}))
		require.False(t, m.Revoked(&identity.Principal{UserHash: "other"}))

		p := &identity.Principal{Kind: identity.KindAPI, TokenID: "t"}
		for range 60 {
			m.Used(p)
			time.Sleep(time.Second)
		}
		synctest.Wait()
		require.EqualValues(t, 1+time.Minute/lookInterval, store.looks.Load())
		require.InDelta(t, 6, store.touches.Load(), 1)
		require.Zero(t, store.sweeps.Load())
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		require.EqualValues(t, 4, store.sweeps.Load(), "in batches, until none is left")
		require.Zero(t, store.rows.Load())

		touches := store.touches.Load()
		m.Used(p)
		m.Stop()
		require.Equal(t, touches+1, store.touches.Load(), "what is noted is written at the end")
		m.Stop()
	})
}

// TestTablesHoldNoSecret looks for a person and for tokens in every column of
// every table, after everything has been done that there is to do.
func TestTablesHoldNoSecret(t *testing.T) {
	t.Parallel()
	dumps := map[string]func(t *testing.T) (url string, dump func() []byte){
		"postgres": func(t *testing.T) (string, func() []byte) {
			t.Helper()
			url := testenv.Postgres(t)
			return url, func() []byte { return dumpPostgres(t, url) }
		},
		"sqlite": func(t *testing.T) (string, func() []byte) {
			t.Helper()
			path := filepath.Join(t.TempDir(), "test.db")
			return "sqlite:///" + path, func() []byte { return dumpSQLite(t, path) }
		},
	}
	for name, open := range dumps {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx := t.Context()
			url, dump := open(t)
			r := newReplica(t, openDatabase(t, url), nil)
			who := person(t, "canary.person@secret-domain.example")
			who.Name, who.Avatar = "Canary Name", "https://secret-domain.example/canary.png"
			first, err := r.Open(ctx, who)
			require.NoError(t, err)
			second := r.refreshed(first)
			made, token := r.minted(r.principal(second.AccessToken), TokenRequest{Name: "a visible name"})
			r.Used(r.principal(token))
			r.flushUses(ctx)
			r.clock.advance(2 * time.Minute)
			_, err = r.Refresh(ctx, first.RefreshToken)
			require.Error(t, err)
			require.NoError(t, r.RevokeToken(ctx, made.ID, "", &boss))
			require.NoError(t, r.Block(ctx, made.UserHash, boss))

			all := dump()
			require.Contains(t, string(all), "a visible name", "the dump is whole")
			require.Contains(t, string(all), made.UserHash)
			require.Contains(t, string(all), "user.block")
			raw, err := encoding.DecodeString(second.RefreshToken[len(refreshPrefix):])
			require.NoError(t, err)
			for _, canary := range []string{
				"canary", "Canary", "secret-domain", first.RefreshToken, second.RefreshToken, first.AccessToken, token,
				token[len(token)-43:], string(raw[signedBytes:]), testSecret.Reveal(),
			} {
				require.False(t, bytes.Contains(all, []byte(canary)), "%.20q is in a table", canary)
				require.False(t, bytes.Contains(all, []byte(hex.EncodeToString([]byte(canary)))), "%.20q is in a table", canary)
			}
			require.NotContains(t, r.log.String(), "canary")
			require.NotContains(t, r.log.String(), refreshPrefix)
		})
	}
}

func dumpPostgres(t *testing.T, url string) []byte {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	require.NoError(t, err)
	defer conn.Close(context.Background())
	rows, err := conn.Query(t.Context(), "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'")
	require.NoError(t, err)
	tables, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(t, err)
	var all bytes.Buffer
	for _, table := range tables {
		rows, err := conn.Query(t.Context(), "SELECT * FROM "+pgx.Identifier{table}.Sanitize())
		require.NoError(t, err)
		for rows.Next() {
			values, err := rows.Values()
			require.NoError(t, err)
			for _, value := range values {
				fmt.Fprintf(&all, "%s\n", value)
			}
		}
		require.NoError(t, rows.Err())
	}
	return all.Bytes()
}

func dumpSQLite(t *testing.T, path string) []byte {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+path)
	require.NoError(t, err)
	defer db.Close()
	var tables []string
	rows, err := db.Query("SELECT name FROM sqlite_master WHERE type = 'table'")
	require.NoError(t, err)
	defer rows.Close()
	for rows.Next() {
		var name string
		require.NoError(t, rows.Scan(&name))
		tables = append(tables, name)
	}
	require.NoError(t, rows.Err())
	var all bytes.Buffer
	for _, table := range tables {
		rows, err := db.Query(`SELECT * FROM "` + table + `"`)
		require.NoError(t, err)
		defer rows.Close()
		columns, err := rows.Columns()
		require.NoError(t, err)
		for rows.Next() {
			values := make([]any, len(columns))
			for i := range values {
				values[i] = new(sql.RawBytes)
			}
			require.NoError(t, rows.Scan(values...))
			for _, value := range values {
				all.Write(*value.(*sql.RawBytes))
				all.WriteByte('\n')
			}
		}
		require.NoError(t, rows.Err())
	}
	return all.Bytes()
}

// A replica that starts, or a configuration that is loaded anew, knows from the
// first request on who is blocked: other issuers may go on giving them tokens.
func TestBlockedUsersAreKnownAtTheStart(t *testing.T) {
	t.Parallel()
	db := onSQLite(t)
	user := strings.Repeat("d", 64)
	require.NoError(t, newReplica(t, db, nil).Block(t.Context(), user, Actor{UserHash: "boss"}))
	r := newReplica(t, db, nil)
	late := &identity.Principal{UserHash: user, Issuer: "company", IssuedAt: time.Now().Add(time.Hour)}
	r.Start(t.Context())
	require.True(t, r.Revoked(late))
	r.Stop()
}
