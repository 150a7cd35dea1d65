package login

import (
	"cmp"
	"context"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"
)

const (
	sweepInterval = 5 * time.Minute
	sweepBatch    = 100 // of one statement, so that none takes long
	sweepTimeout  = 30 * time.Second
)

// Janitor deletes codes that have expired. They let nobody in meanwhile.
type Janitor struct {
	store  Store
	logger *slog.Logger

	mu   sync.Mutex
	stop context.CancelFunc // nil: it does not run
	wg   sync.WaitGroup
}

// NewJanitor makes one; logger may be nil.
func NewJanitor(store Store, logger *slog.Logger) *Janitor {
	return &Janitor{store: store, logger: cmp.Or(logger, slog.New(slog.DiscardHandler))}
}

// Start begins to delete now and then, until [Janitor.Stop] or the end of ctx.
func (j *Janitor) Start(ctx context.Context) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.stop == nil {
		ctx, j.stop = context.WithCancel(ctx)
		j.wg.Go(func() { j.run(ctx) })
	}
}

// Stop ends what Start began, and waits for it. It may be called twice, and
// without a Start.
func (j *Janitor) Stop() {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.stop != nil {
		j.stop()
		j.wg.Wait()
		j.stop = nil
	}
}

func (j *Janitor) run(ctx context.Context) {
	for {
		// It differs by up to a fifth, so that replicas that started together do not
		// sweep together.
		timer := time.NewTimer(sweepInterval - sweepInterval/5 + rand.N(2*sweepInterval/5))
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
			j.sweep(ctx)
		}
	}
}

func (j *Janitor) sweep(ctx context.Context) {
	for ctx.Err() == nil {
		deleted, err := j.sweepOnce(ctx)
		if err != nil && ctx.Err() == nil {
			j.logger.LogAttrs(ctx, slog.LevelWarn, "expired log-in codes could not be deleted; trying again in some minutes", slog.Any("error", err))
		}
		if err != nil || deleted < sweepBatch {
			return
		}
	}
}

func (j *Janitor) sweepOnce(ctx context.Context) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, sweepTimeout)
	defer cancel()
	return j.store.DeleteExpiredLoginCodes(ctx, time.Now(), sweepBatch)
}
