package database

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"gorm.io/gorm"
)

// RunEvents is a row of the table pipeline_events: events of a run from one
// sequence number to another. Events is encrypted by whoever stores them.
type RunEvents struct {
	RunID    string
	FirstSeq int64
	LastSeq  int64
	Events   []byte
}

// RunStep is a row of the table pipeline_steps. Result is encrypted by whoever
// stores it.
type RunStep struct {
	RunID  string
	Step   string
	Result []byte
}

// RunEnd is how a run ended.
type RunEnd struct {
	ID           string
	Status       string
	ErrorCode    string
	ErrorMessage string
	Output       []byte
	RunTotals
	DurationMS   int64
	MetadataJSON string
	EndedAt      time.Time
	// Resum lets the totals be compared with the usage log from now on; else they
	// are if it was said before.
	Resum bool
}

// RunProgress is what became of an owner's runs since it was last stored.
type RunProgress struct {
	Owner string
	// Attempts of the runs that the rest is about, by id.
	Attempts map[string]int64
	Events   []RunEvents
	Steps    []RunStep
	Ends     []RunEnd
}

// StoreRuns stores what became of runs, all of it or nothing; doing it again, with
// more events at the end, does no harm. It gives the runs that are the owner's no
// more, of which nothing is stored.
func (db *DB) StoreRuns(ctx context.Context, p RunProgress) (lost []string, err error) {
	err = db.gorm.WithContext(ctx).Transaction(func(tx *gorm.DB) error {
		mine, ended, err := db.lockRuns(tx, p)
		if err != nil {
			return err
		}
		lost = nil
		for id := range p.Attempts {
			if !mine[id] && !ended[id] {
				lost = append(lost, id)
			}
		}
		if err := insertRunEvents(tx, slices.DeleteFunc(slices.Clone(p.Events), func(e RunEvents) bool { return !mine[e.RunID] })); err != nil {
			return err
		}
		if err := insertRunSteps(tx, slices.DeleteFunc(slices.Clone(p.Steps), func(s RunStep) bool { return !mine[s.RunID] })); err != nil {
			return err
		}
		for _, end := range p.Ends {
			if mine[end.ID] {
				if err := endRun(tx, end, p.Owner); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil && isBadData(err) {
		return nil, fmt.Errorf("store runs: %w: %w", ErrBadRecord, err)
	}
	if err != nil {
		return nil, fmt.Errorf("store runs: %w", err)
	}
	return lost, nil
}

// lockRuns says which of the runs are the owner's and running, and holds them so
// until the transaction ends; ended are those whose end the owner stored earlier,
// without hearing of it.
func (db *DB) lockRuns(tx *gorm.DB, p RunProgress) (mine, ended map[string]bool, err error) {
	ids := make([]string, 0, len(p.Attempts))
	for id := range p.Attempts {
		ids = append(ids, id)
	}
	var rows []struct {
		ID, Status string
		Attempt    int64
	}
	// In the order of ids, as all who lock several: so no two wait for each other.
	err = tx.Raw("SELECT id, status, attempt FROM pipeline_runs WHERE id IN ? AND lease_owner = ? ORDER BY id"+db.forChange(), ids, p.Owner).Scan(&rows).Error
	mine, ended = make(map[string]bool, len(rows)), map[string]bool{}
	for _, row := range rows {
		switch {
		case row.Attempt != p.Attempts[row.ID]:
		case row.Status == RunRunning:
			mine[row.ID] = true
		default:
			ended[row.ID] = true
		}
	}
	return mine, ended, err
}

// insertRunEvents replaces a row with the same beginning: it has fewer of the same
// events.
func insertRunEvents(tx *gorm.DB, events []RunEvents) error {
	values := make([]any, 0, 4*len(events))
	for _, e := range events {
		values = append(values, e.RunID, e.FirstSeq, e.LastSeq, e.Events)
	}
	return insertRows(tx, "pipeline_events (run_id, first_seq, last_seq, events)", 4, values,
		"(run_id, first_seq) DO UPDATE SET last_seq = excluded.last_seq, events = excluded.events")
}

func insertRunSteps(tx *gorm.DB, steps []RunStep) error {
	values := make([]any, 0, 3*len(steps))
	for _, s := range steps {
		values = append(values, s.RunID, s.Step, s.Result)
	}
	return insertRows(tx, "pipeline_steps (run_id, step, result)", 3, values, "(run_id, step) DO UPDATE SET result = excluded.result")
}

// maxRows keeps a statement below 65,535 parameters.
const maxRows = 10_000

func insertRows(tx *gorm.DB, into string, columns int, values []any, conflict string) error {
	row := "(?" + strings.Repeat(", ?", columns-1) + ")"
	for some := range slices.Chunk(values, maxRows*columns) {
		rows := row + strings.Repeat(", "+row, len(some)/columns-1)
		if err := tx.Exec("INSERT INTO "+into+" VALUES "+rows+" ON CONFLICT "+conflict, some...).Error; err != nil {
			return err
		}
	}
	return nil
}

func endRun(tx *gorm.DB, end RunEnd, owner string) error {
	changes := map[string]any{
		"status": end.Status, "error_code": end.ErrorCode, "error_message": end.ErrorMessage, "output": end.Output,
		"input_tokens": end.InputTokens, "output_tokens": end.OutputTokens, "total_tokens": end.TotalTokens,
		"total_cost_picodollars": end.TotalCostPicodollars, "duration_ms": end.DurationMS, "metadata_json": end.MetadataJSON,
		"ended_at": stored(end.EndedAt), "lease_owner": owner,
	}
	if end.Output == nil {
		changes["output"] = []byte{}
	}
	if end.Resum {
		changes["resum_at"] = stored(end.EndedAt)
	}
	return tx.Model(&PipelineRun{}).Where("id = ?", end.ID).Updates(changes).Error
}

// RunState is how far a run is.
type RunState struct {
	Status  string
	Attempt int64
}

// RunEventsAfter gives at most limit rows of a run's events, beginning with the one
// that has the event behind a sequence number; and how far the run was then.
// [ErrNotFound] when there is no such run.
func (db *DB) RunEventsAfter(ctx context.Context, id string, seq int64, limit int) (RunState, []RunEvents, error) {
	var rows []struct {
		RunState
		FirstSeq, LastSeq *int64
		Events            []byte
	}
	err := db.gorm.WithContext(ctx).Raw("SELECT r.status, r.attempt, e.first_seq, e.last_seq, e.events FROM pipeline_runs r"+
		" LEFT JOIN pipeline_events e ON e.run_id = r.id AND e.last_seq > ? WHERE r.id = ? ORDER BY e.first_seq LIMIT ?", seq, id, limit).Scan(&rows).Error
	if err != nil {
		return RunState{}, nil, fmt.Errorf("read events of a run: %w", err)
	}
	if len(rows) == 0 {
		return RunState{}, nil, fmt.Errorf("run: %w", ErrNotFound)
	}
	events := make([]RunEvents, 0, len(rows))
	for _, row := range rows {
		if row.FirstSeq != nil {
			events = append(events, RunEvents{RunID: id, FirstSeq: *row.FirstSeq, LastSeq: *row.LastSeq, Events: row.Events})
		}
	}
	return rows[0].RunState, events, nil
}

// RunSteps gives the results of a run's steps.
func (db *DB) RunSteps(ctx context.Context, id string) ([]RunStep, error) {
	var steps []RunStep
	err := db.gorm.WithContext(ctx).Table("pipeline_steps").Where("run_id = ?", id).Order("step").Find(&steps).Error
	if err != nil && !errors.Is(err, gorm.ErrRecordNotFound) {
		return nil, fmt.Errorf("read steps of a run: %w", err)
	}
	return steps, nil
}
