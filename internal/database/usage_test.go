package database

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/testenv"
)

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
			usageRecord(2, day, `,"user_hash":"other","specialist_id":"s","run_id":"r","step":"first"`),
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
		require.Equal(t, "2", ids(UsageFilter{RunID: "r"}))
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
			"ttft_ms":7,"attempt":0,"upstream_status":0,"status":0,"success":false,"finish_reason":"","error_cause":"",
			"run_id":null,"step":null}`, list(UsageFilter{Model: "m", UserHash: "u"})[0])
	})
}

func reported(db *DB) string {
	if db.dialect == Postgres {
		return `"0.000011300000"`
	}
	return `"0.0000113"`
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
