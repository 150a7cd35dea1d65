package database

import (
	"context"
	"fmt"
	"strings"
	"time"

	"gorm.io/gorm"
)

// A usageColumn is a column of usage_logs that records fill in.
type usageColumn struct {
	name    string
	kind    string // PostgreSQL's type
	missing string // what a record means that lacks the field; empty: NULL
}

// usageColumns are the columns of usage_logs in order. Records are JSON objects
// with these names, on the way in and on the way out.
var usageColumns = []usageColumn{
	{"id", "uuid", ""},
	{"timestamp", "timestamptz", ""},
	{"request_id", "text", "''"},
	{"user_hash", "text", "''"},
	{"user_email_hash", "text", "''"},
	{"token_id", "text", ""},
	{"specialist_id", "text", "''"},
	{"specialist_name", "text", "''"},
	{"provider", "text", "''"},
	{"model", "text", "''"},
	{"response_model", "text", "''"},
	{"dialect", "text", "''"},
	{"stream", "boolean", "false"},
	{"input_tokens", "bigint", "0"},
	{"output_tokens", "bigint", "0"},
	{"cached_tokens", "bigint", "0"},
	{"cache_write_tokens", "bigint", "0"},
	{"cache_write_1h_tokens", "bigint", "0"},
	{"reasoning_tokens", "bigint", "0"},
	{"audio_input_tokens", "bigint", "0"},
	{"audio_output_tokens", "bigint", "0"},
	{"image_input_tokens", "bigint", "0"},
	{"image_output_tokens", "bigint", "0"},
	{"usage_source", "text", "'estimated'"},
	{"cost_picodollars", "numeric", "0"},
	{"priced", "boolean", "false"},
	{"price_version", "text", "''"},
	{"reported_cost_usd", "numeric", ""},
	{"latency_ms", "bigint", "0"},
	{"ttft_ms", "bigint", ""},
	{"attempt", "integer", "0"},
	{"upstream_status", "integer", "0"},
	{"status", "integer", "0"},
	{"success", "boolean", "false"},
	{"finish_reason", "text", "''"},
	{"error_cause", "text", "''"},
	{"run_id", "text", ""},
	{"step", "text", ""},
}

// UsageColumns are the names of the fields of a usage record.
func UsageColumns() []string {
	names := make([]string, len(usageColumns))
	for i, c := range usageColumns {
		names[i] = c.name
	}
	return names
}

// InsertUsage inserts a batch of usage records, given as one JSON array of
// objects, and says how many were new: a record whose id is there already is
// left as it is. The batch is inserted whole or not at all. The JSON goes to the
// database as it is, which takes it apart itself: the gateway spends no time on
// decoding it. An error that is [ErrBadRecord] means that at least one record of
// the batch will never be taken.
func (db *DB) InsertUsage(ctx context.Context, records []byte) (inserted int64, err error) {
	statement := insertUsageSQLite
	if db.dialect == Postgres {
		statement = insertUsagePostgres
	}
	result := db.gorm.WithContext(ctx).Exec(statement, string(records))
	if err := result.Error; err != nil {
		if isBadData(err) || db.isMalformed(ctx, records) {
			return 0, fmt.Errorf("insert usage: %w: %w", ErrBadRecord, err)
		}
		return 0, fmt.Errorf("insert usage: %w", err)
	}
	return result.RowsAffected, nil
}

// isMalformed asks SQLite, which has no error code of its own for it, whether
// it could not read the JSON.
func (db *DB) isMalformed(ctx context.Context, records []byte) bool {
	if db.dialect != SQLite {
		return false
	}
	valid := true
	err := db.gorm.WithContext(ctx).Raw("SELECT json_valid(?)", string(records)).Scan(&valid).Error
	return err == nil && !valid
}

// RejectUsage keeps a record that [DB.InsertUsage] will never take, with the
// reason, for a person to look at.
func (db *DB) RejectUsage(ctx context.Context, record []byte, reason string) error {
	// PostgreSQL stores no NUL and no text that is not UTF-8.
	clean := func(s string) string { return strings.ReplaceAll(strings.ToValidUTF8(s, "�"), "\x00", "�") }
	err := db.gorm.WithContext(ctx).Exec("INSERT INTO usage_rejected (error, record) VALUES (?, ?)",
		clean(reason), clean(string(record))).Error
	if err != nil {
		return fmt.Errorf("reject usage record: %w", err)
	}
	return nil
}

// UsageFilter selects usage records; empty fields select all.
type UsageFilter struct {
	UserHash     string
	SpecialistID string
	Model        string
	RunID        string
	From, To     time.Time // From included, To not

	// BeforeTime and BeforeID, of the last record of a page, select what comes
	// after it; both or none.
	BeforeTime time.Time
	BeforeID   string

	Limit int
}

