// Package responsestate keeps answers of the Responses API for calls that
// continue them (`store`, `previous_response_id`), where the upstream is not the
// one that keeps them. What was said is encrypted in the database.
//
// See https://platform.openai.com/docs/guides/conversation-state.
package responsestate

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/financecommander/tollgate/internal/database"
	"github.com/financecommander/tollgate/internal/janitor"
	"github.com/financecommander/tollgate/internal/seal"
	"github.com/financecommander/tollgate/internal/secret"
)

// Lifetime is how long an entry is kept unless it says otherwise, as at OpenAI.
const Lifetime = 30 * 24 * time.Hour

// MaxEntry bounds what one entry may hold, in bytes. It has the whole history in
// it, so a conversation that comes near has to go on without being stored.
const MaxEntry = 32 << 20

// Errors of a [Store].
var (
	// ErrNotFound: the owner has no such entry. Whether another has, or whether
	// there was one, is not told.
	ErrNotFound = errors.New("no such stored response")
	// ErrTooLarge: the entry is larger than MaxEntry.
	ErrTooLarge = errors.New("the response is too large to be stored")
)

// Entry is one answer and what led to it.
type Entry struct {
	ID    string
	Owner string // the hash that stands for the caller; nobody else gets the entry
	Model string
	// CreatedAt and ExpiresAt are in UTC and microseconds once stored. Without
	// an ExpiresAt an entry lives for Lifetime.
	CreatedAt, ExpiresAt time.Time

	Input    []byte // JSON array: the items of the whole history before the answer
	Output   []byte // JSON array: the answer's items
	Response []byte // the response object as the client got it
}

// table is the database's table of entries.
type table interface {
	InsertResponseState(ctx context.Context, s database.ResponseState) error
	ResponseState(ctx context.Context, id, owner string, now time.Time) (*database.ResponseState, error)
	DeleteResponseState(ctx context.Context, id, owner string, now time.Time) error
	DeleteExpiredResponseStates(ctx context.Context, now time.Time, limit int) (deleted int64, err error)
}

// Store keeps entries. It is safe for concurrent use.
type Store struct {
	table  table
	box    *seal.Box
	logger *slog.Logger

	// Janitor deletes entries that have expired, which are given to nobody
	// meanwhile.
	*janitor.Janitor
}

// sweepBatch is how many expired entries are deleted at a time.
const sweepBatch = 100

// label is that of the box for entries.
const label = "tollgate/responses/v1"

// New makes a store that encrypts with a key derived from the gateway's secret.
// Another secret makes what is stored unreadable.
func New(key secret.Secret, db *database.DB, logger *slog.Logger) (*Store, error) {
	return newStore(key, db, logger)
}

func newStore(key secret.Secret, t table, logger *slog.Logger) (*Store, error) {
	box, err := seal.New(key, label)
	if err != nil {
		return nil, err
	}
	return &Store{table: t, box: box, logger: logger, Janitor: janitor.New(logger, janitor.Task{
		What: "expired responses", Batch: sweepBatch,
		Delete: func(ctx context.Context, limit int) (int64, error) {
			return t.DeleteExpiredResponseStates(ctx, time.Now(), limit)
		},
	})}, nil
}

// Save keeps an entry. Its id must be new.
func (s *Store) Save(ctx context.Context, e Entry) error {
	content := e.pack()
	if len(content) > MaxEntry {
		return fmt.Errorf("%w: it has %d bytes with its history, the most is %d", ErrTooLarge, len(content), MaxEntry)
	}
	if e.ExpiresAt.IsZero() {
		e.ExpiresAt = e.CreatedAt.Add(Lifetime)
	}
	err := s.table.InsertResponseState(ctx, database.ResponseState{
		ID: e.ID, Owner: e.Owner, CreatedAt: e.CreatedAt, ExpiresAt: e.ExpiresAt,
		Size: int64(len(content)), Content: s.box.Seal(content, e.place()),
	})
	if err != nil {
		return fmt.Errorf("store response: %w", err)
	}
	return nil
}

// Load gives an owner's entry, or [ErrNotFound].
func (s *Store) Load(ctx context.Context, id, owner string) (*Entry, error) {
	row, err := s.table.ResponseState(ctx, id, owner, time.Now())
	if errors.Is(err, database.ErrNotFound) {
		return nil, ErrNotFound
	}
	if err != nil {
		return nil, fmt.Errorf("load response: %w", err)
	}
	e := &Entry{ID: row.ID, Owner: row.Owner, CreatedAt: row.CreatedAt, ExpiresAt: row.ExpiresAt}
	content, ok := s.box.Open(row.Content, e.place(), MaxEntry)
	if !ok || !e.unpack(content) {
		s.logger.LogAttrs(ctx, slog.LevelWarn, "a stored response does not open; was the secret changed?",
			slog.Time("created_at", row.CreatedAt), slog.Int64("size", row.Size))
		return nil, ErrNotFound
	}
	return e, nil
}

// Delete deletes an owner's entry, or says [ErrNotFound].
func (s *Store) Delete(ctx context.Context, id, owner string) error {
	err := s.table.DeleteResponseState(ctx, id, owner, time.Now())
	if errors.Is(err, database.ErrNotFound) {
		return ErrNotFound
	}
	if err != nil {
		return fmt.Errorf("delete response: %w", err)
	}
	return nil
}

// place is what an entry's content is bound to, so that it opens in its own row
// only.
func (e *Entry) place() string { return e.Owner + "\x00" + e.ID }

// pack puts what an entry says into one piece: its four texts, each after its
// length.
func (e *Entry) pack() []byte {
	packed := make([]byte, 0, len(e.Model)+len(e.Input)+len(e.Output)+len(e.Response)+4*binary.MaxVarintLen64)
	for _, text := range [][]byte{[]byte(e.Model), e.Input, e.Output, e.Response} {
		packed = binary.AppendUvarint(packed, uint64(len(text)))
		packed = append(packed, text...)
	}
	return packed
}

// unpack reverses pack.
func (e *Entry) unpack(packed []byte) bool {
	var model []byte
	for _, text := range []*[]byte{&model, &e.Input, &e.Output, &e.Response} {
		length, n := binary.Uvarint(packed)
		if n <= 0 || length > uint64(len(packed)-n) {
			return false
		}
		end := n + int(length)
		*text, packed = packed[n:end:end], packed[end:]
	}
	e.Model = string(model)
	return len(packed) == 0
}
