// Package run keeps the runs of pipelines: it starts them, stores how they go and
// end, gives their events to whoever follows them on whichever replica, and takes
// care of those whose replica died.
//
// A run belongs to the replica that runs it by a lease in the database, which it
// renews. One that is not renewed is over: any replica marks the run as failed.
package run

import (
	"cmp"
	"context"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/financecommander/tollgate/internal/database"
	"github.com/financecommander/tollgate/internal/identity"
	"github.com/financecommander/tollgate/internal/janitor"
	"github.com/financecommander/tollgate/internal/llm"
	"github.com/financecommander/tollgate/internal/pipeline"
	"github.com/financecommander/tollgate/internal/pipeline/execute"
	"github.com/financecommander/tollgate/internal/seal"
	"github.com/financecommander/tollgate/internal/secret"
)

// The bounds of runs.
const (
	// DefaultMaxRuns is how many runs a replica has at one time, and
	// DefaultMaxRunsOfUser how many of those one user has.
	DefaultMaxRuns       = 256
	DefaultMaxRunsOfUser = 10
	// MaxQuery is the longest query, in bytes.
	MaxQuery = 256 << 10
)

// A run whose replica died is marked within the lease, a look and the time that
// owners get when the database was away: half a minute in all.
const (
	DefaultLease     = 15 * time.Second
	DefaultHeartbeat = 4 * time.Second
	DefaultLook      = 4 * time.Second
)

// Options are what a [Service] is made of.
type Options struct {
	DB *database.DB
	// Secret is what texts are encrypted with.
	Secret secret.Secret
	// Retention is how long a run is kept after its end; 0: for ever.
	Retention     time.Duration
	MaxRuns       int // 0: DefaultMaxRuns
	MaxRunsOfUser int // 0: DefaultMaxRunsOfUser
	// Lease, Heartbeat and Look are for tests; 0: the defaults.
	Lease, Heartbeat, Look time.Duration
	Logger                 *slog.Logger
}

// store is the database.
type store interface {
	InsertRun(ctx context.Context, r database.PipelineRun, lease time.Duration) error
	Run(ctx context.Context, id string) (*database.PipelineRun, error)
	RunPlan(ctx context.Context, id string) ([]byte, error)
	RunOfKey(ctx context.Context, user string, key []byte) (*database.PipelineRun, error)
	ListRuns(ctx context.Context, filter database.RunFilter) ([]database.PipelineRun, error)
	ResumeRun(ctx context.Context, id string, attempt int64, owner string, lease time.Duration) (bool, error)
	DeleteOldRuns(ctx context.Context, before time.Time, limit int) (int64, error)

	RenewRuns(ctx context.Context, owner string, ids []string, lease time.Duration) ([]database.HeldRun, error)
	RequestRunCancel(ctx context.Context, id string) error
	RunsToCancel(ctx context.Context, owner string) ([]string, error)
	RunsWithoutLease(ctx context.Context, limit int) ([]string, error)
	LoseRun(ctx context.Context, id string, end func(*database.LostRun) (database.RunEnd, database.RunEvents)) (bool, error)

	ResumRuns(ctx context.Context, limit int, atLeast time.Duration) ([]database.LostRun, error)
	SetRunTotals(ctx context.Context, id string, attempt int64, totals database.RunTotals, metadata string) error
	RunUsageOf(ctx context.Context, id string, made time.Time) ([]database.RunUsage, error)

	StoreRuns(ctx context.Context, p database.RunProgress) ([]string, error)
	RunEventsAfter(ctx context.Context, id string, seq int64, limit int) (database.RunState, []database.RunEvents, error)
	RunSteps(ctx context.Context, id string) ([]database.RunStep, error)
}

// executor runs plans: *execute.Executor.
type executor interface {
	MayRun(caller *identity.Principal, plan *pipeline.Plan) *llm.Error
	Run(ctx context.Context, r execute.Run) execute.Outcome
}

// The labels of the keys that are derived from the secret.
const (
	sealLabel   = "tollgate/pipeline-runs/v1"
	digestLabel = "tollgate/pipeline-runs/digest/v1"
)

