package ratelimit

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

// exchange is one that a fakeLink was asked for.
type exchange struct {
	ctx  context.Context
	cmds []redis.Cmder
}

// names are the first arguments of the commands.
func (e exchange) names() (names []string) {
	for _, cmd := range e.cmds {
		names = append(names, cmd.Name())
	}
	return names
}

// fakeLink is a Redis whose exchanges take a second, and answer each command
// with its own name unless told otherwise.
type fakeLink struct {
	combiner
	exchanges []exchange // guarded by mu
	reply     func(exchange)
}

func newFakeLink() *fakeLink {
	l := &fakeLink{reply: func(e exchange) {
		for _, cmd := range e.cmds {
			cmd.(*redis.StatusCmd).SetVal(cmd.Name())
		}
	}}
	l.send = func(ctx context.Context, cmds ...redis.Cmder) {
		e := exchange{ctx, cmds}
		l.mu.Lock()
		l.exchanges = append(l.exchanges, e)
		l.mu.Unlock()
		time.Sleep(time.Second)
		l.reply(e)
	}
	return l
}

// sent are the exchanges so far.
func (l *fakeLink) sent() []exchange {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.exchanges)
}

// caller is one call of do.
type caller struct {
	value    string
	err      error
	panicked any
	wait     time.Duration
	done     bool
}

// start has a caller ask, and returns when it waits for its exchange or turn.
func (l *fakeLink) start(ctx context.Context, name string) *caller {
	c := new(caller)
	go func() {
		begin := time.Now()
		defer func() { c.panicked, c.wait, c.done = recover(), time.Since(begin), true }()
		cmd := redis.NewStatusCmd(ctx, name)
		if c.err = l.do(ctx, cmd); c.err == nil {
			c.value = cmd.Val()
		}
	}()
	synctest.Wait()
	return c
}

// pass lets virtual time go by, and those finish whose time has come.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// occupy has as many callers as there are exchanges take them all.
func (l *fakeLink) occupy(t *testing.T) {
	t.Helper()
	for range maxExchanges {
		l.start(t.Context(), "occupy")
	}
}

// requireIdle checks that nothing was lost or left behind.
func (l *fakeLink) requireIdle(t *testing.T) {
	t.Helper()
	synctest.Wait()
	require.Zero(t, l.underWay)
	require.Empty(t, l.waiting)
}

// bubble runs a test in virtual time, and checks that all ends well.
func bubble(t *testing.T, test func(*testing.T, *fakeLink)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		l := newFakeLink()
		test(t, l)
		time.Sleep(time.Minute)
		l.requireIdle(t)
	})
}

func TestCombinerSendsLoneCallersAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T, l *fakeLink) {
		type key struct{}
		ctx := context.WithValue(t.Context(), key{}, "mine")
		for i := range maxExchanges {
			l.start(ctx, "lone")
			require.Len(t, l.sent(), i+1)
			require.Equal(t, ctx, l.sent()[i].ctx, "a lone caller's context is its exchange's")
		}
		last := l.start(ctx, "waits")
		require.Len(t, l.sent(), maxExchanges)
		pass(10 * time.Second)
		require.Equal(t, caller{value: "waits", wait: 2 * time.Second, done: true}, *last)
		require.Equal(t, "mine", l.sent()[maxExchanges].ctx.Value(key{}))
	})
}

func TestCombinerSendsAllThatWaitTogether(t *testing.T) {
	bubble(t, func(t *testing.T, l *fakeLink) {
		l.occupy(t)
		callers := make([]*caller, 2*maxBatch+1)
		var names []string
		for i := range callers {
			names = append(names, strconv.Itoa(i))
			callers[i] = l.start(t.Context(), names[i])
		}
		pass(10 * time.Second)
		require.Len(t, l.sent(), maxExchanges+3)
		batches := l.sent()[maxExchanges:] // of which the first two start at once, in either order
		slices.SortFunc(batches, func(a, b exchange) int {
			return slices.Index(names, a.names()[0]) - slices.Index(names, b.names()[0])
		})
		require.Equal(t, names[:maxBatch], batches[0].names())
		require.Equal(t, names[maxBatch:2*maxBatch], batches[1].names())
		require.Equal(t, names[2*maxBatch:], batches[2].names())
		for i, c := range callers {
			want := 2 * time.Second
			if i == 2*maxBatch {
				want = 3 * time.Second
			}
			require.Equal(t, caller{value: names[i], wait: want, done: true}, *c)
		}
	})
}

