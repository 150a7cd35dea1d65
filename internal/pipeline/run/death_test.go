package run

import (
	"context"
	"database/sql"
	"encoding/json"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/database"
	"github.com/financecommander/tollgate/internal/identity"
	"github.com/financecommander/tollgate/internal/llm"
	"github.com/financecommander/tollgate/internal/pipeline"
	"github.com/financecommander/tollgate/internal/pipeline/execute"
	"github.com/financecommander/tollgate/internal/testenv"
	"github.com/financecommander/tollgate/pricing"
)

// A run whose replica dies fails soon after, told by whoever looks first and to all
// who follow it; rows that come late count; and resumed it does what is missing.
func TestDeathAndResumption(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, p *place) {
		s := p.replica(t, quick)
		others := []*Service{p.replica(t, quick), p.replica(t, quick)}
		plan, g := planOf(t, chain), newGate()
		m := &models{db: p.db, late: true, answer: g.holding("report")}
		v := begin(t, s, m, plan, "q")
		require.Equal(t, "report", <-g.arrived)
		require.Eventually(t, func() bool { // what was done is stored
			steps, err := p.db.RunSteps(t.Context(), v.ID)
			return err == nil && len(steps) == 2
		}, patience, time.Millisecond)
		killed := time.Now()
		kill(s)
		events := all(t, others[0], v.ID)
		require.Less(t, time.Since(killed), 20*time.Second)
		require.Equal(t, map[string]string{"left": "left begins and ends", "right": "right begins and ends"}, outputsOf(t, events))
		last := events[len(events)-1]
		require.Equal(t, pipeline.EventError, last.Type)
		require.JSONEq(t, `{"message":"`+messageLost+`"}`, string(last.Data))
		v, err := others[1].Get(t.Context(), alice, v.ID)
		require.NoError(t, err)
		require.Equal(t, "failed", v.Status)
		require.EqualValues(t, execute.CodeLost, *v.ErrorCode)
		require.Equal(t, messageLost, *v.ErrorMessage)
		require.Equal(t, []pipeline.AgentUsage{{Agent: "left"}, {Agent: "right"}, {Agent: "report"}}, v.AgentBreakdown)
		require.Zero(t, *v.TotalTokens)

		m.mu.Lock()
		m.ship() // the dead replica's spool arrives
		m.mu.Unlock()
		require.Eventually(t, func() bool {
			v, err = others[1].Get(t.Context(), alice, v.ID)
			return err == nil && *v.TotalCost == 2*1_000_000_000_001
		}, patience, 10*time.Millisecond)
		sameSums(t, p.db, v)

		again := &models{db: p.db}
		var won, lost []error
		var mu sync.Mutex
		var wg sync.WaitGroup
		for _, at := range append(others, others...) {
			wg.Go(func() {
				_, err := at.Resume(t.Context(), alice, v.ID, again.executor(), hold(at))
				mu.Lock()
				defer mu.Unlock()
				if err == nil {
					won = append(won, err)
				} else {
					lost = append(lost, err)
				}
			})
		}
		wg.Wait()
		require.Len(t, won, 1)
		for _, err := range lost {
			require.Equal(t, 409, problem(t, err, 409).Status())
		}
		events = all(t, others[0], v.ID)
		require.Equal(t, map[string]string{
			"left": "left begins and ends", "right": "right begins and ends", "report": "report-0 report-1 report-2 ",
		}, outputsOf(t, events))
		require.Equal(t, []string{"report"}, again.asked(), "what had ended is not done again")
		v = ended(t, others[0], v.ID)
		require.Equal(t, "completed", v.Status)
		require.EqualValues(t, 2, v.Attempt)
		require.Equal(t, pricing.Money(3*1_000_000_000_001), *v.TotalCost, "with what was done before")
		require.Nil(t, v.ErrorCode)
		sameSums(t, p.db, v)
	})
}

