package database

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func aRun(id, user string) PipelineRun {
	return PipelineRun{
		ID: id, UserHash: user, UserEmailHash: "e", PipelineName: "p", Plan: []byte{0, 0xff}, Query: []byte{1}, Status: RunRunning,
		Output: []byte{}, MetadataJSON: "{}", Attempt: 1, IdempotencyKey: []byte("key " + id), RequestDigest: []byte{2},
		LeaseOwner: "me", CreatedAt: day, StartedAt: day,
	}
}

func insertRun(t testing.TB, db *DB, r PipelineRun, lease time.Duration) {
	t.Helper()
	require.NoError(t, db.InsertRun(t.Context(), r, lease))
}

// progress is that of one run.
func progress(id string, events []RunEvents, ends ...RunEnd) RunProgress {
	return RunProgress{Owner: "me", Attempts: map[string]int64{id: 1}, Events: events, Ends: ends}
}

func store(t testing.TB, db *DB, p RunProgress) (lost []string) {
	t.Helper()
	lost, err := db.StoreRuns(t.Context(), p)
	require.NoError(t, err)
	return lost
}

func anEnd(id, status string) RunEnd {
	return RunEnd{
		ID: id, Status: status, ErrorCode: "c", ErrorMessage: "m", Output: []byte{9}, DurationMS: 5, MetadataJSON: `{"a":1}`, EndedAt: day,
		RunTotals: RunTotals{InputTokens: 1, OutputTokens: 2, TotalTokens: 3, TotalCostPicodollars: 9_223_372_036_854_775_807},
	}
}

func TestRuns(t *testing.T) {
	t.Parallel()
	onBothMigrated(t, func(t *testing.T, db *DB) {
		ctx := t.Context()
		want := aRun("r", "alice")
		insertRun(t, db, want, time.Minute)
		require.True(t, IsUnique(db.InsertRun(ctx, want, time.Minute)))
		same := aRun("s", "alice")
		same.IdempotencyKey = want.IdempotencyKey
		require.True(t, IsUnique(db.InsertRun(ctx, same, time.Minute)), "a key is used once")
		same.UserHash = "bob"
		insertRun(t, db, same, time.Minute)
		for i := range 2 { // those without a key do not meet
			other := aRun(fmt.Sprint("n", i), "alice")
			other.IdempotencyKey = nil
			insertRun(t, db, other, time.Minute)
		}
		got, err := db.Run(ctx, "r")
		require.NoError(t, err)
		require.WithinDuration(t, time.Now().Add(time.Minute), got.LeaseUntil, 30*time.Second)
		want.LeaseUntil, want.Plan = got.LeaseUntil, nil
		require.Equal(t, &want, got)
		plan, err := db.RunPlan(ctx, "r")
		require.NoError(t, err)
		require.Equal(t, []byte{0, 0xff}, plan)
		got, err = db.RunOfKey(ctx, "alice", want.IdempotencyKey)
		require.NoError(t, err)
		require.Equal(t, "r", got.ID)
		_, err = db.Run(ctx, "none")
		require.ErrorIs(t, err, ErrNotFound)
		_, err = db.RunPlan(ctx, "none")
		require.ErrorIs(t, err, ErrNotFound)
		_, err = db.RunOfKey(ctx, "carol", want.IdempotencyKey)
		require.ErrorIs(t, err, ErrNotFound)

		require.Empty(t, store(t, db, RunProgress{
			Owner: "me", Attempts: map[string]int64{"r": 1}, Steps: []RunStep{{"r", "a", []byte{1}}, {"r", "b", []byte{2}}}, Ends: []RunEnd{anEnd("r", RunCompleted)},
		}))
		want.Status, want.ErrorCode, want.ErrorMessage, want.Output = RunCompleted, "c", "m", []byte{9}
		want.RunTotals, want.DurationMS, want.MetadataJSON, want.EndedAt = anEnd("r", "").RunTotals, 5, `{"a":1}`, new(day)
		got, err = db.Run(ctx, "r")
		require.NoError(t, err)
		require.Equal(t, &want, got)
		steps, err := db.RunSteps(ctx, "r")
		require.NoError(t, err)
		require.Equal(t, []RunStep{{"r", "a", []byte{1}}, {"r", "b", []byte{2}}}, steps)

		list, err := db.ListRuns(ctx, RunFilter{UserHash: "alice", Before: "s", Limit: 1})
		require.NoError(t, err)
		require.Len(t, list, 1)
		want.Output, want.IdempotencyKey, want.RequestDigest, want.LeaseOwner, want.LeaseUntil = []byte{}, nil, nil, "", time.Time{}
		require.Equal(t, want, list[0])
	})
}

