package specialist

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// DefaultInterval is how often a registry looks for changes made elsewhere: an
// edit is in force on every replica within a second, for two small queries per
// second and replica.
const DefaultInterval = 500 * time.Millisecond

// queryTimeout bounds one look at the store, so that a hanging database does
// not hold up the refresh for ever.
const queryTimeout = 10 * time.Second

// Store keeps specialists across restarts.
type Store interface {
	// List gives all specialists, in any order.
	List(ctx context.Context) ([]Specialist, error)
	// Revision changes whenever List's answer does. It is much cheaper.
	Revision(ctx context.Context) (string, error)
	// Seed inserts the given specialists unless the store has ever been seeded
	// or holds any, and remembers that it was asked: what an admin deletes
	// stays deleted.
	Seed(ctx context.Context, defaults []Specialist) error
}

// Options say what a [Registry] holds.
type Options struct {
	// Configured are the specialists of the configuration. They win over
	// stored ones of the same id.
	Configured []Specialist
	// Store holds the editable ones; nil: there are none.
	Store Store
	// Interval between looks at the store; 0: [DefaultInterval].
	Interval time.Duration
	// Logger gets changes of the store's health and rows it had to leave out;
	// nil: silent.
	Logger *slog.Logger
}

// Registry answers which specialist a name means. It is safe for use by many
// goroutines.
type Registry struct {
	configured []Specialist
	store      Store
	interval   time.Duration
	logger     *slog.Logger

	current atomic.Pointer[snapshot]
	loaded  atomic.Bool // a snapshot with the store's came to be

	refreshing sync.Mutex // one refresh at a time, so that an older answer never replaces a newer one
	revision   string     // of the snapshot; guarded by refreshing

	mu     sync.Mutex // guards cancel
	cancel context.CancelFunc
	wg     sync.WaitGroup
}

// snapshot is what the registry knows at one moment. It never changes.
type snapshot struct {
	byName map[string]*Specialist // ids and aliases
	sorted []*Specialist          // pinned first, then by name
}

// NewRegistry returns a registry that holds the configured specialists. It does
// no I/O: stored ones come with [Registry.Refresh] or [Registry.Start]. It
// fails when a configured specialist is invalid or a name is used twice.
func NewRegistry(o Options) (*Registry, error) {
	r := &Registry{
		configured: slices.Clone(o.Configured),
		store:      o.Store,
		interval:   cmp.Or(o.Interval, DefaultInterval),
		logger:     cmp.Or(o.Logger, slog.New(slog.DiscardHandler)),
	}
	now := time.Now().UTC().Truncate(time.Second)
	names := make(map[string]bool)
	for i := range r.configured {
		s := &r.configured[i]
		if err := s.Validate(); err != nil {
			return nil, fmt.Errorf("specialist %q: %w", s.ID, err)
		}
		for _, name := range append([]string{s.ID}, s.Aliases...) {
			if names[name] {
				return nil, fmt.Errorf("specialist %q: name %q is used twice", s.ID, name)
			}
			names[name] = true
		}
		s.ReadOnly = true
		s.Version = max(s.Version, 1)
		// A specialist without dates would break clients that print them.
		s.CreatedAt, s.UpdatedAt = now, now
	}
	r.current.Store(newSnapshot(r.configured, nil, r.logger))
	return r, nil
}

// Loaded says whether the stored specialists are known: false while the store
// has not answered since the start.
func (r *Registry) Loaded() bool { return r.store == nil || r.loaded.Load() }

// isConfigured says whether an id is one of the configuration's.
func (r *Registry) isConfigured(id string) bool {
	return slices.ContainsFunc(r.configured, func(s Specialist) bool { return s.ID == id })
}

// Get finds a specialist by id or alias. It takes no lock and allocates
// nothing.
func (r *Registry) Get(idOrAlias string) (*Specialist, bool) {
	s, ok := r.current.Load().byName[idOrAlias]
	return s, ok
}

// List gives all specialists, pinned ones first, then by name.
func (r *Registry) List() []*Specialist {
	return slices.Clone(r.current.Load().sorted)
}

