package revocation

import (
	"context"
	"time"

	"github.com/financecommander/tollgate/internal/database"
)

// Store keeps revocations for all replicas.
type Store interface {
	// Write adds the entries, all or none. Of two for the same thing it keeps
	// what revokes more.
	Write(ctx context.Context, entries []Entry) error
	// Read gives the entries that were changed after a time of the store's own
	// clock, all of them for the zero time, and when the last one was changed.
	Read(ctx context.Context, changedAfter time.Time) (entries []Entry, latest time.Time, err error)
	// DeleteExpired deletes at most limit of the entries that had ended by then.
	DeleteExpired(ctx context.Context, then time.Time, limit int) (deleted int64, err error)
}

// DatabaseStore keeps revocations in the gateway's database.
type DatabaseStore struct{ db *database.DB }

var _ Store = (*DatabaseStore)(nil)

// NewDatabaseStore returns a store in a database whose schema is up to date.
func NewDatabaseStore(db *database.DB) *DatabaseStore { return &DatabaseStore{db: db} }

// Write implements [Store].
func (s *DatabaseStore) Write(ctx context.Context, entries []Entry) error {
	rows := make([]database.Revocation, len(entries))
	for i, e := range entries {
		before := e.IssuedBefore
		if before.IsZero() {
			before = forever
		}
		rows[i] = database.Revocation{
			Kind: string(e.Kind), Value: e.Value, IssuedBefore: before, ExpiresAt: e.ExpiresAt, Reason: e.Reason,
		}
	}
	return s.db.UpsertRevocations(ctx, rows)
}

// Read implements [Store].
func (s *DatabaseStore) Read(ctx context.Context, changedAfter time.Time) ([]Entry, time.Time, error) {
	rows, err := s.db.ListRevocations(ctx, changedAfter)
	if err != nil {
		return nil, time.Time{}, err
	}
	var latest time.Time
	entries := make([]Entry, len(rows))
	for i, row := range rows {
		entries[i] = Entry{Kind: Kind(row.Kind), Value: row.Value, IssuedBefore: row.IssuedBefore, ExpiresAt: row.ExpiresAt, Reason: row.Reason}
		if row.ChangedAt.After(latest) {
			latest = row.ChangedAt
		}
	}
	return entries, latest, nil
}

// DeleteExpired implements [Store].
func (s *DatabaseStore) DeleteExpired(ctx context.Context, then time.Time, limit int) (int64, error) {
	return s.db.DeleteExpiredRevocations(ctx, then, limit)
}