// Storing a batch again, longer or as it was, leaves the events that there are; who
// has a run no more stores nothing of it.
func TestRunEvents(t *testing.T) {
	t.Parallel()
	onBothMigrated(t, func(t *testing.T, db *DB) {
		ctx := t.Context()
		for _, id := range []string{"a", "b", "c"} {
			insertRun(t, db, aRun(id, "alice"), time.Minute)
		}
		first := RunEvents{"a", 1, 2, []byte{1, 2}}
		require.Empty(t, store(t, db, progress("a", []RunEvents{first})))
		longer := RunEvents{"a", 1, 3, []byte{1, 2, 3}}
		second := RunEvents{"a", 4, 9, []byte{4}}
		for range 2 {
			require.Empty(t, store(t, db, progress("a", []RunEvents{longer, second})))
		}
		state, events, err := db.RunEventsAfter(ctx, "a", 0, 9)
		require.NoError(t, err)
		require.Equal(t, RunState{RunRunning, 1}, state)
		require.Equal(t, []RunEvents{longer, second}, events)
		for after, want := range map[int64][]RunEvents{2: {longer}, 3: {second}, 8: {second}, 9: {}} {
			_, events, err := db.RunEventsAfter(ctx, "a", after, 1)
			require.NoError(t, err)
			require.Equal(t, want, events, after)
		}
		_, _, err = db.RunEventsAfter(ctx, "none", 0, 1)
		require.ErrorIs(t, err, ErrNotFound)

		for name, p := range map[string]RunProgress{
			"other owner":   {Owner: "you", Attempts: map[string]int64{"b": 1}},
			"other attempt": {Owner: "me", Attempts: map[string]int64{"b": 2}},
			"gone":          {Owner: "me", Attempts: map[string]int64{"none": 1}},
		} {
			for id := range p.Attempts {
				p.Events, p.Steps, p.Ends = []RunEvents{{id, 1, 1, []byte{1}}}, []RunStep{{id, "s", []byte{1}}}, []RunEnd{anEnd(id, RunFailed)}
				require.Equal(t, []string{id}, store(t, db, p), name)
			}
		}
		require.Empty(t, store(t, db, progress("b", nil, anEnd("b", RunFailed))))
		require.Empty(t, store(t, db, progress("b", []RunEvents{{"b", 1, 1, []byte{}}}, anEnd("b", RunCompleted))), "it was stored, and nobody heard of it")
		require.Equal(t, []string{"failed 0"}, column(t, db, "SELECT status || ' ' || (SELECT count(*) FROM pipeline_events WHERE run_id = 'b') FROM pipeline_runs WHERE id = 'b'"))

		_, err = db.StoreRuns(ctx, progress("c", nil, anEnd("c", "no such status")))
		require.ErrorIs(t, err, ErrBadRecord)
	})
}

