// Package catalog knows which pipelines there are: those of a folder, those that
// admins keep in the database, and the shipped examples, in this order where they
// have the same name. It follows changes of the folder and of other replicas.
package catalog

import (
	"context"
	"encoding/json"
	"log/slog"
	"time"

	"github.com/financecommander/tollgate/internal/database"
	"github.com/financecommander/tollgate/internal/identity"
	"github.com/financecommander/tollgate/internal/pipeline"
)

// Source is where a pipeline comes from.
type Source string

// The sources.
const (
	FromFile     Source = "file"
	FromDatabase Source = "database"
	FromExample  Source = "example"
)

// Options are what a [Catalog] is made of.
type Options struct {
	// Dir is a folder of definitions: *.yaml, *.yml, *.json. Empty: none.
	Dir string
	// Examples: whether there are the shipped ones.
	Examples bool
	DB       *database.DB // nil: none are kept in it
	Known    pipeline.Known
	Interval time.Duration // between two looks for changes; 0: 1 s
	Logger   *slog.Logger
}

// Catalog is safe for concurrent use; readers take no lock.
type Catalog struct{ o Options }

// New reads the folder and the examples. A file that is no good makes it fail,
// with *pipeline.Faults of all of them; what files refer to is checked by [Entry.Faults].
func New(o Options) (*Catalog, error) { panic("to be written") }

// Start reads the database and then follows changes.
func (c *Catalog) Start(ctx context.Context) error { panic("to be written") }

// Stop ends what Start began.
func (c *Catalog) Stop() { panic("to be written") }

// Refresh looks for changes now.
func (c *Catalog) Refresh(ctx context.Context) error { panic("to be written") }

// Entry is a pipeline that there is. It is shared: read it only.
type Entry struct {
	Plan      *pipeline.Plan
	Source    Source
	Version   int64 // of those in the database; else 0
	UpdatedAt time.Time
}

// Get finds a pipeline.
func (c *Catalog) Get(name string) (*Entry, bool) { panic("to be written") }

// List gives all pipelines, by category and display name.
func (c *Catalog) List() []*Entry { panic("to be written") }

// Faults says what the pipeline refers to that is not there now; nil: nothing.
func (c *Catalog) Faults(e *Entry) *pipeline.Faults { panic("to be written") }

// Change is who changes something, and what for the audit log.
type Change struct {
	Actor     *identity.Principal
	RequestID string
}

// Create keeps a new pipeline in the database. Errors of all changes are
// *llm.Error, or *pipeline.Faults for a definition that is no good.
func (c *Catalog) Create(ctx context.Context, by Change, definition []byte) (*Entry, error) {
	panic("to be written")
}

// Update replaces a pipeline; version is the one that was read, 0: any.
func (c *Catalog) Update(ctx context.Context, by Change, name string, version int64, definition []byte) (*Entry, error) {
	panic("to be written")
}

// Delete removes a pipeline. Its runs go on.
func (c *Catalog) Delete(ctx context.Context, by Change, name string) error { panic("to be written") }

// Version is a pipeline as it was.
type Version struct {
	Version    int64           `json:"version"`
	Definition json.RawMessage `json:"definition"` // null: it was deleted
	ActorHash  string          `json:"actor_hash"`
	CreatedAt  time.Time       `json:"created_at"`
}

// Versions gives all versions of a pipeline of the database, newest first.
func (c *Catalog) Versions(ctx context.Context, name string) ([]Version, error) {
	panic("to be written")
}

// Revert makes an earlier version the current one: a change like any other.
func (c *Catalog) Revert(ctx context.Context, by Change, name string, version int64) (*Entry, error) {
	panic("to be written")
}
