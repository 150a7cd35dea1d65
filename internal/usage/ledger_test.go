package usage

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if os.Getenv(childEnv) != "" {
		runChild()
	}
	if os.Getenv(inflightEnv) != "" {
		runInflightChild()
	}
	goleak.VerifyTestMain(m)
}

// started starts a ledger on the directory and stops it after the test.
func started(t testing.TB, config Config, store Store) *Ledger {
	t.Helper()
	l := New(config, store)
	require.NoError(t, l.Start())
	t.Cleanup(func() { _ = l.Stop(context.WithoutCancel(t.Context())) })
	return l
}

func mustAppend(t testing.TB, l *Ledger, n int) (ids []uuid.UUID) {
	t.Helper()
	for range n {
		r := typical()
		require.NoError(t, l.Append(r))
		ids = append(ids, r.ID)
	}
	return ids
}

// files lists the files of a spool of that kind.
func files(t testing.TB, dir, suffix string) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, "*", "*"+suffix))
	require.NoError(t, err)
	return found
}

func TestRecordsReachTheDatabaseByThemselves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newFakeStore()
		l := started(t, Config{Dir: t.TempDir()}, store)
		want := filled(t)
		require.NoError(t, l.Append(want))
		time.Sleep(DefaultShipInterval / 2)
		synctest.Wait()
		require.Equal(t, int64(1), l.Stats().Records)
		require.Equal(t, DefaultShipInterval/2, l.Stats().Oldest)
		time.Sleep(DefaultShipInterval)
		synctest.Wait()
		require.Equal(t, *want, store.rows[want.ID])
		stats := l.Stats()
		require.Zero(t, stats.Records)
		require.Zero(t, stats.Bytes)
		require.Zero(t, stats.Oldest)
		require.Equal(t, int64(1), stats.Shipped)
		require.Equal(t, 1, stats.LastBatch)
		require.Len(t, files(t, l.config.Dir, segmentSuffix), 1, "only the open segment is left")
	})
}

func TestAFullBatchDoesNotWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newFakeStore()
		l := started(t, Config{Dir: t.TempDir(), BatchSize: 10}, store)
		mustAppend(t, l, 10)
		synctest.Wait() // no time passes
		rows, _ := store.count()
		require.Equal(t, 10, rows)
	})
}

func TestAnIdleLedgerLeavesTheDatabaseAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newFakeStore()
		l := started(t, Config{Dir: t.TempDir()}, store)
		open := l.open.Load()
		time.Sleep(time.Hour)
		synctest.Wait()
		_, attempts := store.count()
		require.Zero(t, attempts)
		require.Same(t, open, l.open.Load())
	})
}

func TestConcurrentAppendsAllArriveOnce(t *testing.T) {
	t.Parallel()
	const writers, each = 8, 2000
	store := newFakeStore()
	l := started(t, Config{Dir: t.TempDir(), ShipInterval: time.Millisecond, BatchSize: 50, SyncInterval: 5 * time.Millisecond}, store)
	ids := make([][]uuid.UUID, writers)
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for range each {
				r := typical()
				if err := l.Append(r); err != nil {
					t.Errorf("append: %v", err)
				}
				ids[w] = append(ids[w], r.ID)
			}
		})
	}
	wg.Wait()
	require.NoError(t, l.Flush(t.Context()))
	require.Len(t, store.rows, writers*each)
	for _, written := range ids {
		for _, id := range written {
			_, there := store.rows[id] // require.Contains would look at every row
			require.True(t, there)
		}
	}
	stats := l.Stats()
	require.EqualValues(t, writers*each, stats.Shipped)
	require.Zero(t, stats.Corrupt)
	require.Zero(t, stats.Records)
	require.Zero(t, stats.Bytes)
	require.Greater(t, stats.Batches, int64(writers*each/100), "seals happened meanwhile")
}

func TestOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newFakeStore()
		store.down = true
		var log bytes.Buffer
		l := started(t, Config{Dir: t.TempDir(), Logger: slog.New(slog.NewTextHandler(&log, nil))}, store)
		for range 600 { // ten minutes
			mustAppend(t, l, 1)
			time.Sleep(time.Second)
		}
		synctest.Wait()
		stats := l.Stats()
		require.EqualValues(t, 600, stats.Records)
		require.Greater(t, stats.Oldest, 9*time.Minute)
		require.Equal(t, errDown.Error(), stats.LastError)
		require.NoError(t, l.Admit())
		_, attempts := store.count()
		require.Less(t, attempts, 120, "pauses between attempts grow")
		require.Len(t, files(t, l.config.Dir, segmentSuffix), 2, "small segments are not sealed meanwhile")
		warnings := strings.Count(log.String(), "level=WARN")
		require.InDelta(t, 10, warnings, 2, "one warning a minute")

		store.set(func(f *fakeStore) { f.down = false })
		time.Sleep(2 * maxBackoff)
		synctest.Wait()
		rows, _ := store.count()
		require.Equal(t, 600, rows)
		require.Contains(t, log.String(), "shipped again")
		require.Contains(t, log.String(), "records=600 outage=")
		require.Zero(t, l.Stats().Records)
	})
}

func TestBadRecordsAreParkedAlone(t *testing.T) {
	t.Parallel()
	for name, rejectOK := range map[string]bool{"in the table": true, "in a file": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			store := newFakeStore()
			store.rejectOK = rejectOK
			l := started(t, Config{Dir: t.TempDir(), ShipInterval: time.Hour}, store)
			ids := mustAppend(t, l, 100)
			bad := map[uuid.UUID]bool{ids[0]: true, ids[41]: true, ids[99]: true}
			store.set(func(f *fakeStore) { f.bad = func(r Record) bool { return bad[r.ID] } })
			require.NoError(t, l.Flush(t.Context()))
			require.Len(t, store.rows, 97)
			require.EqualValues(t, 3, l.Stats().Parked)
			require.Less(t, store.attempts, 60, "halving, not one by one")
			aside := files(t, l.config.Dir, ".rejected")
			if rejectOK {
				require.Len(t, store.rejected, 3)
				require.Contains(t, store.rejected[1], ids[41].String())
				require.Contains(t, store.rejected[1], "bad luck")
				require.Empty(t, aside)
				return
			}
			require.Len(t, aside, 3)
			text, err := os.ReadFile(aside[0])
			require.NoError(t, err)
			require.Contains(t, string(text), ids[0].String())
		})
	}
}

func TestDamagedSegments(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	store := newFakeStore()
	l := started(t, Config{Dir: dir, ShipInterval: time.Hour}, store)
	mustAppend(t, l, 1)
	_, err := l.open.Load().file.WriteString("\n12345678 {\"id\":\"cut in the mid") // a write that a full disk cut short
	require.NoError(t, err)
	mustAppend(t, l, 1)
	path := l.open.Load().path
	require.NoError(t, l.Flush(t.Context()))
	require.Len(t, store.rows, 2)
	require.EqualValues(t, 1, l.Stats().Corrupt)
	aside, err := os.ReadFile(strings.TrimSuffix(path, segmentSuffix) + ".corrupt")
	require.NoError(t, err)
	require.Equal(t, "12345678 {\"id\":\"cut in the mid\n", string(aside))
	info, err := os.Stat(strings.TrimSuffix(path, segmentSuffix) + ".corrupt")
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	require.NoFileExists(t, path)
}

func TestTheSpoolIsBounded(t *testing.T) {
	t.Parallel()
	store := newFakeStore()
	store.down = true
	size := int64(len(appendFrame(nil, typical())))
	l := started(t, Config{Dir: t.TempDir(), MaxBytes: 20 * size}, store)
	mustAppend(t, l, 18)
	require.NoError(t, l.Admit())
	mustAppend(t, l, 1)
	require.ErrorIs(t, l.Admit(), ErrFull, "new calls are refused")
	mustAppend(t, l, 1) // while those under way still have room
	require.ErrorIs(t, l.Append(typical()), ErrFull)
	require.Equal(t, 20*size, l.Stats().Bytes)

	store.set(func(f *fakeStore) { f.down = false })
	require.Eventually(t, func() bool { return l.Flush(t.Context()) == nil && l.Admit() == nil }, 5*time.Second, time.Millisecond)
	require.Len(t, store.rows, 20)
	require.Zero(t, l.Stats().Bytes)
	mustAppend(t, l, 1)
}

