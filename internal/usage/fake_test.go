package usage

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"

	"github.com/google/uuid"

	"github.com/financecommander/tollgate/internal/database"
)

var errDown = errors.New("database is down")

// fakeStore is a database in memory that can be down and can dislike records.
type fakeStore struct {
	mu       sync.Mutex // guards the fields below
	rows     map[uuid.UUID]Record
	rejected []string
	batches  []int
	attempts int

	down     bool
	rejectOK bool // RejectUsage works
	bad      func(Record) bool
	block    chan struct{} // not nil: inserts wait for it or their context
}

func newFakeStore() *fakeStore {
	return &fakeStore{rows: make(map[uuid.UUID]Record), rejectOK: true}
}

func (f *fakeStore) set(change func(*fakeStore)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change(f)
}

func (f *fakeStore) count() (rows, attempts int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.rows), f.attempts
}

func (f *fakeStore) InsertUsage(ctx context.Context, records []byte) (int64, error) {
	f.mu.Lock()
	f.attempts++
	block := f.block
	f.mu.Unlock()
	if block != nil {
		select {
		case <-block:
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.down {
		return 0, errDown
	}
	var batch []Record
	if err := json.Unmarshal(records, &batch); err != nil {
		return 0, fmt.Errorf("%w: %w", database.ErrBadRecord, err)
	}
	for _, r := range batch {
		if f.bad != nil && f.bad(r) {
			return 0, fmt.Errorf("%w: bad luck", database.ErrBadRecord)
		}
	}
	f.batches = append(f.batches, len(batch))
	var inserted int64
	for _, r := range batch {
		if _, there := f.rows[r.ID]; !there {
			f.rows[r.ID] = r
			inserted++
		}
	}
	return inserted, nil
}

func (f *fakeStore) RejectUsage(_ context.Context, record []byte, reason string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.rejectOK {
		return errDown
	}
	f.rejected = append(f.rejected, string(record)+" "+reason)
	return nil
}
