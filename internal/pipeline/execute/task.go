package execute

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/financecommander/tollgate/internal/pipeline"
	"github.com/financecommander/tollgate/internal/pipeline/expr"
)

// maxBackoff is the longest wait before a try, unless an upstream asks for more.
const maxBackoff = time.Minute

// task is one doing of a step: the step itself, or one item of it.
type task struct {
	*worker
	scope   expr.Scope
	item    bool // its tokens and retries are not told, only what comes of it
	attempt int  // from 1
	retries int  // that it may still make
	told    bool // it has put out tokens since its start or latest retry
}

func (w *worker) task(scope expr.Scope, item bool) *task {
	return &task{worker: w, scope: scope, item: item, attempt: 1, retries: *w.step.Retries}
}

// do does the task once and for all.
func (t *task) do(ctx context.Context) (p product, f *failure) {
	switch t.step.Kind() {
	case pipeline.KindModel:
		return t.ask(ctx) // which counts what comes
	case pipeline.KindHTTP:
		p, f = t.fetch(ctx)
	case pipeline.KindTransform:
		p, f = t.transform(ctx)
	}
	if f == nil {
		f = t.put(len(p.text), len(p.text))
	}
	return p, f
}

func (t *task) transform(ctx context.Context) (product, *failure) {
	value, err := t.step.TransformExpr.Value(ctx, &t.scope)
	if err != nil {
		return product{}, broken(ctx, "transform", err)
	}
	return productOf(value), nil
}

// put counts n more bytes of an output that has come to size, or says that it is
// too long.
func (t *task) put(n, size int) *failure {
	if size > maxOutput {
		return failuref("its output is longer than %d MiB", maxOutput>>20)
	}
	return t.account.put(n)
}

// persist makes a call until it succeeds or no other try may help. The call gets
// the spender that its rows are recorded for.
func (t *task) persist(ctx context.Context, call func(context.Context, *spender) *failure) *failure {
	ctx, s := t.account.spend(ctx)
	defer t.account.leave(s)
	for {
		f := t.try(ctx, s, call)
		if f == nil || !f.again || t.retries == 0 {
			return f
		}
		if f = t.pause(ctx, f); f != nil {
			return f
		}
	}
}

// try makes a call once, when there is room for it, and not for longer than it may
// take.
func (t *task) try(ctx context.Context, s *spender, call func(context.Context, *spender) *failure) *failure {
	leave, f := t.enter(ctx)
	if f != nil {
		return f
	}
	defer leave()
	limit := time.Duration(t.step.Timeout)
	ctx, cancel := context.WithTimeoutCause(ctx, limit, &failure{message: "it took longer than " + span(limit), again: true})
	defer cancel()
	if f = call(ctx, s); f == nil {
		return nil
	}
	if why := whyEnded(ctx); why != nil {
		return why
	}
	return f
}

// pause waits before another try; the more tries there were, the longer, and at
// random, so that steps that failed together do not come back together. It gives
// the failure up to which there is none.
func (t *task) pause(ctx context.Context, f *failure) *failure {
	// Twice the backoff at most is the backoff on average.
	most := time.Duration(t.step.Backoff)
	for range t.attempt {
		most = min(2*most, max(maxBackoff, time.Duration(t.step.Backoff)))
	}
	wait := max(rand.N(most+1), f.after)
	if end, ok := ctx.Deadline(); ok && wait >= time.Until(end) {
		return f // the run would end first, and say less
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
		return whyEnded(ctx)
	}
	t.retries--
	t.retry(f.message)
	return nil
}

// retry says that the task begins anew.
func (t *task) retry(reason string) {
	t.attempt++
	t.told = false
	if !t.item {
		t.tell(pipeline.Retried{Agent: t.step.Name, Attempt: t.attempt, Reason: reason})
	}
}

// say puts a piece of the output out.
func (t *task) say(piece string) {
	if !t.item && piece != "" {
		t.told = true
		t.tell(pipeline.AgentToken{Agent: t.step.Name, Content: piece})
	}
}
