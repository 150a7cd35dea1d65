package revocation

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/financecommander/tollgate/internal/identity"
	"github.com/financecommander/tollgate/internal/llm"
)

// DefaultInterval is how often a registry looks for what others revoked: with it,
// and without Redis, a revocation is in force everywhere within a second.
const DefaultInterval = 500 * time.Millisecond

// Never is the [Registry.Age] of a registry that never could read the database.
const Never = time.Duration(math.MaxInt64)

const (
	// storeTimeout bounds each use of the database, so that one that hangs does
	// not hold up what else is to be done.
	storeTimeout = 2 * time.Second
	// writeBatch is how many entries go into one statement.
	writeBatch = 500
	// maxPending is how many entries wait for a database that is away. Those
	// beyond are in force here and in the file, but must be revoked again.
	maxPending = 10_000
)

// Options are the parts of a [Registry].
type Options struct {
	// Store keeps revocations for all replicas; nil: they live in memory, in the
	// file, and in the replicas that Redis reaches.
	Store Store
	// Redis carries revocations to the other replicas at once; nil: they find
	// them in the store.
	Redis redis.UniversalClient
	// File keeps what is revoked for a start without the database; empty: none.
	File string
	// Interval between looks at the store; 0: [DefaultInterval].
	Interval time.Duration
	// Logger is told when the store cannot be read and when it can again, and
	// likewise of the file; nil: silent.
	Logger *slog.Logger
}

// Registry answers which tokens are revoked. It is safe for concurrent use.
type Registry struct {
	store    Store
	redis    redis.UniversalClient
	file     string
	interval time.Duration
	logger   *slog.Logger

	current atomic.Pointer[snapshot]
	dirty   atomic.Bool // the file lacks something

	mu      sync.Mutex // guards replacing current, and:
	pending map[key]Entry
	readAt  time.Time // when the store was last read; zero: never

	state  follower   // of the one goroutine that follows the store
	saver  saver      // of the file
	run    sync.Mutex // guards cancel
	cancel context.CancelFunc
	wg     sync.WaitGroup
}

var _ identity.Revocations = (*Registry)(nil)

// New returns a registry that knows of no revocation yet: [Registry.Start] reads
// them.
func New(o Options) *Registry {
	r := &Registry{
		store:    o.Store,
		redis:    o.Redis,
		file:     o.File,
		interval: cmp.Or(o.Interval, DefaultInterval),
		logger:   cmp.Or(o.Logger, slog.New(slog.DiscardHandler)),
		pending:  make(map[key]Entry),
	}
	r.current.Store(&snapshot{})
	return r
}

// Revoked implements [identity.Revocations]. It takes no lock and allocates
// nothing.
func (r *Registry) Revoked(p *identity.Principal) bool {
	s := r.current.Load()
	return s.revokes(Token, p.TokenID, p.IssuedAt) ||
		s.revokes(Session, p.Session, p.IssuedAt) ||
		s.revokes(User, p.UserHash, p.IssuedAt)
}

// Revoke puts the entries in force: durably in the database, here on return, and
// everywhere else as soon as the push arrives. A caller that leaves does not stop
// it.
//
// With the database away they are in force here, in the file and wherever the
// push arrives; the error, with [llm.CauseUnavailable], says that this is all for
// now, and the registry goes on trying to write them.
func (r *Registry) Revoke(ctx context.Context, entries ...Entry) error {
	entries, err := normalizeAll(entries)
	if err != nil || len(entries) == 0 {
		return err
	}
	ctx = context.WithoutCancel(ctx)
	r.apply(entries)
	var pushing sync.WaitGroup
	pushing.Go(func() { r.push(ctx, entries) }) // it says all, so it need not wait for the database
	err = r.write(ctx, entries)
	pushing.Wait()
	if err == nil {
		return nil
	}
	if !r.keepPending(entries) {
		err = fmt.Errorf("%w; too many wait already to try again", err)
	}
	r.save()
	return &llm.Error{
		Cause:      llm.CauseUnavailable,
		Message:    "the withdrawal is in force but could not be stored for good yet: please try again in a few seconds",
		RetryAfter: storeTimeout,
		Err:        err,
	}
}

// Age is how long ago the database was last read: what others revoked since is
// known only where their push arrived. After a start without the database it
// counts from what the file has; [Never] when there is no such file either.
func (r *Registry) Age() time.Duration {
	if r.store == nil {
		return 0
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.readAt.IsZero() {
		return Never
	}
	return max(0, time.Since(r.readAt))
}

// Start reads what is revoked, from the file and from the database, and then
// follows the others until [Registry.Stop] or the end of ctx. A database that
// does not answer is no error: what is known stays in force.
func (r *Registry) Start(ctx context.Context) {
	r.run.Lock()
	defer r.run.Unlock()
	if r.cancel != nil {
		return
	}
	ctx, r.cancel = context.WithCancel(ctx)
	r.load()
	if r.redis != nil {
		// Before the database is read, so that nothing falls in between.
		r.wg.Go(func() { r.listen(ctx) })
	}
	r.look(ctx)
	r.wg.Go(func() { r.follow(ctx) })
}

// Stop ends the following, waits for it, and makes a last attempt at what is not
// written yet. It may be called twice; the registry goes on answering from what
// it knows.
func (r *Registry) Stop() {
	r.run.Lock()
	defer r.run.Unlock()
	if r.cancel == nil {
		return
	}
	r.cancel()
	r.wg.Wait()
	if err := r.writePending(context.Background()); err != nil {
		r.logger.Warn("revocations could not be written to the database; the next start tries again if they are in the file",
			slog.Any("error", err))
	}
	if r.dirty.Load() {
		r.save()
	}
}

// apply puts entries in force here.
func (r *Registry) apply(entries []Entry) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.replace(r.current.Load().with(entries, time.Now().Add(-grace)))
}

func (r *Registry) replace(next *snapshot) {
	if next != r.current.Load() {
		r.current.Store(next)
		r.dirty.Store(true)
	}
}

// write puts entries into the store.
func (r *Registry) write(ctx context.Context, entries []Entry) error {
	if r.store == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	for batch := range slices.Chunk(entries, writeBatch) {
		if err := r.store.Write(ctx, batch); err != nil {
			return err
		}
	}
	return nil
}

// keepPending notes what the store has yet to take; false when not all fits.
func (r *Registry) keepPending(entries []Entry) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range entries {
		other, waits := r.pending[e.key()]
		if waits {
			e = e.merge(other)
		} else if len(r.pending) >= maxPending {
			return false
		}
		r.pending[e.key()] = e
	}
	r.dirty.Store(true)
	return true
}
