// Package janitor deletes what is good for nothing any more, now and then and in
// batches.
package janitor

import (
	"cmp"
	"context"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"
)

const (
	// Interval is about how often a janitor sweeps. What it deletes must be good
	// for nothing meanwhile.
	Interval = 5 * time.Minute
	// timeout bounds one batch.
	timeout = 30 * time.Second
)

// Task is one kind of things to delete.
type Task struct {
	// What they are called in the log: "expired sessions".
	What string
	// Batch is how many are deleted at a time, so that none takes long.
	Batch int
	// Delete deletes at most limit of them, and says how many.
	Delete func(ctx context.Context, limit int) (deleted int64, err error)
}

// Janitor sweeps until it is stopped. It is safe for concurrent use.
type Janitor struct {
	logger *slog.Logger
	tasks  []Task

	mu   sync.Mutex
	stop context.CancelFunc // nil: it does not run
	wg   sync.WaitGroup
}

// New makes a janitor; logger may be nil.
func New(logger *slog.Logger, tasks ...Task) *Janitor {
	return &Janitor{logger: cmp.Or(logger, slog.New(slog.DiscardHandler)), tasks: tasks}
}

// Start begins to sweep now and then, until [Janitor.Stop] or the end of ctx.
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
	timer := time.NewTimer(pause())
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
			j.Sweep(ctx)
			timer.Reset(pause())
		}
	}
}

// pause is the time to the next sweep. It differs by up to a fifth, so that
// replicas that started together do not sweep together.
func pause() time.Duration { return Interval - Interval/5 + rand.N(2*Interval/5) }

// Sweep deletes all there is to delete.
func (j *Janitor) Sweep(ctx context.Context) {
	for _, task := range j.tasks {
		j.sweep(ctx, task)
	}
}

func (j *Janitor) sweep(ctx context.Context, task Task) {
	var total int64
	for ctx.Err() == nil {
		deleted, err := once(ctx, task)
		total += deleted
		if err != nil && ctx.Err() == nil {
			j.logger.LogAttrs(ctx, slog.LevelWarn, task.What+" could not be deleted; trying again in some minutes", slog.Any("error", err))
		}
		if err != nil || deleted < int64(task.Batch) {
			break
		}
	}
	if total > 0 {
		j.logger.LogAttrs(ctx, slog.LevelDebug, "deleted "+task.What, slog.Int64("count", total))
	}
}

func once(ctx context.Context, task Task) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	return task.Delete(ctx, task.Batch)
}
