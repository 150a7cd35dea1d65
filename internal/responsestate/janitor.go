package responsestate

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"time"
)

const (
	// sweepInterval is about how often expired entries are deleted. They are
	// given to nobody meanwhile.
	sweepInterval = 5 * time.Minute
	// sweepBatch bounds what one statement deletes, so that none takes long.
	sweepBatch = 100
	// sweepTimeout bounds one statement.
	sweepTimeout = 30 * time.Second
)

// Start begins to delete expired entries now and then, until [Store.Stop].
func (s *Store) Start() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stop != nil {
		return
	}
	ctx, stop := context.WithCancel(context.Background())
	s.stop = stop
	s.janitor.Go(func() { s.sweepNowAndThen(ctx) })
}

// Stop ends what Start began, and waits for it. It may be called twice, and
// without a Start.
func (s *Store) Stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stop != nil {
		s.stop()
		s.janitor.Wait()
		s.stop = nil
	}
}

func (s *Store) sweepNowAndThen(ctx context.Context) {
	timer := time.NewTimer(pause())
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
			s.sweep(ctx)
			timer.Reset(pause())
		}
	}
}

// pause is the time to the next sweep. It differs by up to a fifth, so that
// replicas that started together do not sweep together.
func pause() time.Duration {
	return sweepInterval - sweepInterval/5 + rand.N(2*sweepInterval/5)
}

// sweep deletes what has expired, in batches.
func (s *Store) sweep(ctx context.Context) {
	var total int64
	for ctx.Err() == nil {
		deleted, err := s.sweepOnce(ctx)
		total += deleted
		if err != nil && ctx.Err() == nil {
			s.logger.LogAttrs(ctx, slog.LevelWarn, "expired responses could not be deleted; trying again in some minutes", slog.Any("error", err))
		}
		if err != nil || deleted < sweepBatch {
			break
		}
	}
	if total > 0 {
		s.logger.LogAttrs(ctx, slog.LevelDebug, "deleted expired responses", slog.Int64("count", total))
	}
}

func (s *Store) sweepOnce(ctx context.Context) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, sweepTimeout)
	defer cancel()
	return s.table.DeleteExpiredResponseStates(ctx, time.Now(), sweepBatch)
}
