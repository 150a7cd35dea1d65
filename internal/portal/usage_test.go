package portal

import (
	"context"
	"encoding/json"
	"errors"
	"net/url"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/identity"
	"github.com/financecommander/tollgate/pricing"
)

func quote(t *testing.T, s string) string {
	t.Helper()
	b, err := json.Marshal(s)
	require.NoError(t, err)
	return string(b)
}

// usageFake is a usage log in memory; its cursor is the index of the next row.
type usageFake struct {
	rows  []UsageRow
	err   error
	asked UsageFilter
}

func newUsageFake() *usageFake {
	at := time.Date(2026, 11, 22, 10, 0, 0, 123456000, time.FixedZone("CET", 3600))
	cost, _ := pricing.ParseUSD("0.0075")
	row := UsageRow{
		ID: "0195", Timestamp: at, UserHash: aliceHash, UserEmailHash: aliceHash,
		SpecialistID: "code-reviewer", SpecialistName: "Code Reviewer", Provider: "openai", Model: "gpt-4o",
		InputTokens: 1000, OutputTokens: 500, Cost: cost, LatencyMS: 321, Success: true,
	}
	other := row
	other.ID, other.UserHash, other.UserEmailHash = "0194", bobHash, ""
	other.Cost, other.Success = 1, false
	return &usageFake{rows: []UsageRow{row, other, row}}
}

func (f *usageFake) List(_ context.Context, filter UsageFilter) ([]UsageRow, string, error) {
	f.asked = filter
	if f.err != nil {
		return nil, "", f.err
	}
	start, _ := strconv.Atoi(filter.Before)
	var found []UsageRow
	for i, row := range f.rows[start:] {
		if filter.UserHash != "" && row.UserHash != filter.UserHash {
			continue
		}
		if len(found) == filter.Limit {
			return found, strconv.Itoa(start + i), nil
		}
		found = append(found, row)
	}
	return found, "", nil
}

func TestUsageRowsAreExact(t *testing.T) {
	t.Parallel()
	h := newHandler(t, nil)
	w := call(h, admin, "GET", "/usage/logs?limit=2", "")
	object(t, w, 200)
	const hashes = `"user_hash":"` + aliceHash + `","user_email_hash":"` + aliceHash + `"`
	require.Equal(t, `{"logs":[`+
		`{"id":"0195","timestamp":"2026-11-22T09:00:00.123456Z",`+hashes+`,"specialist_id":"code-reviewer","specialist_name":"Code Reviewer","provider":"openai","model":"gpt-4o","input_tokens":1000,"output_tokens":500,"cost_usd":0.0075,"estimated_cost_usd":0.0075,"latency_ms":321,"success":true},`+
		`{"id":"0194","timestamp":"2026-11-22T09:00:00.123456Z","user_hash":"`+bobHash+`","user_email_hash":"","specialist_id":"code-reviewer","specialist_name":"Code Reviewer","provider":"openai","model":"gpt-4o","input_tokens":1000,"output_tokens":500,"cost_usd":0.000000000001,"estimated_cost_usd":0.000000000001,"latency_ms":321,"success":false}`+
		`],"next":"2"}`+"\n", w.Body.String())
	w = call(h, admin, "GET", "/usage/logs/?limit=2&before=2", "")
	answer := object(t, w, 200)
	require.Len(t, answer["logs"], 1)
	require.Contains(t, answer, "next")
	require.Nil(t, answer["next"])
}

func TestRowsOfOthersAreInvisible(t *testing.T) {
	t.Parallel()
	log := newUsageFake()
	h := newHandler(t, func(o *Options) { o.Usage = log })
	for _, query := range []string{
		"", "?user_hash=", "?user_hash=" + aliceHash, "?model=gpt-4o", "?limit=1000", "?before=1", "?user_hash=" + aliceHash + "&user_hash=" + bobHash,
	} {
		w := call(h, alice, "GET", "/usage/logs"+query, "")
		object(t, w, 200)
		require.NotContains(t, w.Body.String(), bobHash, query)
		require.Equal(t, aliceHash, log.asked.UserHash, query)
	}
	requireProblem(t, call(h, alice, "GET", "/usage/logs?user_hash="+bobHash, ""), 403)

	log.rows = nil
	require.JSONEq(t, `{"logs":[],"next":null}`, call(h, alice, "GET", "/usage/logs", "").Body.String())

	nobody := &identity.Principal{Subject: "x"}
	requireProblem(t, call(h, nobody, "GET", "/usage/logs", ""), 500) // never everybody's rows
}

func TestUsageFilters(t *testing.T) {
	t.Parallel()
	log := newUsageFake()
	h := newHandler(t, func(o *Options) { o.Usage = log })
	query := url.Values{
		"limit": {"7"}, "before": {"0"}, "user_hash": {aliceHash}, "specialist_id": {"code-reviewer"}, "model": {"gpt-4o"},
		"from": {"2026-11-01"}, "to": {"2026-11-22T10:30:00+01:00"}, "unknown": {"ignored"},
	}
	object(t, call(h, admin, "GET", "/usage/logs?"+query.Encode(), ""), 200)
	require.Equal(t, UsageFilter{
		UserHash: aliceHash, SpecialistID: "code-reviewer", Model: "gpt-4o", Before: "0", Limit: 7,
		From: time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC), To: time.Date(2026, 11, 22, 9, 30, 0, 0, time.UTC),
	}, log.asked)

	object(t, call(h, admin, "GET", "/usage/logs", ""), 200)
	require.Equal(t, UsageFilter{Limit: 50}, log.asked, "an admin sees all rows")
}

func TestBadUsageQueries(t *testing.T) {
	t.Parallel()
	h := newHandler(t, nil)
	for query, field := range map[string]string{
		"limit=0": "limit", "limit=-1": "limit", "limit=1001": "limit", "limit=ten": "limit", "limit=1e2": "limit",
		"from=yesterday": "from", "from=2026-13-01": "from", "to=1700000000": "to", "limit=%zz": "query",
	} {
		details := requireProblem(t, call(h, alice, "GET", "/usage/logs?"+query, ""), 422)["details"]
		require.Contains(t, details, field, query)
	}
}

func TestUsageLogOutageIsNotTold(t *testing.T) {
	t.Parallel()
	h := newHandler(t, func(o *Options) { o.Usage = &usageFake{err: errors.New("pq: password authentication failed")} })
	w := call(h, alice, "GET", "/usage/logs", "")
	requireProblem(t, w, 500)
	require.NotContains(t, w.Body.String(), "password")
}
