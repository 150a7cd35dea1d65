package usage

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/database"
	"github.com/financecommander/tollgate/internal/llm"
)

// underWay is a record as it is before the attempt is sent.
func underWay() *Record {
	r := typical()
	r.Status, r.UpstreamStatus, r.Success, r.Latency, r.TTFT, r.FinishReason, r.ErrorCause = 0, 0, false, 0, 0, "", llm.CauseNone
	r.UsageSource = llm.UsageEstimated
	return r
}

// mustBegin begins n attempts.
func mustBegin(t testing.TB, l *Ledger, n int) (records []*Record, marks []Mark) {
	t.Helper()
	for range n {
		r := underWay()
		m := l.Begin(r)
		require.NotZero(t, m)
		records, marks = append(records, r), append(marks, m)
	}
	return records, marks
}

// crashed gives the spool as a process leaves it that dies at this moment.
func crashed(t testing.TB, l *Ledger) (dir string) {
	t.Helper()
	dir = t.TempDir()
	require.NoError(t, os.CopyFS(dir, os.DirFS(l.config.Dir)))
	return dir
}

// recovered starts a ledger on a spool and ships what was left there.
func recovered(t testing.TB, dir string, store *fakeStore) *Ledger {
	t.Helper()
	l := started(t, Config{Dir: dir}, store)
	require.NoError(t, l.Flush(t.Context()))
	return l
}

func TestAttemptsUnderWaySurviveTheProcess(t *testing.T) {
	t.Parallel()
	away := newFakeStore() // which stays so, lest the one that "died" ships rows of its own meanwhile
	away.down = true
	store := newFakeStore()
	var log bytes.Buffer
	l := started(t, Config{Dir: t.TempDir()}, away)
	records, marks := mustBegin(t, l, 10)
	require.Equal(t, llm.CauseNone, records[0].ErrorCause, "the caller's record is as it was")
	for i, r := range records[:4] { // 0 and 1 are settled; 2 and 3 as good as
		r.Status, r.Success, r.OutputTokens = 200, true, 7
		require.NoError(t, l.Append(r))
		if i < 2 {
			l.End(marks[i])
		}
	}
	dir := crashed(t, l)
	left, err := os.ReadFile(filepath.Join(dir, "0", journalName))
	require.NoError(t, err)

	next := New(Config{Dir: dir, Logger: slog.New(slog.NewTextHandler(&log, nil))}, store)
	require.NoError(t, next.Start())
	require.NoError(t, next.Flush(t.Context()))
	require.Zero(t, next.Stats().Records)
	require.Zero(t, next.Stats().Bytes)
	require.EqualValues(t, 10, next.Stats().Shipped)
	require.NoError(t, next.Stop(t.Context()))
	require.Contains(t, log.String(), "records=8")
	check := func() {
		t.Helper()
		require.Len(t, store.rows, 10)
		for i, r := range records {
			want := *r
			if i >= 4 {
				want.ErrorCause = llm.CauseInterrupted
			}
			require.Equal(t, want, store.rows[r.ID])
		}
	}
	check()

	// The machine may have stopped before the journal was removed.
	require.NoError(t, os.WriteFile(filepath.Join(dir, "0", journalName), left, 0o600))
	recovered(t, dir, store)
	check()
}

// What is shipped last must sort last, whatever the clock says, lest a second
// death change the order.
func TestRecoveredRecordsComeAfterTheSegments(t *testing.T) {
	t.Parallel()
	away := newFakeStore() // of those that die
	away.down = true
	l := started(t, Config{Dir: t.TempDir()}, away)
	records, _ := mustBegin(t, l, 1)
	records[0].Success = true
	require.NoError(t, l.Append(records[0]))
	dir := crashed(t, l)
	names := files(t, dir, segmentSuffix)
	require.Len(t, names, 1)
	future := filepath.Join(filepath.Dir(names[0]), "09000000000000000000"+segmentSuffix)
	require.NoError(t, os.Rename(names[0], future))

	l = started(t, Config{Dir: dir}, away)
	dir = crashed(t, l)
	require.Len(t, files(t, dir, segmentSuffix), 3)
	store := newFakeStore()
	recovered(t, dir, store)
	require.Len(t, store.rows, 1)
	require.True(t, store.rows[records[0].ID].Success)
}

func TestJournalsOfOtherSlotsAreAdopted(t *testing.T) {
	t.Parallel()
	dir, store := t.TempDir(), newFakeStore()
	started(t, Config{Dir: dir}, store)
	second := started(t, Config{Dir: dir}, store)
	records, marks := mustBegin(t, second, 2)
	copied := crashed(t, second)
	require.FileExists(t, filepath.Join(copied, "1", journalName))
	recovered(t, copied, store)
	require.Len(t, store.rows, 2)
	require.NoFileExists(t, filepath.Join(copied, "1", journalName))

	// A living ledger's journal is its own; a stopped one's is not, and what ends
	// too late for it keeps its entry.
	store.set(func(f *fakeStore) { clear(f.rows) })
	recovered(t, dir, store)
	require.Empty(t, store.rows)
	require.NoError(t, second.Stop(t.Context()))
	second.End(marks[0])
	require.Zero(t, second.Begin(underWay()))
	third := recovered(t, dir, store)
	require.NotNil(t, third.journal.Load())
	require.Len(t, store.rows, 2)
	require.Equal(t, llm.CauseInterrupted, store.rows[records[0].ID].ErrorCause)
}

