package portal

import (
	"context"
	"encoding/json"
	"errors"
	"math/big"
	"net/url"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/database"
	"github.com/financecommander/tollgate/internal/identity"
	"github.com/financecommander/tollgate/internal/llm"
	"github.com/financecommander/tollgate/internal/usage"
	"github.com/financecommander/tollgate/pricing"
)

func quote(t *testing.T, s string) string {
	t.Helper()
	b, err := json.Marshal(s)
	require.NoError(t, err)
	return string(b)
}

// usageFake is a usage log in memory.
type usageFake struct {
	records []*usage.Record // newest first
	err     error
	asked   database.UsageFilter
	by      database.UsageGroup
}

func newUsageFake() *usageFake {
	newest := time.Date(2026, 11, 22, 10, 0, 0, 123456789, time.FixedZone("CET", 3600))
	f := &usageFake{}
	for i, user := range []string{aliceHash, bobHash, aliceHash} {
		r := usage.NewRecord(newest.Add(-time.Duration(i) * time.Second))
		r.UserHash, r.UserEmailHash = user, user
		r.SpecialistID, r.SpecialistName, r.Provider, r.Model = "code-reviewer", "Code Reviewer", "openai", "gpt-4o"
		r.InputTokens, r.OutputTokens, r.UsageSource = 1000, 500, llm.UsageProvider
		r.Cost, _ = pricing.ParseUSD("0.0075")
		r.Latency, r.Success = 321*time.Millisecond, true
		f.records = append(f.records, r)
	}
	f.records[1].UserEmailHash, f.records[1].Cost, f.records[1].Success = "", 1, false
	return f
}

func (f *usageFake) ListUsage(_ context.Context, filter database.UsageFilter) ([]string, error) {
	f.asked = filter
	if f.err != nil {
		return nil, f.err
	}
	var found []string
	for _, r := range f.records {
		mine := filter.UserHash == "" || r.UserHash == filter.UserHash
		follows := filter.BeforeID == "" || r.Timestamp.Before(filter.BeforeTime)
		if mine && follows && len(found) < filter.Limit {
			found = append(found, string(r.AppendJSON(nil)))
		}
	}
	return found, nil
}

func (f *usageFake) SumUsage(_ context.Context, filter database.UsageFilter) (database.UsageSum, error) {
	f.asked = filter
	sum := database.UsageSum{Cost: new(big.Int)}
	for _, r := range f.records {
		if filter.UserHash == "" || r.UserHash == filter.UserHash {
			sum.Requests++
			sum.InputTokens += r.InputTokens
			sum.OutputTokens += r.OutputTokens
			sum.Cost.Add(sum.Cost, big.NewInt(int64(r.Cost)))
		}
	}
	return sum, f.err
}

func (f *usageFake) SumUsageBy(
	ctx context.Context, filter database.UsageFilter, by database.UsageGroup, _ int,
) ([]database.UsageSum, error) {
	f.by = by
	sum, err := f.SumUsage(ctx, filter)
	sum.Key, sum.Name, sum.LatencyP50 = "code-reviewer", "Reviewer of old", new(int64(321))
	return []database.UsageSum{sum}, err
}

func TestUsageRowsAreExact(t *testing.T) {
	t.Parallel()
	log := newUsageFake()
	h := newHandler(t, func(o *Options) { o.Usage = log })
	w := call(h, admin, "GET", "/usage/logs?limit=2", "")
	next := object(t, w, 200)["next"].(string)
	const hashes = `"user_hash":"` + aliceHash + `","user_email_hash":"` + aliceHash + `"`
	require.Equal(t, `{"logs":[`+
		`{"id":"`+log.records[0].ID.String()+`","timestamp":"2026-11-22T09:00:00.123456Z",`+hashes+`,"specialist_id":"code-reviewer","specialist_name":"Code Reviewer","provider":"openai","model":"gpt-4o","input_tokens":1000,"output_tokens":500,"cost_usd":0.0075,"estimated_cost_usd":0.0075,"latency_ms":321,"success":true},`+
		`{"id":"`+log.records[1].ID.String()+`","timestamp":"2026-11-22T08:59:59.123456Z","user_hash":"`+bobHash+`","user_email_hash":"","specialist_id":"code-reviewer","specialist_name":"Code Reviewer","provider":"openai","model":"gpt-4o","input_tokens":1000,"output_tokens":500,"cost_usd":0.000000000001,"estimated_cost_usd":0.000000000001,"latency_ms":321,"success":false}`+
		`],"next":"`+next+`"}`+"\n", w.Body.String())

	answer := object(t, call(h, admin, "GET", "/usage/logs/?limit=2&before="+url.QueryEscape(next), ""), 200)
	require.Len(t, answer["logs"], 1)
	require.Contains(t, answer, "next")
	require.Nil(t, answer["next"])
}

