// Package catalog knows which pipelines there are: those of a folder, those that
// admins keep in the database, and the shipped examples, in this order where they
// have the same name. It follows changes of the folder and of other replicas.
package catalog

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/financecommander/tollgate/internal/database"
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

// DefaultInterval is how often a catalog looks for changes: one is in force on
// every replica within a second.
const DefaultInterval = 500 * time.Millisecond

// queryTimeout bounds one look at the database, so that one which hangs does not
// hold up the folder for ever.
const queryTimeout = 10 * time.Second

// Options are what a [Catalog] is made of.
type Options struct {
	// Dir is a folder of definitions: *.yaml, *.yml, *.json. Empty: none.
	Dir string
	// Examples: whether there are the shipped ones.
	Examples bool
	DB       *database.DB // nil: none are kept in it
	Known    pipeline.Known
	Interval time.Duration // between two looks for changes; 0: [DefaultInterval]
	Logger   *slog.Logger  // nil: silent
}

// Catalog is safe for concurrent use; readers take no lock.
type Catalog struct {
	o        Options
	examples []*Entry

	current atomic.Pointer[snapshot]

	refreshing sync.Mutex // guards the following, and makes looks and their snapshots come one by one
	folder     folder
	stored     stored

	mu     sync.Mutex // guards cancel
	cancel context.CancelFunc
	wg     sync.WaitGroup
}

// Entry is a pipeline that there is. It is shared: read it only.
type Entry struct {
	Plan *pipeline.Plan
	// Definition is what its author wrote, as JSON, without the defaults.
	Definition json.RawMessage
	Source     Source
	File       string    // the file's name, of those in the folder
	Version    int64     // of those in the database; else 0
	UpdatedAt  time.Time // zero for examples
}

// Broken is a pipeline of the database that cannot be used: another version of
// Tollgate wrote it, or somebody by hand. It is in no list, and hides an example
// of its name, which would be something else than what was meant.
type Broken struct {
	Name       string
	Definition string // as it is in the database
	Version    int64
	UpdatedAt  time.Time
	Faults     *pipeline.Faults
}

// snapshot is what the catalog knows at one moment. It never changes.
type snapshot struct {
	byName map[string]*Entry
	sorted []*Entry // by category and display name
	broken []*Broken
}

// New reads the folder and the examples. A file that is no good makes it fail,
// with the *pipeline.Faults of each in one error; what files refer to is checked
// by [Catalog.Faults].
func New(o Options) (*Catalog, error) {
	o.Interval = cmp.Or(o.Interval, DefaultInterval)
	o.Logger = cmp.Or(o.Logger, slog.New(slog.DiscardHandler))
	c := &Catalog{o: o}
	if o.Examples {
		var err error
		if c.examples, err = shipped(); err != nil {
			return nil, err
		}
	}
	c.publish()
	if err := c.refreshFolder(false); err != nil {
		return nil, err
	}
	return c, nil
}

// Get finds a pipeline.
func (c *Catalog) Get(name string) (*Entry, bool) {
	e, ok := c.current.Load().byName[name]
	return e, ok
}

// List gives all pipelines, by category and display name.
func (c *Catalog) List() []*Entry { return slices.Clone(c.current.Load().sorted) }

// Broken gives the pipelines of the database that cannot be used, by name.
func (c *Catalog) Broken() []*Broken { return slices.Clone(c.current.Load().broken) }

// Faults says what the pipeline refers to that is not there now; nil: nothing. It
// asks anew each time, which costs a look into a map for each reference, so that a
// specialist that was just made counts at once.
func (c *Catalog) Faults(e *Entry) *pipeline.Faults { return e.Plan.Check(c.o.Known) }

// Validate makes a definition ready without keeping it, and says what is wrong with
// it or what it refers to that is not there. The entry is nil if it is no good in
// itself.
func (c *Catalog) Validate(definition []byte) (*Entry, *pipeline.Faults) {
	e, err := parse("definition", definition)
	if err != nil {
		return nil, faultsOf("definition", err)
	}
	return e, c.Faults(e)
}