func TestTornEntriesAreIgnored(t *testing.T) {
	t.Parallel()
	for name, damage := range map[string]func(place []byte){
		"length not written": func(p []byte) { binary.NativeEndian.PutUint64(p, 0) },
		"length too short":   func(p []byte) { p[0]-- },
		"length of another":  func(p []byte) { p[1] = 0xff },
		"half of the record": func(p []byte) { clear(p[200:]) },
		"a flipped bit":      func(p []byte) { p[100] ^= 4 },
		"zeros":              func(p []byte) { clear(p) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			store := newFakeStore()
			l := started(t, Config{Dir: t.TempDir()}, store)
			records, marks := mustBegin(t, l, 3)
			place := int(marks[1]) - 1
			damage(l.journal.Load().memory[place*placeBytes:][:placeBytes])
			next := recovered(t, crashed(t, l), store)
			require.Len(t, store.rows, 2)
			require.NotContains(t, store.rows, records[1].ID)
			require.Zero(t, next.Stats().Corrupt)
		})
	}
}

func TestCallsWithoutAnEntry(t *testing.T) {
	t.Parallel()
	t.Run("all places taken", func(t *testing.T) {
		t.Parallel()
		var log bytes.Buffer
		l := started(t, Config{Dir: t.TempDir(), Logger: slog.New(slog.NewTextHandler(&log, nil))}, newFakeStore())
		_, marks := mustBegin(t, l, journalPlaces)
		require.Len(t, slices.Compact(slices.Sorted(slices.Values(marks))), journalPlaces, "each has its own")
		require.Zero(t, l.Begin(underWay()))
		require.Zero(t, l.Begin(underWay()))
		l.End(0)
		require.EqualValues(t, 2, l.Stats().Unjournaled)
		require.Equal(t, 1, strings.Count(log.String(), "WARN"), "said once")
		l.End(marks[77])
		require.Equal(t, marks[77], l.Begin(underWay()))
	})
	t.Run("record too long", func(t *testing.T) {
		t.Parallel()
		store := newFakeStore()
		l := started(t, Config{Dir: t.TempDir()}, store)
		long := underWay()
		long.TokenID, long.SpecialistName = strings.Repeat("x", MaxText), strings.Repeat("y", MaxText)
		require.Zero(t, l.Begin(long))
		mustBegin(t, l, 1)
		require.Zero(t, l.Begin(long))
		require.EqualValues(t, 2, l.Stats().Unjournaled)
		recovered(t, crashed(t, l), store)
		require.Len(t, store.rows, 1)
	})
	t.Run("not started", func(t *testing.T) {
		t.Parallel()
		l := New(Config{Dir: t.TempDir()}, newFakeStore())
		require.Zero(t, l.Begin(underWay()))
		l.End(0)
		require.EqualValues(t, 1, l.Stats().Unjournaled)
	})
	t.Run("no room on the disk", func(t *testing.T) {
		t.Parallel()
		l := started(t, Config{Dir: t.TempDir()}, newFakeStore())
		path := filepath.Join(l.config.Dir, "0", journalName)
		_, marks := mustBegin(t, l, 1)
		require.NoError(t, os.Truncate(path, 0)) // memory that the file cannot back, as with a hole on a full disk
		require.Zero(t, l.Begin(underWay()))
		l.End(marks[0])
		require.EqualValues(t, 1, l.Stats().Unjournaled)
		require.NoError(t, os.Truncate(path, journalPlaces*placeBytes))
		mustBegin(t, l, 2)
	})
	t.Run("the journal cannot be made", func(t *testing.T) {
		t.Parallel()
		dir, store := t.TempDir(), newFakeStore()
		require.NoError(t, os.MkdirAll(filepath.Join(dir, "0", journalName, "x"), 0o700))
		l := started(t, Config{Dir: dir}, store)
		require.Zero(t, l.Begin(underWay()))
		mustAppend(t, l, 1)
		require.NoError(t, l.Flush(t.Context()))
		require.Len(t, store.rows, 1)
	})
}

func TestConcurrentEntries(t *testing.T) {
	t.Parallel()
	const callers, each, kept = 8, 1000, 20
	store := newFakeStore()
	l := started(t, Config{Dir: t.TempDir()}, store)
	open := make([][]uuid.UUID, callers)
	var wg sync.WaitGroup
	for c := range callers {
		wg.Go(func() {
			for i := range each {
				r := underWay()
				mark := l.Begin(r)
				if mark == 0 {
					t.Error("no place")
				}
				if i%(each/kept) == 0 {
					open[c] = append(open[c], r.ID)
					continue
				}
				l.End(mark)
			}
		})
	}
	wg.Wait()
	recovered(t, crashed(t, l), store)
	require.Len(t, store.rows, callers*kept)
	for _, id := range slices.Concat(open...) {
		_, there := store.rows[id]
		require.True(t, there)
	}
}