// A replica whose runs were taken from it while it could not say that it lives stops
// them, and does not overwrite what was said of them.
func TestAReplicaThatWasTakenForDead(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, p *place) {
		var log logs
		s := p.replica(t, func(o *Options) {
			o.Heartbeat, o.Logger = 400*time.Millisecond, slog.New(slog.NewJSONHandler(&log, nil))
		})
		other := p.replica(t)
		plan, g := planOf(t, chain), newGate()
		m := &models{db: p.db, answer: g.holding("report")}
		v := begin(t, s, m, plan, "q")
		<-g.arrived
		run, err := s.Follow(t.Context(), alice, v.ID)
		require.NoError(t, err)
		defer run.Close()

		require.NoError(t, other.mark(t.Context(), v.ID))
		got, err := other.Get(t.Context(), alice, v.ID)
		require.NoError(t, err)
		require.Equal(t, "running", got.Status, "its lease is good")
		_, err = p.db.RenewRuns(t.Context(), s.owner, []string{v.ID}, -time.Hour)
		require.NoError(t, err)
		require.NoError(t, other.mark(t.Context(), v.ID))
		require.NoError(t, other.mark(t.Context(), v.ID))
		require.Eventually(t, func() bool { return s.Running() == 0 }, patience, time.Millisecond)
		require.Contains(t, log.String(), execute.ErrLost.Error())

		got, err = s.Get(t.Context(), alice, v.ID)
		require.NoError(t, err)
		require.EqualValues(t, execute.CodeLost, *got.ErrorCode)
		events := all(t, s, v.ID)
		outputsOf(t, events)
		require.JSONEq(t, `{"message":"`+messageLost+`"}`, string(events[len(events)-1].Data))
		for err == nil {
			_, err = run.Next(t.Context())
		}
		require.Equal(t, io.EOF, err, "who follows there hears of an end as well")
	})
}

// outage takes the tables of runs away, and gives them back.
func outage(t *testing.T, p *place) (back func()) {
	t.Helper()
	rename := func(from, to string) { require.NoError(t, p.exec(t, "ALTER TABLE "+from+" RENAME TO "+to)) }
	rename("pipeline_runs", "away")
	return func() { rename("away", "pipeline_runs") }
}

// A database that is away for longer than the lease costs nothing but time.
func TestOutage(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, p *place) {
		s, other := p.replica(t, quick), p.replica(t, quick)
		plan, g := planOf(t, chain), newGate()
		m := &models{db: p.db, late: true, answer: g.holding("report")}
		v := begin(t, s, m, plan, "q")
		var events [2][]pipeline.StoredEvent
		var wg sync.WaitGroup
		for i, at := range []*Service{s, other} {
			feed, err := at.Follow(t.Context(), alice, v.ID)
			require.NoError(t, err)
			wg.Go(func() { events[i], _ = rest(t.Context(), feed) })
		}
		<-g.arrived
		back := outage(t, p)
		_, _, err := s.Begin(t.Context(), Begin{Caller: alice, Plan: plan, Query: "q", Executor: m.executor(), Release: hold(s)})
		require.Positive(t, problem(t, err, 503).RetryAfter)
		_, err = s.Get(t.Context(), alice, v.ID)
		require.Positive(t, problem(t, err, 503).RetryAfter)
		_, _, err = s.List(t.Context(), Filter{Caller: alice, UserHash: "alice"})
		require.NotNil(t, problem(t, err, 503))
		time.Sleep(s.o.Lease + s.o.Heartbeat)
		close(g.open)
		require.Eventually(t, func() bool { r := s.find(v.ID); return r != nil && r.hasEnded() }, patience, time.Millisecond)
		back()
		wg.Wait()
		require.Equal(t, "report begins and ends", outputsOf(t, events[0])["report"])
		require.Equal(t, events[0], events[1])
		got := ended(t, other, v.ID)
		require.Equal(t, "completed", got.Status)
		require.Len(t, m.asked(), 3)
	})
}

