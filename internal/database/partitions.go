package database

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"gorm.io/gorm"
)

// monthsAhead is how many months have their partition before they begin, so that
// a gateway that does not restart, or whose account loses the right to create
// tables, has two months until rows go to the default partition.
const monthsAhead = 2

// EnsurePartitions makes the partitions of usage_logs for the month of now and
// those after it. Rows of such a month that are in the default partition, because
// it was late, move to the new one. On error, of a lock that was not to be had
// within five seconds for instance, everything stays as it was: rows go on
// landing in the default partition, and the next call tries again. It does
// nothing in SQLite.
func (db *DB) EnsurePartitions(ctx context.Context, now time.Time) error {
	if db.dialect != Postgres {
		return nil
	}
	now = now.UTC()
	var errs []error
	for ahead := range monthsAhead + 1 {
		month := time.Date(now.Year(), now.Month()+time.Month(ahead), 1, 0, 0, 0, 0, time.UTC)
		if err := db.ensureMonth(ctx, month); err != nil {
			errs = append(errs, fmt.Errorf("create partition %s: %w", partitionName(month), err))
		}
	}
	return errors.Join(errs...)
}

func partitionName(month time.Time) string { return month.Format("usage_logs_2006_01") }

func (db *DB) ensureMonth(ctx context.Context, month time.Time) error {
	if exists, err := hasTable(db.gorm.WithContext(ctx), partitionName(month)); err != nil || exists {
		return err
	}
	return db.gorm.WithContext(ctx).Transaction(func(tx *gorm.DB) error {
		// Replicas take turns here, while rows go on being inserted.
		if err := execAll(tx,
			"SET LOCAL lock_timeout = '5s'",
			"SET LOCAL statement_timeout = '60s'",
			"LOCK TABLE ONLY usage_logs IN SHARE UPDATE EXCLUSIVE MODE"); err != nil {
			return err
		}
		if exists, err := hasTable(tx, partitionName(month)); err != nil || exists {
			return err
		}
		return execAll(tx, createMonth(month)...)
	})
}

// createMonth makes the table beside usage_logs, fills it and only then attaches
// it: PARTITION OF would fail while the default partition has rows of the month,
// and would lock the whole of usage_logs against readers.
func createMonth(month time.Time) []string {
	name := partitionName(month)
	from, to := month.Format(time.RFC3339), month.AddDate(0, 1, 0).Format(time.RFC3339)
	columns := make([]string, len(usageColumns))
	for i, c := range usageColumns {
		columns[i] = quote(c.name)
	}
	list := strings.Join(columns, ", ")
	return []string{
		"LOCK TABLE usage_logs_default IN ACCESS EXCLUSIVE MODE",
		"CREATE TABLE " + name + " (LIKE usage_logs INCLUDING ALL)",
		fmt.Sprintf(`WITH moved AS (DELETE FROM usage_logs_default WHERE "timestamp" >= '%s' AND "timestamp" < '%s' RETURNING *)
			INSERT INTO %s (%s) SELECT %s FROM moved`, from, to, name, list, list),
		fmt.Sprintf("ALTER TABLE usage_logs ATTACH PARTITION %s FOR VALUES FROM ('%s') TO ('%s')", name, from, to),
	}
}

func hasTable(db *gorm.DB, name string) (bool, error) {
	var exists bool
	err := db.Raw("SELECT to_regclass(?) IS NOT NULL", name).Scan(&exists).Error
	return exists, err
}

func execAll(tx *gorm.DB, statements ...string) error {
	for _, s := range statements {
		if err := tx.Exec(s).Error; err != nil {
			return err
		}
	}
	return nil
}
