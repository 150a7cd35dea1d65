package database

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/financecommander/tollgate/internal/testenv"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// onBoth runs a test on a fresh database of each kind, not yet migrated.
func onBoth(t *testing.T, test func(t *testing.T, db *DB)) {
	t.Helper()
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		test(t, open(t, testenv.Postgres(t)))
	})
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		test(t, open(t, "sqlite:///"+filepath.Join(t.TempDir(), "test.db")))
	})
}

func open(t testing.TB, url string) *DB {
	t.Helper()
	db, err := Open(url, Options{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	return db
}

func migrated(t testing.TB, url string) *DB {
	t.Helper()
	db := open(t, url)
	_, err := db.Migrate(t.Context())
	require.NoError(t, err)
	return db
}

// column reads one column of a query, as text.
func column(t testing.TB, db *DB, query string, args ...any) []string {
	t.Helper()
	var values []string
	require.NoError(t, db.gorm.Raw(query, args...).Scan(&values).Error)
	return values
}

func TestParseURL(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		url  string
		want target
		err  string
	}{
		{url: "postgresql://u:p@h:5432/d?sslmode=require", want: target{Postgres, "postgres://u:p@h:5432/d?sslmode=require"}},
		{url: "postgres://h/d", want: target{Postgres, "postgres://h/d"}},
		{url: "postgresql+asyncpg://u@h/d", want: target{Postgres, "postgres://u@h/d"}},
		{url: "postgresql+psycopg2://u@h/d", want: target{Postgres, "postgres://u@h/d"}},
		{url: "sqlite:///./app.db", want: target{SQLite, "./app.db"}},
		{url: "sqlite:///app.db", want: target{SQLite, "app.db"}},
		{url: "sqlite:////var/lib/app.db", want: target{SQLite, "/var/lib/app.db"}},
		{url: "sqlite+aiosqlite:///./app.db", want: target{SQLite, "./app.db"}},
		{url: "sqlite:////a%20b/c?.db", err: "no parameters"},
		{url: "sqlite:////a%20b/c%3F.db", want: target{SQLite, "/a b/c?.db"}},
		{url: "sqlite://", want: target{SQLite, memory}},
		{url: "sqlite:///:memory:", want: target{SQLite, memory}},
		{url: "sqlite://:memory:", want: target{SQLite, memory}},
		{url: "sqlite://app.db", err: "three slashes"},
		{url: "sqlite:////a%zz", err: "bad escape"},
		{url: "mysql://u:secret@h/d", err: `unknown scheme "mysql"`},
		{url: "u:secret@h/d", err: "want postgresql"},
		{url: "", err: "want postgresql"},
	} {
		t.Run(test.url, func(t *testing.T) {
			t.Parallel()
			got, err := parseURL(test.url)
			if test.err != "" {
				require.ErrorContains(t, err, test.err)
				require.NotContains(t, err.Error(), "secret")
				return
			}
			require.NoError(t, err)
			require.Equal(t, test.want, got)
		})
	}
}

func FuzzParseURL(f *testing.F) {
	f.Add("postgresql://u:p%zz@h/d")
	f.Add("sqlite:////x%2Fy")
	f.Add("postgres://%")
	f.Fuzz(func(t *testing.T, raw string) {
		target, err := parseURL(raw)
		if err == nil {
			_, pool, err := target.dialector()
			if err == nil {
				pool.Close()
			}
		}
	})
}

func TestErrorsHoldNoPassword(t *testing.T) {
	t.Parallel()
	for _, url := range []string{
		"postgresql://user:hunter2@127.0.0.1:1/db",            // nobody listens
		"postgresql://user:hunter2@127.0.0.1:99999/db",        // no such port
		"postgresql://user:hunter2%zz@127.0.0.1/db",           // bad escape
		"postgresql://user:hunter2#x@127.0.0.1/db",            // unescaped '#'
		"postgresql://user:hunter2@127.0.0.1/db?sslmode=what", // bad parameter
		"oracle://user:hunter2@h/db",
	} {
		db, err := Open(url, Options{})
		if err == nil {
			err = db.Ping(t.Context())
			require.NoError(t, db.Close())
		}
		require.Error(t, err, url)
		require.NotContains(t, err.Error(), "hunter2", url)
	}
}

func TestOpenDoesNotDial(t *testing.T) {
	t.Parallel()
	open(t, "postgresql://nobody@127.0.0.1:1/none")
	path := filepath.Join(t.TempDir(), "sub", "app.db")
	db := open(t, "sqlite:///"+path)
	require.NoFileExists(t, path)
	require.NoError(t, db.Ping(t.Context()))
	require.FileExists(t, path)
}

func TestSQLiteFilesArePrivate(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "made", "for it")
	db := migrated(t, "sqlite:///"+strings.ReplaceAll(filepath.Join(dir, "a?b.db"), "?", "%3F"))
	for name, mode := range map[string]fs.FileMode{".": 0o700, "..": 0o700, "a?b.db": 0o600, "a?b.db-wal": 0o600} {
		info, err := os.Stat(filepath.Join(dir, name))
		require.NoError(t, err)
		require.Equal(t, mode, info.Mode().Perm(), name)
	}
	require.Equal(t, []string{"wal"}, column(t, db, "PRAGMA journal_mode"))
	require.Equal(t, []string{"2"}, column(t, db, "PRAGMA synchronous")) // FULL
}

