package execute

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/financecommander/tollgate/internal/metrics"
	"github.com/financecommander/tollgate/internal/pipeline"
	"github.com/financecommander/tollgate/internal/pipeline/expr"
)

// live is a run that is under way. Its fields, but for what is shared, belong to
// the goroutine of [Executor.Run]: it alone decides, keeps results and emits.
// Workers do the steps and tell it.
type live struct {
	*shared
	steps   []state
	working int // workers that have not told their end
	workers sync.WaitGroup

	// end ends the work under way, once it is decided how the run ends: with a
	// failure, or with the output of a step whose stop condition held.
	end    context.CancelCauseFunc
	failed *failure
	by     *pipeline.PlanStep
}

// state is how far a step is.
type state struct {
	waits    int         // steps that it needs and that have not ended
	begun    bool        // and told
	closed   bool        // its end was told
	replayed bool        // it was done by an earlier attempt
	result   *StepResult // nil: it has not ended by itself
	output   expr.Output // for those that need it
}

// Run runs a plan to its end; ctx's end cancels it. The last event it emits is
// EventComplete or EventError.
func (e *Executor) Run(ctx context.Context, r Run) Outcome {
	r.Begun = cmp.Or(r.Begun, time.Now())
	ctx, end := context.WithCancelCause(ctx)
	if limit := time.Duration(r.Plan.Definition.Limits.Time); limit > 0 {
		late := &failure{code: CodeTime, message: "the run was ended, since it took longer than " + span(limit)}
		deadline, cancel := context.WithDeadlineCause(ctx, r.Begun.Add(limit), late)
		defer cancel()
		ctx = deadline
	}
	l := e.newLive(&r, end)
	defer l.leave()
	l.follow(ctx)
	return l.finish()
}

// leave leaves nothing behind, also when whoever is told of the run panics.
func (l *live) leave() {
	l.end(nil)
	close(l.over)
	l.workers.Wait()
}

func (e *Executor) newLive(r *Run, end context.CancelCauseFunc) *live {
	l := &live{
		shared: &shared{
			o:        e.o,
			run:      r,
			account:  newAccount(r),
			parallel: semaphore.NewWeighted(int64(max(r.Plan.Definition.Limits.Parallel, 1))),
			news:     make(chan news),
			over:     make(chan struct{}),
		},
		steps: make([]state, len(r.Plan.Steps)),
		end:   end,
	}
	l.o.Logger = cmp.Or(l.o.Logger, slog.New(slog.DiscardHandler))
	for i, s := range r.Plan.Steps {
		l.steps[i].waits = len(s.Needs)
	}
	return l
}

// follow starts the steps and hears of them until all have ended.
func (l *live) follow(ctx context.Context) {
	agents := make([]string, len(l.run.Plan.Steps))
	for i, s := range l.run.Plan.Steps {
		agents[i] = s.Name
	}
	l.emit(pipeline.EventStart, pipeline.Started{Agents: agents, Query: l.run.Query})
	for _, s := range l.run.Plan.Steps {
		if len(s.Needs) == 0 {
			l.start(ctx, s)
		}
	}
	done := ctx.Done()
	for l.working > 0 {
		select {
		case n := <-l.news:
			l.hear(ctx, n)
		case <-done:
			done = nil
			l.fail(whyEnded(ctx))
		}
	}
}

// start starts a step that has all it needs, unless the run is decided.
func (l *live) start(ctx context.Context, s *pipeline.PlanStep) {
	if l.decided() {
		return
	}
	if result, ok := l.earlier(s); ok {
		l.replay(ctx, s, result)
		return
	}
	w := &worker{shared: l.shared, step: s, scope: expr.Scope{Query: l.run.Query, Steps: make(map[string]expr.Output, len(s.Needs)+1)}}
	for _, need := range s.Needs {
		w.scope.Steps[l.run.Plan.Steps[need].Name] = l.steps[need].output
	}
	l.working++
	l.workers.Go(func() {
		end := w.work(ctx)
		l.send(news{step: s.Index, end: &end})
	})
}

// hear takes what a worker tells.
func (l *live) hear(ctx context.Context, n news) {
	s := l.run.Plan.Steps[n.step]
	if l.steps[n.step].closed {
		return // a call that talks on after its end
	}
	switch event := n.event.(type) {
	case pipeline.AgentStarted:
		l.steps[n.step].begun = true
		l.emit(pipeline.EventAgentStart, event)
	case pipeline.AgentToken:
		l.emit(pipeline.EventAgentToken, event)
	case pipeline.Retried:
		l.emit(pipeline.EventRetry, event)
	default:
		l.working--
		l.ended(ctx, s, n.end)
	}
}

