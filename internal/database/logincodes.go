package database

import (
	"context"
	"fmt"
	"time"
)

// LoginCode is a row of the table login_codes: a one-time code that was mailed,
// or the state of an OpenID Connect log-in that was used.
type LoginCode struct {
	ID        string `gorm:"primaryKey"` // a hash
	EmailHash string // empty for OpenID Connect
	CodeHash  []byte
	Attempts  int64     // how often somebody tried to use it
	CreatedAt time.Time `gorm:"autoCreateTime:false"`
	ExpiresAt time.Time
	UsedAt    *time.Time // nil: not yet
}

// InsertLoginCode keeps a code. An id that is taken is an error which [IsUnique]
// knows.
func (db *DB) InsertLoginCode(ctx context.Context, c LoginCode) error {
	c.CreatedAt, c.ExpiresAt = stored(c.CreatedAt), stored(c.ExpiresAt)
	if err := db.gorm.WithContext(ctx).Create(&c).Error; err != nil {
		return fmt.Errorf("insert login code: %w", err)
	}
	return nil
}

// live says which codes are still good at a time, its one parameter.
const live = "used_at IS NULL AND expires_at > ?"

// TryLoginCode counts an attempt to use the code of this id and gives the code,
// if it is live at the time of now and was tried fewer than most times before.
// Else it is [ErrNotFound]. However many try at once, wherever, no more than most
// get it.
func (db *DB) TryLoginCode(ctx context.Context, id string, most int, now time.Time) (*LoginCode, error) {
	return db.tryLoginCode(ctx, "id = ?", id, most, now)
}

// TryNewestLoginCode is TryLoginCode for the newest of the live codes that were
// mailed to an address. When that one was tried too often, an older one does not
// take its place.
func (db *DB) TryNewestLoginCode(ctx context.Context, emailHash string, most int, now time.Time) (*LoginCode, error) {
	return db.tryLoginCode(ctx, "id = (SELECT id FROM login_codes WHERE email_hash = ? AND "+live+
		" ORDER BY created_at DESC, id DESC LIMIT 1)", emailHash, most, now, stored(now))
}

// tryLoginCode is one statement, so that the database itself puts those that try
// at once in a row.
func (db *DB) tryLoginCode(ctx context.Context, which, key string, most int, now time.Time, more ...any) (*LoginCode, error) {
	var codes []LoginCode
	args := append([]any{key}, more...)
	args = append(args, stored(now), most)
	err := db.gorm.WithContext(ctx).Raw("UPDATE login_codes SET attempts = attempts + 1 WHERE "+which+
		" AND "+live+" AND attempts < ? RETURNING *", args...).Scan(&codes).Error
	if err != nil {
		return nil, fmt.Errorf("try login code: %w", err)
	}
	if len(codes) == 0 {
		return nil, fmt.Errorf("login code: %w", ErrNotFound)
	}
	c := codes[0]
	c.CreatedAt, c.ExpiresAt = c.CreatedAt.UTC(), c.ExpiresAt.UTC()
	return &c, nil
}

// UseLoginCode takes the code of this id, if it is live at the time of now. Only
// one of those who do so gets it; for the others it is [ErrNotFound].
func (db *DB) UseLoginCode(ctx context.Context, id string, now time.Time) error {
	result := db.gorm.WithContext(ctx).Exec("UPDATE login_codes SET used_at = ? WHERE id = ? AND "+live,
		stored(now), id, stored(now))
	if result.Error != nil {
		return fmt.Errorf("use login code: %w", result.Error)
	}
	if result.RowsAffected == 0 {
		return fmt.Errorf("login code: %w", ErrNotFound)
	}
	return nil
}

// DeleteExpiredLoginCodes deletes at most limit of the codes that have expired at
// the time of now, used or not, and says how many. Replicas that do so at once
// take different ones.
func (db *DB) DeleteExpiredLoginCodes(ctx context.Context, now time.Time, limit int) (deleted int64, err error) {
	lock := ""
	if db.dialect == Postgres {
		lock = " FOR UPDATE SKIP LOCKED"
	}
	result := db.gorm.WithContext(ctx).Exec("DELETE FROM login_codes WHERE id IN "+
		"(SELECT id FROM login_codes WHERE expires_at <= ? ORDER BY expires_at LIMIT ?"+lock+")", stored(now), limit)
	if result.Error != nil {
		return 0, fmt.Errorf("delete expired login codes: %w", result.Error)
	}
	return result.RowsAffected, nil
}
