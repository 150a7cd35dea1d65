package revocation

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestDatabaseOutageIsSaidOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, log := newMemoryStore(), &lockedBuffer{}
		r := started(t, Options{Store: store, Logger: logTo(log)})
		require.Zero(t, r.Age())
		for range 2 {
			store.setAway(errAway)
			time.Sleep(time.Minute)
			require.InDelta(t, time.Minute, r.Age(), float64(time.Second))
			store.setAway(nil)
			time.Sleep(time.Second)
			require.LessOrEqual(t, r.Age(), DefaultInterval)
		}
		require.Equal(t, 2, log.count("cannot be read from the database"))
		require.Equal(t, 2, log.count("can be read from the database again"))
	})
}

func TestRevokeWithoutTheDatabase(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newMemoryStore()
		r := started(t, Options{Store: store})
		store.setAway(errAway)
		err := r.Revoke(t.Context(), tokenEntry("a"))
		requireUnavailable(t, err)
		require.ErrorIs(t, err, errAway)
		require.True(t, r.Revoked(holder("a")))
		requireUnavailable(t, r.Revoke(t.Context(), tokenEntry("a")))

		time.Sleep(time.Hour)
		require.False(t, store.has(tokenEntry("a")))
		store.setAway(nil)
		time.Sleep(time.Second)
		require.True(t, store.has(tokenEntry("a")), "tried until written")
		require.Zero(t, waiting(r))
	})
}

func TestRevokeGoesOnWhenTheCallerLeaves(t *testing.T) {
	t.Parallel()
	store := newMemoryStore()
	r := New(Options{Store: store})
	ctx, leave := context.WithCancel(t.Context())
	leave()
	require.NoError(t, r.Revoke(ctx, tokenEntry("a")))
	require.True(t, store.has(tokenEntry("a")))
}

func waiting(r *Registry) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.pending)
}

func TestPendingIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newMemoryStore()
		r := started(t, Options{Store: store, Interval: time.Minute})
		store.setAway(errAway)
		entries := make([]Entry, maxPending)
		for i := range entries {
			entries[i] = tokenEntry(fmt.Sprint(i))
		}
		requireUnavailable(t, r.Revoke(t.Context(), entries...))
		err := r.Revoke(t.Context(), tokenEntry("one more"))
		require.ErrorContains(t, errors.Unwrap(err), "too many wait")
		require.True(t, r.Revoked(holder("one more")), "in force all the same")
		require.NotContains(t, r.Revoke(t.Context(), tokenEntry("7")).Error(), "too many wait", "it waits already")
		require.Equal(t, maxPending, waiting(r))

		// What has ended need not be written any more.
		time.Sleep(2 * time.Hour)
		require.Zero(t, waiting(r))
	})
}

// TestLateAndBackdatedChanges: a change may be seen later than it is dated, even
// by more than the overlap when the database's clock was set back.
func TestLateAndBackdatedChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newMemoryStore()
		r := started(t, Options{Store: store})
		time.Sleep(10 * time.Second)
		require.NoError(t, store.Write(t.Context(), []Entry{tokenEntry("first")}))
		time.Sleep(everywhere)
		require.True(t, r.Revoked(holder("first")))

		store.put(tokenEntry("late"), time.Now().Add(-overlap+time.Second))
		time.Sleep(everywhere)
		require.True(t, r.Revoked(holder("late")))

		store.put(tokenEntry("backdated"), time.Now().Add(-time.Hour))
		time.Sleep(everywhere)
		require.False(t, r.Revoked(holder("backdated")), "or the full look would not be what finds it")
		time.Sleep(fullEvery)
		require.True(t, r.Revoked(holder("backdated")))
	})
}

func TestEndedEntriesAreDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newMemoryStore()
		r := started(t, Options{Store: store})
		require.NoError(t, r.Revoke(t.Context(), tokenEntry("short"), Entry{Kind: Token, Value: "long", ExpiresAt: time.Now().Add(48 * time.Hour)}))
		var many []Entry
		for i := range 2*sweepBatch + 1 {
			many = append(many, tokenEntry(fmt.Sprint(i)))
		}
		require.NoError(t, r.Revoke(t.Context(), many...))

		// A token is good for the leeway longer than it says.
		time.Sleep(time.Hour + grace - time.Second)
		require.True(t, r.Revoked(holder("short")))
		require.True(t, store.has(tokenEntry("short")))

		time.Sleep(2 * fullEvery)
		require.False(t, r.Revoked(holder("short")))
		require.True(t, r.Revoked(holder("long")))
		r.Stop() // the test looks inside
		require.Len(t, store.rows, 1)
		n := 0
		for range r.current.Load().all() {
			n++
		}
		require.Equal(t, 1, n)
		for _, deleted := range store.deletes {
			require.LessOrEqual(t, deleted, int64(sweepBatch))
		}

		// An entry that ended long ago does not come back with a push or a row.
		ended := Entry{Kind: Token, Value: "ended", ExpiresAt: time.Now().Add(-grace - time.Second)}
		r.receive(string(mustJSON(t, []Entry{ended})))
		require.False(t, r.Revoked(holder("ended")))
	})
}

