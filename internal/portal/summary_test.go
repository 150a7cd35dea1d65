package portal

import (
	"encoding/json"
	"errors"
	"math/big"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/database"
	"github.com/financecommander/tollgate/internal/identity"
)

var viewer = &identity.Principal{Subject: "vera", Name: "Vera", Issuer: "tollgate", UserHash: aliceHash, Roles: []string{"viewer"}}

// usageInSQLite is a real log with the rows of the fake.
func usageInSQLite(t *testing.T) *database.DB {
	t.Helper()
	db, err := database.Open("sqlite:///"+filepath.Join(t.TempDir(), "usage.db"), database.Options{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	_, err = db.Migrate(t.Context())
	require.NoError(t, err)
	records, err := json.Marshal(newUsageFake().records)
	require.NoError(t, err)
	_, err = db.InsertUsage(t.Context(), records)
	require.NoError(t, err)
	return db
}

func TestUsageSummaryIsExact(t *testing.T) {
	t.Parallel()
	db := usageInSQLite(t)
	h := newHandler(t, func(o *Options) { o.Usage = db })
	const sums = `"input_tokens":2000,"output_tokens":1000,"total_tokens":3000,"cost_usd":0.015,"latency_p50_ms":321,"latency_p95_ms":321,"ttft_p50_ms":null,"ttft_p95_ms":null,"unpriced":2`
	const span = `,"from":"2026-11-22T00:00:00Z","to":"2026-11-23T00:00:00Z"}` + "\n"
	for query, want := range map[string]string{
		"": `{"totals":{"requests":2,"errors":0,` + sums + `},"groups":[{"key":"2026-11-22","requests":2,"errors":0,` + sums + `}],"group_by":"day"` + span,
		"&group_by=specialist": `{"totals":{"requests":2,"errors":0,` + sums + `},"groups":[{"key":"code-reviewer","name":"Code Reviewer","requests":2,"errors":0,` + sums +
			`}],"group_by":"specialist"` + span,
		"&group_by=model&model=none": `{"totals":{"requests":0,"errors":0,"input_tokens":0,"output_tokens":0,"total_tokens":0,"cost_usd":0,"latency_p50_ms":null,` +
			`"latency_p95_ms":null,"ttft_p50_ms":null,"ttft_p95_ms":null,"unpriced":0},"groups":[],"group_by":"model"` + span,
	} {
		for _, path := range []string{"/usage", "/usage/", "/usage/summary"} {
			w := call(h, alice, "GET", path+"?from=2026-11-22&to=2026-11-23"+query, "")
			object(t, w, 200)
			require.Equal(t, want, w.Body.String(), query)
		}
	}
	answer := object(t, call(h, admin, "GET", "/usage/summary?group_by=user&from=2026-11-22&to=2026-11-23", ""), 200)
	require.InDelta(t, 3, answer["totals"].(map[string]any)["requests"], 0)
	require.InDelta(t, 1, answer["totals"].(map[string]any)["errors"], 0)
	groups := answer["groups"].([]any)
	require.Len(t, groups, 2)
	require.Equal(t, aliceHash, groups[0].(map[string]any)["key"], "the most expensive first")
}

func TestWhoseUsageIsAddedUp(t *testing.T) {
	t.Parallel()
	log := newUsageFake()
	h := newHandler(t, func(o *Options) { o.Usage = log })
	for _, path := range []string{"/usage", "/usage/summary", "/usage/logs", "/usage/export"} {
		for query, want := range map[string]string{"": aliceHash, "?user_hash=" + aliceHash: aliceHash} {
			require.Equal(t, 200, call(h, alice, "GET", path+query, "").Code, path)
			require.Equal(t, want, log.asked.UserHash, path)
		}
		requireProblem(t, call(h, alice, "GET", path+"?user_hash="+bobHash, ""), 403)
		requireProblem(t, call(h, &identity.Principal{Subject: "x"}, "GET", path, ""), 500)
		requireProblem(t, call(h, nil, "GET", path, ""), 401)
		for _, all := range []*identity.Principal{admin, viewer} {
			require.Equal(t, 200, call(h, all, "GET", path, "").Code, path)
			require.Empty(t, log.asked.UserHash, path)
			require.Equal(t, 200, call(h, all, "GET", path+"?user_hash="+bobHash, "").Code, path)
			require.Equal(t, bobHash, log.asked.UserHash, path)
		}
		// A program of an admin's sees what a user sees.
		program := &identity.Principal{UserHash: bobHash, Roles: []string{"admin"}, Kind: identity.KindAPI}
		require.Equal(t, 200, call(h, program, "GET", path, "").Code, path)
		require.Equal(t, bobHash, log.asked.UserHash, path)
	}
	requireProblem(t, call(h, alice, "GET", "/usage/summary?group_by=user", ""), 403)
	object(t, call(h, viewer, "GET", "/usage/summary?group_by=user", ""), 200)
	require.Equal(t, database.UsageByUser, log.by)

	off := newHandler(t, func(o *Options) { o.Usage = nil })
	for _, path := range []string{"/usage", "/usage/summary", "/usage/logs", "/usage/export"} {
		requireProblem(t, call(off, alice, "GET", path, ""), 404)
	}
}

func TestSummaryRange(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 27, 23, 30, 0, 0, time.FixedZone("CET", 3600))
	at := func(text string) time.Time {
		if text == "" {
			return time.Time{}
		}
		parsed, err := time.Parse(time.DateOnly, text)
		require.NoError(t, err)
		return parsed
	}
	for _, tc := range []struct{ from, to, wantFrom, wantTo string }{
		{"", "", "2026-10-29", "2026-11-28"},
		{"2026-11-01", "", "2026-11-01", "2026-11-28"},
		{"", "2026-11-01", "2026-10-02", "2026-11-01"},
		{"2023-06-01", "2024-06-01", "2023-06-01", "2024-06-01"}, // 366 days
		{"2024-01-01", "2025-01-02", "", ""},
		{"2026-11-02", "2026-11-02", "", ""},
		{"2026-11-03", "2026-11-02", "", ""},
		{"2027-01-01", "", "", ""},
		{"2020-01-01", "", "", ""},
	} {
		from, to, err := summaryRange(at(tc.from), at(tc.to), now)
		if tc.wantFrom == "" {
			require.Error(t, err, tc)
			continue
		}
		require.NoError(t, err, tc)
		require.Equal(t, []time.Time{at(tc.wantFrom), at(tc.wantTo)}, []time.Time{from, to}, tc)
	}
}

func TestBadSummaryQueries(t *testing.T) {
	t.Parallel()
	h := newHandler(t, nil)
	for query, field := range map[string]string{
		"group_by=hour": "group_by", "from=yesterday": "from", "to=x": "to", "limit=%zz": "query",
		"from=2024-01-01&to=2026-01-01": "from", "from=2026-01-01&to=2026-01-01": "from",
	} {
		require.Contains(t, requireProblem(t, call(h, alice, "GET", "/usage/summary?"+query, ""), 422)["details"], field, query)
	}
	require.Contains(t, requireProblem(t, call(h, alice, "GET", "/usage/export?format=xml", ""), 422)["details"], "format")

	broken := newHandler(t, func(o *Options) { o.Usage = &usageFake{err: errors.New("pq: password authentication failed")} })
	for _, path := range []string{"/usage", "/usage/summary", "/usage/export"} {
		w := call(broken, alice, "GET", path, "")
		requireProblem(t, w, 503)
		require.NotContains(t, w.Body.String(), "password")
	}
}

func TestDollars(t *testing.T) {
	t.Parallel()
	for picodollars, want := range map[string]string{
		"0": "0", "1": "0.000000000001", "7500000000": "0.0075", "1000000000000": "1", "120000000000000": "120",
		"46116860184273879035": "46116860.184273879035",
	} {
		n, ok := new(big.Int).SetString(picodollars, 10)
		require.True(t, ok)
		require.Equal(t, want, dollars(n).String())
	}
}

var _ UsageLog = (*database.DB)(nil)
