package conversation

import (
	"context"
	"time"

	"github.com/financecommander/tollgate/internal/janitor"
)

// sweepBatch is how many old conversations are deleted at a time, with all their
// messages.
const sweepBatch = 20

// newJanitor makes what forgets questions that nobody asked, and deletes
// conversations that are too old.
func (s *Service) newJanitor() *janitor.Janitor {
	tasks := []janitor.Task{{
		What: "unasked questions", Batch: 1,
		Delete: func(context.Context, int) (int64, error) {
			s.live.prune(time.Now())
			return 0, nil
		},
	}}
	if s.maxAge > 0 {
		tasks = append(tasks, janitor.Task{
			What: "old conversations", Batch: sweepBatch,
			Delete: func(ctx context.Context, limit int) (int64, error) {
				return s.store.DeleteOldConversations(ctx, time.Now().Add(-s.maxAge), limit)
			},
		})
	}
	return janitor.New(s.logger, tasks...)
}

// Start begins to delete old conversations now and then, until [Service.Stop] or
// the end of ctx.
func (s *Service) Start(ctx context.Context) {
	if s.On() {
		s.janitor.Start(ctx)
	}
}

// Stop ends what Start began, and lets answers be stored that wait for it, for
// some seconds. Answers that end later are not stored, so it belongs behind the
// last stream. It may be called twice, and without a Start.
func (s *Service) Stop() {
	if !s.On() {
		return
	}
	s.janitor.Stop()
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

// prune forgets questions that nobody asked and people who left.
func (l *live) prune(now time.Time) {
	for i := range l.shards {
		sh := &l.shards[i]
		sh.mu.Lock()
		sh.prune(now)
		sh.mu.Unlock()
	}
}
