package ratelimit

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sony/gobreaker/v2"

	"github.com/financecommander/tollgate/internal/llm"
)

const (
	// DefaultPatience is how long a request waits for Redis. With it, no
	// request is held up for more than 50 ms even on a busy machine; a healthy
	// Redis answers in less than one.
	DefaultPatience = 40 * time.Millisecond

	tripAfter  = 3                      // failures in a row after which Redis counts as dead
	probeEvery = 500 * time.Millisecond // how often a dead Redis is tried again
)

// Policy says what happens to requests while Redis cannot answer.
type Policy string

// The policies. With PolicyLocal each replica counts for itself, from where
// Redis last was, so N replicas together allow up to N times what was left.
const (
	PolicyLocal Policy = "local" // limits are kept in process until Redis is back; the default
	PolicyDeny  Policy = "deny"  // requests are refused (503)
	PolicyAllow Policy = "allow" // requests are not limited
)

// ParsePolicy reads a policy's name; the empty one is [PolicyLocal].
func ParsePolicy(name string) (Policy, error) {
	switch p := cmp.Or(Policy(name), PolicyLocal); p {
	case PolicyLocal, PolicyDeny, PolicyAllow:
		return p, nil
	default:
		return "", fmt.Errorf("unknown policy %.40q: want local, deny or allow", name)
	}
}

// Outcome is how a request met its limits: a metric's label.
type Outcome string

// The outcomes.
const (
	OutcomeAllowed Outcome = "allowed" // Redis granted it
	OutcomeDenied  Outcome = "denied"  // Redis refused it
	OutcomeLocal   Outcome = "local"   // Redis could not answer; limits in process granted or refused it
	OutcomeError   Outcome = "error"   // nobody checked it: refused or let through, by policy
)

// GuardedOptions are the parts of a [Guarded].
type GuardedOptions struct {
	Redis    Limiter       // required, usually a *Redis
	Local    *Memory       // for PolicyLocal; nil: one of default size
	Policy   Policy        // "": PolicyLocal
	Patience time.Duration // longest wait for Redis; 0: DefaultPatience
	Observe  func(Outcome) // called once per decision; may be nil
	Logger   *slog.Logger  // told once when Redis goes and once when it is back; nil: nobody
}

// Guarded asks Redis, and goes on without it when it is dead: after three
// failures in a row requests no longer wait for it at all, while one goroutine
// looks for it in the background. A caller that leaves is not a failure; a round
// trip of several requests that fails is one.
//
// A request that timed out may still have been counted by Redis.
type Guarded struct {
	options GuardedOptions
	breaker *gobreaker.CircuitBreaker[Decision]
	healthy atomic.Bool  // the breaker is closed; asked without its lock
	without atomic.Int64 // decisions made without Redis since it was last there

	tripped chan struct{} // wakes the watcher
	cancel  context.CancelFunc
	watcher sync.WaitGroup
}

// NewGuarded gives a limiter that must be closed. It does not touch Redis.
func NewGuarded(options GuardedOptions) *Guarded {
	options.Policy = cmp.Or(options.Policy, PolicyLocal)
	options.Patience = cmp.Or(options.Patience, DefaultPatience)
	if options.Local == nil {
		options.Local = NewMemory(0, nil)
	}
	if options.Observe == nil {
		options.Observe = func(Outcome) {}
	}
	if options.Logger == nil {
		options.Logger = slog.New(slog.DiscardHandler)
	}
	g := &Guarded{options: options, tripped: make(chan struct{}, 1)}
	g.healthy.Store(true)
	g.breaker = gobreaker.NewCircuitBreaker[Decision](gobreaker.Settings{
		Timeout:       probeEvery / 2, // over by the time of the next probe
		ReadyToTrip:   func(c gobreaker.Counts) bool { return c.ConsecutiveFailures >= tripAfter },
		IsExcluded:    isNoFailure,
		OnStateChange: g.stateChanged,
	})
	ctx, cancel := context.WithCancel(context.Background())
	g.cancel = cancel
	g.watcher.Go(func() { g.watch(ctx) })
	return g
}

// Close ends the background goroutine. The limiter works on, but no longer
// notices that a dead Redis is back. The Redis client is the caller's to close.
func (g *Guarded) Close() error {
	g.cancel()
	g.watcher.Wait()
	return nil
}

// Healthy says whether Redis is in use.
func (g *Guarded) Healthy() bool { return g.healthy.Load() }

