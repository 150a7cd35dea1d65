package database

import (
	"context"
	"fmt"
	"time"

	"gorm.io/gorm"
)

// RunUsage is what the usage log has of a step of a run.
type RunUsage struct {
	Step            string
	Model           string // of its last row
	InputTokens     int64
	OutputTokens    int64
	CostPicodollars int64
	Calls           int64 // rows
}

// RunUsageOf adds up the usage log's rows of a run that was made at a time, step by
// step.
func (db *DB) RunUsageOf(ctx context.Context, id string, made time.Time) ([]RunUsage, error) {
	sums, err := db.sumRun(db.gorm.WithContext(ctx), id, made)
	if err != nil {
		return nil, fmt.Errorf("sum the usage of a run: %w", err)
	}
	return sums, nil
}

// clockSkew is how much earlier than its run a row may seem to be, since replicas
// have their own clocks.
const clockSkew = time.Hour

func (db *DB) sumRun(tx *gorm.DB, id string, made time.Time) ([]RunUsage, error) {
	// Beside max(), SQLite gives other columns from the row that has the maximum.
	model, cost := `model, max("timestamp")`, "sum(cost_picodollars)"
	if db.dialect == Postgres {
		model = `(array_agg(model ORDER BY "timestamp" DESC, id DESC))[1] AS model`
		cost = "cast(least(sum(cost_picodollars), 9223372036854775807) AS bigint)"
	}
	var sums []RunUsage
	// By the time PostgreSQL sees which partitions it need not look into.
	err := tx.Raw("SELECT coalesce(step, '') AS step, sum(input_tokens) AS input_tokens, sum(output_tokens) AS output_tokens, "+
		cost+` AS cost_picodollars, count(*) AS calls, `+model+` FROM usage_logs WHERE run_id = ? AND "timestamp" >= ?`+
		" GROUP BY coalesce(step, '') ORDER BY 1", id, db.timestamp(made.Add(-clockSkew))).Scan(&sums).Error
	return sums, err
}
