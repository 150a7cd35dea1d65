package run

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"math"
	"time"

	"github.com/financecommander/tollgate/internal/database"
	"github.com/financecommander/tollgate/internal/pipeline"
	"github.com/financecommander/tollgate/internal/pipeline/execute"
)

const (
	// writeEvery is how often what happened in the runs is stored.
	writeEvery = 250 * time.Millisecond
	// writeTimeout bounds one attempt.
	writeTimeout = 10 * time.Second
	// maxPause is the longest wait of attempts for a database that is away.
	maxPause = 5 * time.Second
	// chunkBytes and chunkEvents are about how much a row of events holds, and
	// batchBytes how much is stored at one time. One event may be more.
	chunkBytes  = 256 << 10
	chunkEvents = 1000
	batchBytes  = 8 << 20

	maxSeq = math.MaxInt64
)

// part is what a batch has of a run.
type part struct {
	r     *live
	last  int64 // event
	steps int
	ends  bool
}

// batch is what is stored at one time.
type batch struct {
	progress database.RunProgress
	parts    []part
	size     int
	more     bool // there was more than a batch holds
}

// nudge lets the writer write now.
func (s *Service) nudge() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// write stores what happens in the runs until there are none.
func (s *Service) write() {
	failures := 0
	for !s.rest() {
		pause := writeEvery
		if failures > 0 {
			pause = min(writeEvery<<min(failures, 8), maxPause)
		}
		s.await(pause, failures == 0)
		for {
			if s.keeping.Err() != nil {
				s.abandon()
				break
			}
			b := s.collect(s.all(), failures)
			err := s.store(b)
			s.toldOf(err, &failures)
			if err != nil || !b.more {
				break
			}
		}
	}
}

// rest ends the work when no run is left.
func (s *Service) rest() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.live) > 0 {
		return false
	}
	close(s.idle)
	s.idle = nil
	return true
}

func (s *Service) await(pause time.Duration, hurry bool) {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	wake, given := s.wake, s.keeping.Done()
	if !hurry {
		wake = nil
	}
	if s.keeping.Err() != nil {
		given = nil
	}
	select {
	case <-timer.C:
	case <-wake:
	case <-given:
	}
}

// abandon forgets runs that have ended and cannot be stored any more.
func (s *Service) abandon() {
	for _, r := range s.all() {
		if r.hasEnded() {
			s.remove(r, false)
		}
	}
}

func (s *Service) all() []*live {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]*live, 0, len(s.live))
	for _, r := range s.live {
		all = append(all, r)
	}
	return all
}

// toldOf logs once that the database is away, and once that it is back.
func (s *Service) toldOf(err error, failures *int) {
	switch {
	case err != nil && s.keeping.Err() == nil:
		if *failures++; *failures == 1 {
			s.logger.Warn("what happens in runs of pipelines cannot be stored; trying again until it can", slog.Any("error", err))
		}
	case err == nil && *failures > 0:
		*failures = 0
		s.logger.Info("what happens in runs of pipelines is stored again")
	}
}

// collect gathers what is not stored of runs: of fewer the more attempts failed, as
// one fails that takes too long.
func (s *Service) collect(runs []*live, failures int) *batch {
	most := max(1, len(runs)>>min(failures, 30))
	b := &batch{progress: database.RunProgress{Owner: s.owner, Attempts: map[string]int64{}}}
	for _, r := range runs {
		if b.size > batchBytes || len(b.parts) >= most && failures > 0 {
			b.more = true
			break
		}
		s.collectRun(b, r)
	}
	return b
}

