package run

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/llm"
	"github.com/financecommander/tollgate/internal/pipeline"
)

// A run is followed from its start, again once it has ended, and on another
// replica; all see the same. Its texts are nowhere in the clear.
func TestRun(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, p *place) {
		var log logs
		s := p.replica(t, func(o *Options) { o.Logger = slog.New(slog.NewJSONHandler(&log, nil)) })
		other := p.replica(t)
		g := newGate()
		m := &models{db: p.db, answer: g.holding("report")}
		plan := planOf(t, chain)
		v := begin(t, s, m, plan, "CANARY-query")
		require.Equal(t, "/api/v2/pipelines/ws/"+v.ID, v.WSURL)
		require.Equal(t, "CANARY-query", v.Query)
		require.Nil(t, v.AgentBreakdown)

		var wg sync.WaitGroup
		got := make([][]pipeline.StoredEvent, 4)
		for i, at := range []*Service{s, s, other, other} {
			wg.Go(func() {
				var err error
				if got[i], err = follow(t.Context(), at, v.ID); err != nil {
					t.Error(err)
				}
			})
		}
		require.Equal(t, "report", <-g.arrived)
		require.Equal(t, 1, s.Running())
		close(g.open)
		wg.Wait()
		want := got[0]
		for i, events := range append(got, all(t, s, v.ID), all(t, other, v.ID)) {
			require.Equal(t, want, events, i)
		}
		require.Equal(t, map[string]string{
			"left": "left begins and ends", "right": "right begins and ends", "report": "report begins and ends",
		}, outputsOf(t, want))

		v, err := other.Get(t.Context(), alice, v.ID) // its end was stored before anybody heard of it
		require.NoError(t, err)
		require.Equal(t, "completed", v.Status)
		require.Equal(t, "report begins and ends", *v.Output)
		require.Nil(t, v.ErrorCode)
		require.Len(t, v.AgentBreakdown, 3)
		require.Equal(t, "left", v.AgentBreakdown[0].Agent)
		sameSums(t, p.db, v)
		var complete pipeline.Completed
		require.NoError(t, json.Unmarshal(want[len(want)-1].Data, &complete))
		require.Equal(t, *v.TotalTokens, complete.TotalTokens)
		require.Equal(t, *v.TotalCost, complete.TotalCost)
		require.Equal(t, v.AgentBreakdown, complete.AgentBreakdown)
		require.Equal(t, *v.DurationMS, complete.DurationMS)
		require.Contains(t, string(v.Metadata), `"steps":[{"step":"`)

		steps, err := p.db.RunSteps(t.Context(), v.ID)
		require.NoError(t, err)
		require.Len(t, steps, 3)
		require.NotContains(t, p.scan(), "CANARY")
		require.NotContains(t, p.scan(), "begins")
		require.NotContains(t, log.String(), "CANARY")
		require.Eventually(t, func() bool { return s.Running() == 0 }, patience, time.Millisecond)
	})
}

func TestWhatIsRefused(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, p *place) {
		s := p.replica(t, func(o *Options) { o.MaxRuns, o.MaxRunsOfUser = 3, 2 })
		plan, g := planOf(t, chain), newGate()
		m := &models{db: p.db, answer: g.holding("left")}
		refused := func(b Begin, status int) *llm.Error {
			t.Helper()
			released := 0
			b.Plan, b.Release = plan, func() { released++ }
			if b.Executor == nil {
				b.Executor = m.executor()
			}
			_, _, err := s.Begin(t.Context(), b)
			require.Equal(t, 1, released)
			return problem(t, err, status)
		}
		for _, query := range []string{"", " \n", strings.Repeat("x", MaxQuery+1), "a\x00b", "\xff"} {
			require.Equal(t, "query", refused(Begin{Caller: alice, Query: query}, 422).Param)
		}
		require.NotNil(t, refused(Begin{Caller: alice, Query: "q", IdempotencyKey: strings.Repeat("k", 256)}, 422))
		no := &models{may: &llm.Error{Cause: llm.CauseForbidden, Message: "no"}}
		require.NotNil(t, refused(Begin{Caller: alice, Query: "q", Executor: no.executor()}, 403))
		require.Zero(t, s.Running())

		for range 2 {
			begin(t, s, m, plan, "q")
		}
		require.Positive(t, refused(Begin{Caller: alice, Query: "q"}, 429).RetryAfter)
		_, _, err := s.Begin(t.Context(), Begin{Caller: bob, Plan: plan, Query: "q", Executor: m.executor()})
		require.NoError(t, err)
		require.Positive(t, refused(Begin{Caller: bob, Query: "q"}, 503).RetryAfter)
		close(g.open)
		require.Eventually(t, func() bool { return s.Running() == 0 }, patience, time.Millisecond)
		all(t, s, begin(t, s, m, plan, "there is room again").ID)

		require.NoError(t, s.Drain(t.Context()))
		require.NotNil(t, refused(Begin{Caller: alice, Query: "q"}, 503))
	})
}

