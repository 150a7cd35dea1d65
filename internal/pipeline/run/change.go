package run

import (
	"context"
	"encoding/json"
	"time"

	"github.com/financecommander/tollgate/internal/database"
	"github.com/financecommander/tollgate/internal/identity"
	"github.com/financecommander/tollgate/internal/llm"
	"github.com/financecommander/tollgate/internal/pipeline"
	"github.com/financecommander/tollgate/internal/pipeline/execute"
)

// How long Cancel waits for the end: the other replica asks once a second.
const (
	cancelFor   = 2 * time.Second
	cancelCheck = 100 * time.Millisecond
)

// Cancel ends a run, on whichever replica it is, and gives it as it is then: a
// short wait gives it the time to end. Canceling a run that has ended does nothing.
func (s *Service) Cancel(ctx context.Context, caller *identity.Principal, id string) (*View, error) {
	row, err := s.row(ctx, caller, id)
	if err != nil {
		return nil, err
	}
	if row.Status != database.RunRunning {
		return s.view(row, true), nil
	}
	if r := s.find(row.ID); r != nil {
		r.cancel(execute.ErrCancelled)
		select {
		case <-r.gone:
		case <-time.After(cancelFor):
		case <-ctx.Done():
		}
		return s.Get(ctx, caller, row.ID)
	}
	if err := s.db.RequestRunCancel(ctx, row.ID); err != nil {
		return nil, away(err)
	}
	ticker := time.NewTicker(cancelCheck)
	defer ticker.Stop()
	for end := time.Now().Add(cancelFor); row.Status == database.RunRunning && time.Now().Before(end); {
		select {
		case <-ctx.Done():
			return s.view(row, true), nil
		case <-ticker.C:
		}
		if row, err = s.row(ctx, caller, row.ID); err != nil {
			return nil, err
		}
	}
	return s.view(row, true), nil
}

// Resume runs a failed run on: steps that had ended well are not done again. It
// runs by the plan that it was started with. Release as in [Begin].
func (s *Service) Resume(ctx context.Context, caller *identity.Principal, id string, executor *execute.Executor, release func()) (*View, error) {
	return s.resume(ctx, caller, id, executor, release)
}

func (s *Service) resume(ctx context.Context, caller *identity.Principal, id string, e executor, release func()) (*View, error) {
	if release == nil {
		release = func() {}
	}
	started := false
	defer func() {
		if !started {
			release()
		}
	}()
	row, err := s.row(ctx, caller, id)
	switch {
	case err != nil:
		return nil, err
	case row.UserHash != caller.UserHash: // a run spends its owner's money
		return nil, &llm.Error{Cause: llm.CauseForbidden, Message: "only its owner can resume a run"}
	case row.Status != database.RunFailed || s.find(row.ID) != nil:
		return nil, conflict("only a failed run can be resumed")
	}
	run, err := s.remaining(ctx, row, caller)
	if err != nil {
		return nil, err
	}
	if err := s.take(row.UserHash); err != nil {
		return nil, err
	}
	defer func() {
		if !started {
			s.leave(row.UserHash)
		}
	}()
	if err := e.MayRun(caller, run.Plan); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), dbTimeout)
	defer cancel()
	resumed, err := s.db.ResumeRun(ctx, row.ID, row.Attempt, s.owner, s.o.Lease)
	switch {
	case err != nil:
		return nil, away(err)
	case !resumed:
		return nil, conflict("the run was resumed already")
	}
	row.Status, row.Attempt, row.EndedAt = database.RunRunning, row.Attempt+1, nil
	started = true
	s.start(row, e, release, run)
	return s.view(row, true), nil
}

// remaining is what is left to do of a failed run.
func (s *Service) remaining(ctx context.Context, row *database.PipelineRun, caller *identity.Principal) (execute.Run, error) {
	run := execute.Run{ID: row.ID, Caller: caller, Done: map[string]execute.StepResult{}}
	ctx, cancel := context.WithTimeout(ctx, dbTimeout)
	defer cancel()
	sealed, err := s.db.RunPlan(ctx, row.ID)
	if err != nil {
		return run, away(err)
	}
	definition, ok := s.open(row.UserHash, row.ID, partPlan, sealed)
	query, ok2 := s.open(row.UserHash, row.ID, partQuery, row.Query)
	if !ok || !ok2 {
		return run, conflict("the run cannot be resumed: the gateway's secret was changed")
	}
	plan, err := s.parse(row.PipelineName, definition)
	if err != nil {
		return run, conflict("the run cannot be resumed: its definition is not valid any more")
	}
	run.Plan, run.Query = plan, string(query)
	steps, err := s.db.RunSteps(ctx, row.ID)
	if err != nil {
		return run, away(err)
	}
	for _, step := range steps {
		var result execute.StepResult
		text, ok := s.open(row.UserHash, row.ID, partStep+step.Step, step.Result)
		if ok && json.Unmarshal(text, &result) == nil { // which of them are good is the executor's to say
			run.Done[step.Step] = result
		}
	}
	usage, err := s.db.RunUsageOf(ctx, row.ID, row.CreatedAt)
	if err != nil {
		return run, away(err)
	}
	run.Before = used(mergeUsage(metadataOf(row), usage))
	return run, nil
}

// used leaves out steps that made no call.
func used(breakdown []pipeline.AgentUsage) []pipeline.AgentUsage {
	var made []pipeline.AgentUsage
	for _, u := range breakdown {
		if u.Calls > 0 {
			made = append(made, u)
		}
	}
	return made
}
