package session

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"time"
)

const (
	// lookInterval is how often a replica looks who is blocked.
	lookInterval = 500 * time.Millisecond
	// sweepInterval is about how often expired rows are deleted. They are good for
	// nothing meanwhile.
	sweepInterval = 5 * time.Minute
	// sweepBatch bounds what one statement deletes, so that none takes long.
	sweepBatch = 500
	// queryTimeout bounds one statement of the background.
	queryTimeout = 10 * time.Second
)

// Start begins to write when tokens were used, to look who is blocked, and to
// delete what has expired, until ctx ends or [Manager.Stop].
func (m *Manager) Start(ctx context.Context) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.stop != nil {
		return
	}
	ctx, m.stop = context.WithCancel(ctx)
	m.wg.Go(func() { m.run(ctx) })
}

// Stop ends what Start began, waits for it, and writes the uses that are noted.
// It may be called twice, and without a Start.
func (m *Manager) Stop() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.stop != nil {
		m.stop()
		m.wg.Wait()
		m.stop = nil
	}
	m.flushUses(context.Background()) // each statement has a timeout
}

func (m *Manager) run(ctx context.Context) {
	m.look(ctx)
	looks, flushes, sweeps := time.NewTicker(lookInterval), time.NewTicker(flushInterval), time.NewTimer(pause())
	defer looks.Stop()
	defer flushes.Stop()
	defer sweeps.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-looks.C:
			m.look(ctx)
		case <-flushes.C:
			m.flushUses(ctx)
		case <-sweeps.C:
			m.sweep(ctx)
			sweeps.Reset(pause())
		}
	}
}

// pause is the time to the next sweep. It differs by up to a fifth, so that
// replicas that started together do not sweep together.
func pause() time.Duration {
	return sweepInterval - sweepInterval/5 + rand.N(2*sweepInterval/5)
}

// sweep deletes what has expired, in batches.
func (m *Manager) sweep(ctx context.Context) {
	now := m.now()
	for _, what := range []struct {
		name   string
		before time.Time
		delete func(ctx context.Context, before time.Time, limit int) (int64, error)
	}{
		{"sessions", now, m.o.Store.DeleteExpiredSessions},
		{"API tokens", now.Add(-oldTokens), m.o.Store.DeleteOldAPITokens},
	} {
		for ctx.Err() == nil {
			deleted, err := sweepOnce(ctx, what.before, what.delete)
			if err != nil && ctx.Err() == nil {
				m.o.Logger.LogAttrs(ctx, slog.LevelWarn, "expired rows could not be deleted; trying again in some minutes",
					slog.String("of", what.name), slog.Any("error", err))
			}
			if err != nil || deleted < sweepBatch {
				break
			}
		}
	}
}

func sweepOnce(ctx context.Context, before time.Time, del func(context.Context, time.Time, int) (int64, error)) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	return del(ctx, before, sweepBatch)
}