// As above, with a server that stops answering and comes back, in the middle of a
// run that goes on meanwhile.
func TestServerStops(t *testing.T) {
	t.Parallel()
	server := testenv.PostgresServer(t)
	p := &place{url: server.URL()}
	p.db = opened(t, p.url)
	s := p.replica(t, quick)
	plan, g := planOf(t, chain), newGate()
	m := &models{late: true, answer: g.holding("report")}
	v := begin(t, s, m, plan, "q")
	<-g.arrived
	server.Stop()
	close(g.open)
	require.Eventually(t, func() bool { r := s.find(v.ID); return r != nil && r.hasEnded() }, patience, time.Millisecond)
	time.Sleep(s.o.Lease)
	server.Start()
	require.Equal(t, "report begins and ends", outputsOf(t, all(t, s, v.ID))["report"])
	require.Equal(t, "completed", ended(t, s, v.ID).Status)
}

func TestCancel(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, p *place) {
		s, other := p.replica(t), p.replica(t)
		plan := planOf(t, chain)
		for name, at := range map[string]*Service{"here": s, "elsewhere": other} {
			g := newGate()
			m := &models{db: p.db, answer: g.holding("report")}
			v := begin(t, s, m, plan, "q")
			<-g.arrived
			_, err := at.Cancel(t.Context(), bob, v.ID)
			require.NotNil(t, problem(t, err, 404))
			_, err = at.Cancel(t.Context(), alice, v.ID)
			require.NoError(t, err)
			v = ended(t, at, v.ID)
			require.EqualValues(t, execute.CodeCancelled, *v.ErrorCode, name)
			require.NotEmpty(t, *v.ErrorMessage)
			sameSums(t, p.db, v)
			outputsOf(t, all(t, at, v.ID))
			again, err := at.Cancel(t.Context(), alice, v.ID)
			require.NoError(t, err)
			require.Equal(t, v, again)
		}
	})
}

// A resumed run is its owner's, follows its first plan, and only a failed one is.
func TestResume(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, p *place) {
		s, other := p.replica(t), p.replica(t)
		plan := planOf(t, chain)
		fails := &models{db: p.db, answer: func(_ context.Context, step string, piece func(string)) *llm.Error {
			if step == "report" {
				return &llm.Error{Cause: llm.CauseUpstreamRejected, Message: "no"}
			}
			piece(step)
			return nil
		}}
		v := begin(t, s, fails, plan, "q")
		stale, err := other.Follow(t.Context(), alice, v.ID)
		require.NoError(t, err)
		defer stale.Close()
		first := all(t, s, v.ID)
		require.Equal(t, pipeline.EventError, first[len(first)-1].Type)
		v = ended(t, s, v.ID)
		require.EqualValues(t, execute.CodeStep, *v.ErrorCode)
		require.Nil(t, v.Output)

		m := &models{db: p.db}
		for caller, status := range map[string]int{"bob": 404, "root": 403} {
			who := bob
			if caller == "root" {
				who = admin
			}
			_, err := other.Resume(t.Context(), who, v.ID, m.executor(), hold(other))
			require.NotNil(t, problem(t, err, status))
		}
		require.Eventually(t, func() bool { return s.Running() == 0 }, patience, time.Millisecond)
		released := hold(other)
		_, err = other.Resume(t.Context(), alice, v.ID, m.executor(), released)
		require.NoError(t, err)
		_, err = s.Resume(t.Context(), alice, v.ID, m.executor(), hold(s))
		require.NotNil(t, problem(t, err, 409))
		require.Equal(t, "report-0 report-1 report-2 ", outputsOf(t, all(t, s, v.ID))["report"])
		v = ended(t, s, v.ID)
		require.Equal(t, "completed", v.Status)
		require.Len(t, v.AgentBreakdown, 3)
		sameSums(t, p.db, v)
		_, err = s.Resume(t.Context(), alice, v.ID, m.executor(), hold(s))
		require.NotNil(t, problem(t, err, 409))

		events, err := stale.Next(t.Context()) // of the first attempt, late
		require.NoError(t, err)
		require.Equal(t, pipeline.EventError, events[len(events)-1].Type)
		require.Contains(t, string(events[len(events)-1].Data), "resumed")

		// Under another secret there is nothing to run.
		v = begin(t, s, fails, plan, "q")
		v = ended(t, s, v.ID)
		changed := p.replica(t, func(o *Options) { o.Secret = otherSecret })
		_, err = changed.Resume(t.Context(), alice, v.ID, m.executor(), hold(changed))
		require.NotNil(t, problem(t, err, 409))
	})
}