func TestLeasesOfRuns(t *testing.T) {
	t.Parallel()
	onBothMigrated(t, func(t *testing.T, db *DB) {
		ctx := t.Context()
		insertRun(t, db, aRun("live", "alice"), time.Minute)
		insertRun(t, db, aRun("over", "alice"), -time.Second)
		insertRun(t, db, aRun("dead", "alice"), -time.Minute)
		ids, err := db.RunsWithoutLease(ctx, 9)
		require.NoError(t, err)
		require.Equal(t, []string{"dead", "over"}, ids)

		require.NoError(t, db.RequestRunCancel(ctx, "over"))
		cancels, err := db.RunsToCancel(ctx, "me")
		require.NoError(t, err)
		require.Equal(t, []string{"over"}, cancels)
		cancels, err = db.RunsToCancel(ctx, "you")
		require.NoError(t, err)
		require.Empty(t, cancels)
		held, err := db.RenewRuns(ctx, "me", []string{"live", "over", "none"}, time.Minute)
		require.NoError(t, err)
		require.ElementsMatch(t, []HeldRun{{"live", false}, {"over", true}}, held, "nobody took it")
		held, err = db.RenewRuns(ctx, "you", []string{"live"}, time.Minute)
		require.NoError(t, err)
		require.Empty(t, held)

		usage := map[string]any{
			"id": "0190f0c4-0000-7000-8000-000000000001", "timestamp": "2026-08-21T10:00:00.000001Z", "run_id": "dead", "step": "s",
			"model": "old", "input_tokens": 1, "output_tokens": 2, "cost_picodollars": 7,
		}
		for i, model := range []string{"old", "new", "x"} {
			usage["id"], usage["model"] = fmt.Sprintf("0190f0c4-0000-7000-8000-00000000000%d", i), model
			usage["timestamp"] = day.Add(time.Duration(i) * time.Second).Format("2006-01-02T15:04:05.000000Z")
			if model == "x" {
				usage["run_id"] = "live"
			}
			text, err := json.Marshal([]any{usage})
			require.NoError(t, err)
			_, err = db.InsertUsage(ctx, text)
			require.NoError(t, err)
		}
		sums := []RunUsage{{Step: "s", Model: "new", InputTokens: 2, OutputTokens: 4, CostPicodollars: 14, Calls: 2}}
		require.Empty(t, store(t, db, progress("dead", []RunEvents{{"dead", 1, 4, []byte{1}}})))
		var won atomic.Int64
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				for _, id := range []string{"dead", "live", "none"} {
					lost, err := db.LoseRun(ctx, id, func(run *LostRun) (RunEnd, RunEvents) {
						if run.ID != "dead" || run.LastSeq != 4 || fmt.Sprint(run.Usage) != fmt.Sprint(sums) || run.Plan == nil {
							t.Errorf("lost: %+v", run)
						}
						end := anEnd("dead", RunFailed)
						end.Resum, end.EndedAt = true, time.Now()
						return end, RunEvents{"dead", 5, 5, []byte{5}}
					})
					if err != nil {
						t.Errorf("lose: %v", err)
					}
					if lost {
						won.Add(1)
					}
				}
			})
		}
		wg.Wait()
		require.EqualValues(t, 1, won.Load())
		require.Equal(t, []string{"dead"}, store(t, db, progress("dead", []RunEvents{{"dead", 5, 6, []byte{1}}})), "its owner comes back too late")
		held, err = db.RenewRuns(ctx, "me", []string{"dead"}, time.Minute)
		require.NoError(t, err)
		require.Empty(t, held)
		_, events, err := db.RunEventsAfter(ctx, "dead", 4, 9)
		require.NoError(t, err)
		require.Equal(t, []RunEvents{{"dead", 5, 5, []byte{5}}}, events)

		due, err := db.ResumRuns(ctx, 9, time.Hour)
		require.NoError(t, err)
		require.Len(t, due, 1)
		require.Equal(t, sums, due[0].Usage)
		none, err := db.ResumRuns(ctx, 9, time.Hour)
		require.NoError(t, err)
		require.Empty(t, none, "it was put off")
		require.NoError(t, db.SetRunTotals(ctx, "dead", 1, RunTotals{1, 1, 2, 3}, `{"b":1}`))
		require.NoError(t, db.SetRunTotals(ctx, "dead", 2, RunTotals{}, ``))
		require.NoError(t, db.SetRunTotals(ctx, "live", 1, RunTotals{9, 9, 9, 9}, ``))
		run, err := db.Run(ctx, "dead")
		require.NoError(t, err)
		require.Equal(t, RunTotals{1, 1, 2, 3}, run.RunTotals)
		require.Equal(t, []string{"0"}, column(t, db, "SELECT total_tokens FROM pipeline_runs WHERE id = 'live'"))
		require.NoError(t, db.gorm.Exec("UPDATE pipeline_runs SET resum_at = ?, ended_at = ? WHERE id = 'dead'", day, day.AddDate(0, -1, 0)).Error)
		due, err = db.ResumRuns(ctx, 9, time.Hour)
		require.NoError(t, err)
		require.Len(t, due, 1)
		require.Equal(t, []string{"dead"}, column(t, db, "SELECT id FROM pipeline_runs WHERE resum_at IS NULL AND ended_at IS NOT NULL"), "after a day it is final")
	})
}

func TestResumeRun(t *testing.T) {
	t.Parallel()
	onBothMigrated(t, func(t *testing.T, db *DB) {
		ctx := t.Context()
		insertRun(t, db, aRun("r", "alice"), time.Minute)
		resumed, err := db.ResumeRun(ctx, "r", 1, "you", time.Minute)
		require.NoError(t, err)
		require.False(t, resumed, "it runs")
		store(t, db, progress("r", []RunEvents{{"r", 1, 4, []byte{1}}}, anEnd("r", RunFailed)))
		var won atomic.Int64
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				resumed, err := db.ResumeRun(ctx, "r", 1, "you", time.Minute)
				if err != nil {
					t.Errorf("resume: %v", err)
				}
				if resumed {
					won.Add(1)
				}
			})
		}
		wg.Wait()
		require.EqualValues(t, 1, won.Load())
		state, events, err := db.RunEventsAfter(ctx, "r", 0, 9)
		require.NoError(t, err)
		require.Equal(t, RunState{RunRunning, 2}, state)
		require.Empty(t, events)
		run, err := db.Run(ctx, "r")
		require.NoError(t, err)
		require.Empty(t, run.ErrorCode)
		require.Nil(t, run.EndedAt)
		require.NotNil(t, run.ResumAt)
		require.Equal(t, "you", run.LeaseOwner)
		require.Equal(t, []string{"r"}, store(t, db, progress("r", nil, anEnd("r", RunFailed))), "of the first attempt")
	})
}

