package catalog

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/financecommander/tollgate/internal/database"
)

// maxStored bounds the pipelines of the database.
const maxStored = 500

// action is what the audit log calls a change.
type action string

const (
	actionCreate action = "pipeline.create"
	actionUpdate action = "pipeline.update"
	actionDelete action = "pipeline.delete"
	actionRevert action = "pipeline.revert"
)

// tx is a change of one pipeline that is made as a whole or not at all.
type tx struct{ *database.PipelinesTx }

// find gives a pipeline; nil: there is none of that name.
func (t *tx) find(name string) (*database.Pipeline, error) {
	p, err := t.Get(name)
	if errors.Is(err, database.ErrNotFound) {
		return nil, nil //nolint:nilnil // none is an answer, not a fault
	}
	return p, err
}

// earlier makes an entry of a version that is kept; nil: there is none.
func (t *tx) earlier(name string, version int64) (*Entry, error) {
	v, err := t.Version(name, version)
	if errors.Is(err, database.ErrNotFound) || err == nil && v.Definition == "" {
		return nil, nil //nolint:nilnil // none is an answer, not a fault
	}
	if err != nil {
		return nil, err
	}
	return entryOf(&database.Pipeline{Name: name, Definition: v.Definition})
}

// put writes a pipeline, in the place of one that was there if was is not nil, and
// says in the entry which version it became.
func (t *tx) put(by Change, what action, was *database.Pipeline, made *Entry) error {
	made.Source = FromDatabase
	is := database.Pipeline{Name: made.Plan.Definition.Name, Definition: string(made.Definition), UpdatedAt: now()}
	is.CreatedAt = is.UpdatedAt
	if was != nil {
		if was.Definition == is.Definition {
			made.Version, made.UpdatedAt = was.Version, was.UpdatedAt
			return nil
		}
		is.CreatedAt = was.CreatedAt
	} else if count, err := t.Count(); err != nil || count >= maxStored {
		return cmp.Or(err, conflict("there are %d pipelines in the database, which is the most there may be", count))
	}
	version, err := t.next(is.Name, was)
	if err != nil {
		return err
	}
	is.Version, made.Version, made.UpdatedAt = version, version, is.UpdatedAt
	return t.apply(by, what, was, &is, database.PipelineVersion{
		Name: is.Name, Version: version, Definition: is.Definition, CreatedAt: is.UpdatedAt,
	})
}

// remove deletes a pipeline. That is a version too, so that one of the same name
// goes on counting.
func (t *tx) remove(by Change, was *database.Pipeline) error {
	version, err := t.next(was.Name, was)
	if err != nil {
		return err
	}
	return t.apply(by, actionDelete, was, nil, database.PipelineVersion{Name: was.Name, Version: version, CreatedAt: now()})
}

// next is the version that comes after all that there ever were.
func (t *tx) next(name string, was *database.Pipeline) (int64, error) {
	latest, err := t.Latest(name)
	if was != nil {
		latest = max(latest, was.Version) // which somebody may have written by hand
	}
	return latest + 1, err
}

func (t *tx) apply(by Change, what action, was, is *database.Pipeline, kept database.PipelineVersion) error {
	audit := database.AuditEntry{RequestID: by.RequestID, Action: string(what), Object: kept.Name}
	if by.Actor != nil {
		audit.ActorHash = by.Actor.UserHash
	}
	kept.ActorHash = audit.ActorHash
	audit.Before, audit.After = auditText(was), auditText(is)
	return t.Apply(database.PipelineChange{Was: was, Is: is, Version: kept, Audit: audit})
}

// auditText tells which definition it was by its hash: it has prompts in it, and
// is kept among the versions.
func auditText(p *database.Pipeline) string {
	if p == nil {
		return ""
	}
	sum := sha256.Sum256([]byte(p.Definition))
	text, err := json.Marshal(struct {
		Name    string `json:"name"`
		Version int64  `json:"version"`
		SHA256  string `json:"sha256"`
	}{p.Name, p.Version, hex.EncodeToString(sum[:])})
	if err != nil { // texts and numbers can always be encoded
		panic(fmt.Sprintf("encode audit entry: %v", err))
	}
	return string(text)
}

// now is the time as the database keeps it.
func now() time.Time { return time.Now().UTC().Truncate(time.Microsecond) }
