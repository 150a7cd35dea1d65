package conversation_test

import (
	"testing"
	"time"
)

// A page has 120 ms to show what it read. On a machine that is too busy to run it
// in time, a lost word says nothing of the gateway.
const (
	tolerable = 40 * time.Millisecond // by which the machine may be late
	tries     = 5
)

// lateness watches by how much the machine is late, until the result is asked for.
func lateness() (most func() time.Duration) {
	end, result := make(chan struct{}), make(chan time.Duration)
	go func() {
		const nap = 5 * time.Millisecond
		var worst time.Duration
		for {
			begun := time.Now()
			select {
			case <-end:
				result <- worst
				return
			case <-time.After(nap):
				worst = max(worst, time.Since(begun)-nap)
			}
		}
	}()
	return func() time.Duration {
		close(end)
		return <-result
	}
}

// askWhole puts a question that must be answered whole, again where the machine was
// late.
func askWhole(t *testing.T, p *page, question string) {
	t.Helper()
	for range tries {
		late := lateness()
		_, shown, reloaded, err := p.ask(question)
		problem := wholeness(question, shown, reloaded, err)
		if behind := late(); problem != "" && behind > tolerable {
			t.Logf("the machine was %s late, so this does not count: %s", behind, problem)
			continue
		}
		if problem != "" {
			t.Error(problem)
		}
		return
	}
	t.Errorf("%s: the machine was late each time; try again on one that is less busy", question)
}