// ended takes a step's end, and goes on from there.
func (l *live) ended(ctx context.Context, s *pipeline.PlanStep, end *ending) {
	f := end.failure
	result := &StepResult{
		Step: s.Name, Status: Completed, Output: end.text, DurationMS: end.took.Milliseconds(),
		Message: end.note, Stopped: end.stop, Usage: l.account.of(s.Index),
	}
	switch {
	case f != nil && f.code != "":
		l.fail(f)
		l.cut(s, f, end.took)
		return
	case f != nil:
		result.Status, result.Output, result.Message, end.value = Failed, "", f.message, nil
		metrics.PipelineStep(l.run.Plan.Definition.Name, s.Name, string(Failed), end.took)
	case end.skipped:
		result.Status, result.Message = Skipped, "its condition to be skipped was met"
	default:
		metrics.PipelineStep(l.run.Plan.Definition.Name, s.Name, string(Completed), end.took)
	}
	l.keep(s, result, end.value)
	l.goOn(ctx, s)
}

// goOn does what follows from a step's result.
func (l *live) goOn(ctx context.Context, s *pipeline.PlanStep) {
	result := l.steps[s.Index].result
	switch {
	case l.decided():
	case result.Status == Failed && s.OnFailure == pipeline.Skip:
		l.leaveOut(s)
	case result.Status == Failed && s.OnFailure != pipeline.Empty:
		l.fail(&failure{code: CodeStep, message: fmt.Sprintf("step %q failed: %s", s.Name, result.Message)})
	case result.Stopped:
		l.by = s
		l.end(&failure{code: codeOutput, message: fmt.Sprintf("step %q ended the run", s.Name)})
	default:
		for _, i := range s.Wanted {
			if l.steps[i].waits--; l.steps[i].waits == 0 && l.steps[i].result == nil {
				l.start(ctx, l.run.Plan.Steps[i])
			}
		}
	}
}

// leaveOut skips all that needs a step that failed. Without the step whose output
// is the run's, the run has failed.
func (l *live) leaveOut(s *pipeline.PlanStep) {
	lost := make([]bool, len(l.steps))
	var lose func(i int)
	lose = func(i int) {
		if lost[i] {
			return
		}
		lost[i] = true
		for _, wanted := range l.run.Plan.Steps[i].Wanted {
			lose(wanted)
		}
	}
	lose(s.Index)
	if lost[l.run.Plan.Output] {
		l.fail(&failure{code: CodeStep, message: fmt.Sprintf("step %q, which the output needs, failed: %s", s.Name, l.steps[s.Index].result.Message)})
		return
	}
	for i, step := range l.run.Plan.Steps {
		if lost[i] && l.steps[i].result == nil {
			l.keep(step, &StepResult{
				Step: step.Name, Status: Skipped, Usage: l.account.of(i),
				Message: fmt.Sprintf("it needs step %q, which failed", s.Name),
			}, nil)
		}
	}
}

// cut closes a step that was under way when the run's end was decided.
func (l *live) cut(s *pipeline.PlanStep, f *failure, took time.Duration) {
	switch state := &l.steps[s.Index]; {
	case !state.begun: // it is as if it had not been started
	case l.by != nil:
		l.keep(s, &StepResult{Step: s.Name, Status: Skipped, DurationMS: took.Milliseconds(), Message: f.message, Usage: l.account.of(s.Index)}, nil)
	default:
		state.closed = true
		l.emit(pipeline.EventAgentError, pipeline.AgentFailed{Agent: s.Name, Message: f.message})
	}
}

// keep takes a step's result, with the value of an output that is JSON, and tells
// it.
func (l *live) keep(s *pipeline.PlanStep, result *StepResult, value any) {
	state := &l.steps[s.Index]
	state.result, state.closed = result, true
	state.output = expr.Output{Text: result.Output, JSON: value, Skipped: result.Status == Skipped, Failed: result.Status == Failed}
	l.tellEnd(result)
	if l.run.Keep != nil && !state.replayed {
		l.run.Keep(*result)
	}
}

func (l *live) tellEnd(r *StepResult) {
	if r.Status == Failed {
		l.emit(pipeline.EventAgentError, pipeline.AgentFailed{Agent: r.Step, Message: r.Message})
		return
	}
	l.emit(pipeline.EventAgentComplete, pipeline.AgentCompleted{
		Agent: r.Step, DurationMS: r.DurationMS, Output: r.Output, Skipped: r.Status == Skipped,
		Tokens: pipeline.Tokens{Input: r.Usage.InputTokens, Output: r.Usage.OutputTokens}, Cost: r.Usage.Cost,
	})
}

func (l *live) decided() bool { return l.failed != nil || l.by != nil }

// fail decides that the run fails, unless it is decided already, and ends the work
// under way.
func (l *live) fail(f *failure) {
	if !l.decided() {
		l.failed = f
		l.end(f)
	}
}

func (l *live) emit(kind pipeline.EventType, data any) {
	l.run.Emit(pipeline.Event{Type: kind, Time: time.Now().UTC(), Data: data})
}