// TestCombinerLetsWaitersLeave: whoever leaves before its command is sent leaves
// nothing behind, the one called to lead in particular.
func TestCombinerLetsWaitersLeave(t *testing.T) {
	for _, name := range []string{"first", "middle", "last"} { // the last is called
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, l *fakeLink) {
				l.occupy(t)
				callers := make(map[string]*caller)
				cancels := make(map[string]context.CancelFunc)
				for i, name := range []string{"first", "middle", "last"} {
					ctx, cancel := context.WithTimeout(t.Context(), time.Minute+time.Duration(i))
					defer cancel()
					callers[name], cancels[name] = l.start(ctx, name), cancel
				}
				pass(500 * time.Millisecond)
				cancels[name]()
				synctest.Wait()
				require.Equal(t, caller{err: context.Canceled, wait: 500 * time.Millisecond, done: true}, *callers[name])
				pass(10 * time.Second)
				require.Len(t, l.sent(), maxExchanges+1)
				require.Len(t, l.sent()[maxExchanges].cmds, 2)
				for other, c := range callers {
					if other != name {
						require.Equal(t, caller{value: other, wait: 2 * time.Second, done: true}, *c)
					}
				}
			})
		})
	}
	t.Run("all", func(t *testing.T) {
		bubble(t, func(t *testing.T, l *fakeLink) {
			l.occupy(t)
			ctx, cancel := context.WithCancel(t.Context())
			for range 5 {
				l.start(ctx, "gone")
			}
			cancel()
			synctest.Wait()
			require.Empty(t, l.waiting)
		})
	})
}

// TestCombinerLeaversMeetTheHandOver has callers leave in the very moment of the
// hand-over, the one called to lead among them, whichever way that turns out.
func TestCombinerLeaversMeetTheHandOver(t *testing.T) {
	for range 100 {
		bubble(t, func(t *testing.T, l *fakeLink) {
			l.occupy(t)
			brief, cancelBrief := context.WithTimeout(t.Context(), time.Second)
			defer cancelBrief()
			l.start(brief, "brief")
			leading, cancel := context.WithCancel(t.Context())
			time.AfterFunc(time.Second, cancel)
			l.start(leading, "leader")
			patient, cancelPatient := context.WithTimeout(t.Context(), time.Minute)
			defer cancelPatient()
			stays := l.start(patient, "stays")
			pass(10 * time.Second)
			require.Equal(t, caller{value: "stays", wait: 2 * time.Second, done: true}, *stays)
		})
	}
}

// TestCombinerCalledLeaderHasLeft: it sends for the others nevertheless.
func TestCombinerCalledLeaderHasLeft(t *testing.T) {
	bubble(t, func(t *testing.T, l *fakeLink) {
		cmd := redis.NewStatusCmd(t.Context(), "x")
		for range maxExchanges {
			require.Nil(t, l.join(t.Context(), cmd))
		}
		gone, cancel := context.WithCancel(t.Context())
		leader, follower := l.join(gone, cmd), l.join(gone, redis.NewStatusCmd(t.Context(), "y"))
		l.handOver()
		cancel()
		require.False(t, l.withdraw(leader))
		require.NoError(t, l.answer(gone, leader, <-leader.call))
		require.NoError(t, l.sent()[0].ctx.Err())
		require.NoError(t, l.answer(gone, follower, <-follower.call))
		l.handOver() // the other exchange's
	})
}

// TestCombinerLeaderLeaves: the exchange is the batch's, not the leader's.
func TestCombinerLeaderLeaves(t *testing.T) {
	bubble(t, func(t *testing.T, l *fakeLink) {
		l.occupy(t)
		leading, cancel := context.WithCancel(t.Context()) // no deadline: it is called
		leader := l.start(leading, "leader")
		patient, cancelPatient := context.WithTimeout(t.Context(), time.Minute)
		defer cancelPatient()
		follower := l.start(patient, "follower")
		leaving, cancelFollower := context.WithTimeout(t.Context(), time.Minute)
		leaver := l.start(leaving, "leaver")

		pass(1500 * time.Millisecond)
		cancel()
		cancelFollower()
		synctest.Wait()
		require.Equal(t, caller{err: context.Canceled, wait: 1500 * time.Millisecond, done: true}, *leaver)
		require.NoError(t, l.sent()[maxExchanges].ctx.Err())
		pass(10 * time.Second)
		require.Equal(t, caller{value: "follower", wait: 2 * time.Second, done: true}, *follower)
		require.Equal(t, caller{value: "leader", wait: 2 * time.Second, done: true}, *leader)
	})
}

// TestCombinerFollowersTimeOut: they wait no longer than their own patience, and
// the first tells of it for all.
func TestCombinerFollowersTimeOut(t *testing.T) {
	bubble(t, func(t *testing.T, l *fakeLink) {
		l.occupy(t)
		leader := l.start(t.Context(), "leader")
		ctx, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond)
		defer cancel()
		callers := []*caller{l.start(ctx, "a"), l.start(ctx, "b"), l.start(ctx, "c")}
		pass(10 * time.Second)
		shared := 0
		for _, c := range callers {
			require.ErrorIs(t, c.err, context.DeadlineExceeded)
			require.Equal(t, 1500*time.Millisecond, c.wait)
			if errors.Is(c.err, errShared) {
				shared++
			}
		}
		require.Equal(t, 2, shared)
		require.Equal(t, "leader", leader.value)
	})
}

