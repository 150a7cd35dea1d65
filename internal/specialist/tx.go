package specialist

import (
	"context"
	"fmt"

	"github.com/financecommander/tollgate/internal/database"
)

// tx is a change of specialists that is made as a whole or not at all.
type tx struct{ rows *database.SpecialistsTx }

// change of one specialist: was is nil when it is new, is when it is gone.
type change struct{ was, is *Specialist }

func (s *DatabaseStore) change(ctx context.Context, write func(*tx) error) error {
	return s.db.ChangeSpecialists(ctx, func(rows *database.SpecialistsTx) error { return write(&tx{rows}) })
}

func (t *tx) get(id string) (*Specialist, error) {
	row, err := t.rows.Get(id)
	if err != nil {
		return nil, err
	}
	s, err := fromRow(row)
	return &s, err
}

func (t *tx) all() ([]Specialist, error) {
	rows, err := t.rows.All()
	if err != nil {
		return nil, err
	}
	return fromRows(rows)
}

// names gives the ids, names and aliases of all but one.
func (t *tx) names(except string) ([]Specialist, error) {
	rows, err := t.rows.Names()
	if err != nil {
		return nil, err
	}
	var names []Specialist
	for i := range rows {
		if rows[i].ID == except {
			continue
		}
		s := Specialist{ID: rows[i].ID, Name: rows[i].Name}
		if err := decodeColumn("aliases", rows[i].Aliases, &s.Aliases); err != nil {
			return nil, fmt.Errorf("specialist %q: %w", s.ID, err)
		}
		names = append(names, s)
	}
	return names, nil
}

// apply writes changes and what the audit log says of them.
func (t *tx) apply(by Actor, what action, changes ...change) error {
	rows := make([]database.SpecialistChange, len(changes))
	for i, c := range changes {
		var err error
		if rows[i], err = c.row(by, what); err != nil {
			return err
		}
	}
	return t.rows.Apply(rows...)
}

func (c *change) row(by Actor, what action) (row database.SpecialistChange, err error) {
	if row.Audit, err = auditEntry(by, what, c.was, c.is); err != nil {
		return row, err
	}
	if c.was != nil {
		was, err := toRow(c.was)
		if err != nil {
			return row, err
		}
		row.Was = &was
	}
	if c.is != nil {
		is, err := toRow(c.is)
		if err != nil {
			return row, err
		}
		row.Is = &is
	}
	return row, nil
}