func TestRowsOfOthersAreInvisible(t *testing.T) {
	t.Parallel()
	log := newUsageFake()
	h := newHandler(t, func(o *Options) { o.Usage = log })
	for _, query := range []string{
		"", "?user_hash=", "?user_hash=" + aliceHash, "?model=gpt-4o", "?limit=1000", "?user_hash=" + aliceHash + "&user_hash=" + bobHash,
	} {
		w := call(h, alice, "GET", "/usage/logs"+query, "")
		object(t, w, 200)
		require.NotContains(t, w.Body.String(), bobHash, query)
		require.Equal(t, aliceHash, log.asked.UserHash, query)
	}
	requireProblem(t, call(h, alice, "GET", "/usage/logs?user_hash="+bobHash, ""), 403)

	log.records = nil
	require.JSONEq(t, `{"logs":[],"next":null}`, call(h, alice, "GET", "/usage/logs", "").Body.String())

	nobody := &identity.Principal{Subject: "x"}
	requireProblem(t, call(h, nobody, "GET", "/usage/logs", ""), 500) // never everybody's rows
}

func TestUsageFilters(t *testing.T) {
	t.Parallel()
	log := newUsageFake()
	h := newHandler(t, func(o *Options) { o.Usage = log })
	query := url.Values{
		"limit": {"7"}, "before": {"1700000000000000.0190163d-8694-739b-aea5-966c26f8ad91"}, "user_hash": {aliceHash}, "specialist_id": {"code-reviewer"}, "model": {"gpt-4o"},
		"from": {"2026-11-01"}, "to": {"2026-11-22T10:30:00+01:00"}, "unknown": {"ignored"},
	}
	object(t, call(h, admin, "GET", "/usage/logs?"+query.Encode(), ""), 200)
	require.Equal(t, database.UsageFilter{
		UserHash: aliceHash, SpecialistID: "code-reviewer", Model: "gpt-4o", Limit: 8, // one more than shown, for next
		BeforeTime: time.Unix(1700000000, 0).UTC(), BeforeID: "0190163d-8694-739b-aea5-966c26f8ad91",
		From: time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC), To: time.Date(2026, 11, 22, 9, 30, 0, 0, time.UTC),
	}, log.asked)

	object(t, call(h, admin, "GET", "/usage/logs", ""), 200)
	require.Equal(t, database.UsageFilter{Limit: 51}, log.asked, "an admin sees all rows")
}

func TestBadUsageQueries(t *testing.T) {
	t.Parallel()
	h := newHandler(t, nil)
	for query, field := range map[string]string{
		"limit=0": "limit", "limit=-1": "limit", "limit=1001": "limit", "limit=ten": "limit", "limit=1e2": "limit",
		"from=yesterday": "from", "from=2026-13-01": "from", "to=1700000000": "to", "limit=%zz": "query",
		"before=1": "before", "before=1.x": "before",
	} {
		details := requireProblem(t, call(h, alice, "GET", "/usage/logs?"+query, ""), 422)["details"]
		require.Contains(t, details, field, query)
	}
}

func TestUsageLogOutageIsNotTold(t *testing.T) {
	t.Parallel()
	h := newHandler(t, func(o *Options) { o.Usage = &usageFake{err: errors.New("pq: password authentication failed")} })
	w := call(h, alice, "GET", "/usage/logs", "")
	requireProblem(t, w, 503)
	require.NotContains(t, w.Body.String(), "password")
}

// TestPagesOfARealLog walks a log in SQLite page by page.
func TestPagesOfARealLog(t *testing.T) {
	t.Parallel()
	db, err := database.Open("sqlite:///"+filepath.Join(t.TempDir(), "test.db"), database.Options{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	_, err = db.Migrate(t.Context())
	require.NoError(t, err)
	records, err := json.Marshal(newUsageFake().records)
	require.NoError(t, err)
	_, err = db.InsertUsage(t.Context(), records)
	require.NoError(t, err)

	h := newHandler(t, func(o *Options) { o.Usage = db })
	walk := func(p *identity.Principal) (pages int, users []any) {
		for next := ""; ; pages++ {
			answer := object(t, call(h, p, "GET", "/usage/logs?limit=1&before="+url.QueryEscape(next), ""), 200)
			for _, row := range answer["logs"].([]any) {
				users = append(users, row.(map[string]any)["user_hash"])
			}
			if answer["next"] == nil {
				return pages + 1, users
			}
			next = answer["next"].(string)
		}
	}
	pages, users := walk(admin)
	require.Equal(t, 3, pages)
	require.Equal(t, []any{aliceHash, bobHash, aliceHash}, users)
	pages, users = walk(alice)
	require.Equal(t, 2, pages)
	require.Equal(t, []any{aliceHash, aliceHash}, users)
}

// What PostgreSQL does not take as a text is the caller's mistake, not an outage.
func TestTextsThatNoDatabaseTakes(t *testing.T) {
	t.Parallel()
	h := newHandler(t, nil)
	for target, status := range map[string]int{
		"/usage/logs?model=%00":               422,
		"/usage/logs?model=a&model=%ff":       422,
		"/usage/logs?x=%zz&specialist_id=%00": 422,
		"/auth/tokens?user_hash=%00":          422,
		"/usage/%00":                          404,
		"/specialists/%ff":                    404,
	} {
		requireProblem(t, call(h, admin, "GET", target, ""), status)
	}
	requireProblem(t, call(h, admin, "DELETE", "/auth/tokens/%00", ""), 404)
}
