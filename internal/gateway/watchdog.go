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
// bytes, or in all. One timer serves all three.
type watchdog struct {
	ctx      context.Context //nolint:containedctx // the attempt's, to read its cause
	cancel   context.CancelCauseFunc
	timer    *time.Timer
	between  time.Duration
	deadline time.Time
	answered atomic.Bool // the first byte has come
}

// tookTooLong is the cause of a context the watchdog ended.
type tookTooLong struct{ why string }

func (t tookTooLong) Error() string { return t.why }

// watch gives the context of an attempt and its watchdog, which waits for the
// first byte to begin with.
func watch(parent context.Context, t upstream.Timeouts) (context.Context, *watchdog) {
	ctx, cancel := context.WithCancelCause(parent)
	w := &watchdog{
		ctx: ctx, cancel: cancel, between: t.BetweenBytes,
		deadline: time.Now().Add(t.Total),
	}
	w.timer = time.AfterFunc(min(t.FirstByte, t.Total), w.bark)
	return ctx, w
}

func (w *watchdog) bark() {
	why := "no answer"
	switch {
	case !time.Now().Before(w.deadline):
		why = "the answer was not complete in time"
	case w.answered.Load():
		why = fmt.Sprintf("the answer stood still for %s", w.between)
	}
	w.cancel(tookTooLong{why})
}

// touch says that bytes came: the wait begins anew.
func (w *watchdog) touch() {
	if !w.timer.Stop() {
		return // it has barked, or is about to
	}
	w.answered.Store(true)
	w.timer.Reset(min(w.between, time.Until(w.deadline)))
}

// shorten lets the rest take d at most.
func (w *watchdog) shorten(d time.Duration) {
	if w.timer.Stop() {
		w.timer.Reset(d)
	}
}

// barked says whether the watchdog ended the attempt, and why.
func (w *watchdog) barked() (why string, ok bool) {
	t, ok := errors.AsType[tookTooLong](context.Cause(w.ctx))
	return t.why, ok
}

// stop ends the watch and whatever is left of the attempt.
func (w *watchdog) stop() {
	w.timer.Stop()
	w.cancel(nil)
}
