package execute

import (
	"fmt"
	"time"

	"github.com/financecommander/tollgate/internal/pipeline"
)

// finish tells of the run's end, after which there is nothing to tell.
func (l *live) finish() Outcome {
	o := Outcome{Status: Completed, Breakdown: make([]pipeline.AgentUsage, len(l.steps))}
	if l.by != nil {
		l.skipRest()
	}
	for i := range l.steps {
		u := l.account.of(i)
		o.Breakdown[i] = u
		o.InputTokens += u.InputTokens
		o.OutputTokens += u.OutputTokens
		o.Cost = o.Cost.Add(u.Cost)
		if result := l.steps[i].result; result != nil {
			o.Steps = append(o.Steps, *result)
		}
	}
	o.Duration = time.Since(l.run.Begun)
	if l.failed != nil {
		o.Status, o.Code, o.Message = Failed, l.failed.code, l.failed.message
		l.emit(pipeline.EventError, pipeline.Failed{Message: o.Message})
		return o
	}
	o.Output = l.steps[l.run.Plan.Output].output.Text
	if l.by != nil {
		o.Output = l.steps[l.by.Index].output.Text
	}
	l.emit(pipeline.EventComplete, pipeline.Completed{
		Output: o.Output, TotalTokens: o.InputTokens + o.OutputTokens, TotalCost: o.Cost,
		DurationMS: o.Duration.Milliseconds(), AgentBreakdown: o.Breakdown,
	})
	return o
}

// skipRest tells of the steps that a stop condition left undone.
func (l *live) skipRest() {
	for i, s := range l.run.Plan.Steps {
		if l.steps[i].result == nil {
			l.keep(s, &StepResult{
				Step: s.Name, Status: Skipped, Usage: l.account.of(i),
				Message: fmt.Sprintf("step %q ended the run", l.by.Name),
			}, nil)
		}
	}
}