// Start reads the database and then follows changes, until [Catalog.Stop] or the
// end of ctx. A database that does not answer is no error: the catalog has the
// rest, and tries again.
func (c *Catalog) Start(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cancel != nil {
		return errors.New("pipeline catalog is already started")
	}
	ctx, c.cancel = context.WithCancel(ctx)
	if c.o.DB == nil && c.o.Dir == "" {
		return nil
	}
	failing := c.report(ctx, c.refreshStored(ctx), false)
	c.wg.Go(func() { c.follow(ctx, failing) })
	return nil
}

// Stop ends what Start began, and waits for it. It may be called twice; the
// catalog goes on answering from what it knew last.
func (c *Catalog) Stop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cancel != nil {
		c.cancel()
		c.wg.Wait()
	}
}

// Refresh looks for changes now. What fails leaves all as it was.
func (c *Catalog) Refresh(ctx context.Context) error {
	return errors.Join(c.refreshFolder(false), c.refreshStored(ctx))
}

func (c *Catalog) follow(ctx context.Context, failing bool) {
	ticker := time.NewTicker(c.o.Interval)
	defer ticker.Stop()
	complaint := ""
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			complaint = c.complain(ctx, c.refreshFolder(true), complaint)
			failing = c.report(ctx, c.refreshStored(ctx), failing)
		}
	}
}

// report logs that the database began or ceased to fail, once each, and says
// which it is now.
func (c *Catalog) report(ctx context.Context, err error, failing bool) bool {
	switch {
	case ctx.Err() != nil:
		return failing
	case err != nil && !failing:
		c.o.Logger.WarnContext(ctx, "pipelines cannot be read; serving those last seen", slog.Any("error", err))
	case err == nil && failing:
		c.o.Logger.InfoContext(ctx, "pipelines can be read again")
	}
	return err != nil
}

// complain logs what is wrong with the folder, with the places, once for each
// complaint, and gives the one that there is now.
func (c *Catalog) complain(ctx context.Context, err error, before string) string {
	if err == nil {
		if before != "" {
			c.o.Logger.InfoContext(ctx, "the folder of pipelines can be used again", slog.String("dir", c.o.Dir))
		}
		return ""
	}
	if err.Error() != before {
		c.o.Logger.WarnContext(ctx, "the folder of pipelines cannot be used as it is now; serving it as it was",
			slog.String("dir", c.o.Dir), slog.Any("error", err))
	}
	return err.Error()
}

// refreshFolder takes over what has changed in the folder: all of it or, when
// something is faulty, nothing.
func (c *Catalog) refreshFolder(patient bool) error {
	if c.o.Dir == "" {
		return nil
	}
	c.refreshing.Lock()
	defer c.refreshing.Unlock()
	look, err := lookAt(c.o.Dir)
	if err != nil {
		return err
	}
	changed, err := c.folder.follow(look, patient)
	if changed {
		c.publish()
	}
	return err
}

// refreshStored takes over what has changed in the database.
func (c *Catalog) refreshStored(ctx context.Context) error {
	if c.o.DB == nil {
		return nil
	}
	c.refreshing.Lock()
	defer c.refreshing.Unlock()
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	changed, err := c.stored.refresh(ctx, c.o.DB, c.o.Logger)
	if changed {
		c.publish()
	}
	return err
}

// publish makes a snapshot of what there is. Its caller holds the lock.
func (c *Catalog) publish() {
	snap := &snapshot{byName: make(map[string]*Entry)}
	for _, e := range c.examples {
		snap.byName[e.Plan.Definition.Name] = e
	}
	for name, row := range c.stored.rows {
		if row.entry != nil {
			snap.byName[name] = row.entry
		} else {
			delete(snap.byName, name)
			snap.broken = append(snap.broken, row.broken)
		}
	}
	for _, f := range c.folder.files {
		snap.byName[f.entry.Plan.Definition.Name] = f.entry
	}
	for _, e := range snap.byName {
		snap.sorted = append(snap.sorted, e)
	}
	slices.SortFunc(snap.sorted, compare)
	slices.SortFunc(snap.broken, func(a, b *Broken) int { return strings.Compare(a.Name, b.Name) })
	c.current.Store(snap)
}

func compare(a, b *Entry) int {
	x, y := &a.Plan.Definition, &b.Plan.Definition
	return cmp.Or(
		strings.Compare(strings.ToLower(x.Category), strings.ToLower(y.Category)),
		strings.Compare(strings.ToLower(x.DisplayName), strings.ToLower(y.DisplayName)),
		strings.Compare(x.Name, y.Name))
}
