package database

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"
)

// PortalUser is a row of the table portal_users.
type PortalUser struct {
	UserHash    string    `gorm:"primaryKey"`
	Provider    string    // how they last signed in; "" when they never did, and were blocked only
	CreatedAt   time.Time `gorm:"autoCreateTime:false"`
	LastLoginAt time.Time
	BlockedAt   *time.Time // nil: may sign in
}

// ErrBlocked says that a user is blocked.
var ErrBlocked = errors.New("the user is blocked")

// ListUsers gives at most limit users by their hash: those with hashes after the
// given one, "" for the first.
func (db *DB) ListUsers(ctx context.Context, after string, limit int) ([]PortalUser, error) {
	var users []PortalUser
	err := db.gorm.WithContext(ctx).Where("user_hash > ?", after).Order("user_hash").Limit(limit).Find(&users).Error
	if err != nil {
		return nil, fmt.Errorf("list users: %w", err)
	}
	for i := range users {
		u := &users[i]
		u.CreatedAt, u.LastLoginAt, u.BlockedAt = u.CreatedAt.UTC(), u.LastLoginAt.UTC(), utc(u.BlockedAt)
	}
	return users, nil
}

// ListBlockedUsers gives the hashes of all users that are blocked.
func (db *DB) ListBlockedUsers(ctx context.Context) ([]string, error) {
	var users []string
	err := db.gorm.WithContext(ctx).Model(&PortalUser{}).Where("blocked_at IS NOT NULL").Pluck("user_hash", &users).Error
	if err != nil {
		return nil, fmt.Errorf("list blocked users: %w", err)
	}
	return users, nil
}

// UserBlocked tells whether an admin has blocked a user.
func (db *DB) UserBlocked(ctx context.Context, user string) (bool, error) {
	var blocked int64
	err := db.gorm.WithContext(ctx).Model(&PortalUser{}).Where("user_hash = ? AND blocked_at IS NOT NULL", user).Count(&blocked).Error
	if err != nil {
		return false, fmt.Errorf("look whether a user is blocked: %w", err)
	}
	return blocked > 0, nil
}

// BlockUser marks a user as blocked, and revokes what they have: log-ins and API
// tokens. A user who never signed in can be blocked as well: another issuer's
// tokens may name them.
func (db *DB) BlockUser(ctx context.Context, user string, now time.Time, audit AuditEntry) error {
	now = stored(now)
	err := db.changeUser(ctx, user, func(tx *gorm.DB, before *PortalUser) error {
		if before == nil {
			before = &PortalUser{UserHash: user, CreatedAt: now, LastLoginAt: now}
			// Somebody who signs in for the first time meanwhile makes the row.
			if err := tx.Clauses(clause.OnConflict{DoNothing: true}).Create(before).Error; err != nil {
				return err
			}
		}
		for _, statement := range []string{
			"UPDATE portal_users SET blocked_at = ? WHERE user_hash = ? AND blocked_at IS NULL",
			"UPDATE login_sessions SET revoked_at = ?, revoked_reason = 'blocked' WHERE user_hash = ? AND revoked_at IS NULL",
			"UPDATE api_tokens SET revoked_at = ? WHERE user_hash = ? AND revoked_at IS NULL",
		} {
			if err := tx.Exec(statement, now, user).Error; err != nil {
				return err
			}
		}
		audit.Before, audit.After = blockedJSON(before.BlockedAt != nil), blockedJSON(true)
		return insertAudit(tx, audit)
	})
	if err != nil {
		return fmt.Errorf("block user: %w", err)
	}
	return nil
}

// UnblockUser lets a user sign in again. What blocking revoked stays revoked.
// [ErrNotFound] when nobody of that hash is known.
func (db *DB) UnblockUser(ctx context.Context, user string, audit AuditEntry) error {
	err := db.changeUser(ctx, user, func(tx *gorm.DB, before *PortalUser) error {
		if before == nil {
			return ErrNotFound
		}
		if err := tx.Exec("UPDATE portal_users SET blocked_at = NULL WHERE user_hash = ?", user).Error; err != nil {
			return err
		}
		audit.Before, audit.After = blockedJSON(before.BlockedAt != nil), blockedJSON(false)
		return insertAudit(tx, audit)
	})
	if err != nil {
		return fmt.Errorf("unblock user: %w", err)
	}
	return nil
}

// DeleteUser deletes a user, everything that belongs to the user's sign-in (log-ins,
// codes under way and API tokens) and their runs of pipelines. The audit log says so
// even when there was nothing, since the user may have come with another issuer's
// tokens.
func (db *DB) DeleteUser(ctx context.Context, user string, audit AuditEntry) error {
	err := db.changeUser(ctx, user, func(tx *gorm.DB, before *PortalUser) error {
		for _, statement := range []string{
			"DELETE FROM portal_users WHERE user_hash = ?", // first: whoever signs in waits for this row
			"DELETE FROM login_sessions WHERE user_hash = ?",
			"DELETE FROM login_codes WHERE email_hash = ?",
			"DELETE FROM api_tokens WHERE user_hash = ?",
		} {
			if err := tx.Exec(statement, user).Error; err != nil {
				return err
			}
		}
		if err := db.deleteRunsOf(tx, user); err != nil {
			return err
		}
		audit.Before, audit.After = blockedJSON(before != nil && before.BlockedAt != nil), ""
		return insertAudit(tx, audit)
	})
	if err != nil {
		return fmt.Errorf("delete user: %w", err)
	}
	return nil
}

// changeUser runs a change that nobody else makes to the same user meanwhile;
// before is nil when there is no such user.
func (db *DB) changeUser(ctx context.Context, user string, change func(tx *gorm.DB, before *PortalUser) error) error {
	return db.gorm.WithContext(ctx).Transaction(func(tx *gorm.DB) error {
		if err := db.lockUser(tx, user); err != nil {
			return err
		}
		var before PortalUser
		err := tx.Where("user_hash = ?", user).Take(&before).Error
		if errors.Is(err, gorm.ErrRecordNotFound) {
			return change(tx, nil)
		}
		if err != nil {
			return err
		}
		return change(tx, &before)
	})
}

// lockUser keeps others from changing what the user has until the transaction
// ends, also where the user has no row to lock. SQLite has one writer anyway.
func (db *DB) lockUser(tx *gorm.DB, user string) error {
	if db.dialect != Postgres {
		return nil
	}
	return tx.Exec("SELECT pg_advisory_xact_lock(hashtextextended(?, 0))", "tollgate user "+user).Error
}

func blockedJSON(blocked bool) string {
	text, _ := json.Marshal(map[string]bool{"blocked": blocked}) // a bool has a text
	return string(text)
}

// utc is a time that may be missing, in UTC.
func utc(t *time.Time) *time.Time {
	if t == nil {
		return nil
	}
	return new(t.UTC())
}
