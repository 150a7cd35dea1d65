package ratelimit

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	// maxExchanges is how many exchanges are under way at once. With one
	// alone, a new caller would always wait for the whole of another's round
	// trip, and a lost packet would hold up everybody. With many, fewer callers
	// meet, and it is meeting that saves.
	maxExchanges = 2

	// maxBatch is how many commands an exchange has at most: a millisecond or
	// two of Redis' time, so that its last answer, too, comes long before the
	// callers' patience ends, and an overload hits only what is too much.
	maxBatch = 128
)

// combiner lets callers that want something of Redis at the same time share a
// round trip, since its system calls cost more than all else. (Databases know
// this as group commit.)
//
// A caller that finds an exchange free sends at once and alone. Who comes while
// all are taken waits; when one ends, one of the waiting sends for all of them.
// So batches are as large as the load makes them, nobody waits for a batch to
// fill, and no goroutines are needed but the callers' own.
//
// The number of the waiting is not bounded here: each is a request of its own,
// and waits no longer than its context lets it.
type combiner struct {
	send func(context.Context, ...redis.Cmder) // one exchange; sets each command's error or value

	mu       sync.Mutex // guards what follows; not held during exchanges
	underWay int        // exchanges
	waiting  []*turn    // oldest first
}

// turn is a caller that waits.
type turn struct {
	cmd      redis.Cmder
	deadline time.Time // zero: none
	call     chan bool // gets one value: true to lead its batch, false when err is set
	batch    *batch    // what it is sent with; nil while it waits
	err      error
}

// batch is an exchange for several.
type batch struct {
	turns  []*turn
	failed atomic.Bool // somebody has been told
}

// errShared is wrapped by the errors of an exchange that failed as a whole, all
// but the first: one lost connection is one failure, however many callers
// happened to share it.
var errShared = errors.New("shared exchange")

var errNoAnswer = fmt.Errorf("%w: ended without an answer", errShared)

// do has a command executed, alone or with others. Its value may be read only
// if the error is nil: an exchange goes on when one of its callers leaves.
func (c *combiner) do(ctx context.Context, cmd redis.Cmder) error {
	t := c.join(ctx, cmd)
	if t == nil {
		defer c.handOver()
		c.send(ctx, cmd)
		return cmd.Err()
	}
	select {
	case lead := <-t.call:
		return c.answer(ctx, t, lead)
	case <-ctx.Done():
	}
	if c.withdraw(t) {
		return ctx.Err()
	}
	select {
	case lead := <-t.call: // which a leader must heed, though its caller is gone
		return c.answer(ctx, t, lead)
	default:
		return t.leave(ctx)
	}
}

// join takes a free exchange, or else a place among the waiting.
func (c *combiner) join(ctx context.Context, cmd redis.Cmder) *turn {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.underWay < maxExchanges {
		c.underWay++
		return nil
	}
	t := &turn{cmd: cmd, call: make(chan bool, 1), err: errNoAnswer}
	t.deadline, _ = ctx.Deadline()
	c.waiting = append(c.waiting, t)
	return t
}

// withdraw takes a caller that leaves out of the waiting. False: its batch has
// been made.
func (c *combiner) withdraw(t *turn) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	at := slices.Index(c.waiting, t)
	if at < 0 {
		return false
	}
	c.waiting = slices.Delete(c.waiting, at, at+1)
	return true
}

// handOver gives an exchange that has ended to the waiting, if there are any.
// The one with the most patience left leads: an exchange under its deadline cuts
// short nobody else's, and holds up nobody beyond its own.
func (c *combiner) handOver() {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := min(len(c.waiting), maxBatch)
	if n == 0 {
		c.underWay--
		return
	}
	b := &batch{turns: c.waiting[:n:n]}
	c.waiting = append(make([]*turn, 0, n), c.waiting[n:]...)
	for _, t := range b.turns {
		t.batch = b
	}
	slices.MaxFunc(b.turns, comparePatience).call <- true
}

// comparePatience orders by deadline; having none is the most patience.
func comparePatience(a, b *turn) int {
	if a.deadline.IsZero() || b.deadline.IsZero() {
		return b.deadline.Compare(a.deadline)
	}
	return a.deadline.Compare(b.deadline)
}

// answer is what a turn ends with, after the exchange if it is its to lead.
func (c *combiner) answer(ctx context.Context, t *turn, lead bool) error {
	if lead {
		c.lead(ctx, t)
	}
	return t.err
}

// lead sends the commands of a whole batch. If the leader's own caller leaves
// meanwhile, or has left, it still does so for the others.
func (c *combiner) lead(ctx context.Context, leader *turn) {
	defer c.finish(leader) // even if a panic leaves errNoAnswer to all
	exchange, cancel := context.WithoutCancel(ctx), func() {}
	if !leader.deadline.IsZero() {
		exchange, cancel = context.WithDeadline(exchange, leader.deadline)
	}
	defer cancel()

	turns := leader.batch.turns
	cmds := make([]redis.Cmder, len(turns))
	for i, t := range turns {
		cmds[i] = t.cmd
	}
	c.send(exchange, cmds...)
	leader.settle() // first, since it is surely still here to tell of a failure
	for _, t := range turns {
		if t != leader {
			t.settle()
		}
	}
}

// finish hands on the exchange first, so that the next is soon under way.
func (c *combiner) finish(leader *turn) {
	c.handOver()
	for _, t := range leader.batch.turns {
		if t != leader {
			t.call <- false
		}
	}
}

// settle takes over what became of the command. What Redis says of it is its
// own; any other error is the exchange's.
func (t *turn) settle() {
	t.err = t.cmd.Err()
	if _, replied := errors.AsType[redis.Error](t.err); t.err != nil && !replied {
		t.err = t.batch.fail(t.err)
	}
}

// leave is the error of a caller that leaves its exchange under way: one whose
// time is over tells of an exchange that takes too long.
func (t *turn) leave(ctx context.Context) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return t.batch.fail(ctx.Err())
	}
	return ctx.Err()
}

// fail marks all errors but the first as shared.
func (b *batch) fail(err error) error {
	if b.failed.CompareAndSwap(false, true) {
		return err
	}
	return fmt.Errorf("%w: %w", errShared, err)
}