// Seed gives a new store the shipped [Defaults].
func (r *Registry) Seed(ctx context.Context) error {
	if r.store == nil {
		return nil
	}
	if err := r.store.Seed(ctx, Defaults()); err != nil {
		return fmt.Errorf("seed specialists: %w", err)
	}
	return nil
}

// Refresh brings the registry up to date with the store. When the store does
// not answer, the last good snapshot stays.
func (r *Registry) Refresh(ctx context.Context) error {
	if r.store == nil {
		return nil
	}
	r.refreshing.Lock()
	defer r.refreshing.Unlock()

	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	// The revision is read before the rows: a change in between is seen as one
	// more change at the next look, never missed.
	revision, err := r.store.Revision(ctx)
	if err != nil {
		return fmt.Errorf("look for changed specialists: %w", err)
	}
	if revision == r.revision && revision != "" {
		return nil
	}
	stored, err := r.store.List(ctx)
	if err != nil {
		return fmt.Errorf("list specialists: %w", err)
	}
	r.current.Store(newSnapshot(r.configured, stored, r.logger))
	r.revision = revision
	r.loaded.Store(true)
	return nil
}

// Start loads the stored specialists and keeps following them until
// [Registry.Stop] or the end of ctx. A store that does not answer is no error:
// the registry serves what it has and tries again.
func (r *Registry) Start(ctx context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.cancel != nil {
		return errors.New("specialist registry is already started")
	}
	ctx, r.cancel = context.WithCancel(ctx)
	if r.store == nil {
		return nil
	}
	failing := r.report(ctx, r.Refresh(ctx), false)
	r.wg.Go(func() { r.follow(ctx, failing) })
	return nil
}

// Stop ends the following and waits for it. It may be called twice; the
// registry goes on answering from its last snapshot.
func (r *Registry) Stop() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.cancel != nil {
		r.cancel()
		r.wg.Wait()
	}
}

func (r *Registry) follow(ctx context.Context, failing bool) {
	ticker := time.NewTicker(r.interval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			failing = r.report(ctx, r.Refresh(ctx), failing)
		}
	}
}

// report logs that the store began or ceased to fail, once each, and says
// which it is now.
func (r *Registry) report(ctx context.Context, err error, failing bool) bool {
	switch {
	case ctx.Err() != nil:
		return failing
	case err != nil && !failing:
		r.logger.WarnContext(ctx, "specialists cannot be read; serving those last seen", slog.Any("error", err))
	case err == nil && failing:
		r.logger.InfoContext(ctx, "specialists can be read again")
	}
	return err != nil
}

// newSnapshot merges the two sources. An id beats an alias, and a configured
// specialist beats a stored one. A stored row that cannot be used is left out
// and logged: it must not take the others down.
func newSnapshot(configured, stored []Specialist, logger *slog.Logger) *snapshot {
	snap := &snapshot{byName: make(map[string]*Specialist)}
	add := func(s *Specialist) {
		snap.byName[s.ID] = s
		snap.sorted = append(snap.sorted, s)
	}
	for i := range configured {
		add(&configured[i])
	}
	for i := range stored {
		s := &stored[i]
		if err := s.Validate(); err != nil {
			logger.Warn("stored specialist left out", slog.String("id", s.ID), slog.Any("error", err))
		} else if _, taken := snap.byName[s.ID]; !taken {
			add(s)
		}
	}
	for _, s := range snap.sorted { // still in order of precedence
		for _, name := range s.Aliases {
			if other, taken := snap.byName[name]; taken {
				logger.Warn("alias left out: the name is taken",
					slog.String("id", s.ID), slog.String("alias", name), slog.String("taken_by", other.ID))
				continue
			}
			snap.byName[name] = s
		}
	}
	slices.SortStableFunc(snap.sorted, compare)
	return snap
}

func compare(a, b *Specialist) int {
	if a.Pinned != b.Pinned {
		if a.Pinned {
			return -1
		}
		return 1
	}
	return cmp.Or(strings.Compare(strings.ToLower(a.Name), strings.ToLower(b.Name)), strings.Compare(a.ID, b.ID))
}
