package usage

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/database"
	"github.com/financecommander/tollgate/internal/testenv"
	"github.com/financecommander/tollgate/pricing"
)

// onBoth runs a test on a fresh, migrated database of each kind.
func onBoth(t *testing.T, test func(t *testing.T, url string, db *database.DB)) {
	t.Helper()
	for name, makeURL := range map[string]func(testing.TB) string{
		"postgres": testenv.Postgres,
		"sqlite":   sqliteURL,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url := makeURL(t)
			test(t, url, migrated(t, url))
		})
	}
}

func sqliteURL(t testing.TB) string { return "sqlite:///" + filepath.Join(t.TempDir(), "test.db") }

func migrated(t testing.TB, url string) *database.DB {
	t.Helper()
	db, err := database.Open(url, database.Options{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	_, err = db.Migrate(t.Context())
	require.NoError(t, err)
	return db
}

// all reads the whole log, page by page.
func all(t testing.TB, db *database.DB) (records []Record) {
	t.Helper()
	filter := Filter{Limit: MaxLimit}
	for {
		page, err := List(t.Context(), db, filter)
		require.NoError(t, err)
		records = append(records, page.Records...)
		if page.Next == "" {
			return records
		}
		filter.Before = page.Next
	}
}

func idsOf(records []Record) map[uuid.UUID]int {
	ids := make(map[uuid.UUID]int)
	for _, r := range records {
		ids[r.ID]++
	}
	return ids
}

func TestRecordsSurviveTheDatabase(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, _ string, db *database.DB) {
		l := started(t, Config{Dir: t.TempDir()}, db)
		want := filled(t)
		want.Cost, want.ReportedCost = pricing.MaxMoney, new(pricing.MaxMoney)
		odd := NewRecord(noon.Add(-time.Hour))
		odd.UsageSource = "provider"
		odd.Attempt = 0 // refused before any upstream was asked
		odd.SpecialistName = "Zoë's \"fast\" 🙂 \\ path"
		odd.RequestID = strings.Repeat("x", 1<<20)
		require.NoError(t, l.Append(want))
		require.NoError(t, l.Append(odd))
		require.NoError(t, l.Append(want), "the same once more")
		require.NoError(t, l.Flush(t.Context()))
		odd.RequestID = odd.RequestID[:MaxText]
		require.Equal(t, []Record{*want, *odd}, all(t, db))
		require.Zero(t, l.Stats().Parked)
		require.EqualValues(t, 2, l.Stats().Shipped)
	})
}

func TestOneBadRecordDoesNotBlockItsBatch(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, _ string, db *database.DB) {
		l := started(t, Config{Dir: t.TempDir(), ShipInterval: time.Hour}, db)
		mustAppend(t, l, 20)
		bad := typical()
		bad.UsageSource = "guess"
		require.NoError(t, l.Append(bad))
		mustAppend(t, l, 20)
		require.NoError(t, l.Flush(t.Context()))
		require.Len(t, all(t, db), 40)
		require.EqualValues(t, 1, l.Stats().Parked)
		require.Empty(t, files(t, l.config.Dir, ".rejected"), "it is in the table for such")
	})
}

func TestDatabaseDownAndUp(t *testing.T) {
	t.Parallel()
	server := testenv.PostgresServer(t)
	db := migrated(t, server.URL())
	l := started(t, Config{Dir: t.TempDir(), ShipInterval: 10 * time.Millisecond, BatchSize: 50}, db)
	ids := mustAppend(t, l, 100)
	require.NoError(t, l.Flush(t.Context()))

	server.Stop()
	ids = append(ids, mustAppend(t, l, 100)...)
	require.Error(t, l.Flush(t.Context()))
	ids = append(ids, mustAppend(t, l, 100)...)
	require.EqualValues(t, 200, l.Stats().Records)
	require.NotEmpty(t, l.Stats().LastError)
	require.NoError(t, l.Admit())

	server.Start()
	require.Eventually(t, func() bool { return l.Flush(t.Context()) == nil }, 10*time.Second, 10*time.Millisecond)
	records := all(t, db)
	require.Len(t, records, len(ids))
	for _, id := range ids {
		require.Equal(t, 1, idsOf(records)[id])
	}
	require.EqualValues(t, len(ids), l.Stats().Shipped)
}

// A ledger waits for a schema that a migration has yet to make.
func TestDatabaseNotMigratedYet(t *testing.T) {
	t.Parallel()
	db, err := database.Open(sqliteURL(t), database.Options{})
	require.NoError(t, err)
	defer db.Close()
	l := started(t, Config{Dir: t.TempDir()}, db)
	mustAppend(t, l, 1)
	require.Error(t, l.Flush(t.Context()))
	_, err = db.Migrate(t.Context())
	require.NoError(t, err)
	require.NoError(t, l.Flush(t.Context()))
	require.Len(t, all(t, db), 1)
	require.Zero(t, l.Stats().Parked)
	require.NoError(t, l.Stop(t.Context()))
}

const (
	childEnv     = "USAGE_CHILD" // "<spool directory> <database URL>"
	childWriters = 4
)

// runChild appends without end, and says the id of each record once it is
// acknowledged. It is killed.
func runChild() {
	dir, url, _ := strings.Cut(os.Getenv(childEnv), " ")
	db, err := database.Open(url, database.Options{})
	if err != nil {
		panic(err)
	}
	l := New(Config{Dir: dir, ShipInterval: 10 * time.Millisecond, BatchSize: 100}, db)
	if err := l.Start(); err != nil {
		panic(err)
	}
	for range childWriters {
		go func() {
			for {
				r := typical()
				if err := l.Append(r); err != nil {
					panic(err)
				}
				os.Stdout.WriteString(r.ID.String() + "\n")
			}
		}()
	}
	select {}
}

