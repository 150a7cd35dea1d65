package revocation

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"time"
)

const (
	// overlap is how far before the last change seen a look begins: a change is
	// dated when it is made and seen when it is committed, and two writers may
	// commit in another order than they began. For so long after that change; then
	// all who began before it have ended.
	overlap = 10 * time.Second
	// fullEvery is how often all is read again, for what the overlap missed: a
	// writer that hung, a database that moved to a machine whose clock is behind.
	fullEvery = time.Minute
	// sweepBatch and maxSweeps bound what is deleted at a time.
	sweepBatch = 1000
	maxSweeps  = 10
)

// follower is what the goroutine that follows the store remembers.
type follower struct {
	latest  time.Time // change seen, by the store's clock
	seen    time.Time // when that was
	full    time.Time // when all was last read
	dropped time.Time // when memory was last rid of what has ended
	failing bool
}

// follow keeps the registry in step with the store.
func (r *Registry) follow(ctx context.Context) {
	ticker := time.NewTicker(r.interval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			r.look(ctx)
			r.saveWhenDue()
		}
	}
}

// look reads what is new, and then writes what waits.
func (r *Registry) look(ctx context.Context) {
	now := time.Now()
	if now.Sub(r.state.dropped) >= fullEvery {
		r.state.dropped = now
		r.drop(now.Add(-grace))
	}
	if r.store == nil {
		return
	}
	full := now.Sub(r.state.full) >= fullEvery
	err := r.read(ctx, full)
	if err == nil {
		err = r.writePending(ctx)
	}
	if err == nil && full {
		r.state.full = now
		err = r.sweep(ctx, now.Add(-grace))
	}
	r.report(ctx, err)
}

// drop forgets what had ended by then.
func (r *Registry) drop(cutoff time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.replace(r.current.Load().without(cutoff))
	maps.DeleteFunc(r.pending, func(_ key, e Entry) bool { return e.ExpiresAt.Before(cutoff) })
}

func (r *Registry) writePending(ctx context.Context) error {
	r.mu.Lock()
	waiting := maps.Clone(r.pending)
	r.mu.Unlock()
	if len(waiting) == 0 {
		return nil
	}
	entries, err := normalizeAll(slices.Collect(maps.Values(waiting)))
	if err != nil {
		return err
	}
	if err := r.write(ctx, entries); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for k, written := range waiting {
		if r.pending[k] == written { // and not replaced meanwhile
			delete(r.pending, k)
		}
	}
	r.dirty.Store(true)
	return nil
}

func (r *Registry) read(ctx context.Context, full bool) error {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	began := time.Now()
	after := r.state.latest
	switch {
	case full:
		after = time.Time{}
	case !after.IsZero() && began.Sub(r.state.seen) < overlap:
		after = after.Add(-overlap)
	}
	entries, latest, err := r.store.Read(ctx, after)
	if err != nil {
		return err
	}
	r.apply(entries)
	if latest.After(r.state.latest) {
		r.state.latest, r.state.seen = latest, time.Now()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.readAt = began
	return nil
}

// sweep deletes from the store what has ended.
func (r *Registry) sweep(ctx context.Context, cutoff time.Time) error {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	for range maxSweeps {
		deleted, err := r.store.DeleteExpired(ctx, cutoff, sweepBatch)
		if err != nil {
			return err
		}
		if deleted < sweepBatch {
			return nil
		}
	}
	return nil
}

// report logs that the store began or ceased to fail, once each.
func (r *Registry) report(ctx context.Context, err error) {
	switch {
	case ctx.Err() != nil:
		return
	case err != nil && !r.state.failing:
		r.logger.WarnContext(ctx, "revocations of other replicas cannot be read from the database; those known stay in force",
			slog.Any("error", err))
	case err == nil && r.state.failing:
		r.logger.InfoContext(ctx, "revocations can be read from the database again")
	}
	r.state.failing = err != nil
}
