package catalog

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/financecommander/tollgate/internal/database"
	"github.com/financecommander/tollgate/internal/identity"
	"github.com/financecommander/tollgate/internal/llm"
	"github.com/financecommander/tollgate/internal/pipeline"
)

// writeTimeout bounds one change: others, on this replica and the next, wait for
// it.
const writeTimeout = 10 * time.Second

// Change is who changes something, and what for the audit log.
type Change struct {
	Actor     *identity.Principal // nil: the operator at the command line
	RequestID string
}

// Version is a pipeline as it was.
type Version struct {
	Version    int64           `json:"version"`
	Definition json.RawMessage `json:"definition"` // null: it was deleted
	ActorHash  string          `json:"actor_hash"`
	CreatedAt  time.Time       `json:"created_at"`
}

// Create keeps a new pipeline in the database. Errors of all changes are
// *llm.Error, or *pipeline.Faults for a definition that is no good.
func (c *Catalog) Create(ctx context.Context, by Change, definition []byte) (*Entry, error) {
	made, err := parse("definition", definition)
	if err != nil {
		return nil, err
	}
	name := made.Plan.Definition.Name
	err = c.change(ctx, name, func(t *tx) error {
		was, err := t.find(name)
		switch {
		case err != nil:
			return err
		case was != nil:
			return conflict("there is a pipeline of the name %q already", name)
		}
		return t.put(by, actionCreate, nil, made)
	})
	return c.inForce(made, err)
}

// Update replaces a pipeline; version is the one that was read, 0: any. A
// definition that says what is there already changes nothing, not even the version.
func (c *Catalog) Update(ctx context.Context, by Change, name string, version int64, definition []byte) (*Entry, error) {
	made, err := parse("definition", definition)
	if err != nil {
		return nil, err
	}
	if made.Plan.Definition.Name != name {
		return nil, unprocessable("name", fmt.Sprintf("must stay %q", name))
	}
	err = c.change(ctx, name, func(t *tx) error {
		was, err := t.find(name)
		switch {
		case err != nil:
			return err
		case was == nil:
			return c.absent(name)
		case version != 0 && version != was.Version:
			return stale(was)
		}
		return t.put(by, actionUpdate, was, made)
	})
	return c.inForce(made, err)
}

// Delete removes a pipeline. Its runs go on. An example of its name comes back.
func (c *Catalog) Delete(ctx context.Context, by Change, name string) error {
	return c.change(ctx, name, func(t *tx) error {
		was, err := t.find(name)
		switch {
		case err != nil:
			return err
		case was == nil:
			return c.absent(name)
		}
		return t.remove(by, was)
	})
}

// Revert makes an earlier version the current one: a change like any other. It
// brings back a pipeline that was deleted, too.
func (c *Catalog) Revert(ctx context.Context, by Change, name string, version int64) (*Entry, error) {
	var made *Entry
	err := c.change(ctx, name, func(t *tx) error {
		was, err := t.find(name)
		if err != nil {
			return err
		}
		if made, err = t.earlier(name, version); err != nil {
			return err
		}
		if made == nil && was == nil {
			if latest, err := t.Latest(name); err != nil || latest == 0 {
				return errors.Join(err, c.absent(name))
			}
		}
		if made == nil {
			return unprocessable("version", "must be one that is kept, and not a deletion")
		}
		return t.put(by, actionRevert, was, made)
	})
	return c.inForce(made, err)
}

// Versions gives the kept versions of a pipeline of the database, newest first,
// also of one that was deleted.
func (c *Catalog) Versions(ctx context.Context, name string) ([]Version, error) {
	if c.o.DB == nil {
		return nil, turnedOff()
	}
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	rows, err := c.o.DB.PipelineVersions(ctx, name)
	if err != nil {
		return nil, unavailable(err)
	}
	if len(rows) == 0 {
		return nil, missing()
	}
	versions := make([]Version, len(rows))
	for i, row := range rows {
		versions[i] = Version{Version: row.Version, ActorHash: row.ActorHash, CreatedAt: row.CreatedAt}
		if json.Valid([]byte(row.Definition)) { // a hand may have written it
			versions[i].Definition = json.RawMessage(row.Definition)
		}
	}
	return versions, nil
}

// change runs a transaction about one pipeline and has it in force here before it
// returns.
func (c *Catalog) change(ctx context.Context, name string, write func(*tx) error) error {
	if c.o.DB == nil {
		return turnedOff()
	}
	if e, ok := c.Get(name); ok && e.Source == FromFile {
		return conflict("the pipeline %q is defined in a file; read-only", name)
	}
	bounded, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	err := c.o.DB.ChangePipelines(bounded, func(rows *database.PipelinesTx) error { return write(&tx{rows}) })
	if err != nil {
		return problem(err)
	}
	// The change is done, even if the caller leaves now.
	if err := c.refreshStored(context.WithoutCancel(ctx)); err != nil {
		c.o.Logger.WarnContext(ctx, "a change of pipelines comes into force a little later", slog.Any("error", err))
	}
	return nil
}

// inForce is what a change has made, as all others get it.
func (c *Catalog) inForce(made *Entry, err error) (*Entry, error) {
	if err != nil {
		return nil, err
	}
	if e, ok := c.Get(made.Plan.Definition.Name); ok && e.Source == FromDatabase && e.Version == made.Version {
		return e, nil
	}
	return made, nil
}

// absent says why a pipeline that is not in the database cannot be changed.
func (c *Catalog) absent(name string) error {
	if e, ok := c.Get(name); ok && e.Source == FromExample {
		return conflict("the pipeline %q is a shipped example; read-only: create one of this name to have your own in its place", name)
	}
	return missing()
}

// problem is what a caller may know of a change that failed.
func problem(err error) error {
	if faults, ok := errors.AsType[*pipeline.Faults](err); ok {
		return faults
	}
	if known, ok := errors.AsType[*llm.Error](err); ok {
		return known
	}
	return unavailable(err)
}

func unavailable(err error) error {
	return &llm.Error{
		Cause: llm.CauseUnavailable, RetryAfter: 5 * time.Second, Err: fmt.Errorf("kept pipelines: %w", err),
		Message: "the pipelines of the database are out of reach at the moment; try again shortly",
	}
}

func missing() error {
	return &llm.Error{Cause: llm.CauseNotFound, Message: "there is no pipeline of this name in the database"}
}

func turnedOff() error {
	return &llm.Error{Cause: llm.CauseNotFound, Message: "keeping pipelines in the database is turned off on this gateway"}
}

func conflict(format string, args ...any) error {
	return &llm.Error{Cause: llm.CauseInvalidRequest, HTTPStatus: http.StatusConflict, Message: fmt.Sprintf(format, args...)}
}

func stale(p *database.Pipeline) error {
	return &llm.Error{
		Cause: llm.CauseInvalidRequest, HTTPStatus: http.StatusConflict,
		Message: fmt.Sprintf("somebody else has changed this pipeline, which is at version %d now; reload it and try again", p.Version),
		Details: map[string]any{"version": p.Version},
	}
}

func unprocessable(field, wrong string) error {
	return &llm.Error{
		Cause: llm.CauseInvalidRequest, HTTPStatus: http.StatusUnprocessableEntity, Param: field, Message: field + " " + wrong,
	}
}
