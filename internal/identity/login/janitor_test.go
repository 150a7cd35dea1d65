package login

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
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
	synctest.Test(t, func(t *testing.T) {
		store := &expired{}
		store.left.Store(250)
		j := NewJanitor(store, nil)
		j.Stop()
		j.Start(t.Context())
		j.Start(t.Context())
		time.Sleep(sweepInterval * 6 / 5)
		synctest.Wait()
		require.Zero(t, store.left.Load())
		require.EqualValues(t, 3, store.sweeps.Load())
		time.Sleep(time.Hour)
		synctest.Wait()
		require.InDelta(t, 15, store.sweeps.Load(), 3)
		j.Stop()
		j.Stop()
		ended := store.sweeps.Load()
		time.Sleep(time.Hour)
		require.Equal(t, ended, store.sweeps.Load())

		failing := NewJanitor(broken{}, nil)
		failing.Start(t.Context())
		time.Sleep(time.Hour)
		failing.Stop()
	})
}
