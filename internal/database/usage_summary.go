package database

import (
	"cmp"
	"context"
	"fmt"
	"math/big"
)

// UsageGroup is what usage records are added up by.
type UsageGroup string

// The groups.
const (
	UsageByDay        UsageGroup = "day" // in UTC
	UsageByModel      UsageGroup = "model"
	UsageBySpecialist UsageGroup = "specialist"
	UsageByUser       UsageGroup = "user"
)

// UsageSum is what a group of usage records adds up to. A request is all the
// attempts of one request id, and counts once in every group that has one of
// them; it failed when none of those succeeded. Its latency is that of its last
// attempt to end, and the percentiles are over the requests that succeeded: the
// smallest value that at least half (95 of 100) of them do not exceed.
type UsageSum struct {
	Key  string // a day (2006-01-02), model, specialist id or user hash
	Name string // the specialist's name, in one of the group's records

	Requests     int64
	Errors       int64 // of the requests
	InputTokens  int64
	OutputTokens int64
	Cost         *big.Int `gorm:"-"` // in picodollars: the sum may be more than an int64 holds
	Unpriced     int64    // records that used tokens and whose model no price table knew

	// In milliseconds; nil when there was none.
	LatencyP50 *int64 `gorm:"column:latency_p50"`
	LatencyP95 *int64 `gorm:"column:latency_p95"`
	TTFTP50    *int64 `gorm:"column:ttft_p50"`
	TTFTP95    *int64 `gorm:"column:ttft_p95"`
}

// SumUsage adds up the selected records as a whole; the filter's Before and Limit
// do not count.
func (db *DB) SumUsage(ctx context.Context, filter UsageFilter) (UsageSum, error) {
	sums, err := db.sumUsage(ctx, filter, grouping{key: "CAST('' AS text)"}, 1)
	if err != nil || len(sums) == 0 {
		return UsageSum{Cost: new(big.Int)}, err
	}
	return sums[0], nil
}

// SumUsageBy adds up the selected records group by group and gives at most limit
// groups: days in their order, others with the most expensive first.
func (db *DB) SumUsageBy(ctx context.Context, filter UsageFilter, by UsageGroup, limit int) ([]UsageSum, error) {
	const mostExpensive = "cost_high DESC, cost_low DESC, requests DESC, "
	group, ok := map[UsageGroup]grouping{
		UsageByDay:        {key: `substr("timestamp", 1, 10)`},
		UsageByModel:      {key: "model", order: mostExpensive},
		UsageBySpecialist: {key: "specialist_id", order: mostExpensive},
		UsageByUser:       {key: "user_hash", order: mostExpensive},
	}[by]
	if !ok {
		return nil, fmt.Errorf("sum usage: unknown group %q", by)
	}
	if by == UsageByDay && db.dialect == Postgres {
		// Grouped as dates and written out once a group, not once a row.
		group = grouping{key: `CAST("timestamp" AT TIME ZONE 'UTC' AS date)`, label: "to_char(group_key, 'YYYY-MM-DD')"}
	}
	return db.sumUsage(ctx, filter, group, limit)
}

// A grouping is how sums are grouped and ordered.
type grouping struct {
	key   string // of a row
	label string // of a group, made of group_key; empty: group_key
	order string // what to sort by before the key
}

// maxRowTokens caps what one record adds to a sum of tokens, so that no nonsense
// of a provider's can make it overflow.
const maxRowTokens = "1000000000000"

func (db *DB) sumUsage(ctx context.Context, filter UsageFilter, by grouping, limit int) ([]UsageSum, error) {
	// Sums of 64 bits are full at 9.2 million dollars, so millionths of a dollar and
	// what is left of them are added up each for itself.
	high, low, least := "sum(cost_picodollars / 1000000)", "sum(cost_picodollars % 1000000)", "min"
	request := "CASE WHEN request_id = '' THEN id ELSE request_id END"
	if db.dialect == Postgres {
		high = "cast(div(sum(cost_picodollars), 1000000) AS bigint)"
		low = "cast(mod(sum(cost_picodollars), 1000000) AS bigint)"
		least = "least"
		// Compared byte by byte, which is half of the work of doing it by the
		// rules of a language.
		request = `(CASE WHEN request_id = '' THEN CAST(id AS text) ELSE request_id END) COLLATE "C"`
	}
	requests := db.selectUsage(ctx, filter).Select(by.key + ` AS group_key, max(specialist_name) AS name,
		max(CASE WHEN success THEN 1 ELSE 0 END) AS ok, max(latency_ms) AS latency, min(ttft_ms) AS ttft,
		sum(` + least + `(input_tokens, ` + maxRowTokens + `)) AS input_tokens,
		sum(` + least + `(output_tokens, ` + maxRowTokens + `)) AS output_tokens,
		` + high + ` AS cost_high, ` + low + ` AS cost_low,
		sum(CASE WHEN NOT priced AND input_tokens + output_tokens > 0 THEN 1 ELSE 0 END) AS unpriced`).
		Group("group_key, " + request)
	var rows []struct {
		UsageSum
		CostHigh, CostLow int64
	}
	query := "SELECT " + cmp.Or(by.label, "group_key") + sumRequests + " ORDER BY " + by.order + "group_key LIMIT ?"
	if err := db.gorm.WithContext(ctx).Raw("WITH requests AS (?), "+rankRequests+query, requests, limit).Scan(&rows).Error; err != nil {
		return nil, fmt.Errorf("sum usage: %w", err)
	}
	sums := make([]UsageSum, len(rows))
	for i, row := range rows {
		sums[i] = row.UsageSum
		sums[i].Cost = big.NewInt(row.CostHigh)
		sums[i].Cost.Mul(sums[i].Cost, big.NewInt(1_000_000)).Add(sums[i].Cost, big.NewInt(row.CostLow))
	}
	return sums, nil
}

// Ranks stand for PostgreSQL's percentile_disc, which SQLite does not have; there
// as here, in n values the one of rank ⌈n·p/100⌉ is percentile p.
const (
	rankRequests = `ranked AS (
	SELECT *,
		count(*) OVER (PARTITION BY group_key, ok) AS n,
		row_number() OVER (PARTITION BY group_key, ok ORDER BY latency) AS latency_rank,
		count(ttft) OVER (PARTITION BY group_key, ok) AS ttfts,
		row_number() OVER (PARTITION BY group_key, ok ORDER BY ttft NULLS LAST) AS ttft_rank
	FROM requests
) `
	sumRequests = ` AS key, max(name) AS name, count(*) AS requests, sum(1 - ok) AS errors,
	cast(sum(input_tokens) AS bigint) AS input_tokens, cast(sum(output_tokens) AS bigint) AS output_tokens,
	cast(sum(cost_high) AS bigint) + cast(sum(cost_low) AS bigint) / 1000000 AS cost_high,
	cast(sum(cost_low) AS bigint) % 1000000 AS cost_low,
	cast(sum(unpriced) AS bigint) AS unpriced,
	min(CASE WHEN ok = 1 AND latency_rank = (n * 50 + 99) / 100 THEN latency END) AS latency_p50,
	min(CASE WHEN ok = 1 AND latency_rank = (n * 95 + 99) / 100 THEN latency END) AS latency_p95,
	min(CASE WHEN ok = 1 AND ttft_rank = (ttfts * 50 + 99) / 100 THEN ttft END) AS ttft_p50,
	min(CASE WHEN ok = 1 AND ttft_rank = (ttfts * 95 + 99) / 100 THEN ttft END) AS ttft_p95
FROM ranked GROUP BY group_key`
)