// Of requests with the same key at the same time, on whichever replicas, one runs.
func TestIdempotency(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, p *place) {
		replicas := []*Service{p.replica(t), p.replica(t)}
		m, plan := &models{db: p.db}, planOf(t, chain)
		var ids sync.Map
		var fresh, released atomic.Int64
		var wg sync.WaitGroup
		for i := range 20 {
			wg.Go(func() {
				v, again, err := replicas[i%2].Begin(t.Context(), Begin{
					Caller: alice, Plan: plan, Query: "q", IdempotencyKey: "k", Executor: m.executor(), Release: func() { released.Add(1) },
				})
				if err != nil {
					t.Error(err)
					return
				}
				ids.Store(v.ID, true)
				if !again {
					fresh.Add(1)
				}
			})
		}
		wg.Wait()
		require.EqualValues(t, 1, fresh.Load())
		n, id := 0, ""
		for k := range ids.Range {
			n, id = n+1, k.(string)
		}
		require.Equal(t, 1, n)
		outputsOf(t, all(t, replicas[0], id))
		require.Eventually(t, func() bool { return released.Load() == 20 }, patience, time.Millisecond)
		require.Len(t, m.asked(), 3)

		v, again, err := replicas[1].Begin(t.Context(), Begin{Caller: alice, Plan: plan, Query: "q", IdempotencyKey: "k", Executor: m.executor()})
		require.NoError(t, err)
		require.True(t, again)
		require.Equal(t, id, v.ID)
		require.Equal(t, "completed", v.Status)
		_, _, err = replicas[1].Begin(t.Context(), Begin{Caller: alice, Plan: plan, Query: "r", IdempotencyKey: "k", Executor: m.executor()})
		require.NotNil(t, problem(t, err, 422))
		v, again, err = replicas[1].Begin(t.Context(), Begin{Caller: bob, Plan: plan, Query: "r", IdempotencyKey: "k", Executor: m.executor()})
		require.NoError(t, err)
		require.False(t, again, "a key is its user's")
		all(t, replicas[1], v.ID)
	})
}

// Two hundred runs at once, each followed where it runs, elsewhere, and late: no
// event is lost.
func TestManyRuns(t *testing.T) {
	t.Parallel()
	runs := 200
	if raceDetector { // with which SQLite is some thirty times slower
		runs = 40
	}
	onBoth(t, func(t *testing.T, p *place) {
		wide := func(o *Options) { o.MaxRunsOfUser = runs }
		s, other := p.replica(t, wide), p.replica(t)
		plan := planOf(t, chain)
		var arrived sync.WaitGroup // until all are there, none goes on
		arrived.Add(2 * runs)
		m := &models{answer: func(_ context.Context, step string, piece func(string)) *llm.Error {
			if step != "report" {
				arrived.Done()
				arrived.Wait()
			}
			for i := range 20 {
				piece(fmt.Sprint(step, i, "· "))
			}
			return nil
		}}
		var wg sync.WaitGroup
		for range runs {
			v, _, err := s.Begin(t.Context(), Begin{Caller: alice, Plan: plan, Query: "q", Executor: m.executor()})
			require.NoError(t, err)
			wg.Go(func() {
				var here, there []pipeline.StoredEvent
				var err, err2 error
				var two sync.WaitGroup
				two.Go(func() { here, err = follow(t.Context(), s, v.ID) })
				two.Go(func() { there, err2 = follow(t.Context(), other, v.ID) })
				two.Wait()
				late, err3 := follow(t.Context(), other, v.ID)
				outputs, err4 := said(here)
				for _, err := range []error{err, err2, err3, err4} {
					if err != nil {
						t.Error(err)
					}
				}
				if len(outputs) != 3 || len(outputs["report"]) < 100 || fmt.Sprint(here) != fmt.Sprint(there) || fmt.Sprint(here) != fmt.Sprint(late) {
					t.Errorf("run %s: %d events here, %d there, %d late; %v", v.ID, len(here), len(there), len(late), outputs)
				}
			})
		}
		wg.Wait()
		list, _, err := other.List(t.Context(), Filter{Caller: admin, Status: "completed", Limit: 500})
		require.NoError(t, err)
		require.Len(t, list, runs)
	})
}

// Who reads slowly, leaves, or waits too long gets what there is, and holds nothing.
func TestFollowers(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, p *place) {
		s, other := p.replica(t), p.replica(t)
		plan, g := planOf(t, chain), newGate()
		pieces := func(_ context.Context, step string, piece func(string)) *llm.Error {
			if step == "report" {
				for i := range 300 {
					piece(fmt.Sprint(i, " "))
					if i%100 == 0 {
						time.Sleep(2 * gather)
					}
				}
			}
			return nil
		}
		m := &models{db: p.db, answer: func(ctx context.Context, step string, piece func(string)) *llm.Error {
			if step == "left" {
				g.pass(ctx, step)
			}
			return pieces(ctx, step, piece)
		}}
		v := begin(t, s, m, plan, "q")
		for _, at := range []*Service{s, other} {
			cut, err := at.Follow(t.Context(), alice, v.ID)
			require.NoError(t, err)
			_, err = cut.Next(t.Context())
			require.NoError(t, err)
			brief, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
			for err = nil; err == nil; {
				_, err = cut.Next(brief)
			}
			cancel()
			require.ErrorIs(t, err, context.DeadlineExceeded)
			time.AfterFunc(20*time.Millisecond, cut.Close)
			for err = nil; err == nil; {
				_, err = cut.Next(t.Context())
			}
			require.ErrorIs(t, err, errClosed)
			cut.Close()
			_, err = at.Follow(t.Context(), bob, v.ID)
			require.NotNil(t, problem(t, err, 404))
			_, err = at.Follow(t.Context(), bob, "x")
			require.NotNil(t, problem(t, err, 404))
		}
		slow, err := s.Follow(t.Context(), alice, v.ID)
		require.NoError(t, err)
		defer slow.Close()
		first, err := slow.Next(t.Context())
		require.NoError(t, err)
		close(g.open)
		want := all(t, s, v.ID)
		outputsOf(t, want)
		require.Eventually(t, func() bool { return s.Running() == 0 }, patience, time.Millisecond)
		require.NotNil(t, slow.log)
		require.LessOrEqual(t, len(slow.log.events), tail, "what the database has is not kept for a slow one")
		for {
			more, err := slow.Next(t.Context())
			if err != nil {
				require.Equal(t, io.EOF, err)
				break
			}
			first = append(first, more...)
		}
		require.Equal(t, want, first)
	})
}