func mustJSON(t testing.TB, v any) []byte {
	t.Helper()
	text, err := json.Marshal(v)
	require.NoError(t, err)
	return text
}

func TestFileCarriesOverARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "revocations.json")
		store := newMemoryStore()
		r := started(t, Options{Store: store, File: file})
		user := Entry{Kind: User, Value: "u-b", IssuedBefore: time.Now(), ExpiresAt: time.Now().Add(time.Hour)}
		require.NoError(t, r.Revoke(t.Context(), tokenEntry("a"), user))
		time.Sleep(2 * DefaultInterval) // no Stop: the process is killed
		store.setAway(errAway)
		requireUnavailable(t, r.Revoke(t.Context(), tokenEntry("c")))

		info, err := os.Stat(file)
		require.NoError(t, err)
		require.Equal(t, os.FileMode(0o600), info.Mode().Perm())

		next := started(t, Options{Store: store, File: file})
		require.True(t, next.Revoked(holder("a")))
		require.True(t, next.Revoked(holder("c")))
		b := holder("b")
		require.False(t, next.Revoked(b), "issued later")
		b.IssuedAt = user.IssuedBefore
		require.True(t, next.Revoked(b))
		require.False(t, next.Revoked(holder("d")))
		require.Less(t, next.Age(), time.Minute, "it counts from what the file has")

		// What the database never got is written by the next process.
		r.Stop()
		store.setAway(nil)
		time.Sleep(time.Second)
		require.True(t, store.has(tokenEntry("c")))
		next.Stop()
		var kept content
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		require.NoError(t, json.Unmarshal(text, &kept))
		require.Len(t, kept.Entries, 3)
		require.Empty(t, kept.Pending)
		leftovers, err := filepath.Glob(file + "?*")
		require.NoError(t, err)
		require.Empty(t, leftovers)
	})
}

func TestStopWritesWhatWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newMemoryStore()
		r := started(t, Options{Store: store, Interval: time.Hour})
		store.setAway(errAway)
		requireUnavailable(t, r.Revoke(t.Context(), tokenEntry("a")))
		store.setAway(nil)
		r.Stop()
		require.True(t, store.has(tokenEntry("a")))
		r.Stop()
		r.Start(t.Context()) // too late: nothing starts
		require.NoError(t, r.Revoke(t.Context(), tokenEntry("b")), "requests still under way can revoke")
		require.True(t, r.Revoked(holder("b")))
	})
}

func TestBrokenFileIsToldOfAndPassedOver(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"not json": "x", "a list": "[]", "cut": `{"entries":[{"kind":"token","val`,
		"a bad entry": `{"entries":[{"kind":"token","value":"","expires_at":"2999-01-01T00:00:00Z"}]}`,
		"empty":       "",
	} {
		file, log := filepath.Join(t.TempDir(), "revocations.json"), &lockedBuffer{}
		require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
		store := newMemoryStore()
		require.NoError(t, store.Write(t.Context(), []Entry{tokenEntry("a")}))
		r := started(t, Options{Store: store, File: file, Logger: logTo(log)})
		require.Equal(t, 1, log.count("cannot be read"), name)
		require.True(t, r.Revoked(holder("a")), name)
		r.Stop()
		again := started(t, Options{File: file})
		require.True(t, again.Revoked(holder("a")), "%s: it is written anew", name)
	}
}

func TestFileThatCannotBeWrittenIsSaidOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir, log := filepath.Join(t.TempDir(), "missing"), &lockedBuffer{}
		file := filepath.Join(dir, "revocations.json")
		r := started(t, Options{Store: newMemoryStore(), File: file, Logger: logTo(log)})
		require.NoError(t, r.Revoke(t.Context(), tokenEntry("a")))
		time.Sleep(time.Minute)
		require.Equal(t, 1, log.count("cannot be written"))
		require.NoError(t, os.Mkdir(dir, 0o700))
		time.Sleep(time.Second)
		require.Equal(t, 1, log.count("can be written again"))
		require.FileExists(t, file)
	})
}

func TestAgeOfNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		require.Zero(t, started(t, Options{}).Age(), "there is nothing to read")
		store := newMemoryStore()
		store.setAway(errAway)
		r := started(t, Options{Store: store})
		require.Equal(t, Never, r.Age())
	})
}

// TestRevokeWhileAsking is for the race detector.
func TestRevokeWhileAsking(t *testing.T) {
	t.Parallel()
	r := started(t, Options{Store: newMemoryStore(), File: filepath.Join(t.TempDir(), "f"), Interval: time.Millisecond})
	var callers sync.WaitGroup
	for w := range 4 {
		callers.Go(func() {
			for i := range 200 {
				id := fmt.Sprint(w, "-", i)
				if r.Revoked(holder(id)) || r.Revoke(t.Context(), tokenEntry(id)) != nil || !r.Revoked(holder(id)) {
					t.Errorf("%s: wrong answer", id)
				}
				_ = r.Age()
			}
		})
	}
	callers.Wait()
}