func TestSQLiteInMemory(t *testing.T) {
	t.Parallel()
	db := migrated(t, "sqlite://:memory:")
	require.Equal(t, []string{"0"}, column(t, db, "SELECT count(*) FROM usage_logs"))
}

func TestMigrate(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, db *DB) {
		all := []string{"00001_usage_logs.sql", "00002_specialists.sql"}
		pending, err := db.Pending(t.Context())
		require.NoError(t, err)
		require.Equal(t, all, pending)

		applied, err := db.Migrate(t.Context())
		require.NoError(t, err)
		var names []string
		for _, a := range applied {
			names = append(names, a.Name)
			require.Positive(t, a.Duration)
		}
		require.Equal(t, all, names)

		pending, err = db.Pending(t.Context())
		require.NoError(t, err)
		require.Empty(t, pending)
		applied, err = db.Migrate(t.Context())
		require.NoError(t, err)
		require.Empty(t, applied)
	})
}

func TestMigrationsCanBeUndone(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, db *DB) {
		_, err := db.Migrate(t.Context())
		require.NoError(t, err)
		provider, err := db.migrator()
		require.NoError(t, err)
		_, err = provider.DownTo(t.Context(), 0)
		require.NoError(t, err)
		_, err = db.Migrate(t.Context())
		require.NoError(t, err)
	})
}

// Every migration must bound its waits for locks: one that waits for a forgotten
// session stops all traffic on the table behind it.
func TestPostgresMigrationsBoundTheirWaits(t *testing.T) {
	t.Parallel()
	files, err := fs.Glob(migrations, "migrations/postgres/*.sql")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		text, err := migrations.ReadFile(file)
		require.NoError(t, err)
		for _, section := range strings.Split(string(text), "-- +goose ")[1:] {
			require.Contains(t, section, "SET LOCAL lock_timeout = ", file)
			require.Contains(t, section, "SET LOCAL statement_timeout = ", file)
		}
		require.NotContains(t, string(text), "NO TRANSACTION", file)
	}
	sqlite, err := fs.Glob(migrations, "migrations/sqlite/*.sql")
	require.NoError(t, err)
	require.Len(t, sqlite, len(files), "both dialects have the same migrations")
}

func TestReplicasMigrateOnce(t *testing.T) {
	t.Parallel()
	url := testenv.Postgres(t)
	var (
		wg    sync.WaitGroup
		mu    sync.Mutex
		total int
	)
	for range 4 {
		db := open(t, url)
		wg.Go(func() {
			applied, err := db.Migrate(t.Context())
			mu.Lock()
			defer mu.Unlock()
			total += len(applied)
			if err != nil {
				t.Errorf("migrate: %v", err)
			}
		})
	}
	wg.Wait()
	require.Equal(t, 2, total)
}