func TestKilledProcessLosesNothing(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, url string, db *database.DB) {
		dir := t.TempDir()
		acknowledged := make(map[uuid.UUID]bool)
		const kills = 3
		for range kills {
			killChild(t, dir, url, acknowledged, 2000)
		}
		l := started(t, Config{Dir: dir}, db)
		require.NoError(t, l.Flush(t.Context()))
		rows := idsOf(all(t, db))
		for id := range acknowledged {
			require.Equal(t, 1, rows[id], id)
		}
		// Each writer may have been killed between its append and its word, or in
		// the append, which leaves a fragment that is no record.
		fragments := int(l.Stats().Corrupt)
		require.LessOrEqual(t, len(rows)+fragments, len(acknowledged)+kills*childWriters)
	})
}

func killChild(t *testing.T, dir, url string, acknowledged map[uuid.UUID]bool, after int) {
	t.Helper()
	child := exec.Command(os.Args[0], "-test.run=none")
	child.Env = append(os.Environ(), childEnv+"="+dir+" "+url)
	child.Stderr = os.Stderr
	out, err := child.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, child.Start())
	lines := bufio.NewScanner(out)
	for n := 0; lines.Scan(); n++ {
		id, err := uuid.Parse(lines.Text())
		require.NoError(t, err)
		acknowledged[id] = true
		if n == after {
			require.NoError(t, child.Process.Signal(syscall.SIGKILL))
		}
	}
	require.Error(t, child.Wait())
}

func TestList(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, _ string, db *database.DB) {
		l := started(t, Config{Dir: t.TempDir()}, db)
		const total = 25
		for i := range total {
			r := NewRecord(noon.Add(time.Duration(i/2) * time.Microsecond)) // pairs of the same time
			r.UserHash = fmt.Sprint("user", i%2)
			require.NoError(t, l.Append(r))
		}
		require.NoError(t, l.Flush(t.Context()))

		var seen []Record
		filter := Filter{Limit: 4}
		pages := 0
		for {
			page, err := List(t.Context(), db, filter)
			require.NoError(t, err)
			seen = append(seen, page.Records...)
			pages++
			if page.Next == "" {
				break
			}
			filter.Before = page.Next
		}
		require.Equal(t, 7, pages)
		require.Len(t, idsOf(seen), total)
		for i := 1; i < total; i++ {
			require.False(t, seen[i].Timestamp.After(seen[i-1].Timestamp), "newest first")
		}

		page, err := List(t.Context(), db, Filter{UserHash: "user1"})
		require.NoError(t, err)
		require.Len(t, page.Records, 12)
		require.Empty(t, page.Next)
	})
}

func TestListLimits(t *testing.T) {
	t.Parallel()
	for limit, want := range map[int]int{0: DefaultLimit, -1: DefaultLimit, 7: 7, 1 << 30: MaxLimit} {
		asked := 0
		_, err := List(t.Context(), listerFunc(func(f database.UsageFilter) ([]string, error) {
			asked = f.Limit
			return nil, nil
		}), Filter{Limit: limit})
		require.NoError(t, err)
		require.Equal(t, want+1, asked)
	}
}

type listerFunc func(database.UsageFilter) ([]string, error)

func (f listerFunc) ListUsage(_ context.Context, filter database.UsageFilter) ([]string, error) {
	return f(filter)
}

func FuzzCursor(f *testing.F) {
	f.Add(typical().cursor())
	f.Add("1.2")
	f.Add("99999999999999999999.019b7c2f-0000-7000-8000-000000000001")
	f.Add("9223372036854775807.019b7c2f-0000-7000-8000-000000000001")
	f.Fuzz(func(t *testing.T, s string) {
		at, id, err := parseCursor(s)
		if err != nil {
			return
		}
		again := Record{Timestamp: at, ID: uuid.MustParse(id)}
		if at2, id2, err := parseCursor(again.cursor()); err != nil || !at2.Equal(at) || id2 != id {
			t.Fatalf("%q does not survive: %v", s, err)
		}
	})
}

// BenchmarkShip reports the processor time of this process per record, from the
// append to the row.
func BenchmarkShip(b *testing.B) {
	for name, makeURL := range map[string]func(testing.TB) string{"postgres": testenv.Postgres, "sqlite": sqliteURL} {
		b.Run(name, func(b *testing.B) {
			db := migrated(b, makeURL(b))
			l := started(b, Config{Dir: b.TempDir(), ShipInterval: time.Hour}, db)
			var used, appending time.Duration
			n := 0
			for b.Loop() {
				records := make([]*Record, DefaultBatchSize-1)
				for i := range records {
					records[i] = typical()
				}
				before := cpuTime(b)
				for _, r := range records {
					require.NoError(b, l.Append(r))
				}
				appended := cpuTime(b)
				require.NoError(b, l.Flush(b.Context()))
				appending += appended - before
				used += cpuTime(b) - before
				n += len(records)
			}
			b.ReportMetric(float64(appending.Microseconds())/float64(n), "append-cpu-µs/record")
			b.ReportMetric(float64(used.Microseconds())/float64(n), "cpu-µs/record")
		})
	}
}

func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
