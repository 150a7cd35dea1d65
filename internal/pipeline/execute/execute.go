// Package execute runs a plan: steps as soon as those they need are done, as many
// at a time as the limits allow, each with its tries, and all of it bounded in
// time and cost. It keeps nothing; package run does.
package execute

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/financecommander/tollgate/internal/gateway"
	"github.com/financecommander/tollgate/internal/identity"
	"github.com/financecommander/tollgate/internal/llm"
	"github.com/financecommander/tollgate/internal/pipeline"
	"github.com/financecommander/tollgate/internal/pipeline/fetch"
	"github.com/financecommander/tollgate/pricing"
)

// Models answers model calls: *gateway.Gateway.
type Models interface {
	Do(ctx context.Context, c gateway.Call) (*gateway.Answered, *llm.Error)
	MayDo(c gateway.Call) *llm.Error
}

// Options are what an [Executor] works with.
type Options struct {
	Models Models
	Fetch  *fetch.Client // nil: http steps fail
	// Slots bound the calls of all runs; shared by executors. nil: unbounded.
	Slots *Slots
	// Permit is asked before each call whether the caller may still go on (they may
	// have been blocked meanwhile); nil: they may.
	Permit func(*identity.Principal) *llm.Error
	Logger *slog.Logger
}

// Executor runs plans. It is safe for concurrent use.
type Executor struct{ o Options }

// New makes an executor.
func New(o Options) *Executor { return &Executor{o: o} }

// Run is one run of a plan.
type Run struct {
	ID     string
	Plan   *pipeline.Plan
	Query  string
	Caller *identity.Principal
	// Done are results of an earlier attempt, by step: these steps are not done
	// again, but their events are given again.
	Done map[string]StepResult
	// Before is what an earlier attempt used, in the breakdown's form.
	Before []pipeline.AgentUsage
	// Emit gets each event, in order, from one goroutine at a time. It must not wait.
	Emit func(pipeline.Event)
	// Keep gets the result of each step that has ended. It must not wait.
	Keep func(StepResult)
	// Begun is when the run was first started; limits of time count from there.
	// Zero: now.
	Begun time.Time
}

// Status is how a step, or a run, ended.
type Status string

// The statuses. Runs are never skipped.
const (
	Completed Status = "completed"
	Skipped   Status = "skipped"
	Failed    Status = "failed"
)

// StepResult is what became of a step.
type StepResult struct {
	Step       string              `json:"step"`
	Status     Status              `json:"status"`
	Output     string              `json:"output"`
	DurationMS int64               `json:"duration_ms"`
	Message    string              `json:"message,omitempty"` // why it, or items of it, failed, or it was skipped
	Stopped    bool                `json:"stopped,omitempty"` // its stop condition ended the run
	Usage      pipeline.AgentUsage `json:"usage"`
}

// Code says in a word why a run failed.
type Code string

// The codes.
const (
	CodeStep      Code = "step_failed"
	CodeCost      Code = "cost_limit"
	CodeTime      Code = "time_limit"
	CodeCalls     Code = "calls_limit"
	CodeForbidden Code = "forbidden" // the caller may no longer make calls
	CodeCancelled Code = "cancelled"
	CodeStopped   Code = "gateway_stopped" // by its operator, in mid-run
	CodeLost      Code = "replica_lost"
	CodeInternal  Code = "internal"
)

// Causes to cancel a run's context with (context.WithCancelCause); any other is
// CodeInternal.
var (
	ErrCancelled = errors.New("the run was cancelled")
	ErrStopped   = errors.New("the gateway was stopped while the run was under way")
	ErrLost      = errors.New("another replica took the run for dead")
)

// Outcome is how a run ended.
type Outcome struct {
	Status       Status // Completed or Failed
	Code         Code   // of a run that failed
	Message      string // likewise; holds nothing of prompts and answers
	Output       string
	InputTokens  int64
	OutputTokens int64
	Cost         pricing.Money
	Breakdown    []pipeline.AgentUsage // of each step in the definition's order
	Steps        []StepResult          // of those that have ended
	Duration     time.Duration
}