func TestMigrateGivesUpWhenAnotherHoldsTheLock(t *testing.T) {
	t.Parallel()
	db := open(t, testenv.Postgres(t))
	held := &migrationLock{}
	require.NoError(t, held.Lock(t.Context(), db.pool))
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	_, err := db.Migrate(ctx)
	require.ErrorContains(t, err, "another process is migrating")
	require.NoError(t, held.Unlock(t.Context(), db.pool))
	_, err = db.Migrate(t.Context())
	require.NoError(t, err)
	require.Zero(t, db.pool.Stats().InUse)
}

// usageRecord is a record with the fields that matter to the database.
func usageRecord(n int, at time.Time, more string) string {
	record := fmt.Sprintf(`{"id":"0193a5b0-0000-7000-8000-%012d","timestamp":%q`, n, at.UTC().Format("2006-01-02T15:04:05.000000Z"))
	for name, value := range map[string]string{"user_hash": "u", "model": "m", "usage_source": "provider"} {
		if !strings.Contains(more, `"`+name+`"`) {
			record += fmt.Sprintf(`,%q:%q`, name, value)
		}
	}
	return record + more + "}"
}

func array(records ...string) []byte { return []byte("[" + strings.Join(records, ",") + "]") }

var day = time.Date(2026, 11, 22, 10, 30, 0, 123456000, time.UTC)

func TestInsertUsage(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, db *DB) {
		ctx := t.Context()
		_, err := db.InsertUsage(ctx, array(usageRecord(1, day, "")))
		require.Error(t, err)
		require.NotErrorIs(t, err, ErrBadRecord, "a missing table is not the record's fault")
		_, err = db.Migrate(ctx)
		require.NoError(t, err)

		n, err := db.InsertUsage(ctx, array(usageRecord(1, day, ""), usageRecord(2, day, `,"cost_picodollars":9223372036854775807`)))
		require.NoError(t, err)
		require.EqualValues(t, 2, n)
		n, err = db.InsertUsage(ctx, array(usageRecord(2, day, ""), usageRecord(3, day, "")))
		require.NoError(t, err)
		require.EqualValues(t, 1, n, "a record that is there already changes nothing")

		cost := `SELECT estimated_cost_usd FROM usage_logs WHERE id = ?`
		want := "9223372.036854775807"
		if db.dialect == SQLite {
			cost, want = `SELECT printf('%.3f', estimated_cost_usd) FROM usage_logs WHERE id = ?`, "9223372.037"
		}
		require.Equal(t, []string{want}, column(t, db, cost, "0193a5b0-0000-7000-8000-000000000002"))
	})
}

func TestBadRecordsAreRefusedWhole(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, db *DB) {
		ctx := t.Context()
		_, err := db.Migrate(ctx)
		require.NoError(t, err)
		good := usageRecord(1, day, "")
		for name, bad := range map[string]string{
			"text for a number": usageRecord(2, day, `,"input_tokens":"many"`),
			"no id":             `{"timestamp":"2026-11-22T10:30:00.000000Z"}`,
			"no timestamp":      `{"id":"0193a5b0-0000-7000-8000-000000000009"}`,
			"unknown source":    usageRecord(2, day, `,"usage_source":"guess"`),
			"not JSON":          `{"id":`,
		} {
			_, err := db.InsertUsage(ctx, array(good, bad))
			require.ErrorIs(t, err, ErrBadRecord, name)
		}
		require.Equal(t, []string{"0"}, column(t, db, "SELECT count(*) FROM usage_logs"))

		require.NoError(t, db.RejectUsage(ctx, []byte("{\"a\":\"\x00\xff\"}"), "because\x00"))
		require.Equal(t, []string{"{\"a\":\"��\"}"}, column(t, db, "SELECT record FROM usage_rejected WHERE error = ?", "because�"))
	})
}

