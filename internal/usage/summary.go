package usage

import (
	"context"

	"github.com/financecommander/tollgate/internal/database"
)

// Summarizer is the database, seen by who adds the log up. Package database has
// the real one.
type Summarizer interface {
	SumUsage(ctx context.Context, filter database.UsageFilter) (database.UsageSum, error)
	SumUsageBy(ctx context.Context, filter database.UsageFilter, by database.UsageGroup, limit int) ([]database.UsageSum, error)
}

// MaxGroups is how many groups a [Summary] has at most. Days and models are far
// fewer; of users and specialists it has the most expensive.
const MaxGroups = 1000

// Groups are what the log can be added up by.
var Groups = []database.UsageGroup{
	database.UsageByDay, database.UsageByModel, database.UsageBySpecialist, database.UsageByUser,
}

// Summary is what a part of the log adds up to.
type Summary struct {
	Total  database.UsageSum
	Groups []database.UsageSum
}

// Summarize adds up the selected records, as a whole and group by group. What is
// appended between its two queries may be in the groups alone.
func Summarize(ctx context.Context, from Summarizer, f Filter, by database.UsageGroup) (Summary, error) {
	query := database.UsageFilter{
		UserHash: f.UserHash, SpecialistID: f.SpecialistID, Model: f.Model, RunID: f.RunID, From: f.From, To: f.To,
	}
	total, err := from.SumUsage(ctx, query)
	if err != nil {
		return Summary{}, err
	}
	groups, err := from.SumUsageBy(ctx, query, by, MaxGroups)
	if err != nil {
		return Summary{}, err
	}
	return Summary{Total: total, Groups: groups}, nil
}
