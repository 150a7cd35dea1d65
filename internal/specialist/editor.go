package specialist

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"time"

	"github.com/financecommander/tollgate/internal/database"
	"github.com/financecommander/tollgate/internal/llm"
)

// writeTimeout bounds one change: others, on this replica and the next, wait for
// it.
const writeTimeout = 10 * time.Second

// demoProvider is the built-in provider of a gateway that has no other.
const demoProvider = "demo"

// EditorOptions say what an [Editor] works on.
type EditorOptions struct {
	Store *DatabaseStore
	// Registry is brought up to date before a change returns.
	Registry *Registry
	// Providers are the configured providers: name → scheme, host and port. A
	// specialist of another one is kept, with a warning, unless the demo provider
	// answers for all of them; nil: without.
	Providers map[string]string
	// Logger gets what does not fail a change; nil: silent.
	Logger *slog.Logger
}

// Editor changes stored specialists. It is safe for concurrent use, here and on
// other replicas. All its errors are *llm.Error.
type Editor struct {
	store     *DatabaseStore
	registry  *Registry
	providers map[string]string
	logger    *slog.Logger
}

// NewEditor returns an editor. It does no I/O.
func NewEditor(o EditorOptions) *Editor {
	return &Editor{
		store: o.Store, registry: o.Registry, providers: o.Providers,
		logger: cmp.Or(o.Logger, slog.New(slog.DiscardHandler)),
	}
}

// Edited is a specialist after a change.
type Edited struct {
	Specialist
	// Warnings say what will not work as it is.
	Warnings []string
}

// Create makes a specialist. Without an id it gets one like its name.
func (e *Editor) Create(ctx context.Context, by Actor, p *Patch) (*Edited, error) {
	return e.insert(ctx, by, actionCreate, func(_ *tx, used *taken) (Specialist, error) {
		if err := cmp.Or(p.complete(), p.meets(nil)); err != nil {
			return Specialist{}, err
		}
		s, err := p.apply(Specialist{})
		s.ID = cmp.Or(p.ID.Value, used.newID(s.Name))
		return s, err
	})
}

// Duplicate copies a specialist, also a configured one. The copy has a version
// and a history of its own, and neither aliases nor a pin.
func (e *Editor) Duplicate(ctx context.Context, by Actor, id string) (*Edited, error) {
	return e.insert(ctx, by, actionDuplicate, func(t *tx, used *taken) (Specialist, error) {
		original, err := e.original(t, id)
		if err != nil {
			return Specialist{}, err
		}
		s := *original
		s.Name = used.copyName(s.Name)
		s.ID = used.newID(s.Name)
		s.Aliases, s.PromptHistory, s.Pinned, s.ReadOnly = nil, nil, false, false
		return s, nil
	})
}

// Update changes what the patch says. A patch that changes nothing leaves the
// version as it is; one that names another version than the current is refused.
func (e *Editor) Update(ctx context.Context, by Actor, id string, p *Patch) (*Edited, error) {
	return e.edit(ctx, by, actionUpdate, id, func(s Specialist) (Specialist, error) {
		switch {
		case p.ID.given() && p.ID.Value != s.ID:
			return s, fault("id", "must stay %q", s.ID)
		case p.Version.given() && p.Version.Value != s.Version:
			return s, stale(&s)
		}
		if err := p.meets(&s); err != nil {
			return s, err
		}
		return p.apply(s)
	})
}

// Pin puts a specialist before the others in lists, or back among them.
func (e *Editor) Pin(ctx context.Context, by Actor, id string, pinned bool) (*Edited, error) {
	return e.edit(ctx, by, actionPin, id, func(s Specialist) (Specialist, error) {
		s.Pinned = pinned
		return s, nil
	})
}

// Revert makes the prompt of an earlier version the current one. That is a
// change like any other: it makes a new version.
func (e *Editor) Revert(ctx context.Context, by Actor, id string, version int) (*Edited, error) {
	return e.edit(ctx, by, actionRevert, id, func(s Specialist) (Specialist, error) {
		prompt, ok := s.promptOf(version)
		if !ok {
			return s, fault("version", "must be one whose prompt is in the history")
		}
		s.SystemPrompt = prompt
		return s, nil
	})
}

// Delete deletes a specialist.
func (e *Editor) Delete(ctx context.Context, by Actor, id string) error {
	return e.change(ctx, func(t *tx) error {
		if e.registry.isConfigured(id) {
			return readOnly(id)
		}
		was, err := t.get(id)
		if err != nil {
			return err
		}
		return t.apply(by, actionDelete, change{was: was})
	})
}

// insert adds what fill makes.
func (e *Editor) insert(ctx context.Context, by Actor, what action, fill func(*tx, *taken) (Specialist, error)) (*Edited, error) {
	var made Specialist
	err := e.change(ctx, func(t *tx) error {
		names, err := t.names("")
		if err != nil {
			return err
		}
		used := takenBy(names, e.registry.configured)
		if made, err = fill(t, used); err != nil {
			return err
		}
		made.Version, made.CreatedAt = 1, now()
		made.UpdatedAt = made.CreatedAt
		if err := made.Validate(); err != nil {
			return err
		}
		if err := used.check(&made, nil); err != nil {
			return err
		}
		if what != actionDuplicate { // whose address somebody has vouched for
			if err := e.checkBaseURL(made.BaseURL); err != nil {
				return err
			}
		}
		return t.apply(by, what, change{is: &made})
	})
	return e.edited(&made, err)
}

