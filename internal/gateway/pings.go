package gateway

import (
	"sync"
	"time"
)

// pings calls a function after every so long a silence. Whoever writes to the
// caller holds it meanwhile, so that no two writes meet. The zero value never
// calls anything.
type pings struct {
	every time.Duration // set once; 0: none are sent, and nothing needs guarding

	mu    sync.Mutex  // guards writing to the caller, and the timer
	timer *time.Timer // nil: none are sent any more
}

// start begins with the first silence; every of 0 or less means no pings.
func (p *pings) start(every time.Duration, ping func()) {
	if every <= 0 {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.every = every
	p.timer = time.AfterFunc(every, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.timer != nil {
			ping()
			p.timer.Reset(p.every)
		}
	})
}

// hold keeps pings from being sent until release.
func (p *pings) hold() {
	if p.every > 0 {
		p.mu.Lock()
	}
}

// release ends hold; silence begins anew.
func (p *pings) release() {
	if p.every <= 0 {
		return
	}
	if p.timer != nil {
		p.timer.Reset(p.every)
	}
	p.mu.Unlock()
}

// stop waits for a ping being sent; after it none is. It may be called again.
func (p *pings) stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.timer != nil {
		p.timer.Stop()
		p.timer = nil
	}
}
