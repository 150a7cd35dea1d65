package execute

import (
	"context"
	"math"
	"sync"

	"github.com/financecommander/tollgate/internal/pipeline"
	"github.com/financecommander/tollgate/internal/usage"
	"github.com/financecommander/tollgate/pricing"
)

// The bounds of what is put out.
const (
	// maxOutput is the longest output of a step, in bytes.
	maxOutput = 1 << 20
	// maxRunOutput bounds all that a run puts out, tries included whose output is
	// void: events have that too.
	maxRunOutput = 16 << 20
)

// account is what a run has used, and what it may use.
type account struct {
	limits pipeline.Limits

	mu       sync.Mutex            // guards all below
	usage    []pipeline.AgentUsage // by step
	cost     pricing.Money
	calls    int
	output   int
	spenders map[*spender]bool
	spent    *failure // there is no money left
}

// spender is work that needs calls: without money it is cut off.
type spender struct{ cut context.CancelCauseFunc }

func newAccount(r *Run) *account {
	a := &account{
		limits:   r.Plan.Definition.Limits,
		usage:    make([]pipeline.AgentUsage, len(r.Plan.Steps)),
		spenders: make(map[*spender]bool),
	}
	for i, s := range r.Plan.Steps {
		a.usage[i].Agent = s.Name
		for _, before := range r.Before {
			if before.Agent == s.Name {
				a.usage[i] = before
			}
		}
		a.calls += int(min(a.usage[i].Calls, math.MaxInt32)) // else who resumes on and on has no limit
		a.usage[i].TotalTokens = a.usage[i].InputTokens + a.usage[i].OutputTokens
		a.cost = a.cost.Add(a.usage[i].Cost)
		a.output += len(r.Done[s.Name].Output)
	}
	a.look()
	return a
}

// look ends all that needs calls when the money is spent.
func (a *account) look() {
	if a.spent != nil || a.limits.Cost == nil || a.cost < *a.limits.Cost {
		return
	}
	a.spent = &failure{code: CodeCost, message: "the run was ended, since it has cost " + a.cost.String() +
		" USD and may cost " + a.limits.Cost.String() + " USD"}
	for s := range a.spenders {
		s.cut(a.spent)
	}
	clear(a.spenders)
}

// spend begins work that needs calls. It must be left.
func (a *account) spend(ctx context.Context) (context.Context, *spender) {
	ctx, cancel := context.WithCancelCause(ctx)
	s := &spender{cancel}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.spent != nil {
		cancel(a.spent)
	} else {
		a.spenders[s] = true
	}
	return ctx, s
}

func (a *account) leave(s *spender) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.spenders, s)
	s.cut(nil)
}

// record adds a row of the usage log to a step's usage.
func (a *account) record(s *spender, step int, row usage.Record) {
	a.mu.Lock()
	defer a.mu.Unlock()
	u := &a.usage[step]
	u.InputTokens += row.InputTokens
	u.OutputTokens += row.OutputTokens
	u.TotalTokens += row.InputTokens + row.OutputTokens
	u.Cost = u.Cost.Add(row.Cost)
	u.Calls++
	if row.Success {
		u.Model = row.Model
		delete(a.spenders, s) // the answer is here and paid for, whatever it cost
	} else if u.Model == "" {
		u.Model = row.Model
	}
	a.cost = a.cost.Add(row.Cost)
	a.look()
}

// call counts a call that is about to be made, or says why there may be none.
func (a *account) call() *failure {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.spent != nil {
		return a.spent
	}
	if most := a.limits.Calls; most > 0 && a.calls >= most {
		f := failuref("the run was ended, since it may make %d calls and needs more", most)
		f.code = CodeCalls
		return f
	}
	a.calls++
	return nil
}

// put counts bytes that a step puts out, or says that they are too many.
func (a *account) put(n int) *failure {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.output += n; a.output > maxRunOutput {
		return failuref("the steps of a run may put out %d MiB in all, and would put out more", maxRunOutput>>20)
	}
	return nil
}

// moneyless says why no call may be made now for want of money.
func (a *account) moneyless() *failure {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.spent
}

func (a *account) of(step int) pipeline.AgentUsage {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.usage[step]
}
