package session

import (
	"context"
	"time"

	"github.com/financecommander/tollgate/internal/janitor"
)

const (
	// lookInterval is how often a replica looks who is blocked.
	lookInterval = 500 * time.Millisecond
	// firstLook is how long the first one may take.
	firstLook = 2 * time.Second
	// sweepBatch is how many expired rows are deleted at a time.
	sweepBatch = 500
	// queryTimeout bounds one statement of the background.
	queryTimeout = 10 * time.Second
)

// Start looks who is blocked, so that nobody of them slips in before the next look,
// and begins to do so now and then, to write when tokens were used, and to delete
// what has expired, until ctx ends or [Manager.Stop]. A database that does not
// answer holds it up for no longer than firstLook.
func (m *Manager) Start(ctx context.Context) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.stop != nil {
		return
	}
	ctx, m.stop = context.WithCancel(ctx)
	first, cancel := context.WithTimeout(ctx, firstLook)
	m.look(first)
	cancel()
	m.wg.Go(func() { m.run(ctx) })
	m.janitor.Start(ctx)
}

// Stop ends what Start began, waits for it, and writes the uses that are noted.
// It may be called twice, and without a Start.
func (m *Manager) Stop() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.stop != nil {
		m.stop()
		m.janitor.Stop()
		m.wg.Wait()
		m.stop = nil
	}
	m.flushUses(context.Background()) // each statement has a timeout
}

func (m *Manager) run(ctx context.Context) {
	looks, flushes := time.NewTicker(lookInterval), time.NewTicker(flushInterval)
	defer looks.Stop()
	defer flushes.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-looks.C:
			m.look(ctx)
		case <-flushes.C:
			m.flushUses(ctx)
		}
	}
}

// newJanitor makes what deletes rows that have expired.
func (m *Manager) newJanitor() *janitor.Janitor {
	return janitor.New(m.o.Logger,
		janitor.Task{
			What: "expired sessions", Batch: sweepBatch,
			Delete: func(ctx context.Context, limit int) (int64, error) {
				return m.o.Store.DeleteExpiredSessions(ctx, m.now(), limit)
			},
		},
		janitor.Task{
			What: "old API tokens", Batch: sweepBatch,
			Delete: func(ctx context.Context, limit int) (int64, error) {
				return m.o.Store.DeleteOldAPITokens(ctx, m.now().Add(-oldTokens), limit)
			},
		})
}
