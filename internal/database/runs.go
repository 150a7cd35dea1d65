package database

import (
	"context"
	"errors"
	"fmt"
	"time"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"
)

// The statuses of a [PipelineRun].
const (
	RunRunning   = "running"
	RunCompleted = "completed"
	RunFailed    = "failed"
)

// PipelineRun is a row of the table pipeline_runs. Plan, Query and Output are
// encrypted by whoever stores them.
type PipelineRun struct {
	ID            string `gorm:"primaryKey"`
	UserHash      string
	UserEmailHash string
	PipelineName  string
	Plan          []byte
	Query         []byte
	Status        string
	ErrorCode     string
	ErrorMessage  string
	Output        []byte
	RunTotals
	DurationMS      int64
	MetadataJSON    string
	Attempt         int64
	IdempotencyKey  []byte
	RequestDigest   []byte
	LeaseOwner      string
	LeaseUntil      time.Time // by the database's clock
	CancelRequested bool
	ResumAt         *time.Time
	CreatedAt       time.Time `gorm:"autoCreateTime:false"`
	StartedAt       time.Time
	EndedAt         *time.Time
}

// RunTotals are what a run used.
type RunTotals struct {
	InputTokens          int64
	OutputTokens         int64
	TotalTokens          int64
	TotalCostPicodollars int64
}

// InsertRun keeps a run that begins, with a lease of so long. An idempotency key
// that its user has used is an error which [IsUnique] knows.
func (db *DB) InsertRun(ctx context.Context, r PipelineRun, lease time.Duration) error {
	err := db.gorm.WithContext(ctx).Model(&PipelineRun{}).Create(map[string]any{
		"id": r.ID, "user_hash": r.UserHash, "user_email_hash": r.UserEmailHash, "pipeline_name": r.PipelineName,
		"plan": r.Plan, "query": r.Query, "status": RunRunning, "error_code": "", "error_message": "", "output": []byte{},
		"input_tokens": 0, "output_tokens": 0, "total_tokens": 0, "total_cost_picodollars": 0, "duration_ms": 0,
		"metadata_json": r.MetadataJSON, "attempt": 1, "idempotency_key": r.IdempotencyKey, "request_digest": r.RequestDigest,
		"lease_owner": r.LeaseOwner, "lease_until": db.fromNow(lease), "cancel_requested": false,
		"created_at": stored(r.CreatedAt), "started_at": stored(r.CreatedAt),
	}).Error
	if err != nil {
		return fmt.Errorf("insert run: %w", err)
	}
	return nil
}

// fromNow is a time by the database's clock, which all replicas share. SQLite's is
// this machine's.
func (db *DB) fromNow(d time.Duration) clause.Expr {
	if db.dialect == Postgres {
		return gorm.Expr("clock_timestamp() + make_interval(secs => ?)", d.Seconds())
	}
	return gorm.Expr("?", stored(time.Now().Add(d)))
}

// Run gives a run without its plan; [ErrNotFound] when there is none of that id.
func (db *DB) Run(ctx context.Context, id string) (*PipelineRun, error) {
	return db.takeRun(ctx, "id = ?", id)
}

// RunOfKey gives the run that a user began with an idempotency key, without its
// plan; [ErrNotFound] when there is none.
func (db *DB) RunOfKey(ctx context.Context, user string, key []byte) (*PipelineRun, error) {
	return db.takeRun(ctx, "user_hash = ? AND idempotency_key = ?", user, key)
}

