package caddymodule

import (
	"context"
	"errors"

	"github.com/financecommander/tollgate/internal/database"
	"github.com/financecommander/tollgate/internal/llm"
	"github.com/financecommander/tollgate/internal/portal"
	"github.com/financecommander/tollgate/internal/usage"
)

// usageLog shows the usage log to the portal.
type usageLog struct{ db *database.DB }

// List implements portal.UsageLog.
func (u usageLog) List(ctx context.Context, f portal.UsageFilter) ([]portal.UsageRow, string, error) {
	page, err := usage.List(ctx, u.db, usage.Filter(f))
	if errors.Is(err, usage.ErrBadCursor) {
		return nil, "", &llm.Error{Cause: llm.CauseInvalidRequest, Param: "before", Message: "before is not the next of an earlier page"}
	}
	if err != nil {
		return nil, "", err
	}
	rows := make([]portal.UsageRow, len(page.Records))
	for i := range page.Records {
		r := &page.Records[i]
		rows[i] = portal.UsageRow{
			ID: r.ID.String(), Timestamp: r.Timestamp, UserHash: r.UserHash, UserEmailHash: r.UserEmailHash,
			SpecialistID: r.SpecialistID, SpecialistName: r.SpecialistName, Provider: r.Provider, Model: r.Model,
			InputTokens: r.InputTokens, OutputTokens: r.OutputTokens, Cost: r.Cost,
			LatencyMS: r.Latency.Milliseconds(), Success: r.Success,
		}
	}
	return rows, page.Next, nil
}

var _ portal.UsageLog = usageLog{}
