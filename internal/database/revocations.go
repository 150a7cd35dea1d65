package database

import (
	"context"
	"fmt"
	"strings"
	"time"

	"gorm.io/gorm"
)

// Revocation is a row of the table revocations: tokens that are no longer good
// although they have not expired.
type Revocation struct {
	Kind         string    `gorm:"primaryKey"` // token, session or user
	Value        string    `gorm:"primaryKey"`
	IssuedBefore time.Time // tokens issued later are good
	ChangedAt    time.Time // by the database's clock, which all replicas share; set by [DB.UpsertRevocations]
	ExpiresAt    time.Time
	Reason       string
}

// UpsertRevocations writes all of the rows or none. Where there is one of the
// same kind and value, the later IssuedBefore and ExpiresAt stay: a revocation is
// never taken back. No two of the rows may have the same kind and value.
func (db *DB) UpsertRevocations(ctx context.Context, rows []Revocation) error {
	if len(rows) == 0 {
		return nil
	}
	if err := upsertRevocations(db.gorm.WithContext(ctx), db.dialect, rows); err != nil {
		return fmt.Errorf("write revocations: %w", err)
	}
	return nil
}

// upsertRevocations reads the clock again when it changes a row: it may have
// waited for another writer of that row for long.
func upsertRevocations(tx *gorm.DB, dialect Dialect, rows []Revocation) error {
	now, later := "clock_timestamp()", "greatest"
	if dialect == SQLite {
		// The machine's clock is the database's, and this is how times are kept.
		now, later = "'"+stored(time.Now()).Format("2006-01-02 15:04:05.999999-07:00")+"'", "max"
	}
	values := make([]any, 0, 5*len(rows))
	for _, row := range rows {
		values = append(values, row.Kind, row.Value, stored(row.IssuedBefore), stored(row.ExpiresAt), row.Reason)
	}
	one := "(?, ?, ?, " + now + ", ?, ?)"
	return tx.Exec("INSERT INTO revocations (kind, value, issued_before, changed_at, expires_at, reason) VALUES "+
		strings.Repeat(one+", ", len(rows)-1)+one+
		" ON CONFLICT (kind, value) DO UPDATE SET"+
		" issued_before = "+later+"(revocations.issued_before, excluded.issued_before),"+
		" expires_at = "+later+"(revocations.expires_at, excluded.expires_at),"+
		" changed_at = "+now+", reason = excluded.reason", values...).Error
}

// ListRevocations gives the rows that were changed after a time of the
// database's clock; all of them for the zero time.
func (db *DB) ListRevocations(ctx context.Context, changedAfter time.Time) ([]Revocation, error) {
	query := db.gorm.WithContext(ctx)
	if !changedAfter.IsZero() {
		query = query.Where("changed_at > ?", stored(changedAfter))
	}
	var rows []Revocation
	if err := query.Find(&rows).Error; err != nil {
		return nil, fmt.Errorf("list revocations: %w", err)
	}
	for i := range rows {
		row := &rows[i]
		row.IssuedBefore, row.ChangedAt, row.ExpiresAt = row.IssuedBefore.UTC(), row.ChangedAt.UTC(), row.ExpiresAt.UTC()
	}
	return rows, nil
}

// DeleteExpiredRevocations deletes at most limit of the rows that have expired
// at the time of now, and says how many. Replicas that do so at once take
// different ones.
func (db *DB) DeleteExpiredRevocations(ctx context.Context, now time.Time, limit int) (deleted int64, err error) {
	lock := ""
	if db.dialect == Postgres {
		lock = " FOR UPDATE SKIP LOCKED"
	}
	result := db.gorm.WithContext(ctx).Exec("DELETE FROM revocations WHERE (kind, value) IN "+
		"(SELECT kind, value FROM revocations WHERE expires_at <= ? ORDER BY expires_at LIMIT ?"+lock+")", stored(now), limit)
	if result.Error != nil {
		return 0, fmt.Errorf("delete expired revocations: %w", result.Error)
	}
	return result.RowsAffected, nil
}
