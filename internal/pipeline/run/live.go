package run

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"

	"github.com/financecommander/tollgate/internal/database"
	"github.com/financecommander/tollgate/internal/identity"
	"github.com/financecommander/tollgate/internal/metrics"
	"github.com/financecommander/tollgate/internal/pipeline"
	"github.com/financecommander/tollgate/internal/pipeline/execute"
)

// live is a run that this replica has.
type live struct {
	id, user, pipeline string
	attempt            int64
	agents             []string
	log                *eventLog
	cancel             context.CancelCauseFunc
	gone               chan struct{} // closed when it is stored, or somebody else's

	mu      sync.Mutex // guards what follows
	steps   []execute.StepResult
	outcome *execute.Outcome // nil: it runs
	ended   time.Time
}

// start runs a run in the background, whose place was taken.
func (s *Service) start(row *database.PipelineRun, e executor, release func(), run execute.Run) {
	ctx, cancel := context.WithCancelCause(identity.NewContext(context.Background(), run.Caller))
	r := &live{
		id: row.ID, user: row.UserHash, pipeline: row.PipelineName, attempt: row.Attempt,
		agents: agentsOf(run.Plan), log: newLog(row.ID), cancel: cancel, gone: make(chan struct{}),
	}
	run.Emit, run.Keep = r.log.add, r.keep
	s.mu.Lock()
	defer s.mu.Unlock()
	s.live[r.id] = r
	if s.idle == nil {
		s.idle = make(chan struct{})
		idle := s.idle
		s.working.Go(s.write)
		s.working.Go(func() { s.renew(idle) })
	}
	if s.stopped { // while it began
		cancel(execute.ErrStopped)
	}
	s.working.Go(func() { s.carry(ctx, r, e, run, release) })
}

// carry runs a run to its end, and waits until it is stored.
func (s *Service) carry(ctx context.Context, r *live, e executor, run execute.Run, release func()) {
	defer s.leave(r.user)
	defer release()
	defer r.cancel(nil)
	ended := metrics.PipelineRunStarted()
	outcome := s.execute(ctx, r, e, run)
	ended(r.pipeline, cmp.Or(string(outcome.Code), string(outcome.Status)))
	r.mu.Lock()
	r.outcome, r.ended = &outcome, time.Now()
	r.mu.Unlock()
	s.nudge()
	<-r.gone
}

// execute runs a run. Its last event is there afterwards, whatever happens.
func (s *Service) execute(ctx context.Context, r *live, e executor, run execute.Run) (outcome execute.Outcome) {
	began := time.Now()
	defer func() {
		if p := recover(); p != nil { // a bug of ours costs one run, not the process
			s.logger.LogAttrs(ctx, slog.LevelError, "panic in a run of a pipeline", slog.String("run", r.id),
				slog.String("panic", fmt.Sprintf("%T", p)), slog.String("stack", string(debug.Stack())))
			outcome = execute.Outcome{
				Status: execute.Failed, Code: execute.CodeInternal, Message: "the gateway failed on this run; it has been logged",
				Breakdown: run.Before, Duration: time.Since(began),
			}
		}
		if outcome.Status == execute.Completed {
			r.log.add(pipeline.Event{Type: pipeline.EventComplete, Data: completed(outcome)})
		} else {
			r.log.add(pipeline.Event{Type: pipeline.EventError, Data: pipeline.Failed{Message: outcome.Message}})
		}
	}()
	return e.Run(ctx, run)
}

func completed(o execute.Outcome) pipeline.Completed {
	return pipeline.Completed{
		Output: o.Output, TotalTokens: o.InputTokens + o.OutputTokens, TotalCost: o.Cost,
		DurationMS: o.Duration.Milliseconds(), AgentBreakdown: o.Breakdown,
	}
}

// keep takes the result of a step, to be stored.
func (r *live) keep(result execute.StepResult) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.steps = append(r.steps, result)
}

// hasEnded says whether the run has ended, stored or not.
func (r *live) hasEnded() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.outcome != nil
}

// find gives a run that this replica has; nil: it has none of that id.
func (s *Service) find(id string) *live {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.live[id]
}

// remove forgets a run: the database has all of it, or it is somebody else's.
func (s *Service) remove(r *live, stored bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.live[r.id] != r {
		return
	}
	delete(s.live, r.id)
	r.log.show()
	if stored {
		r.log.forget()
	}
	close(r.gone)
}

// lose stops a run whose row is another replica's by now, or was deleted.
func (s *Service) lose(ctx context.Context, r *live) {
	cause := execute.ErrLost
	if _, _, err := s.db.RunEventsAfter(ctx, r.id, maxSeq, 1); isNotFound(err) {
		cause = execute.ErrCancelled
	}
	s.logger.LogAttrs(ctx, slog.LevelWarn, "a run of a pipeline is stopped: it is this replica's no more",
		slog.String("run", r.id), slog.String("because", cause.Error()))
	r.cancel(cause)
	s.remove(r, false)
}
