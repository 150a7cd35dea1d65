package dialect_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/dialect"
	"github.com/financecommander/tollgate/internal/llm"
)

func begin(part int) llm.Event { return llm.PartStart{Part: part, Begin: &llm.ToolCall{}} }

func add(part int, text string) llm.Event { return llm.ArgumentsDelta{Part: part, JSON: text} }

func end(part int) llm.Event { return llm.PartEnd{Part: part} }

func sequence(events ...llm.Event) (out []llm.Event) {
	var s dialect.Sequence
	for _, e := range events {
		s.Add(e, func(e llm.Event) { out = append(out, e) })
	}
	return out
}

func TestSequence(t *testing.T) {
	started, over, finished := llm.Started{}, llm.ChoiceEnd{}, llm.Finished{}
	failed := llm.Failed{Err: &llm.Error{Cause: llm.CauseUpstreamCut}}
	for name, tc := range map[string]struct{ events, want []llm.Event }{
		"in a row": {
			[]llm.Event{started, begin(0), add(0, "a"), end(0), begin(1), end(1), over, finished},
			[]llm.Event{started, begin(0), add(0, "a"), end(0), begin(1), end(1), over, finished},
		},
		"overlapping": {
			[]llm.Event{begin(0), begin(1), add(1, "b"), add(0, "a"), add(1, "B"), end(0), add(1, "!"), end(1), over, finished},
			[]llm.Event{begin(0), add(0, "a"), end(0), begin(1), add(1, "b"), add(1, "B"), add(1, "!"), end(1), over, finished},
		},
		"the second ends first": {
			[]llm.Event{begin(0), begin(1), add(1, "b"), end(1), begin(2), add(0, "a"), end(0), add(2, "c"), end(2), finished},
			[]llm.Event{begin(0), add(0, "a"), end(0), begin(1), add(1, "b"), end(1), begin(2), add(2, "c"), end(2), finished},
		},
		"the choice's end waits": {
			[]llm.Event{begin(0), begin(1), over, end(0), end(1), finished},
			[]llm.Event{begin(0), end(0), begin(1), end(1), over, finished},
		},
		"no ends": {
			[]llm.Event{begin(0), begin(1), add(1, "b"), over, finished},
			[]llm.Event{begin(0), end(0), begin(1), add(1, "b"), end(1), over, finished},
		},
		"failed": {
			[]llm.Event{begin(0), begin(1), add(1, "b"), failed},
			[]llm.Event{begin(0), end(0), begin(1), add(1, "b"), end(1), failed},
		},
	} {
		t.Run(name, func(t *testing.T) { require.Equal(t, tc.want, sequence(tc.events...)) })
	}
}

// However parts overlap, they come out one after the other with all they had.
func TestSequenceKeepsAll(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 500 {
		var events []llm.Event
		want := map[int]string{}
		var open []int
		for next := 0; next < 6 || len(open) > 0; {
			switch pick := r.IntN(4); {
			case pick == 0 && next < 6:
				events, open = append(events, begin(next)), append(open, next)
				next++
			case len(open) == 0:
			case pick == 1:
				i := r.IntN(len(open))
				events = append(events, end(open[i]))
				open = append(open[:i], open[i+1:]...)
			default:
				part := open[r.IntN(len(open))]
				text := fmt.Sprint(len(events))
				want[part] += text
				events = append(events, add(part, text))
			}
		}
		got, now, next := map[int]string{}, -1, 0
		for _, e := range sequence(append(events, llm.Finished{})...) {
			switch e := e.(type) {
			case llm.PartStart:
				require.Equal(t, -1, now)
				require.Equal(t, next, e.Part, "in the order of the starts")
				now = e.Part
				next++
			case llm.ArgumentsDelta:
				require.Equal(t, now, e.Part)
				got[e.Part] += e.JSON
			case llm.PartEnd:
				require.Equal(t, now, e.Part)
				now = -1
			}
		}
		require.Equal(t, want, got)
	}
}