func (db *DB) takeRun(ctx context.Context, where string, args ...any) (*PipelineRun, error) {
	var r PipelineRun
	err := db.gorm.WithContext(ctx).Omit("plan").Where(where, args...).Take(&r).Error
	if errors.Is(err, gorm.ErrRecordNotFound) {
		return nil, fmt.Errorf("run: %w", ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("read run: %w", err)
	}
	r.normalize()
	return &r, nil
}

// RunPlan gives the plan of a run; [ErrNotFound] when there is none of that id.
func (db *DB) RunPlan(ctx context.Context, id string) ([]byte, error) {
	var r PipelineRun
	err := db.gorm.WithContext(ctx).Select("plan").Where("id = ?", id).Take(&r).Error
	if errors.Is(err, gorm.ErrRecordNotFound) {
		return nil, fmt.Errorf("run: %w", ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("read plan of a run: %w", err)
	}
	return r.Plan, nil
}

// RunFilter selects runs; empty fields select all.
type RunFilter struct {
	UserHash string
	Pipeline string
	Status   string
	From, To time.Time // From included, To not
	// FromID is at most the id of any run that was made at From or later: an id
	// begins with the time.
	FromID string
	Before string // selects ids below it
	Limit  int
}

// listedRun are the columns that lists show: without the large ones.
const listedRun = "id, user_hash, user_email_hash, pipeline_name, query, status, error_code, error_message, input_tokens, output_tokens, " +
	"total_tokens, total_cost_picodollars, duration_ms, metadata_json, attempt, created_at, started_at, ended_at"

// ListRuns gives the selected runs, newest first, without their plans and outputs.
func (db *DB) ListRuns(ctx context.Context, filter RunFilter) ([]PipelineRun, error) {
	query := db.gorm.WithContext(ctx).Select(listedRun)
	for _, equal := range []struct{ column, value string }{
		{"user_hash = ?", filter.UserHash},
		{"pipeline_name = ?", filter.Pipeline},
		{"status = ?", filter.Status},
		{"id >= ?", filter.FromID},
		{"id < ?", filter.Before},
	} {
		if equal.value != "" {
			query = query.Where(equal.column, equal.value)
		}
	}
	if !filter.From.IsZero() {
		query = query.Where("created_at >= ?", stored(filter.From))
	}
	if !filter.To.IsZero() {
		query = query.Where("created_at < ?", stored(filter.To))
	}
	var runs []PipelineRun
	if err := query.Order("id DESC").Limit(filter.Limit).Find(&runs).Error; err != nil {
		return nil, fmt.Errorf("list runs: %w", err)
	}
	for i := range runs {
		runs[i].normalize()
	}
	return runs, nil
}

// ResumeRun makes a failed run one that is running for its next attempt, by a new
// owner with a lease, and forgets its events. It says false when the run's attempt
// is another one by now, or has not failed.
func (db *DB) ResumeRun(ctx context.Context, id string, attempt int64, owner string, lease time.Duration) (resumed bool, err error) {
	err = db.gorm.WithContext(ctx).Transaction(func(tx *gorm.DB) error {
		now := stored(time.Now())
		result := tx.Exec("UPDATE pipeline_runs SET status = ?, attempt = attempt + 1, lease_owner = ?, lease_until = ?, cancel_requested = ?,"+
			" error_code = '', error_message = '', output = ?, ended_at = NULL, started_at = ?, resum_at = ?"+
			" WHERE id = ? AND status = ? AND attempt = ?",
			RunRunning, owner, db.fromNow(lease), false, []byte{}, now, now, id, RunFailed, attempt)
		if result.Error != nil || result.RowsAffected == 0 {
			return result.Error
		}
		resumed = true
		return tx.Exec("DELETE FROM pipeline_events WHERE run_id = ?", id).Error
	})
	if err != nil {
		return false, fmt.Errorf("resume run: %w", err)
	}
	return resumed, nil
}

// DeleteOldRuns deletes at most limit of the runs that ended before a time, and
// says how many. Replicas that do so at once take different ones.
func (db *DB) DeleteOldRuns(ctx context.Context, before time.Time, limit int) (deleted int64, err error) {
	lock := ""
	if db.dialect == Postgres {
		lock = " FOR UPDATE SKIP LOCKED"
	}
	result := db.gorm.WithContext(ctx).Exec("DELETE FROM pipeline_runs WHERE id IN "+
		"(SELECT id FROM pipeline_runs WHERE ended_at < ? ORDER BY ended_at LIMIT ?"+lock+")", stored(before), limit)
	if result.Error != nil {
		return 0, fmt.Errorf("delete old runs: %w", result.Error)
	}
	return result.RowsAffected, nil
}

// deleteRunsOf deletes a user's runs. Their rows are locked in the order in which
// those who run them lock theirs.
func (db *DB) deleteRunsOf(tx *gorm.DB, user string) error {
	return tx.Exec("DELETE FROM pipeline_runs WHERE id IN (SELECT id FROM pipeline_runs WHERE user_hash = ? ORDER BY id"+db.forChange()+")", user).Error
}

// forChange locks what a SELECT finds until the transaction ends. SQLite's
// transactions have the whole database.
func (db *DB) forChange() string {
	if db.dialect == Postgres {
		return " FOR UPDATE"
	}
	return ""
}

// normalize brings what a run holds into the form that both databases keep.
func (r *PipelineRun) normalize() {
	r.LeaseUntil, r.CreatedAt, r.StartedAt = r.LeaseUntil.UTC(), r.CreatedAt.UTC(), r.StartedAt.UTC()
	r.ResumAt, r.EndedAt = utc(r.ResumAt), utc(r.EndedAt)
	if r.Output == nil {
		r.Output = []byte{}
	}
}