// edit replaces a stored specialist by what next makes of it.
func (e *Editor) edit(ctx context.Context, by Actor, what action, id string, next func(Specialist) (Specialist, error)) (*Edited, error) {
	var is Specialist
	err := e.change(ctx, func(t *tx) error {
		if e.registry.isConfigured(id) {
			return readOnly(id)
		}
		was, err := t.get(id)
		if err != nil {
			return err
		}
		if is, err = next(*was); err != nil || same(was, &is) {
			return err
		}
		others, err := t.names(id)
		if err != nil {
			return err
		}
		if err := e.check(&is, was, takenBy(others, e.registry.configured)); err != nil {
			return err
		}
		is.follow(was)
		return t.apply(by, what, change{was: was, is: &is})
	})
	return e.edited(&is, err)
}

// check says whether a changed specialist may be so.
func (e *Editor) check(s, was *Specialist, used *taken) error {
	if err := s.Validate(); err != nil {
		return err
	}
	if err := used.check(s, was); err != nil {
		return err
	}
	if was == nil || s.BaseURL != was.BaseURL {
		return e.checkBaseURL(s.BaseURL)
	}
	return nil
}

// follow makes s the version after was and keeps the prompt it replaces.
func (s *Specialist) follow(was *Specialist) {
	s.Version, s.CreatedAt, s.UpdatedAt = was.Version+1, was.CreatedAt, now()
	s.PromptHistory = was.PromptHistory
	if s.SystemPrompt == was.SystemPrompt {
		return
	}
	history := append(slices.Clone(was.PromptHistory), PromptVersion{
		Prompt: was.SystemPrompt, Version: was.Version, ChangedAt: s.UpdatedAt,
	})
	s.PromptHistory = history[max(0, len(history)-maxHistory):]
}

// promptOf finds the prompt of a version. An entry of the history says which
// version was the last to have its prompt; the first may have begun later than
// it seems when earlier ones were dropped.
func (s *Specialist) promptOf(version int) (string, bool) {
	if version < 1 || version > s.Version {
		return "", false
	}
	for i, h := range s.PromptHistory {
		if version > h.Version {
			continue
		}
		if i == 0 && version < h.Version && len(s.PromptHistory) >= maxHistory {
			return "", false
		}
		return h.Prompt, true
	}
	return s.SystemPrompt, true
}

// change runs a transaction and has it in force here before it returns.
func (e *Editor) change(ctx context.Context, write func(*tx) error) error {
	bounded, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	if err := e.store.change(bounded, write); err != nil {
		return problem(err)
	}
	// The change is done, even if the caller leaves now.
	if err := e.registry.Refresh(context.WithoutCancel(ctx)); err != nil {
		e.logger.WarnContext(ctx, "a change of specialists comes into force a little later", slog.Any("error", err))
	}
	return nil
}

// problem is what a caller may know of a change that failed.
func problem(err error) error {
	if known, ok := errors.AsType[*llm.Error](err); ok {
		return known
	}
	if errors.Is(err, database.ErrNotFound) {
		return &llm.Error{Cause: llm.CauseNotFound, Message: "there is no specialist of this id", Err: err}
	}
	if database.IsUnique(err) {
		return &llm.Error{
			Cause: llm.CauseInvalidRequest, HTTPStatus: http.StatusConflict, Err: err,
			Message: "the id or the name is taken by another specialist",
		}
	}
	return &llm.Error{
		Cause: llm.CauseUnavailable, RetryAfter: 5 * time.Second, Err: fmt.Errorf("change specialists: %w", err),
		Message: "specialists cannot be changed at the moment; try again shortly",
	}
}

// original finds what is to be copied, in the order of a registry.
func (e *Editor) original(t *tx, id string) (*Specialist, error) {
	if s, ok := e.registry.Get(id); ok && s.ID == id && s.ReadOnly {
		return s, nil
	}
	return t.get(id)
}

func (e *Editor) edited(s *Specialist, err error) (*Edited, error) {
	if err != nil {
		return nil, err
	}
	return &Edited{Specialist: *s, Warnings: e.warnings(s)}, nil
}

// warnings names the providers that calls of s would ask in vain.
func (e *Editor) warnings(s *Specialist) []string {
	if _, demo := e.providers[demoProvider]; demo || e.providers == nil {
		return nil
	}
	var warnings []string
	for target := range s.Targets() {
		text := fmt.Sprintf("the provider %q is not configured on this gateway", target.Provider)
		if _, known := e.providers[target.Provider]; !known && !slices.Contains(warnings, text) {
			warnings = append(warnings, text)
		}
	}
	return warnings
}

func readOnly(id string) error {
	return &llm.Error{
		Cause: llm.CauseInvalidRequest, HTTPStatus: http.StatusConflict,
		Message: fmt.Sprintf("the specialist %q is defined in the gateway's configuration and can only be changed there; "+
			"duplicate it to get one that can be edited", id),
	}
}

func stale(s *Specialist) error {
	return &llm.Error{
		Cause: llm.CauseInvalidRequest, HTTPStatus: http.StatusConflict,
		Message: fmt.Sprintf("somebody else has changed this specialist, which is at version %d now; reload it and try again", s.Version),
		Details: map[string]any{"version": s.Version},
	}
}

// now is the time as the database keeps it.
func now() time.Time { return time.Now().UTC().Truncate(time.Microsecond) }
