// Package run keeps the runs of pipelines: it starts them, stores how they go and
// end, gives their events to whoever follows them on whichever replica, and takes
// care of those whose replica died.
//
// A run belongs to the replica that runs it by a lease in the database, which it
// renews. One that is not renewed is over: any replica marks the run as failed.
package run

import (
	"context"
	"encoding/json"
	"log/slog"
	"time"

	"github.com/financecommander/tollgate/internal/database"
	"github.com/financecommander/tollgate/internal/identity"
	"github.com/financecommander/tollgate/internal/pipeline"
	"github.com/financecommander/tollgate/internal/pipeline/execute"
	"github.com/financecommander/tollgate/internal/secret"
	"github.com/financecommander/tollgate/pricing"
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

// Service keeps runs. It is safe for concurrent use and outlives configurations.
type Service struct{ o Options }

// New makes a service. It does no I/O.
func New(o Options) (*Service, error) { panic("to be written") }

// Start begins the background work: heartbeats, looking for runs whose replica
// died, retention.
func (s *Service) Start(ctx context.Context) { panic("to be written") }

// Stop ends what Start began. Runs go on.
func (s *Service) Stop() { panic("to be written") }

// Drain lets no further run begin and waits for those under way. When ctx ends
// before, they are stopped and marked as failed.
func (s *Service) Drain(ctx context.Context) error { panic("to be written") }

// Running is how many runs this replica has.
func (s *Service) Running() int { panic("to be written") }

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

// Begin starts a run; its life does not depend on ctx. again is true where the run
// was there already. Errors are *llm.Error.
func (s *Service) Begin(ctx context.Context, b Begin) (v *View, again bool, err error) {
	panic("to be written")
}

// Get gives a run that its caller may see: their own, or as admin any. Who may not
// see it is told that there is none.
func (s *Service) Get(ctx context.Context, caller *identity.Principal, id string) (*View, error) {
	panic("to be written")
}

// Filter says which runs are wanted; zero fields do not matter.
type Filter struct {
	UserHash string // empty: everybody's, which only admins and viewers may ask for
	Pipeline string
	Status   string
	From, To time.Time
	Before   string // the "next" of an earlier page
	Limit    int    // 1 to 500
}

// List gives a page of runs, newest first, and the next page's Before.
func (s *Service) List(ctx context.Context, f Filter) (list []View, next string, err error) {
	panic("to be written")
}

// Cancel ends a run, on whichever replica it is, and gives it as it is then: a
// short wait gives it the time to end. Canceling a run that has ended does nothing.
func (s *Service) Cancel(ctx context.Context, caller *identity.Principal, id string) (*View, error) {
	panic("to be written")
}

// Resume runs a failed run on: steps that had ended well are not done again. It
// runs by the plan that it was started with. Release as in [Begin].
func (s *Service) Resume(ctx context.Context, caller *identity.Principal, id string, executor *execute.Executor, release func()) (*View, error) {
	panic("to be written")
}

// Follow gives a run's events from the first one on, as they come. Close must be
// called.
func (s *Service) Follow(ctx context.Context, caller *identity.Principal, id string) (*Feed, error) {
	panic("to be written")
}

// Feed is the events of a run, for one who follows it. Whoever reads slowly holds
// nothing up but themselves.
type Feed struct{}

// Next waits for events and gives all that there are, at most about 100. Its error
// is io.EOF after the run's last one.
func (f *Feed) Next(ctx context.Context) ([]pipeline.StoredEvent, error) { panic("to be written") }

// Close ends the following.
func (f *Feed) Close() { panic("to be written") }

// View is a run as its owner sees it. Its JSON is the portal's API.
type View struct {
	ID             string                `json:"pipeline_id"`
	PipelineName   string                `json:"pipeline_name"`
	Query          string                `json:"query"`
	Status         string                `json:"status"` // running, completed or failed
	Output         *string               `json:"output"`
	TotalTokens    *int64                `json:"total_tokens"`
	TotalCost      *pricing.Money        `json:"total_cost"`
	TotalCostUSD   *pricing.Money        `json:"total_cost_usd"` // the same
	DurationMS     *int64                `json:"duration_ms"`
	AgentBreakdown []pipeline.AgentUsage `json:"agent_breakdown"` // null while it runs
	ErrorCode      *string               `json:"error_code"`      // see execute.Code
	ErrorMessage   *string               `json:"error_message"`
	Attempt        int64                 `json:"attempt"`
	CreatedAt      time.Time             `json:"created_at"`
	EndedAt        *time.Time            `json:"ended_at"`
	UserHash       string                `json:"user_hash"`
	WSURL          string                `json:"ws_url"`
	Metadata       json.RawMessage       `json:"-"`
}
