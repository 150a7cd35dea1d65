package caddymodule

import (
	"sync"
	"sync/atomic"

	"github.com/caddyserver/caddy/v2"
)

// pool holds what outlives a configuration: connections, the ledger, limiter
// state. The key says everything that defines a resource, so a reload that
// changes nothing of it keeps it, and one that does gets another.
var pool = caddy.NewUsagePool()

// pooled makes a value with a way to close it poolable.
type pooled[T any] struct {
	value T
	close func(T) error
}

// Destruct implements caddy.Destructor.
func (p *pooled[T]) Destruct() error { return p.close(p.value) }

// acquire takes a pooled resource, opening it if nobody holds it. release may
// be called twice; the last holder's closes the resource.
func acquire[T any](key string, open func() (T, error), closing func(T) error) (value T, release func() error, err error) {
	held, _, err := pool.LoadOrNew(key, func() (caddy.Destructor, error) {
		value, err := open()
		if err != nil {
			return nil, err
		}
		return &pooled[T]{value, closing}, nil
	})
	if err != nil {
		return value, nil, err
	}
	var once sync.Once
	release = func() (err error) {
		once.Do(func() { _, err = pool.Delete(key) })
		return err
	}
	return held.(*pooled[T]).value, release, nil
}

// lease counts who still needs a configuration's resources: the configuration
// itself and every request it serves. A stream that spans reloads keeps what it
// began with; the last to leave closes it.
type lease struct {
	holders atomic.Int64
	release func()
}

func newLease(release func()) *lease {
	l := &lease{release: release}
	l.holders.Store(1)
	return l
}

// enter holds the resources for a request. It fails when they are gone, which
// is when the configuration was retired before the request came in.
func (l *lease) enter() bool {
	for {
		n := l.holders.Load()
		if n == 0 {
			return false
		}
		if l.holders.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

func (l *lease) leave() {
	if l.holders.Add(-1) == 0 {
		l.release()
	}
}
