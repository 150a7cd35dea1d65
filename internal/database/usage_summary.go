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
	d := sumsSQLite
	if db.dialect == Postgres {
		d = sumsPostgres
	}
	sums := db.selectUsage(ctx, filter).Select(by.key + " AS group_key, " + d.sums).Group("group_key")
	requests := db.selectUsage(ctx, filter).Select(by.key + ` AS group_key, max(CASE WHEN success THEN 1 ELSE 0 END) AS ok,
		max(latency_ms) AS latency, min(ttft_ms) AS ttft`).Group("group_key, " + d.request)
	query := "WITH sums AS (?), requests AS (?), " + d.measured + " SELECT " + cmp.Or(by.label, "group_key") +
		" AS key, * FROM sums JOIN measured USING (group_key) ORDER BY " + by.order + "group_key LIMIT ?"
	var rows []struct {
		UsageSum
		CostHigh, CostLow int64
	}
	if err := db.gorm.WithContext(ctx).Raw(query, sums, requests, limit).Scan(&rows).Error; err != nil {
		return nil, fmt.Errorf("sum usage: %w", err)
	}
	found := make([]UsageSum, len(rows))
	for i, row := range rows {
		found[i] = row.UsageSum
		found[i].Cost = big.NewInt(row.CostHigh)
		found[i].Cost.Mul(found[i].Cost, big.NewInt(1_000_000)).Add(found[i].Cost, big.NewInt(row.CostLow))
	}
	return found, nil
}

// sumsOf are the parts of a query for sums that the databases say in their own
// ways. Tokens and money are added up row by row, requests are counted and
// measured in a pass of their own that carries little.
type sumsOf struct {
	sums     string // of a group's rows
	request  string // which request a row is of; rows without an id are one each
	measured string // counts and percentiles of requests, group by group
}

// Sums of 64 bits are full at 9.2 million dollars, so SQLite adds up millionths of
// a dollar, and what is left of them, each for itself.
var (
	sumsPostgres = sumsOf{
		sums: sumColumns("least") + `,
			cast(div(sum(cost_picodollars), 1000000) AS bigint) AS cost_high,
			cast(mod(sum(cost_picodollars), 1000000) AS bigint) AS cost_low`,
		// Compared byte by byte, which is half of the work of doing it by the rules of
		// a language.
		request: `(CASE WHEN request_id = '' THEN CAST(id AS text) ELSE request_id END) COLLATE "C"`,
		measured: `measured AS (SELECT group_key, count(*) AS requests, sum(1 - ok) AS errors,
			percentile_disc(0.5) WITHIN GROUP (ORDER BY latency) FILTER (WHERE ok = 1) AS latency_p50,
			percentile_disc(0.95) WITHIN GROUP (ORDER BY latency) FILTER (WHERE ok = 1) AS latency_p95,
			percentile_disc(0.5) WITHIN GROUP (ORDER BY ttft) FILTER (WHERE ok = 1) AS ttft_p50,
			percentile_disc(0.95) WITHIN GROUP (ORDER BY ttft) FILTER (WHERE ok = 1) AS ttft_p95
			FROM requests GROUP BY group_key)`,
	}
	sumsSQLite = sumsOf{
		sums: sumColumns("min") + `,
			sum(cost_picodollars / 1000000) + sum(cost_picodollars % 1000000) / 1000000 AS cost_high,
			sum(cost_picodollars % 1000000) % 1000000 AS cost_low`,
		request: "CASE WHEN request_id = '' THEN id ELSE request_id END",
		// Ranks stand for percentile_disc, which SQLite does not have; there as here, in
		// n values the one of rank ⌈n·p/100⌉ is percentile p.
		measured: `ranked AS (SELECT *,
				count(*) OVER (PARTITION BY group_key, ok) AS n,
				row_number() OVER (PARTITION BY group_key, ok ORDER BY latency) AS latency_rank,
				count(ttft) OVER (PARTITION BY group_key, ok) AS ttfts,
				row_number() OVER (PARTITION BY group_key, ok ORDER BY ttft NULLS LAST) AS ttft_rank
				FROM requests),
			measured AS (SELECT group_key, count(*) AS requests, sum(1 - ok) AS errors,
				min(CASE WHEN ok = 1 AND latency_rank = (n * 50 + 99) / 100 THEN latency END) AS latency_p50,
				min(CASE WHEN ok = 1 AND latency_rank = (n * 95 + 99) / 100 THEN latency END) AS latency_p95,
				min(CASE WHEN ok = 1 AND ttft_rank = (ttfts * 50 + 99) / 100 THEN ttft END) AS ttft_p50,
				min(CASE WHEN ok = 1 AND ttft_rank = (ttfts * 95 + 99) / 100 THEN ttft END) AS ttft_p95
				FROM ranked GROUP BY group_key)`,
	}
)

func sumColumns(least string) string {
	tokens := func(column string) string {
		return "cast(sum(" + least + "(" + column + ", " + maxRowTokens + ")) AS bigint) AS " + column
	}
	return "max(specialist_name) AS name, " + tokens("input_tokens") + ", " + tokens("output_tokens") +
		", sum(CASE WHEN NOT priced AND input_tokens + output_tokens > 0 THEN 1 ELSE 0 END) AS unpriced"
}