func TestRunsAreDeleted(t *testing.T) {
	t.Parallel()
	onBothMigrated(t, func(t *testing.T, db *DB) {
		ctx := t.Context()
		for i := range 5 {
			id := fmt.Sprint("old", i)
			insertRun(t, db, aRun(id, "alice"), time.Minute)
			store(t, db, progress(id, []RunEvents{{id, 1, 1, []byte{1}}}, anEnd(id, RunFailed)))
		}
		insertRun(t, db, aRun("runs", "alice"), time.Minute)
		insertRun(t, db, aRun("bobs", "bob"), time.Minute)
		store(t, db, RunProgress{Owner: "me", Attempts: map[string]int64{"runs": 1}, Events: []RunEvents{{"runs", 1, 1, []byte{1}}}, Steps: []RunStep{{"runs", "s", []byte{1}}}})
		for _, test := range []struct {
			before time.Time
			want   int64
		}{{day, 0}, {day.Add(time.Second), 3}, {day.Add(time.Second), 2}, {day.AddDate(9, 0, 0), 0}} {
			deleted, err := db.DeleteOldRuns(ctx, test.before, 3)
			require.NoError(t, err)
			require.Equal(t, test.want, deleted)
		}
		require.Equal(t, []string{"runs"}, column(t, db, "SELECT run_id FROM pipeline_events"))
		require.NoError(t, db.DeleteUser(ctx, "alice", AuditEntry{ActorHash: "boss", Action: "test"}))
		require.Equal(t, []string{"bobs"}, column(t, db, "SELECT id FROM pipeline_runs"))
		require.Empty(t, column(t, db, "SELECT run_id FROM pipeline_events UNION SELECT run_id FROM pipeline_steps"))
	})
}

// All that lock several runs lock them in one order, so none waits for another in a
// circle.
func TestRunsChangeInAnOrder(t *testing.T) {
	t.Parallel()
	onBothMigrated(t, func(t *testing.T, db *DB) {
		var ids []string
		p := RunProgress{Owner: "me", Attempts: map[string]int64{}}
		for i := range 20 {
			id := fmt.Sprint("r", 99-i)
			insertRun(t, db, aRun(id, "alice"), time.Minute)
			ids = append(ids, id)
			p.Attempts[id] = 1
			p.Events = append(p.Events, RunEvents{id, 1, 1, []byte{1}})
		}
		audit := AuditEntry{ActorHash: "boss", Action: "test"}
		var wg sync.WaitGroup
		for worker, work := range []func(ctx context.Context) error{
			func(ctx context.Context) error { _, err := db.StoreRuns(ctx, p); return err },
			func(ctx context.Context) error { _, err := db.RenewRuns(ctx, "me", ids, time.Minute); return err },
			func(ctx context.Context) error { return db.RequestRunCancel(ctx, ids[3]) },
			func(ctx context.Context) error {
				_, err := db.LoseRun(ctx, ids[4], func(*LostRun) (RunEnd, RunEvents) { panic("it has a lease") })
				return err
			},
			func(ctx context.Context) error { _, err := db.DeleteOldRuns(ctx, day, 5); return err },
		} {
			wg.Go(func() {
				for range 20 {
					if err := work(t.Context()); err != nil {
						t.Errorf("worker %d: %v", worker, err)
					}
				}
				if worker == 0 {
					if err := db.DeleteUser(t.Context(), "alice", audit); err != nil {
						t.Errorf("delete: %v", err)
					}
				}
			})
		}
		wg.Wait()
		lost, err := db.StoreRuns(t.Context(), p)
		require.NoError(t, err)
		require.Len(t, lost, 20)
	})
}

func TestRunsOfADatabaseThatIsAway(t *testing.T) {
	t.Parallel()
	db := open(t, "postgresql://nobody@127.0.0.1:1/none")
	_, err := db.Run(t.Context(), "r")
	require.Error(t, err)
	require.NotErrorIs(t, err, ErrNotFound)
	_, err = db.StoreRuns(t.Context(), progress("r", nil))
	require.Error(t, err)
	require.NotErrorIs(t, err, ErrBadRecord)
}
