package database

import (
	"context"
	"errors"
	"fmt"

	"gorm.io/gorm"
)

// errNothingWritten rolls a transaction back that has nothing to commit.
var errNothingWritten = errors.New("nothing written")

// inTurn runs a transaction that writes a table which has a revision. Such
// transactions run one after the other, also those of other replicas. write says
// whether it wrote anything; its error is returned as it is.
func (db *DB) inTurn(ctx context.Context, table string, write func(tx *gorm.DB) (wrote bool, err error)) error {
	err := db.gorm.WithContext(ctx).Transaction(func(tx *gorm.DB) error {
		if err := raiseRevision(tx, table); err != nil {
			return err
		}
		wrote, err := write(tx)
		if err == nil && !wrote {
			return errNothingWritten
		}
		return err
	})
	if errors.Is(err, errNothingWritten) {
		return nil
	}
	return err
}

// raiseRevision comes first in every transaction that writes a table which has a
// revision. It makes them wait for one another, so that what one of them reads is
// still so when it writes.
func raiseRevision(tx *gorm.DB, table string) error {
	revision := table + "_revision"
	err := tx.Exec("INSERT INTO " + revision + " (id, revision) VALUES (1, 1) " +
		"ON CONFLICT (id) DO UPDATE SET revision = " + revision + ".revision + 1").Error
	if err != nil {
		return fmt.Errorf("raise the revision of %s: %w", table, err)
	}
	return nil
}
