package database

import (
	"context"
	"errors"
	"fmt"
	"time"

	"gorm.io/gorm"
)

// LoginSession is a row of the table login_sessions: a log-in and all refresh
// tokens that come of it.
type LoginSession struct {
	ID            string `gorm:"primaryKey"`
	UserHash      string
	Provider      string
	Person        []byte // encrypted
	Generation    int64  // of the refresh token that is good
	RotatedAt     time.Time
	CreatedAt     time.Time `gorm:"autoCreateTime:false"`
	ExpiresAt     time.Time
	RevokedAt     *time.Time // nil: good
	RevokedReason string
}

// OpenSession keeps a new log-in and notes it at its user, who is made if there
// was none of that hash. [ErrBlocked] when the user may not sign in.
func (db *DB) OpenSession(ctx context.Context, s LoginSession) error {
	s.RotatedAt, s.CreatedAt, s.ExpiresAt = stored(s.RotatedAt), stored(s.CreatedAt), stored(s.ExpiresAt)
	err := db.gorm.WithContext(ctx).Transaction(func(tx *gorm.DB) error {
		// This locks the user's row: who blocks or deletes the user at this moment
		// comes before, or sees the session.
		result := tx.Exec("INSERT INTO portal_users (user_hash, provider, created_at, last_login_at) VALUES (?, ?, ?, ?)"+
			" ON CONFLICT (user_hash) DO UPDATE SET provider = excluded.provider, last_login_at = excluded.last_login_at"+
			" WHERE portal_users.blocked_at IS NULL", s.UserHash, s.Provider, s.CreatedAt, s.CreatedAt)
		if result.Error != nil {
			return result.Error
		}
		if result.RowsAffected == 0 {
			return ErrBlocked
		}
		return tx.Create(&s).Error
	})
	if err != nil {
		return fmt.Errorf("open session: %w", err)
	}
	return nil
}

// Session gives a log-in, whatever its state; [ErrNotFound] when there is none
// of that id. Barred says that its user is blocked or gone.
func (db *DB) Session(ctx context.Context, id string) (s *LoginSession, barred bool, err error) {
	var row struct {
		LoginSession
		Barred bool
	}
	err = db.gorm.WithContext(ctx).Table("login_sessions").
		Joins("LEFT JOIN portal_users ON portal_users.user_hash = login_sessions.user_hash").
		Select("login_sessions.*, (portal_users.user_hash IS NULL OR portal_users.blocked_at IS NOT NULL) AS barred").
		Where("login_sessions.id = ?", id).Take(&row).Error
	if errors.Is(err, gorm.ErrRecordNotFound) {
		return nil, false, fmt.Errorf("session: %w", ErrNotFound)
	}
	if err != nil {
		return nil, false, fmt.Errorf("read session: %w", err)
	}
	s = &row.LoginSession
	s.RotatedAt, s.CreatedAt, s.ExpiresAt, s.RevokedAt = s.RotatedAt.UTC(), s.CreatedAt.UTC(), s.ExpiresAt.UTC(), utc(s.RevokedAt)
	return s, row.Barred, nil
}

// RotateSession makes the next generation of a log-in the good one, if the given
// one still is. Of many callers at once, on any replica, one is told true.
func (db *DB) RotateSession(ctx context.Context, id string, generation int64, now, expires time.Time) (rotated bool, err error) {
	now, expires = stored(now), stored(expires)
	result := db.gorm.WithContext(ctx).Exec("UPDATE login_sessions SET generation = generation + 1, rotated_at = ?, expires_at = ?"+
		" WHERE id = ? AND generation = ? AND revoked_at IS NULL AND expires_at > ?", now, expires, id, generation, now)
	if result.Error != nil {
		return false, fmt.Errorf("rotate session: %w", result.Error)
	}
	return result.RowsAffected == 1, nil
}

// RevokeSession ends a log-in of a user. It is no error when there is none, or
// it has ended before.
func (db *DB) RevokeSession(ctx context.Context, id, user string, now time.Time, reason string) error {
	err := db.gorm.WithContext(ctx).Exec("UPDATE login_sessions SET revoked_at = ?, revoked_reason = ?"+
		" WHERE id = ? AND user_hash = ? AND revoked_at IS NULL", stored(now), reason, id, user).Error
	if err != nil {
		return fmt.Errorf("revoke session: %w", err)
	}
	return nil
}

// ListSessionIDs gives the ids of a user's log-ins, ended ones too, that gave
// out a token after the given time.
func (db *DB) ListSessionIDs(ctx context.Context, user string, rotatedAfter time.Time) ([]string, error) {
	var ids []string
	err := db.gorm.WithContext(ctx).Model(&LoginSession{}).
		Where("user_hash = ? AND rotated_at > ?", user, stored(rotatedAfter)).Order("id").Pluck("id", &ids).Error
	if err != nil {
		return nil, fmt.Errorf("list sessions: %w", err)
	}
	return ids, nil
}

// DeleteExpiredSessions deletes at most limit of the log-ins that have expired
// at the time of now, and says how many. Replicas that do so at once take
// different ones.
func (db *DB) DeleteExpiredSessions(ctx context.Context, now time.Time, limit int) (deleted int64, err error) {
	return db.deleteSome(ctx, "login_sessions", "expires_at <= @now", now, limit)
}

// deleteSome deletes at most limit rows of a table with the key "id". The
// condition is part of the program, never of a request.
func (db *DB) deleteSome(ctx context.Context, table, condition string, now time.Time, limit int) (int64, error) {
	lock := ""
	if db.dialect == Postgres {
		lock = " FOR UPDATE SKIP LOCKED"
	}
	result := db.gorm.WithContext(ctx).Exec("DELETE FROM "+table+" WHERE id IN (SELECT id FROM "+table+
		" WHERE "+condition+" LIMIT @limit"+lock+")", map[string]any{"now": stored(now), "limit": limit})
	if result.Error != nil {
		return 0, fmt.Errorf("delete old rows of %s: %w", table, result.Error)
	}
	return result.RowsAffected, nil
}