func TestOutagesAreNotTheRecordsFault(t *testing.T) {
	t.Parallel()
	server := testenv.PostgresServer(t)
	db := migrated(t, server.URL())
	server.Stop()
	_, err := db.InsertUsage(t.Context(), array(usageRecord(1, day, "")))
	require.Error(t, err)
	require.NotErrorIs(t, err, ErrBadRecord)
	require.Error(t, db.Ping(t.Context()))
	server.Start()
	require.Eventually(t, func() bool {
		_, err := db.InsertUsage(t.Context(), array(usageRecord(1, day, "")))
		return err == nil
	}, 10*time.Second, 20*time.Millisecond)
}

func TestListUsage(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, db *DB) {
		ctx := t.Context()
		_, err := db.Migrate(ctx)
		require.NoError(t, err)
		_, err = db.InsertUsage(ctx, array(
			usageRecord(1, day, `,"stream":true,"ttft_ms":7,"cost_picodollars":7500000000,"reported_cost_usd":"0.0000113"`),
			usageRecord(2, day, `,"user_hash":"other","specialist_id":"s"`),
			usageRecord(3, day.Add(time.Microsecond), `,"model":"n"`),
		))
		require.NoError(t, err)
		list := func(f UsageFilter) []string {
			if f.Limit == 0 {
				f.Limit = 10
			}
			rows, err := db.ListUsage(ctx, f)
			require.NoError(t, err)
			return rows
		}
		ids := func(f UsageFilter) (ids string) {
			for _, row := range list(f) {
				_, after, found := strings.Cut(row, "-7000-8000-00000000000")
				require.True(t, found, row)
				ids += after[:1]
			}
			return ids
		}
		require.Equal(t, "321", ids(UsageFilter{}))
		require.Equal(t, "32", ids(UsageFilter{Limit: 2}))
		require.Equal(t, "31", ids(UsageFilter{UserHash: "u"}))
		require.Equal(t, "2", ids(UsageFilter{SpecialistID: "s"}))
		require.Equal(t, "3", ids(UsageFilter{Model: "n"}))
		require.Equal(t, "21", ids(UsageFilter{To: day.Add(time.Microsecond)}))
		require.Equal(t, "3", ids(UsageFilter{From: day.Add(time.Microsecond)}))
		require.Equal(t, "1", ids(UsageFilter{BeforeTime: day, BeforeID: "0193a5b0-0000-7000-8000-000000000002"}))
		require.Empty(t, ids(UsageFilter{UserHash: "' OR true --"}))

		require.JSONEq(t, `{"id":"0193a5b0-0000-7000-8000-000000000001","timestamp":"2026-11-22T10:30:00.123456Z",
			"request_id":"","user_hash":"u","user_email_hash":"","token_id":null,"specialist_id":"","specialist_name":"",
			"provider":"","model":"m","response_model":"","dialect":"","stream":true,"input_tokens":0,"output_tokens":0,
			"cached_tokens":0,"cache_write_tokens":0,"cache_write_1h_tokens":0,"reasoning_tokens":0,"audio_input_tokens":0,
			"audio_output_tokens":0,"image_input_tokens":0,"image_output_tokens":0,"usage_source":"provider",
			"cost_picodollars":7500000000,"priced":false,"price_version":"","reported_cost_usd":`+reported(db)+`,"latency_ms":0,
			"ttft_ms":7,"attempt":1,"upstream_status":0,"status":0,"success":false,"finish_reason":"","error_cause":"",
			"run_id":null,"step":null}`, list(UsageFilter{Model: "m", UserHash: "u"})[0])
	})
}

func reported(db *DB) string {
	if db.dialect == Postgres {
		return `"0.000011300000"`
	}
	return `"0.0000113"`
}

