package revocation

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/testenv"
)

// replicas are three registries with pools of their own on one database.
func replicas(t *testing.T, databaseURL, redisURL string) (all []*Registry) {
	t.Helper()
	for range 3 {
		var client redis.UniversalClient
		if redisURL != "" {
			client = openRedis(t, redisURL)
		}
		all = append(all, started(t, Options{Store: NewDatabaseStore(openDatabase(t, databaseURL)), Redis: client}))
	}
	return all
}

func TestReplicasAgreeWithinASecond(t *testing.T) {
	t.Parallel()
	for name, withRedis := range map[string]bool{"with redis": true, "without redis": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url, db := postgres(t)
			redisURL := ""
			if withRedis {
				redisURL = testenv.Redis(t)
			}
			all := replicas(t, url, redisURL)
			if withRedis {
				subscribed(t, openRedis(t, redisURL), 3)
			}
			late := 0
			for i := range 9 {
				id := fmt.Sprint("token-", i)
				require.False(t, all[0].Revoked(holder(id)))
				require.NoError(t, all[i%3].Revoke(t.Context(), tokenEntry(id)))
				done := time.Now()
				require.True(t, all[i%3].Revoked(holder(id)), "in force here on return")
				if requireSoon(t, done, id, all...) > everywhere {
					late++
				}
			}
			require.LessOrEqual(t, late, 2, "more than a busy machine explains")
			require.NoError(t, all[0].Revoke(t.Context(),
				Entry{Kind: Session, Value: "s-x", ExpiresAt: time.Now().Add(time.Hour)},
				Entry{Kind: User, Value: "u-y", IssuedBefore: time.Now().Add(time.Minute), ExpiresAt: time.Now().Add(time.Hour)}))
			done := time.Now()
			requireSoon(t, done, "x", all...)
			requireSoon(t, done, "y", all...)
			for _, r := range all {
				later := holder("y")
				later.IssuedAt = later.IssuedAt.Add(2 * time.Minute)
				require.False(t, r.Revoked(later))
				require.Less(t, r.Age(), 5*time.Second)
			}
			// A replica that comes later knows all.
			newcomer := started(t, Options{Store: NewDatabaseStore(db)})
			require.True(t, newcomer.Revoked(holder("token-0")))
		})
	}
}

// TestLateCommit: a transaction that began before another one commits after it.
func TestLateCommit(t *testing.T) {
	t.Parallel()
	url, db := postgres(t)
	r := started(t, Options{Store: NewDatabaseStore(db)})
	other, err := pgx.Connect(t.Context(), url)
	require.NoError(t, err)
	defer other.Close(t.Context())
	slow, err := other.Begin(t.Context())
	require.NoError(t, err)
	_, err = slow.Exec(t.Context(), "INSERT INTO revocations VALUES ('token', 'slow', '9999-12-31', clock_timestamp(), now() + interval '1 h', '')")
	require.NoError(t, err)
	time.Sleep(100 * time.Millisecond)
	require.NoError(t, started(t, Options{Store: NewDatabaseStore(openDatabase(t, url))}).Revoke(t.Context(), tokenEntry("quick")))
	requireSoon(t, time.Now(), "quick", r)
	time.Sleep(2 * DefaultInterval)
	require.False(t, r.Revoked(holder("slow")))
	require.NoError(t, slow.Commit(t.Context()))
	requireSoon(t, time.Now(), "slow", r)
}

// TestPushHoldsWithoutTheDatabase: what is pushed is in force where the database
// is away, before and after Redis was.
func TestPushHoldsWithoutTheDatabase(t *testing.T) {
	t.Parallel()
	server := testenv.RedisServer(t)
	client := openRedis(t, server.URL())
	store := newMemoryStore()
	cutOff := &switchable{Store: store}
	cutOff.setAway(errAway)
	here := started(t, Options{Store: store, Redis: openRedis(t, server.URL())})
	there := started(t, Options{Store: cutOff, Redis: openRedis(t, server.URL())})
	subscribed(t, client, 2)
	require.NoError(t, here.Revoke(t.Context(), tokenEntry("before")))
	requireSoon(t, time.Now(), "before", there)

	server.Stop()
	began := time.Now()
	require.NoError(t, here.Revoke(t.Context(), tokenEntry("meanwhile")), "Redis is no reason to fail")
	require.Less(t, time.Since(began), 2*everywhere)
	require.True(t, here.Revoked(holder("meanwhile")))

	server.Start()
	subscribed(t, client, 2)
	require.NoError(t, here.Revoke(t.Context(), tokenEntry("after")))
	requireSoon(t, time.Now(), "after", there)
	require.False(t, there.Revoked(holder("meanwhile")), "or the store was not cut off")
	cutOff.setAway(nil)
	requireSoon(t, time.Now(), "meanwhile", there)

	// The one without the database pushes to the others as well.
	cutOff.setAway(errAway)
	requireUnavailable(t, there.Revoke(t.Context(), tokenEntry("pushed")))
	requireSoon(t, time.Now(), "pushed", here)
	require.False(t, store.has(tokenEntry("pushed")))
}