func TestAFullDiskRefusesNewCalls(t *testing.T) {
	t.Parallel()
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip("needs /dev/full:", err)
	}
	defer full.Close()
	store := newFakeStore()
	l := started(t, Config{Dir: t.TempDir(), ShipInterval: time.Hour, SyncInterval: time.Hour}, store)
	mustAppend(t, l, 1)
	bytesBefore := l.Stats().Bytes
	segment := l.open.Load()
	good := segment.file

	segment.file = full
	require.ErrorIs(t, l.Append(typical()), ErrUnwritable)
	require.ErrorIs(t, l.Admit(), ErrUnwritable)
	l.syncOpen()
	require.ErrorIs(t, l.Admit(), ErrUnwritable, "still full")
	require.Equal(t, bytesBefore, l.Stats().Bytes)

	segment.file = good
	l.syncOpen()
	require.NoError(t, l.Admit(), "found out without a call")
	mustAppend(t, l, 1)
	require.NoError(t, l.Flush(t.Context()))
	require.Len(t, store.rows, 2)
	require.Zero(t, l.Stats().Corrupt)
	require.Zero(t, l.Stats().Bytes)
}

func TestStop(t *testing.T) {
	t.Parallel()
	t.Run("ships what is left", func(t *testing.T) {
		t.Parallel()
		store := newFakeStore()
		l := started(t, Config{Dir: t.TempDir(), ShipInterval: time.Hour}, store)
		mustAppend(t, l, 3)
		require.NoError(t, l.Stop(t.Context()))
		require.Len(t, store.rows, 3)
		require.Empty(t, files(t, l.config.Dir, segmentSuffix))
		require.NoError(t, l.Stop(t.Context()), "twice")
		require.ErrorIs(t, l.Append(typical()), ErrClosed)
		require.ErrorIs(t, l.Admit(), ErrClosed)
		require.ErrorIs(t, l.Flush(t.Context()), ErrClosed)
		require.Error(t, l.Start(), "a ledger lives once")
	})
	t.Run("keeps what the database does not take", func(t *testing.T) {
		t.Parallel()
		store := newFakeStore()
		store.down = true
		dir := t.TempDir()
		l := started(t, Config{Dir: dir, ShipInterval: time.Hour}, store)
		mustAppend(t, l, 3)
		err := l.Stop(t.Context())
		require.ErrorIs(t, err, errDown)
		require.ErrorContains(t, err, "3 usage records stay")

		store.down = false
		next := started(t, Config{Dir: dir, ShipInterval: time.Hour}, store)
		require.EqualValues(t, 3, next.Stats().Records)
		require.NoError(t, next.Flush(t.Context()))
		require.Len(t, store.rows, 3)
	})
	t.Run("does not wait for a database that hangs", func(t *testing.T) {
		t.Parallel()
		store := newFakeStore()
		store.block = make(chan struct{})
		l := started(t, Config{Dir: t.TempDir(), ShipInterval: time.Hour}, store)
		mustAppend(t, l, 3)
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		require.ErrorIs(t, l.Stop(ctx), context.Canceled)
		require.Len(t, files(t, l.config.Dir, segmentSuffix), 1)
	})
	t.Run("while others append", func(t *testing.T) {
		t.Parallel()
		store := newFakeStore()
		l := started(t, Config{Dir: t.TempDir(), ShipInterval: time.Millisecond}, store)
		var wg sync.WaitGroup
		kept := make([]int, 4)
		for w := range kept {
			wg.Go(func() {
				// Bounded, since on a busy machine they outrun the shipper by far.
				for kept[w] < 5000 && l.Append(typical()) == nil {
					kept[w]++
				}
			})
		}
		for l.Stats().Shipped < 100 {
			time.Sleep(time.Millisecond)
		}
		require.NoError(t, l.Stop(t.Context()))
		wg.Wait()
		require.Len(t, store.rows, kept[0]+kept[1]+kept[2]+kept[3], "what was acknowledged is there, and nothing else")
	})
	t.Run("before Start", func(t *testing.T) {
		t.Parallel()
		l := New(Config{Dir: t.TempDir()}, newFakeStore())
		require.ErrorIs(t, l.Append(typical()), ErrClosed)
		require.NoError(t, l.Stop(t.Context()))
	})
}

