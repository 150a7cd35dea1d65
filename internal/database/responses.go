package database

import (
	"context"
	"errors"
	"fmt"
	"time"

	"gorm.io/gorm"
)

// ResponseState is a row of the table response_states.
type ResponseState struct {
	ID        string `gorm:"primaryKey"`
	Owner     string
	CreatedAt time.Time `gorm:"autoCreateTime:false"`
	ExpiresAt time.Time
	Size      int64
	Content   []byte
}

// InsertResponseState keeps a state. An id that is taken is an error which
// [IsUnique] knows.
func (db *DB) InsertResponseState(ctx context.Context, s ResponseState) error {
	s.CreatedAt, s.ExpiresAt = stored(s.CreatedAt), stored(s.ExpiresAt)
	if err := db.gorm.WithContext(ctx).Create(&s).Error; err != nil {
		return fmt.Errorf("insert response state: %w", err)
	}
	return nil
}

// ResponseState gives a state that has not expired at the time of now;
// [ErrNotFound] when the owner has none of that id.
func (db *DB) ResponseState(ctx context.Context, id, owner string, now time.Time) (*ResponseState, error) {
	var s ResponseState
	err := db.gorm.WithContext(ctx).Where("id = ? AND owner = ? AND expires_at > ?", id, owner, stored(now)).Take(&s).Error
	if errors.Is(err, gorm.ErrRecordNotFound) {
		return nil, fmt.Errorf("response state: %w", ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("read response state: %w", err)
	}
	s.CreatedAt, s.ExpiresAt = s.CreatedAt.UTC(), s.ExpiresAt.UTC()
	return &s, nil
}

// DeleteResponseState deletes a state that has not expired at the time of now;
// [ErrNotFound] when the owner has none of that id.
func (db *DB) DeleteResponseState(ctx context.Context, id, owner string, now time.Time) error {
	result := db.gorm.WithContext(ctx).
		Where("id = ? AND owner = ? AND expires_at > ?", id, owner, stored(now)).Delete(&ResponseState{})
	if result.Error != nil {
		return fmt.Errorf("delete response state: %w", result.Error)
	}
	if result.RowsAffected == 0 {
		return fmt.Errorf("response state: %w", ErrNotFound)
	}
	return nil
}

// DeleteExpiredResponseStates deletes at most limit of the states that have
// expired at the time of now, and says how many. Replicas that do so at once
// take different ones.
func (db *DB) DeleteExpiredResponseStates(ctx context.Context, now time.Time, limit int) (deleted int64, err error) {
	lock := ""
	if db.dialect == Postgres {
		lock = " FOR UPDATE SKIP LOCKED"
	}
	result := db.gorm.WithContext(ctx).Exec("DELETE FROM response_states WHERE id IN "+
		"(SELECT id FROM response_states WHERE expires_at <= ? ORDER BY expires_at LIMIT ?"+lock+")", stored(now), limit)
	if result.Error != nil {
		return 0, fmt.Errorf("delete expired response states: %w", result.Error)
	}
	return result.RowsAffected, nil
}

// stored is t as both databases keep it: in UTC, so that SQLite's texts compare
// as the times do, and in microseconds.
func stored(t time.Time) time.Time { return t.UTC().Truncate(time.Microsecond) }
