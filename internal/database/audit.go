package database

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"gorm.io/gorm"
)

// AuditEntry is a row of the table audit_log: one write of an admin.
type AuditEntry struct {
	ID        string    `gorm:"primaryKey"` // UUIDv7; made when empty
	Timestamp time.Time // now, when zero
	ActorHash string    // who: the admin's user hash, "" for the operator at the command line
	Action    string    // "specialist.update", "user.block", …
	Object    string    // the id of what was changed
	Before    string    // JSON of what it was; "" when it did not exist
	After     string    // JSON of what it is; "" when it no longer exists
	RequestID string
}

// TableName implements gorm's Tabler.
func (AuditEntry) TableName() string { return "audit_log" }

// insertAudit writes an entry in the transaction of the change it tells of, so
// that there is never one without the other.
func insertAudit(tx *gorm.DB, e AuditEntry) error {
	if e.ID == "" {
		e.ID = uuid.Must(uuid.NewV7()).String()
	}
	e.Timestamp = stored(cmp.Or(e.Timestamp, tx.NowFunc()))
	if err := tx.Create(&e).Error; err != nil {
		return fmt.Errorf("write audit entry: %w", err)
	}
	return nil
}

// ListAudit gives at most limit entries, newest first: those with ids before
// the given one, "" for the newest.
func (db *DB) ListAudit(ctx context.Context, before string, limit int) ([]AuditEntry, error) {
	query := db.gorm.WithContext(ctx).Order("id DESC").Limit(limit)
	if before != "" {
		query = query.Where("id < ?", before)
	}
	var entries []AuditEntry
	if err := query.Find(&entries).Error; err != nil {
		return nil, fmt.Errorf("list audit entries: %w", err)
	}
	return entries, nil
}
