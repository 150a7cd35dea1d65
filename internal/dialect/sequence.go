package dialect

import "github.com/financecommander/tollgate/internal/llm"

// Sequence puts parts that overlap in a row: while a part is open, the events of
// those that started after it wait. Formats whose blocks follow each other
// (Anthropic's, Responses') need it for parallel tool calls that a chat upstream
// streams at once, and numbers come out without gaps in the order of the starts.
// The zero value is ready.
type Sequence struct {
	open    int         // the part under way, by its number; valid if busy
	busy    bool        // a part is under way
	waiting []llm.Event // of other parts, in the order they came
}

// Add gives the events that may be said now.
func (s *Sequence) Add(e llm.Event, yield func(llm.Event)) {
	number, start, end := partOf(e)
	switch {
	case number < 0: // of the whole answer
		if isLast(e) {
			s.flush(yield)
		}
		if s.busy {
			if _, ok := e.(llm.ChoiceEnd); ok { // after the parts that are still open
				s.waiting = append(s.waiting, e)
				return
			}
		}
		yield(e)
	case !s.busy && start:
		s.busy, s.open = true, number
		yield(e)
	case s.busy && number == s.open:
		yield(e)
		if end {
			s.busy = false
			s.resume(yield)
		}
	default:
		s.waiting = append(s.waiting, e)
	}
}

// resume replays what waited.
func (s *Sequence) resume(yield func(llm.Event)) {
	waiting := s.waiting
	s.waiting = nil
	for _, e := range waiting {
		s.Add(e, yield)
	}
}

// flush says everything: the answer is over. A part without an end gets one.
func (s *Sequence) flush(yield func(llm.Event)) {
	for s.busy {
		number := s.open
		s.busy = false
		yield(llm.PartEnd{Part: number})
		s.resume(yield)
	}
}

func isLast(e llm.Event) bool {
	switch e.(type) {
	case llm.Finished, llm.Failed:
		return true
	}
	return false
}

// partOf is the number of the part that an event belongs to; -1: none.
func partOf(e llm.Event) (number int, start, end bool) {
	switch e := e.(type) {
	case llm.PartStart:
		return e.Part, true, false
	case llm.TextDelta:
		return e.Part, false, false
	case llm.ThinkingDelta:
		return e.Part, false, false
	case llm.ArgumentsDelta:
		return e.Part, false, false
	case llm.CitationDelta:
		return e.Part, false, false
	case llm.PartEnd:
		return e.Part, false, true
	default:
		return -1, false, false
	}
}
