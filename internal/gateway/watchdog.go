package gateway

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/financecommander/tollgate/internal/upstream"
)

// watchdog ends an attempt that takes too long: to its first byte, between
// bytes, or in all. One timer serves all three, and is not touched by bytes that
// come: when it fires it looks when the last ones came, and waits on.
type watchdog struct {
	ctx    context.Context //nolint:containedctx // the attempt's, to read its cause
	cancel context.CancelCauseFunc
	timer  *time.Timer
	start  time.Time
	limits upstream.Timeouts
	last   atomic.Int64 // when bytes came last, in ns since the start; 0: none yet
	end    atomic.Int64 // when the whole must be over, likewise
	over   atomic.Bool  // nobody is waiting any more
}

// timeoutError is the cause of a context the watchdog ended.
type timeoutError struct{ why string }

func (e timeoutError) Error() string { return e.why }

// watch gives the context of an attempt and its watchdog, which waits for the
// first byte to begin with.
func watch(parent context.Context, t upstream.Timeouts) (context.Context, *watchdog) {
	ctx, cancel := context.WithCancelCause(parent)
	w := &watchdog{ctx: ctx, cancel: cancel, start: time.Now(), limits: t}
	w.end.Store(int64(t.Total))
	w.timer = time.AfterFunc(min(t.FirstByte, t.Total), w.look)
	return ctx, w
}

// look is what the timer does: it barks, or waits for what is left.
func (w *watchdog) look() {
	now, last, end := time.Since(w.start), time.Duration(w.last.Load()), time.Duration(w.end.Load())
	due, why := last+w.limits.BetweenBytes, fmt.Sprintf("the answer stood still for %s", w.limits.BetweenBytes)
	if last == 0 {
		due, why = w.limits.FirstByte, "no answer"
	}
	if end <= due {
		due, why = end, "the answer was not complete in time"
	}
	switch {
	case w.over.Load():
	case now >= due:
		w.cancel(timeoutError{why})
	default:
		w.timer.Reset(due - now)
	}
}

// answered says that the answer has begun: from here on silence counts.
func (w *watchdog) answered() {
	w.touch()
	if w.timer.Stop() {
		w.timer.Reset(min(w.limits.BetweenBytes, w.limits.Total-time.Since(w.start)))
	}
}

// touch says that bytes came: the wait begins anew.
func (w *watchdog) touch() { w.touchAt(time.Now()) }

func (w *watchdog) touchAt(now time.Time) { w.last.Store(int64(now.Sub(w.start))) }

// shorten lets the rest take d at most.
func (w *watchdog) shorten(d time.Duration) {
	w.end.Store(int64(min(time.Since(w.start)+d, time.Duration(w.end.Load()))))
	w.timer.Reset(d)
}

// barked says whether the watchdog ended the attempt, and why.
func (w *watchdog) barked() (why string, ok bool) {
	t, ok := errors.AsType[timeoutError](context.Cause(w.ctx))
	return t.why, ok
}

// stop ends the watch and whatever is left of the attempt.
func (w *watchdog) stop() {
	w.over.Store(true)
	w.timer.Stop()
	w.cancel(nil)
}