func TestUsagePartitions(t *testing.T) {
	t.Parallel()
	db := migrated(t, testenv.Postgres(t))
	ctx := t.Context()
	now := time.Now().UTC()
	partitionOf := func(n int) string {
		return strings.Join(column(t, db, "SELECT tableoid::regclass FROM usage_logs WHERE id = ?", fmt.Sprintf("0193a5b0-0000-7000-8000-%012d", n)), " ")
	}
	insert := func(n int, at time.Time) {
		_, err := db.InsertUsage(ctx, array(usageRecord(n, at, "")))
		require.NoError(t, err)
	}

	firstOfMonth := time.Date(now.Year(), now.Month(), 1, 0, 0, 0, 0, time.UTC)
	insert(1, firstOfMonth)
	insert(2, firstOfMonth.AddDate(0, 3, 0).Add(-time.Microsecond))
	insert(3, firstOfMonth.AddDate(0, 3, 0)) // no month covers it yet
	require.Equal(t, firstOfMonth.Format("usage_logs_2006_01"), partitionOf(1))
	require.Equal(t, firstOfMonth.AddDate(0, 2, 0).Format("usage_logs_2006_01"), partitionOf(2))
	require.Equal(t, "usage_logs_default", partitionOf(3))

	// A month later, at the last day: months have different lengths.
	later := firstOfMonth.AddDate(0, 2, -1)
	require.NoError(t, db.EnsurePartitions(ctx, later))
	require.Equal(t, firstOfMonth.AddDate(0, 3, 0).Format("usage_logs_2006_01"), partitionOf(3))
	insert(3, firstOfMonth.AddDate(0, 3, 0)) // still the same record
	require.Equal(t, []string{"3"}, column(t, db, "SELECT count(*) FROM usage_logs"))
	require.NoError(t, db.EnsurePartitions(ctx, later))
}

func TestPartitionsWaitForNoForgottenSession(t *testing.T) {
	t.Parallel()
	url := testenv.Postgres(t)
	db := migrated(t, url)
	forgotten, err := pgx.Connect(t.Context(), url)
	require.NoError(t, err)
	defer forgotten.Close(context.WithoutCancel(t.Context()))
	_, err = forgotten.Exec(t.Context(), "BEGIN; SELECT * FROM usage_logs_default")
	require.NoError(t, err)

	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond) // shorter than its own lock_timeout
	defer cancel()
	next := time.Now().AddDate(0, 1, 0)
	require.Error(t, db.EnsurePartitions(ctx, next))
	_, err = db.InsertUsage(t.Context(), array(usageRecord(1, next.AddDate(1, 0, 0), "")))
	require.NoError(t, err, "rows go on landing in the default partition")

	_, err = forgotten.Exec(t.Context(), "ROLLBACK")
	require.NoError(t, err)
	require.NoError(t, db.EnsurePartitions(t.Context(), next))
}

func TestEnsurePartitionsInReplicas(t *testing.T) {
	t.Parallel()
	db := migrated(t, testenv.Postgres(t))
	later := time.Now().AddDate(1, 0, 0)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if err := db.EnsurePartitions(t.Context(), later); err != nil {
				t.Errorf("ensure partitions: %v", err)
			}
		})
	}
	wg.Wait()
}

func TestIsUnique(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, db *DB) {
		require.NoError(t, db.gorm.Exec("CREATE TABLE x (a int PRIMARY KEY, b int UNIQUE, c int CHECK (c > 0))").Error)
		require.NoError(t, db.gorm.Exec("INSERT INTO x VALUES (1, 1, 1)").Error)
		require.True(t, IsUnique(db.gorm.Exec("INSERT INTO x VALUES (1, 2, 1)").Error))
		require.True(t, IsUnique(db.gorm.Exec("INSERT INTO x VALUES (2, 1, 1)").Error))
		require.False(t, IsUnique(db.gorm.Exec("INSERT INTO x VALUES (2, 2, 0)").Error))
		require.False(t, IsUnique(nil))
	})
}