// TestCombinerDeadline: the exchange ends with the patience of its most patient.
func TestCombinerDeadline(t *testing.T) {
	bubble(t, func(t *testing.T, l *fakeLink) {
		l.occupy(t)
		start := time.Now()
		for _, patience := range []time.Duration{20 * time.Second, 30 * time.Second, 10 * time.Second} {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			l.start(ctx, patience.String())
		}
		pass(1500 * time.Millisecond)
		deadline, _ := l.sent()[maxExchanges].ctx.Deadline()
		require.Equal(t, 30*time.Second, deadline.Sub(start))
	})
}

// replyError is what Redis says of one command.
type replyError string

func (e replyError) Error() string { return string(e) }
func (replyError) RedisError()     {}

func TestCombinerErrors(t *testing.T) {
	lost := errors.New("connection reset")
	bubble(t, func(t *testing.T, l *fakeLink) {
		l.reply = func(e exchange) {
			for _, cmd := range e.cmds {
				switch cmd.Name() {
				case "odd":
					cmd.SetErr(replyError("WRONGTYPE"))
				case "lost":
					cmd.SetErr(lost)
				}
			}
		}
		l.occupy(t)
		odd, lonely, good := l.start(t.Context(), "odd"), l.start(t.Context(), "lost"), l.start(t.Context(), "good")
		pass(10 * time.Second)
		require.Equal(t, replyError("WRONGTYPE"), odd.err, "each has its own reply")
		require.Equal(t, lost, lonely.err, "the first to tell of a failure")
		require.Equal(t, caller{wait: 2 * time.Second, done: true}, *good)

		l.occupy(t)
		callers := []*caller{l.start(t.Context(), "lost"), l.start(t.Context(), "lost"), l.start(t.Context(), "lost")}
		pass(10 * time.Second)
		shared := 0
		for _, c := range callers {
			require.ErrorIs(t, c.err, lost)
			if errors.Is(c.err, errShared) {
				shared++
			}
		}
		require.Equal(t, 2, shared, "a failed exchange is one failure")
	})
}

func TestCombinerPanics(t *testing.T) {
	bubble(t, func(t *testing.T, l *fakeLink) {
		l.reply = func(exchange) { panic("bug") }
		l.occupy(t)
		callers := []*caller{l.start(t.Context(), "a"), l.start(t.Context(), "b"), l.start(t.Context(), "c")}
		pass(10 * time.Second)
		panics, unanswered := 0, 0
		for _, c := range callers {
			require.True(t, c.done)
			switch {
			case c.panicked != nil:
				panics++
			case errors.Is(c.err, errNoAnswer):
				unanswered++
			}
		}
		require.Equal(t, 1, panics)
		require.Equal(t, 2, unanswered)
		l.requireIdle(t)
	})
}

// TestGuardedWaitsWithinBatches: however callers queue and share exchanges, a
// hanging Redis costs each at most its patience, and is soon found out.
func TestGuardedWaitsWithinBatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := new(Redis)
		r.calls.send = func(ctx context.Context, cmds ...redis.Cmder) {
			<-ctx.Done()
			for _, cmd := range cmds {
				cmd.SetErr(ctx.Err())
			}
		}
		g := NewGuarded(GuardedOptions{Redis: r})
		defer g.Close()
		var wg sync.WaitGroup
		for i := range 200 {
			wg.Go(func() {
				start := time.Now()
				_, err := g.Take(t.Context(), Ask{Key: fmt.Sprint(i), Limit: Limit{Rate: 1, Burst: 1, Period: time.Hour}, N: 1})
				require.NoError(t, err)
				require.LessOrEqual(t, time.Since(start), DefaultPatience)
				if i > 43 { // two lone exchanges and the first of a batch have failed
					require.Zero(t, time.Since(start), "Redis should count as dead by now")
				}
			})
			time.Sleep(time.Millisecond)
		}
		wg.Wait()
		require.False(t, g.Healthy())
		require.Zero(t, r.calls.underWay)
	})
}

// TestGuardedCountsExchanges: lost connections, each shared by ten callers, are
// failures as three lone callers' would be.
func TestGuardedCountsExchanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, failing := new(Redis), false
		r.calls.send = func(_ context.Context, cmds ...redis.Cmder) {
			time.Sleep(time.Millisecond)
			for _, cmd := range cmds {
				if failing && len(cmds) > 1 {
					cmd.SetErr(errors.New("connection reset"))
				} else {
					cmd.(*redis.IntSliceCmd).SetVal([]int64{1, 0, -1, 0})
				}
			}
		}
		g := NewGuarded(GuardedOptions{Redis: r})
		defer g.Close()
		share := func() { // an exchange of ten, after lone ones that succeed
			var wg sync.WaitGroup
			for i := range maxExchanges + 10 {
				wg.Go(func() {
					_, err := g.Take(t.Context(), Ask{Key: fmt.Sprint(i), Limit: Limit{Rate: 1, Burst: 1, Period: time.Hour}, N: 1})
					require.NoError(t, err)
				})
				synctest.Wait()
			}
			wg.Wait()
		}
		failing = true
		for i := range 5 {
			share()
			require.True(t, g.Healthy())
			require.EqualValues(t, i+1, g.breaker.Counts().TotalFailures)
		}
	})
}
