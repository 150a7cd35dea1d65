package database

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"gorm.io/gorm"
)

// APIToken is a row of the table api_tokens. The token itself is not in it.
type APIToken struct {
	ID          string `gorm:"primaryKey"` // the token's "jti"
	UserHash    string
	Name        string
	Specialists string // JSON array, or null for all
	Rate        string
	CreatedAt   time.Time `gorm:"autoCreateTime:false"`
	ExpiresAt   time.Time
	LastUsedAt  *time.Time // nil: never
	RevokedAt   *time.Time // nil: good
}

// ErrTooMany says that a user has as many of something as they may have.
var ErrTooMany = errors.New("too many")

// InsertAPIToken keeps a token. [ErrTooMany] when the user has maxLive good ones
// at the time of its creation already, or maxRows with those that are not;
// [ErrBlocked] when the user is blocked.
func (db *DB) InsertAPIToken(ctx context.Context, t APIToken, maxLive, maxRows int64) error {
	t.CreatedAt, t.ExpiresAt = stored(t.CreatedAt), stored(t.ExpiresAt)
	err := db.changeUser(ctx, t.UserHash, func(tx *gorm.DB, user *PortalUser) error {
		if user != nil && user.BlockedAt != nil {
			return ErrBlocked
		}
		var rows, live int64
		of := tx.Model(&APIToken{}).Where("user_hash = ?", t.UserHash).Session(&gorm.Session{})
		if err := of.Count(&rows).Error; err != nil {
			return err
		}
		if err := of.Where("revoked_at IS NULL AND expires_at > ?", t.CreatedAt).Count(&live).Error; err != nil {
			return err
		}
		if live >= maxLive || rows >= maxRows {
			return ErrTooMany
		}
		return tx.Create(&t).Error
	})
	if err != nil {
		return fmt.Errorf("insert API token: %w", err)
	}
	return nil
}

// ListAPITokens gives all of a user's tokens, newest first.
func (db *DB) ListAPITokens(ctx context.Context, user string) ([]APIToken, error) {
	var tokens []APIToken
	err := db.gorm.WithContext(ctx).Where("user_hash = ?", user).Order("created_at DESC, id").Find(&tokens).Error
	if err != nil {
		return nil, fmt.Errorf("list API tokens: %w", err)
	}
	for i := range tokens {
		tokens[i].inUTC()
	}
	return tokens, nil
}

// APIToken gives a token; [ErrNotFound] when there is none of that id.
func (db *DB) APIToken(ctx context.Context, id string) (*APIToken, error) {
	var t APIToken
	err := db.gorm.WithContext(ctx).Where("id = ?", id).Take(&t).Error
	if errors.Is(err, gorm.ErrRecordNotFound) {
		return nil, fmt.Errorf("API token: %w", ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("read API token: %w", err)
	}
	t.inUTC()
	return &t, nil
}

// RevokeAPIToken marks a token as withdrawn. Audit is nil when its own user does
// it. It is no error when it was done before.
func (db *DB) RevokeAPIToken(ctx context.Context, id string, now time.Time, audit *AuditEntry) error {
	err := db.gorm.WithContext(ctx).Transaction(func(tx *gorm.DB) error {
		result := tx.Exec("UPDATE api_tokens SET revoked_at = ? WHERE id = ? AND revoked_at IS NULL", stored(now), id)
		if result.Error != nil || audit == nil {
			return result.Error
		}
		entry := *audit
		entry.Before, entry.After = revokedJSON(result.RowsAffected == 0), revokedJSON(true)
		return insertAudit(tx, entry)
	})
	if err != nil {
		return fmt.Errorf("revoke API token: %w", err)
	}
	return nil
}

// TouchAPITokens notes when tokens were last used, unless a later time is noted.
func (db *DB) TouchAPITokens(ctx context.Context, ids []string, used time.Time) error {
	used = stored(used)
	err := db.gorm.WithContext(ctx).Exec("UPDATE api_tokens SET last_used_at = ?"+
		" WHERE id IN ? AND (last_used_at IS NULL OR last_used_at < ?)", used, ids, used).Error
	if err != nil {
		return fmt.Errorf("note the use of API tokens: %w", err)
	}
	return nil
}

// DeleteOldAPITokens deletes at most limit of the tokens that expired or were
// revoked before the given time, and says how many.
func (db *DB) DeleteOldAPITokens(ctx context.Context, before time.Time, limit int) (deleted int64, err error) {
	return db.deleteSome(ctx, "api_tokens", "expires_at <= @now OR revoked_at <= @now", before, limit)
}

func (t *APIToken) inUTC() {
	t.CreatedAt, t.ExpiresAt, t.LastUsedAt, t.RevokedAt = t.CreatedAt.UTC(), t.ExpiresAt.UTC(), utc(t.LastUsedAt), utc(t.RevokedAt)
}

func revokedJSON(revoked bool) string {
	text, _ := json.Marshal(map[string]bool{"revoked": revoked}) // a bool has a text
	return string(text)
}
