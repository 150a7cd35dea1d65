package conversation

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"time"
)

const (
	// sweepInterval is about how often old conversations are looked for.
	sweepInterval = 5 * time.Minute
	// sweepBatch bounds what one statement deletes, so that none takes long.
	sweepBatch = 20
	// sweepTimeout bounds one statement.
	sweepTimeout = 30 * time.Second
)

// Start begins to delete old conversations now and then, until [Service.Stop] or
// the end of ctx.
func (s *Service) Start(ctx context.Context) {
	if !s.On() {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stop != nil {
		return
	}
	ctx, s.stop = context.WithCancel(ctx)
	s.janitor.Go(func() { s.sweepNowAndThen(ctx) })
}

// Stop ends what Start began, and lets answers be stored that wait for it, for
// some seconds. Answers that end later are not stored, so it belongs behind the
// last stream. It may be called twice, and without a Start.
func (s *Service) Stop() {
	if !s.On() {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stop != nil {
		s.stop()
		s.janitor.Wait()
		s.stop = nil
	}
	s.stopOnce.Do(func() {
		close(s.stopping)
		timer := time.AfterFunc(stopFor, s.giveUp)
		// A keeper that is being started has done so once its lock is free.
		for i := range s.keepers {
			s.keepers[i].mu.Lock()
			s.keepers[i].mu.Unlock() //nolint:staticcheck // see above
		}
		s.storing.Wait()
		timer.Stop()
		s.giveUp()
	})
}

func (s *Service) sweepNowAndThen(ctx context.Context) {
	timer := time.NewTimer(pause())
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
			s.live.prune(time.Now())
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

// prune forgets questions that nobody asked and people who left.
func (l *live) prune(now time.Time) {
	for i := range l.shards {
		sh := &l.shards[i]
		sh.mu.Lock()
		sh.prune(now)
		sh.mu.Unlock()
	}
}

// sweep deletes what is too old, in batches.
func (s *Service) sweep(ctx context.Context) {
	if s.maxAge <= 0 {
		return
	}
	var total int64
	for ctx.Err() == nil {
		deleted, err := s.sweepOnce(ctx)
		total += deleted
		if err != nil && ctx.Err() == nil {
			s.logger.LogAttrs(ctx, slog.LevelWarn, "old conversations could not be deleted; trying again in some minutes", slog.Any("error", err))
		}
		if err != nil || deleted < sweepBatch {
			break
		}
	}
	if total > 0 {
		s.logger.LogAttrs(ctx, slog.LevelInfo, "deleted old conversations", slog.Int64("count", total))
	}
}

func (s *Service) sweepOnce(ctx context.Context) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, sweepTimeout)
	defer cancel()
	return s.store.DeleteOldConversations(ctx, time.Now().Add(-s.maxAge), sweepBatch)
}
