package login

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// expired is a store with that many codes to delete.
type expired struct {
	broken
	left, sweeps atomic.Int64
}

func (s *expired) DeleteExpiredLoginCodes(_ context.Context, _ time.Time, limit int) (int64, error) {
	s.sweeps.Add(1)
	deleted := min(s.left.Load(), int64(limit))
	s.left.Add(-deleted)
	return deleted, nil
}

func TestJanitor(t *testing.T) {
	t.Parallel()
	store := &expired{}
	store.left.Store(250)
	NewJanitor(store, nil).Sweep(t.Context())
	require.Zero(t, store.left.Load())
	require.EqualValues(t, 3, store.sweeps.Load())
}