const (
	inflightEnv = "USAGE_INFLIGHT_CHILD" // "<spool directory> <database URL>"
	// A third of the attempts are settled, a third appended and not yet ended,
	// a third under way.
	inflightEach = 40
)

// runInflightChild brings attempts to each stage and says their ids, then that it
// is ready to be killed.
func runInflightChild() {
	dir, url, _ := strings.Cut(os.Getenv(inflightEnv), " ")
	db, err := database.Open(url, database.Options{})
	if err != nil {
		panic(err)
	}
	l := New(Config{Dir: dir, ShipInterval: time.Millisecond}, db)
	if err := l.Start(); err != nil {
		panic(err)
	}
	for i := range 3 * inflightEach {
		r := underWay()
		mark, stage := l.Begin(r), i%3
		if stage < 2 {
			r.Status, r.Success = 200, true
			if err := l.Append(r); err != nil {
				panic(err)
			}
		}
		if stage < 1 {
			l.End(mark)
		}
		fmt.Println(r.ID, stage < 2)
	}
	fmt.Println("ready")
	select {}
}

// killInflight runs such a child until it is ready, and adds what it said.
func killInflight(t *testing.T, dir, url string, settled map[uuid.UUID]bool) {
	t.Helper()
	child := exec.Command(os.Args[0], "-test.run=none")
	child.Env = append(os.Environ(), inflightEnv+"="+dir+" "+url)
	child.Stderr = os.Stderr
	out, err := child.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, child.Start())
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if lines.Text() == "ready" {
			require.NoError(t, child.Process.Signal(syscall.SIGKILL))
			continue
		}
		id, success, _ := strings.Cut(lines.Text(), " ")
		settled[uuid.MustParse(id)] = success == "true"
	}
	require.Error(t, child.Wait())
}

func TestKilledProcessLeavesARowForEveryAttempt(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, url string, db *database.DB) {
		dir := t.TempDir()
		settled := make(map[uuid.UUID]bool)
		for range 2 { // the second child recovers what the first one left
			killInflight(t, dir, url, settled)
		}
		require.Len(t, settled, 2*3*inflightEach)
		for range 2 { // and a further start changes nothing
			l := started(t, Config{Dir: dir}, db)
			require.NoError(t, l.Flush(t.Context()))
			require.NoError(t, l.Stop(t.Context()))
			require.Zero(t, l.Stats().Corrupt+l.Stats().Parked)
			rows := all(t, db)
			require.Len(t, rows, len(settled))
			for _, r := range rows {
				success, known := settled[r.ID]
				require.True(t, known)
				require.Equal(t, success, r.Success)
				require.Equal(t, !success, r.ErrorCause == llm.CauseInterrupted)
				delete(settled, r.ID)
			}
			require.Empty(t, settled, "each has one row")
			for _, r := range rows {
				settled[r.ID] = r.Success
			}
		}
	})
}

func FuzzInterruptedIn(f *testing.F) {
	frame := appendFrame(nil, underWay())
	place := make([]byte, placeBytes)
	binary.NativeEndian.PutUint64(place, uint64(len(frame)))
	copy(place[placeHeader:], frame)
	f.Add([]byte{})
	f.Add(place)
	f.Add(place[:300])
	f.Add(append(make([]byte, placeBytes), place...))
	f.Fuzz(func(t *testing.T, data []byte) {
		found := slices.Collect(interruptedIn(data))
		if len(found) > len(data)/placeBytes+1 {
			t.Fatal("more records than places")
		}
		records, corrupt := split(bytes.Join(found, nil)) // as the shipper will
		if len(records) != len(found) || len(corrupt) != 0 {
			t.Fatalf("%d entries became %d records and %d corrupt lines", len(found), len(records), len(corrupt))
		}
		whole := append(bytes.Clone(data), make([]byte, -len(data)&(placeBytes-1))...)
		if after := slices.Collect(interruptedIn(append(whole, place...))); len(after) == 0 || !bytes.Equal(after[len(after)-1], frame) {
			t.Fatal("an entry after other bytes is lost")
		}
	})
}

func BenchmarkBeginEnd(b *testing.B) {
	l := started(b, Config{Dir: b.TempDir()}, discard{})
	r := underWay()
	b.Run("one", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			l.End(l.Begin(r))
		}
	})
	b.Run("parallel", func(b *testing.B) {
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			mine := *r
			for pb.Next() {
				l.End(l.Begin(&mine))
			}
		})
	})
	b.Run("3000 under way", func(b *testing.B) {
		for range 3000 {
			l.Begin(r)
		}
		b.ReportAllocs()
		for b.Loop() {
			l.End(l.Begin(r))
		}
	})
}

func BenchmarkPlaces(b *testing.B) {
	var j journal
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			place, _ := j.take()
			j.give(place)
		}
	})
}
