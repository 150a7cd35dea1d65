package run

import (
	"context"
	"crypto/hmac"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/financecommander/tollgate/internal/database"
	"github.com/financecommander/tollgate/internal/identity"
	"github.com/financecommander/tollgate/internal/llm"
	"github.com/financecommander/tollgate/internal/pipeline"
	"github.com/financecommander/tollgate/internal/pipeline/execute"
)

// Begin is what a run is started with.
type Begin struct {
	Caller *identity.Principal
	Plan   *pipeline.Plan
	Query  string
	// IdempotencyKey names the request, at most 255 bytes; a second one with the
	// same key and content gives the run of the first. "": none.
	IdempotencyKey string
	Executor       *execute.Executor
	// Release is called once when the run has ended, or was not started.
	Release func()
}

const (
	maxKey = 255
	// dbTimeout bounds what callers wait for the database.
	dbTimeout = 10 * time.Second
	// retryFull is when to try again where all places are taken.
	retryFull = 10 * time.Second
)

// Begin starts a run; its life does not depend on ctx. again is true where the run
// was there already. Errors are *llm.Error.
func (s *Service) Begin(ctx context.Context, b Begin) (v *View, again bool, err error) {
	return s.begin(ctx, b, b.Executor)
}

func (s *Service) begin(ctx context.Context, b Begin, e executor) (v *View, again bool, err error) {
	release := b.Release
	if release == nil {
		release = func() {}
	}
	started := false
	defer func() {
		if !started {
			release()
		}
	}()
	if err := checkQuery(b.Query); err != nil {
		return nil, false, err
	}
	if len(b.IdempotencyKey) > maxKey {
		return nil, false, wrong("Idempotency-Key", fmt.Sprintf("is longer than %d bytes", maxKey))
	}
	row, err := s.newRow(b)
	if err != nil {
		return nil, false, err
	}
	if v, err := s.earlier(ctx, row); v != nil || err != nil {
		return v, true, err
	}
	if err := s.take(row.UserHash); err != nil {
		return nil, false, err
	}
	defer func() {
		if !started {
			s.leave(row.UserHash)
		}
	}()
	if err := e.MayRun(b.Caller, b.Plan); err != nil {
		return nil, false, err
	}
	// Whether it was stored must be known, also when the caller has left.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), dbTimeout)
	defer cancel()
	err = s.db.InsertRun(ctx, *row, s.o.Lease)
	if err != nil && database.IsUnique(err) && row.IdempotencyKey != nil {
		v, err := s.earlier(ctx, row) // a request at the same time was first
		if v == nil && err == nil {
			err = away(errors.New("a run was deleted as it was asked for"))
		}
		return v, true, err
	}
	if err != nil {
		return nil, false, away(err)
	}
	started = true
	s.start(row, e, release, execute.Run{ID: row.ID, Plan: b.Plan, Query: b.Query, Caller: b.Caller})
	return s.view(row, true), false, nil
}

// newRow makes the row of a run.
func (s *Service) newRow(b Begin) (*database.PipelineRun, error) {
	id, err := uuid.NewV7()
	if err != nil {
		return nil, fmt.Errorf("make the id of a run: %w", err)
	}
	definition, err := json.Marshal(b.Plan.Definition)
	if err != nil {
		return nil, fmt.Errorf("encode the definition of a run: %w", err)
	}
	user, name, now := b.Caller.UserHash, b.Plan.Definition.Name, stamp(time.Now())
	row := &database.PipelineRun{
		ID: id.String(), UserHash: user, UserEmailHash: b.Caller.EmailHash, PipelineName: name, Status: database.RunRunning,
		Plan:  s.seal(user, id.String(), partPlan, definition),
		Query: s.seal(user, id.String(), partQuery, []byte(b.Query)),
		// What is asked is the same although the definition was changed meanwhile.
		RequestDigest: s.digest(user, "request", name, b.Query),
		MetadataJSON:  metadata{Agents: agentsOf(b.Plan)}.json(),
		Attempt:       1, LeaseOwner: s.owner, CreatedAt: now, StartedAt: now,
	}
	if b.IdempotencyKey != "" {
		row.IdempotencyKey = s.digest(user, "key", b.IdempotencyKey)
	}
	return row, nil
}

// earlier gives the run that a request began which had the same key; nil: none did.
func (s *Service) earlier(ctx context.Context, row *database.PipelineRun) (*View, error) {
	if row.IdempotencyKey == nil {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, dbTimeout)
	defer cancel()
	found, err := s.db.RunOfKey(ctx, row.UserHash, row.IdempotencyKey)
	switch {
	case errors.Is(err, database.ErrNotFound):
		return nil, nil
	case err != nil:
		return nil, away(err)
	case !hmac.Equal(found.RequestDigest, row.RequestDigest):
		return nil, wrong("Idempotency-Key", "was used for another request")
	}
	return s.view(found, true), nil
}

// take takes a place for a user's run.
func (s *Service) take(user string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.draining:
		return &llm.Error{
			Cause: llm.CauseUnavailable, RetryAfter: retryFull,
			Message: "the gateway is being stopped; try again shortly",
		}
	case s.taken[user] >= s.o.MaxRunsOfUser:
		return &llm.Error{
			Cause: llm.CauseRateLimited, RetryAfter: retryFull,
			Message: fmt.Sprintf("you have %d runs under way; wait for one to end, or cancel it", s.taken[user]),
		}
	case s.places >= s.o.MaxRuns:
		return &llm.Error{
			Cause: llm.CauseUnavailable, RetryAfter: retryFull,
			Message: "the gateway runs as many pipelines as it can; try again shortly",
		}
	}
	s.taken[user]++
	s.places++
	s.working.Add(1) // so that Drain waits for what is about to begin
	return nil
}

func (s *Service) leave(user string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.places--
	if s.taken[user]--; s.taken[user] == 0 {
		delete(s.taken, user)
	}
	s.working.Done()
}

func agentsOf(plan *pipeline.Plan) []string {
	agents := make([]string, len(plan.Steps))
	for i, step := range plan.Steps {
		agents[i] = step.Name
	}
	return agents
}
