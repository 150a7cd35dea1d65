package run

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/financecommander/tollgate/internal/database"
	"github.com/financecommander/tollgate/internal/identity"
	"github.com/financecommander/tollgate/internal/pipeline"
)

const (
	feedPage = 100 // events, of one Next
	// feedRows are how many rows of events are read at a time.
	feedRows = 4
	// maxPolls bounds the followers that ask the database at one time.
	maxPolls = 4
	// pollEvery and pollSlow are how often a follower asks for events of another
	// replica's run: less often the longer nothing happens.
	pollEvery = 250 * time.Millisecond
	pollSlow  = time.Second
)

// errClosed is what Next says after Close.
var errClosed = errors.New("the following of the run was ended")

// Feed is the events of a run, for one who follows it. Whoever reads slowly holds
// nothing up but themselves.
type Feed struct {
	s        *Service
	id, user string
	attempt  int64

	log    *eventLog // nil: the database is asked
	next   int64     // number of the next event
	read   []pipeline.StoredEvent
	over   bool // the last event was given
	pause  time.Duration
	asked  time.Time
	closed chan struct{}
	once   sync.Once
}

// Follow gives a run's events from the first one on, as they come. Close must be
// called.
func (s *Service) Follow(ctx context.Context, caller *identity.Principal, id string) (*Feed, error) {
	f := &Feed{s: s, next: 1, closed: make(chan struct{}), pause: pollEvery}
	if r := s.find(strings.ToLower(id)); r != nil && mayRead(caller, r.user) {
		f.id, f.user, f.attempt, f.log = r.id, r.user, r.attempt, r.log
		return f, nil
	}
	row, err := s.row(ctx, caller, id)
	if err != nil {
		return nil, err
	}
	f.id, f.user, f.attempt = row.ID, row.UserHash, row.Attempt
	return f, nil
}

// Close ends the following.
func (f *Feed) Close() { f.once.Do(func() { close(f.closed) }) }

// Next waits for events and gives all that there are, at most about 100. Its error
// is io.EOF after the run's last one.
func (f *Feed) Next(ctx context.Context) ([]pipeline.StoredEvent, error) {
	for {
		switch {
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case f.isClosed():
			return nil, errClosed
		case f.over:
			return nil, io.EOF
		}
		var events []pipeline.StoredEvent
		var err error
		if f.log != nil && len(f.read) == 0 {
			events, err = f.fromMemory(ctx)
		} else {
			events, err = f.fromDatabase(ctx)
		}
		if err != nil {
			return nil, err
		}
		if len(events) > 0 {
			last := events[len(events)-1]
			f.next = last.Seq + 1
			f.over = last.Type == pipeline.EventComplete || last.Type == pipeline.EventError
			return events, nil
		}
	}
}

func (f *Feed) isClosed() bool {
	select {
	case <-f.closed:
		return true
	default:
		return false
	}
}

// fromMemory waits for events of a run of this replica's.
func (f *Feed) fromMemory(ctx context.Context) ([]pipeline.StoredEvent, error) {
	events, changed, forgotten := f.log.from(f.next, feedPage)
	if forgotten {
		return f.fromDatabase(ctx) // which has them
	}
	if len(events) == 0 {
		return nil, f.wait(ctx, changed, nil)
	}
	return events, nil
}

// wait waits for one of the channels, nil where there is none.
func (f *Feed) wait(ctx context.Context, changed <-chan struct{}, timer <-chan time.Time) error {
	select {
	case <-changed:
	case <-timer:
	case <-f.closed:
		return errClosed
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}

// fromDatabase asks for events once it is time to.
func (f *Feed) fromDatabase(ctx context.Context) ([]pipeline.StoredEvent, error) {
	if len(f.read) > 0 {
		n := min(feedPage, len(f.read))
		events := f.read[:n:n]
		f.read = f.read[n:]
		return events, nil
	}
	if rest := f.pause - time.Since(f.asked); rest > 0 && !f.asked.IsZero() {
		timer := time.NewTimer(rest)
		defer timer.Stop()
		if err := f.wait(ctx, nil, timer.C); err != nil {
			return nil, err
		}
	}
	state, rows, err := f.ask(ctx)
	f.asked = time.Now()
	f.pause = min(f.pause*3/2, pollSlow)
	switch {
	case errors.Is(err, database.ErrNotFound):
		return f.last("the run was deleted"), nil
	case err != nil:
		return nil, nil // the database is away; it is asked again
	case state.Attempt != f.attempt:
		return f.last("the run was resumed; connect again to follow it"), nil
	case len(rows) == 0 && state.Status != database.RunRunning:
		f.over = true
		return nil, nil
	}
	f.take(rows)
	return nil, nil
}

// ask asks the database for what comes next, when it is this follower's turn.
func (f *Feed) ask(ctx context.Context) (state database.RunState, rows []database.RunEvents, err error) {
	select {
	case f.s.polls <- struct{}{}:
		defer func() { <-f.s.polls }()
	case <-f.closed:
		return state, nil, errClosed
	case <-ctx.Done():
		return state, nil, ctx.Err()
	}
	ctx, cancel := context.WithTimeout(ctx, dbTimeout)
	defer cancel()
	return f.s.db.RunEventsAfter(ctx, f.id, f.next-1, feedRows)
}

// take opens rows of events.
func (f *Feed) take(rows []database.RunEvents) {
	for _, row := range rows {
		events, ok := f.s.openEvents(f.user, f.id, row.FirstSeq, row.Events)
		if !ok {
			f.read = append(f.read, f.last("the events of the run cannot be read: the gateway's secret was changed")...)
			return
		}
		skip := max(0, f.next-row.FirstSeq) // a row may have grown since it was read
		f.read = append(f.read, events[min(skip, int64(len(events))):]...)
	}
	if len(rows) > 0 {
		f.pause = pollEvery
	}
	if len(rows) == feedRows {
		f.asked = time.Time{} // there is more already
	}
}

// last makes up a last event for a run that has no other to give.
func (f *Feed) last(message string) []pipeline.StoredEvent {
	data, _ := json.Marshal(pipeline.Failed{Message: message})
	return []pipeline.StoredEvent{{
		Seq: f.next + int64(len(f.read)), Type: pipeline.EventError, RunID: f.id, Timestamp: stamp(time.Now()), Data: data,
	}}
}
