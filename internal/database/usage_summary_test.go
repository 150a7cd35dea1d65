package database

import (
	"cmp"
	"fmt"
	"math/big"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/testenv"
)

// attempt is what a usage record holds as far as sums care.
type attempt struct {
	request, user, specialist, model string
	at                               time.Time
	input, output, cost, latency     int64
	ttft                             *int64
	priced, success                  bool
}

func (a attempt) record(n int) string {
	more := fmt.Sprintf(`,"request_id":%q,"user_hash":%q,"specialist_id":%q,"specialist_name":%q,"model":%q,"input_tokens":%d,`+
		`"output_tokens":%d,"cost_picodollars":%d,"latency_ms":%d,"priced":%t,"success":%t`,
		a.request, a.user, a.specialist, strings.ToUpper(a.specialist), a.model, a.input, a.output, a.cost, a.latency, a.priced, a.success)
	if a.ttft != nil {
		more += fmt.Sprintf(`,"ttft_ms":%d`, *a.ttft)
	}
	return usageRecord(n, a.at, more)
}

// someAttempts are random but the same each time: three days, requests of one to
// three attempts, every seventh without a request id.
func someAttempts(n int) []attempt {
	random := rand.New(rand.NewPCG(1, 2))
	attempts := make([]attempt, n)
	for i := range attempts {
		attempts[i] = attempt{
			request: fmt.Sprint("r", random.IntN(n/2)), user: fmt.Sprint("u", random.IntN(3)),
			specialist: fmt.Sprint("s", random.IntN(4)), model: fmt.Sprint("m", random.IntN(5)),
			at:    day.Add(time.Duration(random.IntN(72*3600)) * time.Second),
			input: random.Int64N(5000), output: random.Int64N(900), cost: random.Int64N(90_000_000_000),
			latency: random.Int64N(400), priced: random.IntN(9) > 0, success: random.IntN(4) > 0,
		}
		if i%7 == 0 {
			attempts[i].request = ""
		}
		if random.IntN(2) == 0 {
			attempts[i].ttft = new(random.Int64N(100))
		}
	}
	return attempts
}

// sumOf is what [DB.SumUsageBy] promises, in plain Go.
func sumOf(attempts []attempt, key func(attempt) string) []UsageSum {
	groups := map[string][]attempt{}
	for _, a := range attempts {
		groups[key(a)] = append(groups[key(a)], a)
	}
	var sums []UsageSum
	for key, attempts := range groups {
		s := UsageSum{Key: key, Cost: new(big.Int)}
		type request struct {
			ok      bool
			latency int64
			ttft    *int64
		}
		requests := map[string]*request{}
		for i, a := range attempts {
			s.Name = max(s.Name, strings.ToUpper(a.specialist))
			s.InputTokens += a.input
			s.OutputTokens += a.output
			s.Cost.Add(s.Cost, big.NewInt(a.cost))
			if !a.priced && a.input+a.output > 0 {
				s.Unpriced++
			}
			id := cmp.Or(a.request, fmt.Sprint("row", i))
			if requests[id] == nil {
				requests[id] = &request{}
			}
			r := requests[id]
			r.ok = r.ok || a.success
			r.latency = max(r.latency, a.latency)
			if a.ttft != nil && (r.ttft == nil || *a.ttft < *r.ttft) {
				r.ttft = a.ttft
			}
		}
		var latencies, ttfts []int64
		for _, r := range requests {
			s.Requests++
			if !r.ok {
				s.Errors++
				continue
			}
			latencies = append(latencies, r.latency)
			if r.ttft != nil {
				ttfts = append(ttfts, *r.ttft)
			}
		}
		s.LatencyP50, s.LatencyP95 = percentile(latencies, 50), percentile(latencies, 95)
		s.TTFTP50, s.TTFTP95 = percentile(ttfts, 50), percentile(ttfts, 95)
		sums = append(sums, s)
	}
	slices.SortFunc(sums, func(a, b UsageSum) int {
		return cmp.Or(b.Cost.Cmp(a.Cost), cmp.Compare(b.Requests, a.Requests), cmp.Compare(a.Key, b.Key))
	})
	return sums
}

func percentile(values []int64, p int) *int64 {
	if len(values) == 0 {
		return nil
	}
	slices.Sort(values)
	return &values[(len(values)*p+99)/100-1]
}

