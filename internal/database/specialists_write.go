package database

import (
	"context"
	"fmt"

	"gorm.io/gorm"
)

// SpecialistChange is what happened to one specialist.
type SpecialistChange struct {
	Was   *Specialist // as it was read in the same transaction; nil: it is new
	Is    *Specialist // nil: it is gone
	Audit AuditEntry
}

// SpecialistsTx reads and writes specialists in one transaction.
type SpecialistsTx struct {
	tx    *gorm.DB
	wrote bool
}

// ChangeSpecialists runs change in a transaction: all that it applies happens,
// together with its audit entries, or none of it. Such transactions run one after
// the other, also those of other replicas. The error of change is returned as it
// is.
func (db *DB) ChangeSpecialists(ctx context.Context, change func(*SpecialistsTx) error) error {
	return db.inTurn(ctx, "specialists", func(tx *gorm.DB) (bool, error) {
		t := &SpecialistsTx{tx: tx}
		err := change(t)
		return t.wrote, err
	})
}

// All gives all specialists by id.
func (t *SpecialistsTx) All() ([]Specialist, error) {
	var all []Specialist
	if err := t.tx.Order("id").Find(&all).Error; err != nil {
		return nil, fmt.Errorf("list specialists: %w", err)
	}
	return all, nil
}

// Names gives what all specialists are called: their ids, names and aliases, by
// id. The other columns, which may be long, are left empty.
func (t *SpecialistsTx) Names() ([]Specialist, error) {
	var names []Specialist
	if err := t.tx.Select("id", "name", "aliases").Order("id").Find(&names).Error; err != nil {
		return nil, fmt.Errorf("list names of specialists: %w", err)
	}
	return names, nil
}

// Get gives one specialist; [ErrNotFound] when there is none of that id.
func (t *SpecialistsTx) Get(id string) (*Specialist, error) { return takeSpecialist(t.tx, id) }

// Apply writes changes and their audit entries. All old rows go before new ones
// come, so that specialists may exchange their names.
func (t *SpecialistsTx) Apply(changes ...SpecialistChange) error {
	for _, c := range changes {
		t.wrote = true
		if c.Was == nil {
			continue
		}
		result := t.tx.Where("id = ? AND version = ?", c.Was.ID, c.Was.Version).Delete(&Specialist{})
		if result.Error == nil && result.RowsAffected != 1 {
			result.Error = ErrNotFound // changed by hand in between
		}
		if result.Error != nil {
			return fmt.Errorf("replace specialist %q: %w", c.Was.ID, result.Error)
		}
	}
	for _, c := range changes {
		if c.Is != nil {
			row := *c.Is
			row.CreatedAt, row.UpdatedAt = stored(row.CreatedAt), stored(row.UpdatedAt)
			if err := t.tx.Create(&row).Error; err != nil {
				return fmt.Errorf("write specialist %q: %w", row.ID, err)
			}
		}
		if err := insertAudit(t.tx, c.Audit); err != nil {
			return err
		}
	}
	return nil
}
