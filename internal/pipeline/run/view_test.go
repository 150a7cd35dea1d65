package run

import (
	"io"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/database"
	"github.com/financecommander/tollgate/internal/identity"
	"github.com/financecommander/tollgate/internal/pipeline"
	"github.com/financecommander/tollgate/internal/secret"
)

var otherSecret = secret.New("another secret of at least thirty-two bytes, for tests")

func TestWhoSeesWhat(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, p *place) {
		ctx := t.Context()
		s := p.replica(t)
		plan, m := planOf(t, chain), &models{db: p.db}
		var ids []string
		for _, who := range []*identity.Principal{alice, bob, alice} {
			v, _, err := s.Begin(ctx, Begin{Caller: who, Plan: plan, Query: "asked by " + who.UserHash, Executor: m.executor(), Release: hold(s)})
			require.NoError(t, err)
			ended(t, s, v.ID)
			ids = append([]string{v.ID}, ids...)
		}
		for caller, sees := range map[*identity.Principal]bool{alice: false, bob: true, admin: true, viewer: false, nil: false} {
			v, err := s.Get(ctx, caller, ids[1])
			if sees {
				require.NoError(t, err)
				require.Equal(t, "asked by bob", v.Query)
				continue
			}
			require.NotNil(t, problem(t, err, 404))
		}
		for _, id := range []string{"", "x", "018f0000-0000-7000-8000-000000000000", "{" + ids[0] + "}"} {
			_, err := s.Get(ctx, admin, id)
			require.NotNil(t, problem(t, err, 404))
		}

		for _, f := range []Filter{{}, {Caller: alice}, {Caller: alice, UserHash: "bob"}} {
			_, _, err := s.List(ctx, f)
			require.NotNil(t, problem(t, err, 403))
		}
		_, _, err := s.List(ctx, Filter{Caller: admin, Before: "x'"})
		require.NotNil(t, problem(t, err, 422))
		for name, test := range map[string]struct {
			f    Filter
			want []string
		}{
			"own":            {Filter{Caller: alice, UserHash: "alice"}, []string{ids[0], ids[2]}},
			"all":            {Filter{Caller: admin}, ids},
			"as viewer":      {Filter{Caller: viewer}, ids},
			"of one":         {Filter{Caller: viewer, UserHash: "bob"}, ids[1:2]},
			"other pipeline": {Filter{Caller: admin, Pipeline: "x"}, nil},
			"pipeline":       {Filter{Caller: admin, Pipeline: "test", Status: "completed"}, ids},
			"failed":         {Filter{Caller: admin, Status: "failed"}, nil},
			"recent":         {Filter{Caller: admin, From: time.Now().Add(-time.Hour), To: time.Now().Add(time.Hour)}, ids},
			"to come":        {Filter{Caller: admin, From: time.Now().Add(time.Hour)}, nil},
			"of old":         {Filter{Caller: admin, To: time.Now().Add(-time.Hour)}, nil},
		} {
			test.f.Limit = 10
			list, next, err := s.List(ctx, test.f)
			require.NoError(t, err)
			require.Empty(t, next)
			var got []string
			for _, v := range list {
				got = append(got, v.ID)
				texts := test.f.Caller.Role() != identity.RoleViewer
				require.Equal(t, texts, v.Query == "asked by "+v.UserHash, name)
				require.Nil(t, v.Output)
				require.Len(t, v.AgentBreakdown, 3)
			}
			require.Equal(t, test.want, got, name)
		}
		f, got := Filter{Caller: admin, Limit: 2}, []string{}
		for {
			list, next, err := s.List(ctx, f)
			require.NoError(t, err)
			for _, v := range list {
				got = append(got, v.ID)
			}
			if f.Before = next; next == "" {
				break
			}
		}
		require.Equal(t, ids, got)

		// Under another secret texts are gone, and the rest is there.
		changed := p.replica(t, func(o *Options) { o.Secret = otherSecret })
		v, err := changed.Get(ctx, alice, ids[0])
		require.NoError(t, err)
		require.Empty(t, v.Query)
		require.Nil(t, v.Output)
		require.Equal(t, "completed", v.Status)
		feed, err := changed.Follow(ctx, alice, ids[0])
		require.NoError(t, err)
		defer feed.Close()
		events, err := feed.Next(ctx)
		require.NoError(t, err)
		require.Len(t, events, 1)
		require.Equal(t, pipeline.EventError, events[0].Type)
	})
}

func TestRetention(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, p *place) {
		s := p.replica(t, func(o *Options) { o.Retention = time.Nanosecond })
		plan, g := planOf(t, chain), newGate()
		old := begin(t, s, &models{db: p.db}, plan, "q")
		ended(t, s, old.ID)
		runs := begin(t, s, &models{db: p.db, answer: g.holding("left")}, plan, "q")
		<-g.arrived
		s.janitor.Sweep(t.Context())
		_, err := s.Get(t.Context(), alice, old.ID)
		require.NotNil(t, problem(t, err, 404))
		_, err = s.Get(t.Context(), alice, runs.ID)
		require.NoError(t, err, "it runs")
		close(g.open)
		all(t, s, runs.ID)
	})
}

// A user who is deleted takes what runs with them.
func TestDeletedInMidRun(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, p *place) {
		s, other := p.replica(t), p.replica(t)
		plan, g := planOf(t, chain), newGate()
		v := begin(t, s, &models{db: p.db, answer: g.holding("report")}, plan, "q")
		<-g.arrived
		feed, err := other.Follow(t.Context(), alice, v.ID)
		require.NoError(t, err)
		defer feed.Close()
		require.NoError(t, p.db.DeleteUser(t.Context(), "alice", database.AuditEntry{ActorHash: "root", Action: "test"}))
		require.Eventually(t, func() bool { return s.Running() == 0 }, patience, time.Millisecond)
		_, err = s.Get(t.Context(), alice, v.ID)
		require.NotNil(t, problem(t, err, 404))
		var last []pipeline.StoredEvent
		for {
			events, err := feed.Next(t.Context())
			if err != nil {
				require.Equal(t, io.EOF, err)
				break
			}
			last = events
		}
		require.Equal(t, pipeline.EventError, last[len(last)-1].Type)
	})
}

func TestMergeUsage(t *testing.T) {
	t.Parallel()
	m := metadata{Agents: []string{"a", "b", "c"}, Breakdown: []pipeline.AgentUsage{
		{Agent: "b", Calls: 2, InputTokens: 5, TotalTokens: 5, Cost: 9}, {Agent: "c", Calls: 1, OutputTokens: 1, TotalTokens: 1},
	}}
	got := mergeUsage(m, []database.RunUsage{
		{Step: "b", Calls: 1, InputTokens: 1}, // not all rows are there yet
		{Step: "c", Calls: 1, OutputTokens: 3, Model: "m", CostPicodollars: 4},
		{Step: "z", Calls: 1},
	})
	require.Equal(t, []pipeline.AgentUsage{
		{Agent: "a"}, m.Breakdown[0], {Agent: "c", Model: "m", OutputTokens: 3, TotalTokens: 3, Cost: 4, Calls: 1}, {Agent: "z", Calls: 1},
	}, got)
	require.Equal(t, database.RunTotals{InputTokens: 5, OutputTokens: 3, TotalTokens: 8, TotalCostPicodollars: 13}, totals(got))
}
