package execute

import (
	"context"

	"golang.org/x/sync/semaphore"
)

// Slots bound calls over all runs. Waiting for one is first come, first served.
type Slots struct{ free *semaphore.Weighted }

// NewSlots makes n slots, at least one.
func NewSlots(n int) *Slots { return &Slots{semaphore.NewWeighted(int64(max(n, 1)))} }

// take waits for a slot, which must be given back, until ctx ends.
func (s *Slots) take(ctx context.Context) error {
	if s == nil {
		return ctx.Err()
	}
	return s.free.Acquire(ctx, 1)
}

func (s *Slots) giveBack() {
	if s != nil {
		s.free.Release(1)
	}
}
