package run

import (
	"context"
	"log/slog"
	"time"

	"github.com/financecommander/tollgate/internal/pipeline/execute"
)

// cancelsPerBeat is how often per heartbeat an owner asks which of its runs shall
// be canceled.
const cancelsPerBeat = 4

// renew renews the leases of this replica's runs, and cancels those that it is asked
// to, until the last one is stored.
func (s *Service) renew(idle <-chan struct{}) {
	ticker := time.NewTicker(max(s.o.Heartbeat/cancelsPerBeat, time.Millisecond))
	defer ticker.Stop()
	renewed, failing := time.Now(), false
	for {
		select {
		case <-idle:
			return
		case now := <-ticker.C:
			beat := failing || now.Sub(renewed) >= s.o.Heartbeat-s.o.Heartbeat/(2*cancelsPerBeat)
			err := s.beat(beat)
			if err != nil && !failing && s.keeping.Err() == nil {
				s.logger.Warn("the leases of runs of pipelines cannot be renewed; trying again until they can", slog.Any("error", err))
			}
			failing = err != nil
			if beat && err == nil {
				renewed = now
			}
		}
	}
}

// beat renews the leases, or looks only for what shall be canceled.
func (s *Service) beat(renew bool) error {
	ctx, cancel := context.WithTimeout(s.keeping, s.o.Lease/2)
	defer cancel()
	if !renew {
		ids, err := s.db.RunsToCancel(ctx, s.owner)
		for _, id := range ids {
			if r := s.find(id); r != nil {
				r.cancel(execute.ErrCancelled)
			}
		}
		return err
	}
	runs := s.all()
	if len(runs) == 0 {
		return nil
	}
	ids := make([]string, len(runs))
	for i, r := range runs {
		ids[i] = r.id
	}
	held, err := s.db.RenewRuns(ctx, s.owner, ids, s.o.Lease)
	if err != nil {
		return err
	}
	shallEnd := make(map[string]bool, len(held))
	for _, h := range held {
		shallEnd[h.ID] = h.CancelRequested
	}
	for _, r := range runs {
		switch cancel, mine := shallEnd[r.id]; {
		case mine && cancel:
			r.cancel(execute.ErrCancelled)
		case !mine && !r.hasEnded(): // an end is the writer's to store
			s.lose(ctx, r)
		}
	}
	return nil
}