func (s *Service) collectRun(b *batch, r *live) {
	r.mu.Lock()
	steps, outcome, ended := r.steps, r.outcome, r.ended
	r.mu.Unlock()
	events := r.log.unstored() // behind the outcome: an outcome comes after all events
	if len(events) == 0 && len(steps) == 0 && outcome == nil {
		return
	}
	p := part{r: r, steps: len(steps)}
	for len(events) > 0 && b.size <= batchBytes {
		n, size := chunk(events)
		p.last = events[n-1].Seq
		b.size += size
		b.progress.Events = append(b.progress.Events, database.RunEvents{
			RunID: r.id, FirstSeq: events[0].Seq, LastSeq: p.last, Events: s.sealEvents(r.user, r.id, events[:n]),
		})
		events = events[n:]
	}
	for _, result := range steps {
		text, _ := json.Marshal(result) // a struct of texts and numbers
		b.size += len(text)
		b.progress.Steps = append(b.progress.Steps, database.RunStep{
			RunID: r.id, Step: result.Step, Result: s.seal(r.user, r.id, partStep+result.Step, text),
		})
	}
	if len(events) > 0 {
		b.more = true
	} else if outcome != nil {
		p.ends = true
		b.progress.Ends = append(b.progress.Ends, s.endOf(r, outcome, ended))
		b.size += len(outcome.Output)
	}
	b.progress.Attempts[r.id] = r.attempt
	b.parts = append(b.parts, p)
}

// chunk says how many of the events make a row, and about how large that is. The
// same events make the same rows, so that a batch can be stored again that may have
// been stored.
func chunk(events []pipeline.StoredEvent) (n, size int) {
	for n < len(events) && n < chunkEvents && (n == 0 || size+len(events[n].Data) <= chunkBytes) {
		size += len(events[n].Data) + 64
		n++
	}
	return n, size
}

func (s *Service) endOf(r *live, o *execute.Outcome, ended time.Time) database.RunEnd {
	meta := metadata{Agents: r.agents, Breakdown: o.Breakdown}
	for _, step := range o.Steps {
		meta.Steps = append(meta.Steps, stepNote{step.Step, step.Status, step.DurationMS})
	}
	end := database.RunEnd{
		ID: r.id, Status: database.RunFailed, ErrorCode: string(o.Code), ErrorMessage: plain(o.Message),
		RunTotals: totals(o.Breakdown), DurationMS: o.Duration.Milliseconds(), MetadataJSON: meta.json(), EndedAt: ended,
	}
	if o.Status == execute.Completed {
		end.Status, end.ErrorCode, end.ErrorMessage = database.RunCompleted, "", ""
		end.Output = s.seal(r.user, r.id, partOutput, []byte(o.Output))
	}
	return end
}

// store stores a batch. What the database will never take costs the one run that it
// is of.
func (s *Service) store(b *batch) error {
	if len(b.parts) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(s.keeping, writeTimeout)
	defer cancel()
	lost, err := s.db.StoreRuns(ctx, b.progress)
	switch {
	case errors.Is(err, database.ErrBadRecord) && len(b.parts) > 1:
		for _, p := range b.parts {
			if err := s.store(s.collect([]*live{p.r}, 0)); err != nil {
				return err
			}
		}
		return nil
	case errors.Is(err, database.ErrBadRecord):
		r := b.parts[0].r
		s.logger.LogAttrs(ctx, slog.LevelError, "a run of a pipeline cannot be stored, and is stopped", slog.String("run", r.id), slog.Any("error", err))
		r.cancel(errors.New("the run cannot be stored"))
		s.remove(r, false)
		return nil
	case err != nil:
		return err
	}
	s.settle(ctx, b, lost)
	return nil
}

// settle notes what was stored.
func (s *Service) settle(ctx context.Context, b *batch, lost []string) {
	gone := make(map[string]bool, len(lost))
	for _, id := range lost {
		gone[id] = true
	}
	for _, p := range b.parts {
		if gone[p.r.id] {
			s.lose(ctx, p.r)
			continue
		}
		if p.last > 0 {
			p.r.log.keptTo(p.last)
		}
		p.r.mu.Lock()
		p.r.steps = p.r.steps[p.steps:]
		p.r.mu.Unlock()
		if p.ends {
			s.remove(p.r, true)
		}
	}
}

func isNotFound(err error) bool { return errors.Is(err, database.ErrNotFound) }
