package catalog

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/financecommander/tollgate/internal/database"
	"github.com/financecommander/tollgate/internal/pipeline"
)

// stored is what was read of the database last.
type stored struct {
	revision string
	rows     map[string]*row
}

// row is a pipeline of the database. It has an entry or is broken.
type row struct {
	version   int64
	updatedAt time.Time
	entry     *Entry
	broken    *Broken
}

// refresh brings the rows up to date, and says whether any has changed. Only those
// that have are read; the others keep their plans.
func (s *stored) refresh(ctx context.Context, db *database.DB, logger *slog.Logger) (changed bool, err error) {
	// The revision is read before the rows: a change in between is seen as one more
	// change at the next look, never missed.
	revision, err := db.PipelinesRevision(ctx)
	if err != nil {
		return false, err
	}
	if revision == s.revision {
		return false, nil
	}
	list, err := db.ListPipelines(ctx)
	if err != nil {
		return false, err
	}
	rows := make(map[string]*row, len(list))
	var news []string
	for _, p := range list {
		was, known := s.rows[p.Name]
		if known && was.version == p.Version && was.updatedAt.Equal(p.UpdatedAt) {
			rows[p.Name] = was
		} else {
			news = append(news, p.Name)
		}
	}
	read, err := db.ReadPipelines(ctx, news)
	if err != nil {
		return false, err
	}
	for _, p := range read {
		rows[p.Name] = rowOf(&p)
		if broken := rows[p.Name].broken; broken != nil {
			logger.WarnContext(ctx, "stored pipeline left out", slog.String("pipeline", p.Name),
				slog.Int64("version", p.Version), slog.Any("error", broken.Faults))
		}
	}
	s.revision, s.rows = revision, rows
	return true, nil
}

func rowOf(p *database.Pipeline) *row {
	r := &row{version: p.Version, updatedAt: p.UpdatedAt}
	entry, err := entryOf(p)
	if err != nil {
		r.broken = &Broken{Name: p.Name, Definition: p.Definition, Version: p.Version, UpdatedAt: p.UpdatedAt, Faults: faultsOf(p.Name, err)}
		return r
	}
	r.entry = entry
	return r
}

func entryOf(p *database.Pipeline) (*Entry, error) {
	entry, err := parse(p.Name, []byte(p.Definition))
	if err != nil {
		return nil, err
	}
	if called := entry.Plan.Definition.Name; called != p.Name {
		return nil, fault(p.Name, "name", "this must be the name that the pipeline is kept under")
	}
	entry.Source, entry.Version, entry.UpdatedAt = FromDatabase, p.Version, p.UpdatedAt
	return entry, nil
}

// faultsOf is an error of [parse] as faults.
func faultsOf(name string, err error) *pipeline.Faults {
	if faults, ok := errors.AsType[*pipeline.Faults](err); ok {
		return faults
	}
	return fault(name, "", err.Error())
}