func TestSumUsage(t *testing.T) {
	t.Parallel()
	attempts := someAttempts(700)
	records := make([]string, len(attempts))
	for i, a := range attempts {
		records[i] = a.record(i)
	}
	onBoth(t, func(t *testing.T, db *DB) {
		ctx := t.Context()
		_, err := db.Migrate(ctx)
		require.NoError(t, err)
		none, err := db.SumUsage(ctx, UsageFilter{})
		require.NoError(t, err)
		require.Equal(t, UsageSum{Cost: new(big.Int)}, none)
		_, err = db.InsertUsage(ctx, array(records...))
		require.NoError(t, err)

		for by, key := range map[UsageGroup]func(attempt) string{
			UsageByModel:      func(a attempt) string { return a.model },
			UsageBySpecialist: func(a attempt) string { return a.specialist },
			UsageByUser:       func(a attempt) string { return a.user },
			UsageByDay:        func(a attempt) string { return a.at.UTC().Format(time.DateOnly) },
		} {
			want := sumOf(attempts, key)
			if by == UsageByDay {
				slices.SortFunc(want, func(a, b UsageSum) int { return strings.Compare(a.Key, b.Key) })
			}
			got, err := db.SumUsageBy(ctx, UsageFilter{}, by, 100)
			require.NoError(t, err)
			require.Equal(t, want, got, by)
			got, err = db.SumUsageBy(ctx, UsageFilter{}, by, 2)
			require.NoError(t, err)
			require.Equal(t, want[:2], got, by)
		}
		_, err = db.SumUsageBy(ctx, UsageFilter{}, "colour", 2)
		require.Error(t, err)

		whole := func(attempt) string { return "" }
		total, err := db.SumUsage(ctx, UsageFilter{})
		require.NoError(t, err)
		require.Equal(t, sumOf(attempts, whole)[0], total)

		from, to := day.Add(5*time.Hour), day.Add(40*time.Hour)
		total, err = db.SumUsage(ctx, UsageFilter{UserHash: "u1", Model: "m2", From: from, To: to})
		require.NoError(t, err)
		selected := slices.DeleteFunc(slices.Clone(attempts), func(a attempt) bool {
			return a.user != "u1" || a.model != "m2" || a.at.Before(from) || !a.at.Before(to)
		})
		require.Equal(t, sumOf(selected, whole)[0], total)
	})
}

// Sums go on where 64 bits end, 9.2 million dollars, to the last picodollar.
func TestSumsOfMoneyDoNotOverflow(t *testing.T) {
	t.Parallel()
	const largest = 9223372036854775807
	onBoth(t, func(t *testing.T, db *DB) {
		_, err := db.Migrate(t.Context())
		require.NoError(t, err)
		var records []string
		for n := range 5 {
			// Two attempts of one request, and others.
			a := attempt{request: fmt.Sprint("r", n/2), at: day, cost: largest, input: largest}
			records = append(records, a.record(n))
		}
		_, err = db.InsertUsage(t.Context(), array(records...))
		require.NoError(t, err)
		total, err := db.SumUsage(t.Context(), UsageFilter{})
		require.NoError(t, err)
		require.Equal(t, "46116860184273879035", total.Cost.String())
		require.EqualValues(t, 3, total.Requests)
		require.EqualValues(t, 5_000_000_000_000, total.InputTokens)
	})
}

// A month of a large team's calls, 100,000 rows, is added up fast enough for a
// page, and one user's by their index.
func TestSumUsageIsFast(t *testing.T) {
	t.Parallel()
	db := migrated(t, testenv.Postgres(t))
	require.NoError(t, db.gorm.Exec(`INSERT INTO usage_logs
		(id, "timestamp", request_id, user_hash, user_email_hash, specialist_id, specialist_name, provider, model, response_model, dialect,
		stream, input_tokens, output_tokens, cached_tokens, cache_write_tokens, cache_write_1h_tokens, reasoning_tokens, audio_input_tokens,
		audio_output_tokens, image_input_tokens, image_output_tokens, usage_source, cost_picodollars, priced, price_version, latency_ms,
		ttft_ms, attempt, upstream_status, status, success, finish_reason, error_cause)
		SELECT gen_random_uuid(), now() - n * interval '104 seconds', 'req_' || gen_random_uuid(), 'u' || n % 100, '', 's' || n % 4, '', 'p', 'm' || n % 9,
		'', '', false, n % 3000, n % 700, 0, 0, 0, 0, 0, 0, 0, 0, 'provider', n * 7919, true, '', n * 31 % 5000, n * 17 % 900, 1, 200, 200,
		n % 50 > 0, '', '' FROM generate_series(1, 25000) n`).Error)
	require.NoError(t, db.gorm.Exec("ANALYZE usage_logs").Error)
	from := time.Now().AddDate(0, 0, -31)
	fastest := func(query func() error) time.Duration { // of three: other tests are at work too
		best := time.Hour
		for range 3 {
			started := time.Now()
			require.NoError(t, query())
			best = min(best, time.Since(started))
		}
		return best
	}
	var groups []UsageSum
	var total, own UsageSum
	var err error
	byDay := fastest(func() error {
		groups, err = db.SumUsageBy(t.Context(), UsageFilter{From: from}, UsageByDay, 400)
		return err
	})
	all := fastest(func() error {
		total, err = db.SumUsage(t.Context(), UsageFilter{From: from})
		return err
	})
	one := fastest(func() error {
		own, err = db.SumUsage(t.Context(), UsageFilter{From: from, UserHash: "u7"})
		return err
	})
	t.Log("by day", byDay, "all", all, "one user", one)
	require.EqualValues(t, 25_000, total.Requests)
	require.EqualValues(t, 250, own.Requests)
	require.Greater(t, len(groups), 29)
	// Machines differ, and other tests are at work; so it is held against the least
	// that any sum takes, of which it takes about eight times.
	least := fastest(func() error {
		return db.gorm.Exec("SELECT sum(cost_picodollars), max(latency_ms) FROM usage_logs").Error
	})
	t.Log("a plain sum", least)
	require.Less(t, max(byDay, all), 60*least)

	plan := strings.Join(column(t, db, `EXPLAIN SELECT * FROM usage_logs WHERE user_hash = 'u7' AND "timestamp" >= now() - interval '31 days'`), "\n")
	require.Contains(t, plan, "usage_logs_default_user_hash", plan)
}