func TestSpecialists(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, db *DB) {
		ctx := t.Context()
		_, err := db.Migrate(ctx)
		require.NoError(t, err)
		empty, err := db.SpecialistsRevision(ctx)
		require.NoError(t, err)

		want := Specialist{
			ID: "a", Name: "A", Description: "d", Provider: "openai", Model: "gpt-4o", SystemPrompt: "p",
			Temperature: new(0.3), MaxTokens: 4096, Pinned: true, InputPer1M: new("0.1"), Fallbacks: "[]",
			Aliases: `["x"]`, PromptHistory: "[]", Version: 1, CreatedAt: day, UpdatedAt: day,
		}
		plain := Specialist{ID: "b", Name: "B", Fallbacks: "[]", Aliases: "[]", PromptHistory: "[]", Version: 1}
		seeded, err := db.SeedSpecialists(ctx, []Specialist{want, plain})
		require.NoError(t, err)
		require.True(t, seeded)

		all, err := db.ListSpecialists(ctx)
		require.NoError(t, err)
		require.Len(t, all, 2)
		all[0].CreatedAt, all[0].UpdatedAt = all[0].CreatedAt.UTC(), all[0].UpdatedAt.UTC()
		require.Equal(t, want, all[0])
		require.Nil(t, all[1].Temperature)
		require.Nil(t, all[1].InputPer1M)
		require.WithinDuration(t, time.Now(), all[1].CreatedAt, time.Minute)

		one, err := db.Specialist(ctx, "a")
		require.NoError(t, err)
		require.Equal(t, "gpt-4o", one.Model)
		_, err = db.Specialist(ctx, "none")
		require.ErrorIs(t, err, ErrNotFound)

		filled, err := db.SpecialistsRevision(ctx)
		require.NoError(t, err)
		require.NotEqual(t, empty, filled)
		require.NoError(t, db.gorm.Exec("DELETE FROM specialists").Error)
		seeded, err = db.SeedSpecialists(ctx, []Specialist{want})
		require.NoError(t, err)
		require.False(t, seeded, "what was deleted stays deleted")
	})
}

// A PgBouncer in transaction mode hands each statement to another connection, so
// statements cannot be prepared; these modes of pgx do without.
func TestPostgresWithoutPreparedStatements(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"exec", "simple_protocol"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			db := migrated(t, testenv.Postgres(t)+"&default_query_exec_mode="+mode)
			n, err := db.InsertUsage(t.Context(), array(usageRecord(1, day, `,"request_id":"it's"`)))
			require.NoError(t, err)
			require.EqualValues(t, 1, n)
			rows, err := db.ListUsage(t.Context(), UsageFilter{From: day, BeforeTime: day.Add(1), BeforeID: "0193a5b0-0000-7000-8000-000000000009", Limit: 5})
			require.NoError(t, err)
			require.Len(t, rows, 1)
			require.NoError(t, db.RejectUsage(t.Context(), []byte("x"), "y"))
			_, err = db.SeedSpecialists(t.Context(), []Specialist{{ID: "a", Name: "A"}})
			require.NoError(t, err)
		})
	}
}

// The newest page must come from an index, whichever filter is on.
func TestListUsageNeedsNoSort(t *testing.T) {
	t.Parallel()
	db := migrated(t, testenv.Postgres(t))
	require.NoError(t, db.gorm.Exec(`INSERT INTO usage_logs
		(id, "timestamp", request_id, user_hash, user_email_hash, specialist_id, specialist_name, provider, model, response_model, dialect,
		stream, input_tokens, output_tokens, cached_tokens, cache_write_tokens, cache_write_1h_tokens, reasoning_tokens, audio_input_tokens,
		audio_output_tokens, image_input_tokens, image_output_tokens, usage_source, cost_picodollars, priced, price_version, latency_ms,
		attempt, upstream_status, status, success, finish_reason, error_cause)
		SELECT gen_random_uuid(), now() - n * interval '1 second', '', 'u' || n % 100, '', '', '', '', '', '', '', false, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
		'provider', 0, true, '', 0, 1, 0, 0, true, '', '' FROM generate_series(1, 20000) n`).Error)
	require.NoError(t, db.gorm.Exec("ANALYZE usage_logs").Error)
	for _, where := range []string{"true", "user_hash = 'u1'"} {
		plan := strings.Join(column(t, db, `EXPLAIN SELECT * FROM usage_logs WHERE `+where+` ORDER BY "timestamp" DESC, id DESC LIMIT 50`), "\n")
		require.NotContains(t, plan, "Seq Scan on usage_logs_20", where)
	}
}