// Take implements [Limiter]. With [PolicyDeny], a dead Redis is an *llm.Error
// with [llm.CauseUnavailable].
func (g *Guarded) Take(ctx context.Context, asks ...Ask) (Decision, error) {
	if err := checkAsks(asks); err != nil {
		return Decision{}, err
	}
	d, err := g.takeFromRedis(ctx, asks)
	switch {
	case errors.Is(err, errCallerLeft):
		return Decision{}, err
	case err != nil:
		return g.takeWithoutRedis(ctx, asks, err)
	}
	if g.options.Policy == PolicyLocal {
		g.options.Local.follow(asks, d) // an outage must not refill buckets
	}
	if d.Allowed {
		g.options.Observe(OutcomeAllowed)
	} else {
		g.options.Observe(OutcomeDenied)
	}
	return d, nil
}

var errCallerLeft = errors.New("caller left while limits were checked")

// isNoFailure says what tells nothing (new) about Redis.
func isNoFailure(err error) bool {
	return errors.Is(err, errCallerLeft) || errors.Is(err, errShared)
}

// takeFromRedis leaves probing to the watcher: while the breaker is not closed,
// requests do not wait.
func (g *Guarded) takeFromRedis(ctx context.Context, asks []Ask) (Decision, error) {
	if !g.Healthy() {
		return Decision{}, gobreaker.ErrOpenState
	}
	return g.breaker.Execute(func() (Decision, error) { return g.ask(ctx, asks) })
}

func (g *Guarded) ask(ctx context.Context, asks []Ask) (Decision, error) {
	patient, cancel := context.WithTimeout(ctx, g.options.Patience)
	defer cancel()
	d, err := g.options.Redis.Take(patient, asks...)
	if err != nil && ctx.Err() != nil {
		err = fmt.Errorf("%w: %w", errCallerLeft, context.Cause(ctx))
	}
	return d, err
}

func (g *Guarded) takeWithoutRedis(ctx context.Context, asks []Ask, cause error) (Decision, error) {
	g.without.Add(1)
	switch g.options.Policy {
	case PolicyAllow:
		g.options.Observe(OutcomeError)
		return Decision{Allowed: true, Denied: -1}, nil
	case PolicyDeny:
		g.options.Observe(OutcomeError)
		return Decision{}, &llm.Error{
			Cause:      llm.CauseUnavailable,
			Message:    "rate limits cannot be checked at the moment: try again in 1 second",
			RetryAfter: time.Second,
			Err:        cause,
		}
	default:
		g.options.Observe(OutcomeLocal)
		return g.options.Local.Take(ctx, asks...)
	}
}

// stateChanged runs under the breaker's lock, so it must not call it.
func (g *Guarded) stateChanged(_ string, from, to gobreaker.State) {
	g.healthy.Store(to == gobreaker.StateClosed)
	switch {
	case from == gobreaker.StateClosed:
		g.options.Logger.LogAttrs(context.Background(), slog.LevelWarn, map[Policy]string{
			PolicyLocal: "redis is unreachable, limits are in-process until it is back",
			PolicyDeny:  "redis is unreachable, limited requests are refused until it is back",
			PolicyAllow: "redis is unreachable, nothing is limited until it is back",
		}[g.options.Policy])
		select {
		case g.tripped <- struct{}{}:
		default: // the watcher has yet to see the last one
		}
	case to == gobreaker.StateClosed:
		g.options.Logger.LogAttrs(context.Background(), slog.LevelInfo, "redis is back",
			slog.Int64("decisions_without_redis", g.without.Swap(0)))
	}
}

// watch looks for a dead Redis until it is back.
func (g *Guarded) watch(ctx context.Context) {
	for {
		select {
		case <-g.tripped:
			g.awaitRedis(ctx)
		case <-ctx.Done():
			return
		}
	}
}

func (g *Guarded) awaitRedis(ctx context.Context) {
	tick := time.NewTicker(probeEvery)
	defer tick.Stop()
	// The whole way is tried, script and all; looking (N is 0) stores nothing.
	probe := []Ask{{Key: "probe", Limit: Limit{Rate: 1, Burst: 1, Period: time.Second}}}
	for !g.Healthy() {
		select {
		case <-tick.C:
			_, _ = g.breaker.Execute(func() (Decision, error) { return g.ask(ctx, probe) })
		case <-ctx.Done():
			return
		}
	}
}
