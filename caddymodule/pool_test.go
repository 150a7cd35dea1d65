package caddymodule

import (
	"errors"
	"maps"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

// held is what the pool holds, with how many hold each.
func held() map[string]int {
	state := make(map[string]int)
	var keys []string
	pool.Range(func(key, _ any) bool {
		keys = append(keys, key.(string))
		return true
	})
	for _, key := range keys {
		if n, ok := pool.References(key); ok {
			state[key] = n
		}
	}
	return state
}

func TestAcquireSharesAndClosesOnce(t *testing.T) {
	var opened, closed int
	take := func() (*int, func() error) {
		value, release, err := acquire(t.Name(), func() (*int, error) { opened++; return new(int), nil },
			func(*int) error { closed++; return errors.New("closed") })
		require.NoError(t, err)
		return value, release
	}
	first, releaseFirst := take()
	second, releaseSecond := take()
	require.Same(t, first, second)
	require.Equal(t, 2, held()[t.Name()])
	require.NoError(t, releaseFirst())
	require.NoError(t, releaseFirst(), "a second release is nothing")
	require.Zero(t, closed)
	require.EqualError(t, releaseSecond(), "closed")
	require.NoError(t, releaseSecond())
	require.Equal(t, []int{1, 1}, []int{opened, closed})
	require.NotContains(t, held(), t.Name())

	third, release := take()
	require.NotSame(t, first, third, "what was closed is opened anew")
	require.Error(t, release())
}

func TestAcquireThatFailsLeavesNothing(t *testing.T) {
	before := maps.Clone(held())
	_, release, err := acquire(t.Name(), func() (int, error) { return 0, errors.New("no") }, func(int) error { panic("never") })
	require.EqualError(t, err, "no")
	require.Nil(t, release)
	require.Equal(t, before, held())
}

func TestLeaseReleasesOnceWhenTheLastLeaves(t *testing.T) {
	var released atomic.Int32
	l := newLease(func() { released.Add(1) })
	var all sync.WaitGroup
	var entered atomic.Int32
	for range 100 {
		all.Go(func() {
			for range 100 {
				if l.enter() {
					entered.Add(1)
					l.leave()
				}
			}
		})
	}
	all.Wait()
	require.EqualValues(t, 10000, entered.Load())
	require.Zero(t, released.Load())

	require.True(t, l.enter(), "a live request")
	l.leave() // the configuration's own hold
	require.Zero(t, released.Load(), "the request still needs it")
	require.True(t, l.enter(), "another may join while it lasts")
	l.leave()
	l.leave()
	require.EqualValues(t, 1, released.Load())
	require.False(t, l.enter(), "what is gone stays gone")
}