func TestTwoLedgersOnOneDirectory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		store := newFakeStore()
		first := started(t, Config{Dir: dir}, store)
		down := newFakeStore()
		down.down = true
		second := started(t, Config{Dir: dir}, down)
		require.NotEqual(t, filepath.Dir(first.open.Load().path), filepath.Dir(second.open.Load().path))
		mustAppend(t, first, 1)
		mustAppend(t, second, 2)
		time.Sleep(2 * adoptInterval)
		synctest.Wait()
		require.Len(t, store.rows, 1, "the other's segments are its own while it lives")

		require.ErrorIs(t, second.Stop(t.Context()), errDown)
		time.Sleep(2 * adoptInterval)
		synctest.Wait()
		require.Len(t, store.rows, 3, "and are adopted when it is gone")
		require.Zero(t, first.Stats().Records)
		require.Zero(t, first.Stats().Bytes)
	})
}

func TestRecordsWithoutAnIDAreNotOneAndTheSame(t *testing.T) {
	t.Parallel()
	store := newFakeStore()
	l := started(t, Config{Dir: t.TempDir(), ShipInterval: time.Hour}, store)
	require.NoError(t, l.Append(&Record{}))
	require.NoError(t, l.Append(&Record{}))
	require.NoError(t, l.Flush(t.Context()))
	require.Len(t, store.rows, 2)
}

func TestSpoolIsPrivate(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "spool")
	l := started(t, Config{Dir: dir}, newFakeStore())
	mustAppend(t, l, 1)
	require.NoError(t, filepath.WalkDir(dir, func(path string, entry os.DirEntry, err error) error {
		require.NoError(t, err)
		info, err := entry.Info()
		require.NoError(t, err)
		require.Zero(t, info.Mode().Perm()&0o077, path)
		return nil
	}))
}

func TestStartFails(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	l := New(Config{Dir: file}, newFakeStore())
	require.Error(t, l.Start())
	require.NoError(t, os.Remove(file))
	require.NoError(t, l.Start(), "and can be tried again")
	require.NoError(t, l.Stop(t.Context()))
}

func TestBackoff(t *testing.T) {
	t.Parallel()
	for failures := 1; failures < 100; failures++ {
		pause := backoff(failures)
		require.GreaterOrEqual(t, pause, firstBackoff/2)
		require.Less(t, pause, maxBackoff*3/2)
	}
	require.Less(t, backoff(1), firstBackoff*3/2)
	require.GreaterOrEqual(t, backoff(20), maxBackoff/2)
}

func BenchmarkAppend(b *testing.B) {
	l := started(b, Config{Dir: b.TempDir(), MaxBytes: 1 << 40}, discard{})
	r := typical()
	b.ReportAllocs()
	b.Run("one", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if err := l.Append(r); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("parallel", func(b *testing.B) {
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if err := l.Append(r); err != nil {
					b.Fatal(err)
				}
			}
		})
	})
}

func BenchmarkAdmit(b *testing.B) {
	l := started(b, Config{Dir: b.TempDir()}, discard{})
	for b.Loop() {
		if err := l.Admit(); err != nil {
			b.Fatal(err)
		}
	}
}

// discard is a database that takes everything and keeps nothing.
type discard struct{}

func (discard) InsertUsage(context.Context, []byte) (int64, error) { return 0, nil }
func (discard) RejectUsage(context.Context, []byte, string) error  { return nil }
