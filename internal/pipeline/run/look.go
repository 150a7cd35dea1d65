package run

import (
	"context"
	"log/slog"
	"slices"
	"time"

	"github.com/financecommander/tollgate/internal/database"
	"github.com/financecommander/tollgate/internal/metrics"
	"github.com/financecommander/tollgate/internal/pipeline"
	"github.com/financecommander/tollgate/internal/pipeline/execute"
)

const (
	lookBatch  = 50
	resumBatch = 20
)

// messageLost tells the owner of a run whose replica died.
const messageLost = "the gateway that ran it stopped in the middle of the run; resume it to do the steps that are missing"

// look looks now and then for runs whose replica died, and for rows of theirs that
// came late.
//
// A database that was away for everybody gives all owners the time to renew their
// leases first: nothing is taken within two heartbeats of its return.
func (s *Service) look(ctx context.Context) {
	ticker := time.NewTicker(s.o.Look)
	defer ticker.Stop()
	var answers time.Time // since when the database does; zero: it does not
	failing := false
	for {
		err := s.lookOnce(ctx, !answers.IsZero() && time.Since(answers) >= 2*s.o.Heartbeat-s.o.Look/2)
		switch {
		case err != nil:
			if !failing && ctx.Err() == nil {
				s.logger.LogAttrs(ctx, slog.LevelWarn, "cannot look for runs of pipelines whose replica died; trying again", slog.Any("error", err))
			}
			answers, failing = time.Time{}, true
		case answers.IsZero():
			answers, failing = time.Now(), false
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

func (s *Service) lookOnce(ctx context.Context, take bool) error {
	ctx, cancel := context.WithTimeout(ctx, s.o.Lease/2)
	defer cancel()
	ids, err := s.db.RunsWithoutLease(ctx, lookBatch)
	if err != nil {
		return err
	}
	if take {
		for _, id := range ids {
			if err := s.mark(ctx, id); err != nil {
				return err
			}
		}
	}
	return s.resum(ctx)
}

// mark marks a run as failed whose lease is over, unless somebody else does.
func (s *Service) mark(ctx context.Context, id string) error {
	name := ""
	lost, err := s.db.LoseRun(ctx, id, func(run *database.LostRun) (database.RunEnd, database.RunEvents) {
		name = run.PipelineName
		return s.lostEnd(run)
	})
	if lost {
		s.logger.LogAttrs(ctx, slog.LevelWarn, "a run of a pipeline failed: the replica that ran it died",
			slog.String("run", id), slog.String("pipeline", name))
		metrics.PipelineRunStarted()(name, string(execute.CodeLost))
	}
	return err
}

// lostEnd is the end of a run whose replica died, with its last events.
func (s *Service) lostEnd(run *database.LostRun) (database.RunEnd, database.RunEvents) {
	now := stamp(time.Now())
	meta := metadataOf(&run.PipelineRun)
	meta.Breakdown = mergeUsage(meta, run.Usage)
	end := database.RunEnd{
		ID: run.ID, Status: database.RunFailed, ErrorCode: string(execute.CodeLost), ErrorMessage: messageLost,
		RunTotals: totals(meta.Breakdown), DurationMS: now.Sub(run.StartedAt).Milliseconds(),
		MetadataJSON: meta.json(), EndedAt: now, Resum: true,
	}
	log := newLog(run.ID)
	log.forgot = run.LastSeq
	if run.LastSeq == 0 { // it died before anything was stored
		query, _ := s.open(run.UserHash, run.ID, partQuery, run.Query)
		log.add(pipeline.Event{Type: pipeline.EventStart, Time: now, Data: pipeline.Started{Agents: meta.Agents, Query: string(query)}})
	}
	log.hold = false
	log.add(pipeline.Event{Type: pipeline.EventError, Time: now, Data: pipeline.Failed{Message: messageLost}})
	return end, database.RunEvents{
		RunID: run.ID, FirstSeq: run.LastSeq + 1, LastSeq: log.last(), Events: s.sealEvents(run.UserHash, run.ID, log.events),
	}
}

// resum brings totals up to date with rows that came late.
func (s *Service) resum(ctx context.Context) error {
	due, err := s.db.ResumRuns(ctx, resumBatch, s.o.Look)
	if err != nil {
		return err
	}
	for i := range due {
		run := &due[i]
		meta := metadataOf(&run.PipelineRun)
		breakdown := mergeUsage(meta, run.Usage)
		if slices.Equal(breakdown, meta.Breakdown) {
			continue
		}
		meta.Breakdown = breakdown
		if err := s.db.SetRunTotals(ctx, run.ID, run.Attempt, totals(breakdown), meta.json()); err != nil {
			return err
		}
	}
	return nil
}