// ListUsage gives the selected records as JSON objects, newest first.
func (db *DB) ListUsage(ctx context.Context, filter UsageFilter) ([]string, error) {
	row := usageRowSQLite
	if db.dialect == Postgres {
		row = usageRowPostgres
	}
	query := db.selectUsage(ctx, filter).Select(row)
	if filter.BeforeID != "" {
		// The first condition follows from the second, but only by it does
		// PostgreSQL see which partitions it need not look into.
		before := db.timestamp(filter.BeforeTime)
		query = query.Where(`"timestamp" <= ? AND ("timestamp", id) < (?, ?)`, before, before, filter.BeforeID)
	}
	var rows []string
	if err := query.Order(`"timestamp" DESC, id DESC`).Limit(filter.Limit).Scan(&rows).Error; err != nil {
		return nil, fmt.Errorf("list usage: %w", err)
	}
	return rows, nil
}

// selectUsage begins a query of the selected records; it knows nothing of pages.
func (db *DB) selectUsage(ctx context.Context, filter UsageFilter) *gorm.DB {
	query := db.gorm.WithContext(ctx).Table("usage_logs")
	for _, equal := range []struct{ column, value string }{
		{"user_hash", filter.UserHash},
		{"specialist_id", filter.SpecialistID},
		{"model", filter.Model},
		{"run_id", filter.RunID},
	} {
		if equal.value != "" {
			query = query.Where(equal.column+" = ?", equal.value)
		}
	}
	if !filter.From.IsZero() {
		query = query.Where(`"timestamp" >= ?`, db.timestamp(filter.From))
	}
	if !filter.To.IsZero() {
		query = query.Where(`"timestamp" < ?`, db.timestamp(filter.To))
	}
	return query
}

// timestamp is t as the column usage_logs.timestamp has it.
func (db *DB) timestamp(t time.Time) any {
	if db.dialect == Postgres {
		return t
	}
	return t.UTC().Format("2006-01-02T15:04:05.000000Z")
}

// The statements are made of usageColumns once.
var (
	insertUsagePostgres = buildInsertPostgres()
	insertUsageSQLite   = buildInsertSQLite()
	usageRowPostgres    = buildRow("jsonb_build_object", func(c usageColumn) string {
		switch {
		case c.kind == "timestamptz":
			return `to_char("timestamp" AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')`
		case c.name == "reported_cost_usd":
			return "reported_cost_usd::text" // exact: a JSON number might become a float
		default:
			return quote(c.name)
		}
	})
	usageRowSQLite = buildRow("json_object", func(c usageColumn) string {
		if c.kind == "boolean" {
			return "json(iif(" + c.name + ", 'true', 'false'))"
		}
		return quote(c.name)
	})
)

func buildInsertPostgres() string {
	columns := make([]string, 0, len(usageColumns))
	values := make([]string, 0, len(usageColumns))
	types := make([]string, 0, len(usageColumns))
	for _, c := range usageColumns {
		columns = append(columns, quote(c.name))
		values = append(values, orMissing(c, quote(c.name)))
		types = append(types, quote(c.name)+" "+c.kind)
	}
	return "INSERT INTO usage_logs (" + strings.Join(columns, ", ") + ") SELECT " + strings.Join(values, ", ") +
		" FROM jsonb_to_recordset(CAST(? AS jsonb)) AS record (" + strings.Join(types, ", ") + ") ON CONFLICT DO NOTHING"
}

// buildInsertSQLite avoids INSERT OR IGNORE, which would skip a record that
// breaks a constraint as silently as one that is there already. The LIMIT, which
// limits nothing, keeps SQLite from merging the inner query into the outer, where
// it would write each record out as text again for every column (measured: 55
// instead of 30 µs of processor time per row).
func buildInsertSQLite() string {
	columns := make([]string, 0, len(usageColumns))
	values := make([]string, 0, len(usageColumns))
	for _, c := range usageColumns {
		columns = append(columns, quote(c.name))
		values = append(values, orMissing(c, "json_extract(value, '$."+c.name+"')"))
	}
	return "INSERT INTO usage_logs (" + strings.Join(columns, ", ") + ") SELECT " + strings.Join(values, ", ") +
		" FROM (SELECT value FROM json_each(?) LIMIT -1) WHERE true ON CONFLICT (id) DO NOTHING"
}

func buildRow(object string, value func(usageColumn) string) string {
	fields := make([]string, 0, len(usageColumns))
	for _, c := range usageColumns {
		fields = append(fields, "'"+c.name+"', "+value(c))
	}
	return object + "(" + strings.Join(fields, ", ") + ")"
}

func orMissing(c usageColumn, value string) string {
	if c.missing == "" {
		return value
	}
	return "coalesce(" + value + ", " + c.missing + ")"
}

func quote(name string) string { return `"` + name + `"` }