func TestDrain(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, p *place) {
		s, other := p.replica(t), p.replica(t)
		plan, g := planOf(t, chain), newGate()
		m := &models{db: p.db, answer: g.holding("report")}
		waits, stopped := begin(t, s, m, plan, "q"), begin(t, other, m, plan, "q")
		<-g.arrived
		<-g.arrived
		over, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		require.ErrorIs(t, other.Drain(over), context.DeadlineExceeded)
		require.Zero(t, other.Running())
		v, err := s.Get(t.Context(), alice, stopped.ID)
		require.NoError(t, err)
		require.EqualValues(t, execute.CodeStopped, *v.ErrorCode)
		outputsOf(t, all(t, s, v.ID))
		sameSums(t, p.db, v)

		time.AfterFunc(20*time.Millisecond, func() { close(g.open) })
		require.NoError(t, s.Drain(t.Context()))
		v, err = s.Get(t.Context(), alice, waits.ID)
		require.NoError(t, err)
		require.Equal(t, "completed", v.Status)
		s.Stop()
		s.Stop()
	})
}

// A bug costs one run.
func TestPanic(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, p *place) {
		s := p.replica(t)
		plan := planOf(t, chain)
		v, _, err := s.begin(t.Context(), Begin{Caller: alice, Plan: plan, Query: "q", Release: hold(s)}, panics{})
		require.NoError(t, err)
		events := all(t, s, v.ID)
		require.Equal(t, pipeline.EventError, events[len(events)-1].Type)
		require.EqualValues(t, execute.CodeInternal, *ended(t, s, v.ID).ErrorCode)
	})
}

type panics struct{}

func (panics) MayRun(_ *identity.Principal, _ *pipeline.Plan) *llm.Error { return nil }
func (panics) Run(context.Context, execute.Run) execute.Outcome          { panic("bug") }

// A run whose replica dies before anything of it is stored has a beginning.
func TestDeathAtBirth(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, p *place) {
		s := p.replica(t)
		row, err := s.newRow(Begin{Caller: alice, Plan: planOf(t, chain), Query: "what was asked"})
		require.NoError(t, err)
		require.NoError(t, p.db.InsertRun(t.Context(), *row, -time.Second))
		require.NoError(t, s.mark(t.Context(), row.ID))
		events := all(t, s, row.ID)
		outputsOf(t, events)
		var began pipeline.Started
		require.NoError(t, json.Unmarshal(events[0].Data, &began))
		require.Equal(t, pipeline.Started{Agents: []string{"left", "right", "report"}, Query: "what was asked"}, began)
	})
}

// exec runs a statement of a test's own.
func (p *place) exec(t testing.TB, statement string) error {
	t.Helper()
	if p.db.Dialect() == database.Postgres {
		conn, err := pgx.Connect(t.Context(), p.url)
		require.NoError(t, err)
		defer conn.Close(context.Background())
		_, err = conn.Exec(t.Context(), statement)
		return err
	}
	db, err := sql.Open("sqlite", "file:"+strings.TrimPrefix(p.url, "sqlite:///")+"?_pragma=busy_timeout(5000)")
	require.NoError(t, err)
	defer db.Close()
	_, err = db.ExecContext(t.Context(), statement)
	return err
}
