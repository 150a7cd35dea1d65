package execute

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"runtime/debug"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/financecommander/tollgate/internal/pipeline"
	"github.com/financecommander/tollgate/internal/pipeline/expr"
)

// shared is what the workers of a run have in common.
type shared struct {
	o        Options
	run      *Run
	account  *account
	parallel *semaphore.Weighted // calls of the run
	news     chan news           // is read until all workers have ended
	over     chan struct{}       // closed once nobody reads news
}

// news is what the run's goroutine hears of a step: an event, or the end.
type news struct {
	step  int
	event any
	end   *ending
}

// worker does one step.
type worker struct {
	*shared
	step  *pipeline.PlanStep
	scope expr.Scope
}

// ending is how a step ended.
type ending struct {
	product
	value   any      // of an output that is JSON
	failure *failure // nil: it has not failed
	skipped bool     // its condition said so
	stop    bool     // its condition says that the run ends with it
	note    string   // of items that failed and did not matter
	took    time.Duration
}

// work does the step.
func (w *worker) work(ctx context.Context) (end ending) {
	begun := time.Now()
	defer func() { end.took = time.Since(begun) }()
	defer w.survive(&end.failure)
	if end.failure = whyEnded(ctx); end.failure != nil {
		return end
	}
	end.skipped, end.failure = w.holds(ctx, "skip_if", w.step.SkipCondition, &w.scope)
	if end.failure == nil && !end.skipped && w.step.Kind() != pipeline.KindTransform {
		end.failure = w.account.moneyless()
	}
	if end.skipped || end.failure != nil && end.failure.code != "" {
		return end
	}
	w.tell(pipeline.AgentStarted{Agent: w.step.Name})
	if end.failure != nil {
		return end
	}
	if w.step.Map != nil {
		end.product, end.note, end.failure = w.items(ctx)
	} else {
		end.product, end.failure = w.task(w.scope, false).do(ctx)
	}
	if end.failure == nil {
		end.value = decode(end.text)
		end.stop, end.failure = w.holds(ctx, "stop_if", w.step.StopCondition, w.after(&end))
	}
	return end
}

// holds evaluates a condition; one that is not there does not hold.
func (w *worker) holds(ctx context.Context, what string, condition *expr.Expression, scope *expr.Scope) (bool, *failure) {
	if condition == nil {
		return false, nil
	}
	holds, err := condition.Bool(ctx, scope)
	if err != nil {
		return false, broken(ctx, what, err)
	}
	return holds, nil
}

// after is what the step sees when it is done.
func (w *worker) after(end *ending) *expr.Scope {
	if w.step.StopCondition == nil {
		return nil
	}
	scope := w.scope
	scope.Steps = maps.Clone(scope.Steps)
	scope.Steps[w.step.Name] = expr.Output{Text: end.text, JSON: end.value}
	return &scope
}

// enter waits until a call may be made. Whoever may make it must leave.
func (w *worker) enter(ctx context.Context) (leave func(), f *failure) {
	if w.parallel.Acquire(ctx, 1) != nil {
		return nil, whyEnded(ctx)
	}
	if w.o.Slots.take(ctx) != nil {
		w.parallel.Release(1)
		return nil, whyEnded(ctx)
	}
	leave = func() {
		w.o.Slots.giveBack()
		w.parallel.Release(1)
	}
	if f = w.permit(); f == nil {
		f = w.account.call()
	}
	if f != nil {
		leave()
		return nil, f
	}
	return leave, nil
}

// permit asks whether the caller may still make calls; the run of one who may not
// is over.
func (w *worker) permit() *failure {
	if w.o.Permit == nil {
		return nil
	}
	if err := w.o.Permit(w.run.Caller); err != nil {
		return &failure{message: err.Message, code: CodeForbidden}
	}
	return nil
}

// tell tells the run's goroutine of an event of the step.
func (w *worker) tell(event any) { w.send(news{step: w.step.Index, event: event}) }

func (s *shared) send(n news) {
	select {
	case s.news <- n:
	case <-s.over:
	}
}

// survive turns a panic into a failure: a bug of ours costs a step, never the
// process.
func (w *worker) survive(f **failure) {
	p := recover()
	if p == nil {
		return
	}
	w.o.Logger.Error("panic in a step of a pipeline", slog.String("run_id", w.run.ID), slog.String("step", w.step.Name),
		slog.String("panic", fmt.Sprintf("%T", p)), slog.String("stack", string(debug.Stack())))
	*f = failuref("the gateway failed on this step; it has been logged")
}
