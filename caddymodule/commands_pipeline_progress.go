package caddymodule

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/financecommander/tollgate/internal/pipeline"
	"github.com/financecommander/tollgate/internal/pipeline/run"
	"github.com/financecommander/tollgate/pricing"
)

// progress tells how a run goes, a line for each thing that happens.
type progress struct {
	out   io.Writer
	width int // of the longest step's name
	began time.Time
}

// total is the name of the last line.
const total = "total"

func (p *progress) begin(plan *pipeline.Plan, id string) {
	p.width = len(total)
	for _, step := range plan.Steps {
		p.width = max(p.width, len(step.Name))
	}
	fmt.Fprintf(p.out, "%s: %s, run %s\n", plan.Definition.Name, stepsOf(plan), id)
}

// show tells an event, if it is one to tell.
func (p *progress) show(e pipeline.StoredEvent) {
	switch e.Type {
	case pipeline.EventStart:
		p.began = e.Timestamp
	case pipeline.EventAgentStart:
		if d, ok := data[pipeline.AgentStarted](e); ok {
			p.line(e.Timestamp, d.Agent, "started", "")
		}
	case pipeline.EventAgentComplete:
		if d, ok := data[pipeline.AgentCompleted](e); ok {
			p.completed(e.Timestamp, d)
		}
	case pipeline.EventAgentError:
		if d, ok := data[pipeline.AgentFailed](e); ok {
			p.line(e.Timestamp, d.Agent, "failed", d.Message)
		}
	case pipeline.EventRetry:
		if d, ok := data[pipeline.Retried](e); ok {
			p.line(e.Timestamp, d.Agent, fmt.Sprintf("try %d", d.Attempt), d.Reason)
		}
	case pipeline.EventAgentToken, pipeline.EventComplete, pipeline.EventError: // told as a whole, at the end
	}
}

func (p *progress) completed(at time.Time, d pipeline.AgentCompleted) {
	if d.Skipped {
		p.line(at, d.Agent, "skipped", "")
		return
	}
	p.line(at, d.Agent, "done", used(time.Duration(d.DurationMS)*time.Millisecond, d.Tokens.Input, d.Tokens.Output, d.Cost))
}

// end tells the run's totals, which are the sum of its usage rows.
func (p *progress) end(view *run.View) {
	var input, output int64
	for _, usage := range view.AgentBreakdown {
		input, output = input+usage.InputTokens, output+usage.OutputTokens
	}
	var took time.Duration
	if view.DurationMS != nil {
		took = time.Duration(*view.DurationMS) * time.Millisecond
	}
	var cost pricing.Money
	if view.TotalCost != nil {
		cost = *view.TotalCost
	}
	p.line(p.began.Add(took), total, view.Status, used(took, input, output, cost))
}

// note tells something that is no event.
func (p *progress) note(text string) { p.line(time.Now(), total, text, "") }

func (p *progress) line(at time.Time, step, what, more string) {
	if p.began.IsZero() {
		p.began = at
	}
	line := fmt.Sprintf("%8s  %-*s  %-9s  %s", seconds(since(p.began, at)), p.width, step, what, more)
	fmt.Fprintln(p.out, strings.TrimRight(withoutControls(line), " "))
}

func used(took time.Duration, input, output int64, cost pricing.Money) string {
	return fmt.Sprintf("%8s  %7d in  %7d out  $%s", seconds(took), input, output, cost)
}

// data decodes what an event is about.
func data[T any](e pipeline.StoredEvent) (T, bool) {
	var d T
	err := json.Unmarshal(e.Data, &d)
	return d, err == nil
}
