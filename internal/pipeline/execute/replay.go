package execute

import (
	"context"

	"github.com/financecommander/tollgate/internal/pipeline"
)

// earlier gives the result that an earlier attempt left of a step, where it is
// good: all that the step needs was not done again either, and it is not what
// ended that attempt.
func (l *live) earlier(s *pipeline.PlanStep) (*StepResult, bool) {
	result, ok := l.run.Done[s.Name]
	if !ok || result.Status == Failed && s.OnFailure != pipeline.Empty {
		return nil, false
	}
	for _, need := range s.Needs {
		if !l.steps[need].replayed {
			return nil, false
		}
	}
	result.Step = s.Name
	result.Usage = l.account.of(s.Index)
	return &result, true
}

// replay tells of a step as if it had just been done.
func (l *live) replay(ctx context.Context, s *pipeline.PlanStep, result *StepResult) {
	l.steps[s.Index].replayed = true
	if result.Status != Skipped {
		l.emit(pipeline.EventAgentStart, pipeline.AgentStarted{Agent: s.Name})
	}
	if result.Output != "" && (s.Kind() == pipeline.KindModel || s.Map != nil) {
		l.emit(pipeline.EventAgentToken, pipeline.AgentToken{Agent: s.Name, Content: result.Output})
	}
	l.keep(s, result, decode(result.Output))
	l.goOn(ctx, s)
}
