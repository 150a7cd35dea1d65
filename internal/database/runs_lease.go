package database

import (
	"context"
	"errors"
	"fmt"
	"time"

	"gorm.io/gorm"
)

// HeldRun is a run that its owner still has.
type HeldRun struct {
	ID              string
	CancelRequested bool
}

// RenewRuns makes the leases of an owner's runs last so long from now, and gives
// those of the ids that are the owner's and running. A lease that is over is
// renewed as well, as long as nobody took the run.
func (db *DB) RenewRuns(ctx context.Context, owner string, ids []string, lease time.Duration) ([]HeldRun, error) {
	var held []HeldRun
	err := db.gorm.WithContext(ctx).Raw("UPDATE pipeline_runs SET lease_until = ? WHERE id IN"+
		" (SELECT id FROM pipeline_runs WHERE id IN ? AND lease_owner = ? AND status = ? ORDER BY id"+db.forChange()+")"+
		" RETURNING id, cancel_requested", db.fromNow(lease), ids, owner, RunRunning).Scan(&held).Error
	if err != nil {
		return nil, fmt.Errorf("renew leases of runs: %w", err)
	}
	return held, nil
}

// RequestRunCancel asks the owner of a run to cancel it, if it is running.
func (db *DB) RequestRunCancel(ctx context.Context, id string) error {
	err := db.gorm.WithContext(ctx).Exec("UPDATE pipeline_runs SET cancel_requested = ? WHERE id = ? AND status = ?", true, id, RunRunning).Error
	if err != nil {
		return fmt.Errorf("ask to cancel a run: %w", err)
	}
	return nil
}

// RunsToCancel gives those of an owner's running runs that shall be canceled.
func (db *DB) RunsToCancel(ctx context.Context, owner string) ([]string, error) {
	var ids []string
	err := db.gorm.WithContext(ctx).Model(&PipelineRun{}).
		Where("status = 'running' AND lease_owner = ? AND cancel_requested", owner).Pluck("id", &ids).Error
	if err != nil {
		return nil, fmt.Errorf("look for runs to cancel: %w", err)
	}
	return ids, nil
}

// RunsWithoutLease gives at most limit running runs whose lease is over.
func (db *DB) RunsWithoutLease(ctx context.Context, limit int) ([]string, error) {
	var ids []string
	err := db.gorm.WithContext(ctx).Model(&PipelineRun{}).
		Where("status = 'running' AND lease_until < ?", db.fromNow(0)).Order("lease_until").Limit(limit).Pluck("id", &ids).Error
	if err != nil {
		return nil, fmt.Errorf("look for runs without a lease: %w", err)
	}
	return ids, nil
}

// LostRun is a run whose owner died, in the hands of who marks it so.
type LostRun struct {
	PipelineRun

	LastSeq int64 // of its stored events
	Usage   []RunUsage
}

// LoseRun ends a run whose lease is over. end gives what to store; it is called
// with the run locked. lost is false when the run has a lease, or has ended.
func (db *DB) LoseRun(ctx context.Context, id string, end func(*LostRun) (RunEnd, RunEvents)) (lost bool, err error) {
	err = db.gorm.WithContext(ctx).Transaction(func(tx *gorm.DB) error {
		var run LostRun
		err := tx.Raw("SELECT * FROM pipeline_runs WHERE id = ? AND status = 'running' AND lease_until < ?"+db.forChange(),
			id, db.fromNow(0)).Take(&run.PipelineRun).Error
		if errors.Is(err, gorm.ErrRecordNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		run.normalize()
		if err := tx.Raw("SELECT coalesce(max(last_seq), 0) FROM pipeline_events WHERE run_id = ?", id).Scan(&run.LastSeq).Error; err != nil {
			return err
		}
		if run.Usage, err = db.sumRun(tx, id, run.CreatedAt); err != nil {
			return err
		}
		result, last := end(&run)
		if err := insertRunEvents(tx, []RunEvents{last}); err != nil {
			return err
		}
		lost = true
		return endRun(tx, result, "")
	})
	if err != nil {
		return false, fmt.Errorf("mark a run as lost: %w", err)
	}
	return lost, nil
}

// ResumRuns takes at most limit ended runs whose totals are due to be compared with
// the usage log, and puts the next comparison off: by a quarter of the time since
// their end, at least by a while. After a day there is none any more. The runs come
// without plan, query and output.
func (db *DB) ResumRuns(ctx context.Context, limit int, atLeast time.Duration) ([]LostRun, error) {
	var taken []LostRun
	err := db.gorm.WithContext(ctx).Transaction(func(tx *gorm.DB) error {
		lock := ""
		if db.dialect == Postgres {
			lock = " FOR UPDATE SKIP LOCKED"
		}
		var runs []PipelineRun
		now := stored(time.Now())
		err := tx.Raw("SELECT "+listedRun+" FROM pipeline_runs WHERE resum_at <= ? AND status <> 'running' ORDER BY resum_at LIMIT ?"+lock,
			now, limit).Scan(&runs).Error
		if err != nil {
			return err
		}
		for i := range runs {
			r := &runs[i]
			r.normalize()
			var next *time.Time
			if age := now.Sub(*r.EndedAt); age < resumFor {
				next = new(now.Add(max(atLeast, age/4)))
			}
			if err := tx.Exec("UPDATE pipeline_runs SET resum_at = ? WHERE id = ?", next, r.ID).Error; err != nil {
				return err
			}
			usage, err := db.sumRun(tx, r.ID, r.CreatedAt)
			if err != nil {
				return err
			}
			taken = append(taken, LostRun{PipelineRun: *r, Usage: usage})
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("compare runs with the usage log: %w", err)
	}
	return taken, nil
}

// resumFor is how long rows of a run may come late: the replica that died must
// start again, or its spool be carried elsewhere.
const resumFor = 24 * time.Hour

// SetRunTotals corrects the totals of a run that has ended, if it has not begun a
// further attempt.
func (db *DB) SetRunTotals(ctx context.Context, id string, attempt int64, totals RunTotals, metadata string) error {
	err := db.gorm.WithContext(ctx).Exec("UPDATE pipeline_runs SET input_tokens = ?, output_tokens = ?, total_tokens = ?,"+
		" total_cost_picodollars = ?, metadata_json = ? WHERE id = ? AND attempt = ? AND status <> 'running'",
		totals.InputTokens, totals.OutputTokens, totals.TotalTokens, totals.TotalCostPicodollars, metadata, id, attempt).Error
	if err != nil {
		return fmt.Errorf("correct the totals of a run: %w", err)
	}
	return nil
}