// Service keeps runs. It is safe for concurrent use and outlives configurations.
type Service struct {
	o       Options
	db      store
	box     *seal.Box
	key     []byte // of digests
	owner   string // this replica, in the database
	logger  *slog.Logger
	janitor *janitor.Janitor
	parse   func(name string, text []byte) (*pipeline.Plan, error)

	polls chan struct{} // has a token for each follower that asks the database now

	startMu sync.Mutex // guards stop
	stop    context.CancelFunc
	looking sync.WaitGroup

	working sync.WaitGroup  // runs, and what stores them and renews their leases
	keeping context.Context //nolint:containedctx // of what is stored, which no request bounds
	giveUp  context.CancelFunc
	wake    chan struct{} // lets the writer write now

	mu       sync.Mutex // guards what follows
	live     map[string]*live
	taken    map[string]int // places, by user
	places   int            // taken in all
	draining bool           // no further run begins
	stopped  bool           // by Drain: all that run
	idle     chan struct{}  // closed when the last run is stored; nil: nothing runs
}

// New makes a service. It does no I/O.
func New(o Options) (*Service, error) {
	if o.DB == nil {
		return nil, errors.New("runs of pipelines: there is no database")
	}
	o.MaxRuns = cmp.Or(o.MaxRuns, DefaultMaxRuns)
	o.MaxRunsOfUser = cmp.Or(o.MaxRunsOfUser, DefaultMaxRunsOfUser)
	o.Lease = cmp.Or(o.Lease, DefaultLease)
	o.Heartbeat = cmp.Or(o.Heartbeat, DefaultHeartbeat)
	o.Look = cmp.Or(o.Look, DefaultLook)
	s := &Service{
		o: o, db: o.DB, owner: rand.Text(), logger: cmp.Or(o.Logger, slog.New(slog.DiscardHandler)), parse: pipeline.Parse,
		polls: make(chan struct{}, maxPolls), wake: make(chan struct{}, 1), live: map[string]*live{}, taken: map[string]int{},
	}
	var err error
	if s.box, err = seal.New(o.Secret, sealLabel); err != nil {
		return nil, err
	}
	if s.key, err = hkdf.Key(sha256.New, []byte(o.Secret.Reveal()), nil, digestLabel, sha256.Size); err != nil {
		return nil, fmt.Errorf("derive the key of %s: %w", digestLabel, err)
	}
	s.keeping, s.giveUp = context.WithCancel(context.Background())
	s.janitor = s.newJanitor()
	return s, nil
}

// sweepBatch is how many old runs are deleted at a time, with all their events.
const sweepBatch = 20

func (s *Service) newJanitor() *janitor.Janitor {
	if s.o.Retention <= 0 {
		return janitor.New(s.logger)
	}
	return janitor.New(s.logger, janitor.Task{
		What: "old runs of pipelines", Batch: sweepBatch,
		Delete: func(ctx context.Context, limit int) (int64, error) {
			return s.db.DeleteOldRuns(ctx, time.Now().Add(-s.o.Retention), limit)
		},
	})
}

// Start begins the background work: looking for runs whose replica died, and
// retention. It may be called again, which does nothing.
func (s *Service) Start(ctx context.Context) {
	s.startMu.Lock()
	defer s.startMu.Unlock()
	if s.stop != nil {
		return
	}
	ctx, s.stop = context.WithCancel(ctx)
	s.janitor.Start(ctx)
	s.looking.Go(func() { s.look(ctx) })
}

// Stop ends what Start began. Runs go on, and what keeps them does as long as they
// do. It may be called twice, and without a Start.
func (s *Service) Stop() {
	s.startMu.Lock()
	defer s.startMu.Unlock()
	if s.stop != nil {
		s.stop()
		s.looking.Wait()
		s.janitor.Stop()
		s.stop = nil
	}
}

// How long Drain lets runs end that it stopped, and be stored.
const (
	stopFor    = 10 * time.Second
	abandonFor = 3 * time.Second
)

// Drain lets no further run begin and waits for those under way. When ctx ends
// before, they are stopped and marked as failed.
func (s *Service) Drain(ctx context.Context) error {
	s.mu.Lock()
	s.draining = true
	s.mu.Unlock()
	done := make(chan struct{})
	go func() { // ends with the runs
		s.working.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
	}
	s.mu.Lock()
	s.stopped = true
	for _, r := range s.live {
		r.cancel(execute.ErrStopped)
	}
	s.mu.Unlock()
	err := fmt.Errorf("runs of pipelines were stopped: %w", context.Cause(ctx))
	if waitFor(done, stopFor) {
		return err
	}
	s.giveUp() // the database is away: whoever looks next marks them
	s.nudge()
	if waitFor(done, abandonFor) {
		return fmt.Errorf("%w; how they ended could not be stored", err)
	}
	return fmt.Errorf("%w; some did not end", err)
}

func waitFor(done <-chan struct{}, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-done:
		return true
	case <-timer.C:
		return false
	}
}

// Running is how many runs this replica has.
func (s *Service) Running() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.places
}