// TestRedisHangs: neither a revocation nor the following waits for a Redis that
// takes connections and says nothing.
func TestRedisHangs(t *testing.T) {
	t.Parallel()
	server := testenv.RedisServer(t)
	store := newMemoryStore()
	here := started(t, Options{Store: store, Redis: openRedis(t, server.URL())})
	there := started(t, Options{Store: store, Redis: openRedis(t, server.URL())})
	subscribed(t, openRedis(t, server.URL()), 2)
	server.Pause()
	began := time.Now()
	require.NoError(t, here.Revoke(t.Context(), tokenEntry("a")))
	require.Less(t, time.Since(began), 2*everywhere)
	requireSoon(t, began, "a", there)
	here.Stop()
	there.Stop()
	require.Less(t, time.Since(began), 3*time.Second)
	server.Resume()
}

// TestRestartWithTheDatabaseDown stops and starts a real server.
func TestRestartWithTheDatabaseDown(t *testing.T) {
	t.Parallel()
	server := testenv.PostgresServer(t)
	file := filepath.Join(t.TempDir(), "revocations.json")
	db := openDatabase(t, server.URL())
	_, err := db.Migrate(t.Context())
	require.NoError(t, err)
	r := started(t, Options{Store: NewDatabaseStore(db), File: file})
	require.NoError(t, r.Revoke(t.Context(), tokenEntry("a")))
	r.Stop()
	server.Stop()

	next := started(t, Options{Store: NewDatabaseStore(openDatabase(t, server.URL())), File: file})
	require.True(t, next.Revoked(holder("a")))
	requireUnavailable(t, next.Revoke(t.Context(), tokenEntry("b")))
	require.True(t, next.Revoked(holder("b")))
	server.Start()
	reader := NewDatabaseStore(openDatabase(t, server.URL()))
	require.Eventually(t, func() bool {
		rows, _, err := reader.Read(t.Context(), time.Time{})
		return err == nil && len(rows) == 2
	}, 10*time.Second, 50*time.Millisecond)
	require.Less(t, next.Age(), 10*time.Second)
}

func TestMalformedMessagesAreIgnored(t *testing.T) {
	t.Parallel()
	good := string(mustJSON(t, []Entry{tokenEntry("a")}))
	r := New(Options{})
	for name, message := range map[string]string{
		"empty": "", "not json": "token a", "cut": good[:len(good)-1], "trailing": good + "x", "null": "null",
		"an object":     good[1 : len(good)-1],
		"unknown kind":  strings.Replace(good, `"token"`, `"tokens"`, 1),
		"no value":      strings.Replace(good, `"a"`, `""`, 1),
		"value a list":  strings.Replace(good, `"a"`, `["a"]`, 1),
		"no end":        strings.Replace(good, "expires_at", "x", 1),
		"end no date":   strings.Replace(good, `"expires_at":"2`, `"expires_at":"x`, 1),
		"oversized":     good + strings.Repeat(" ", maxMessage),
		"too many":      "[" + strings.Repeat(good[1:len(good)-1]+",", pushBatch) + good[1:],
		"one bad entry": good[:len(good)-1] + `,{"kind":"token"}]`,
	} {
		r.receive(message)
		require.Empty(t, r.current.Load().recent, name)
	}
	r.receive(good)
	require.True(t, r.Revoked(holder("a")))
}

func FuzzReceive(f *testing.F) {
	f.Add(`[{"kind":"token","value":"a","expires_at":"2999-01-01T00:00:00Z"}]`)
	f.Add(`[{"kind":"user","value":"\u0000","issued_before":"0000-01-01T00:00:00Z","expires_at":"9999-12-31T23:59:59.999999999+23:59"}]`)
	f.Fuzz(func(t *testing.T, message string) {
		r := New(Options{})
		r.receive(message)
		for k, m := range r.current.Load().all() {
			e := m.entry(k, "")
			again, err := e.normalize()
			require.NoError(t, err)
			require.Equal(t, e, again)
			require.Equal(t, m, again.mark())
		}
	})
}

// BenchmarkRevoke is one log-out, on a real database and Redis.
func BenchmarkRevoke(b *testing.B) {
	_, db := postgres(b)
	r := started(b, Options{Store: NewDatabaseStore(db), Redis: openRedis(b, testenv.Redis(b))})
	for i := 0; b.Loop(); i++ {
		require.NoError(b, r.Revoke(b.Context(), tokenEntry(fmt.Sprint(i))))
	}
}
