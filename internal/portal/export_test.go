package portal

import (
	"bufio"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/database"
	"github.com/financecommander/tollgate/internal/identity"
	"github.com/financecommander/tollgate/internal/usage"
)

// endlessLog has as many rows as are wanted of it, and counts its pages.
type endlessLog struct {
	usageFake
	rows  int          // 0: no end
	fail  int64        // the page that fails; 0: none
	pages atomic.Int64 // that were asked for
	given int
}

func (e *endlessLog) ListUsage(ctx context.Context, filter database.UsageFilter) ([]string, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if e.pages.Add(1) == e.fail {
		return nil, errors.New("connection reset")
	}
	if filter.BeforeID != "" {
		e.given-- // the last row of a page only says that there is another
	}
	n := filter.Limit
	if e.rows > 0 {
		n = min(n, e.rows-e.given)
	}
	e.given += n
	row := string(e.records[0].AppendJSON(nil))
	rows := make([]string, n)
	for i := range rows {
		rows[i] = row
	}
	return rows, nil
}

// download asks a real server for an export.
func download(t *testing.T, h http.Handler, p *identity.Principal, query string) *http.Response {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.ServeHTTP(w, r.WithContext(identity.NewContext(r.Context(), p)))
	}))
	t.Cleanup(server.Close)
	response, err := server.Client().Get(server.URL + "/usage/export" + query)
	require.NoError(t, err)
	t.Cleanup(func() { _ = response.Body.Close() })
	return response
}

func TestExportFormats(t *testing.T) {
	t.Parallel()
	log := newUsageFake()
	first := log.records[0]
	first.SpecialistName, first.Model, first.RequestID = "=cmd|'/C calc'!A0", "+1,\"x\"", "\t1"
	first.TTFT = 80 * time.Millisecond
	h := newHandler(t, func(o *Options) { o.Usage = log })

	response := download(t, checked(h), admin, "?from=2026-11-01&to=2026-12-01T00:00:00Z")
	require.Equal(t, "application/json", response.Header.Get("Content-Type"))
	require.Equal(t, `attachment; filename="tollgate-usage-from-20261101T000000Z-to-20261201T000000Z.json"`, response.Header.Get("Content-Disposition"))
	var whole struct {
		Logs      []map[string]any
		Truncated bool
	}
	require.NoError(t, json.NewDecoder(response.Body).Decode(&whole))
	require.Len(t, whole.Logs, 3)
	require.False(t, whole.Truncated)
	require.Equal(t, first.SpecialistName, whole.Logs[0]["specialist_name"], "JSON needs no guard")
	require.InDelta(t, 80, whole.Logs[0]["ttft_ms"], 0)
	require.Nil(t, whole.Logs[1]["ttft_ms"])

	response = download(t, checked(h), alice, "?format=ndjson")
	require.Equal(t, "application/x-ndjson", response.Header.Get("Content-Type"))
	lines := bufio.NewScanner(response.Body)
	n := 0
	for ; lines.Scan(); n++ {
		var row map[string]any
		require.NoError(t, json.Unmarshal(lines.Bytes(), &row))
		require.Equal(t, aliceHash, row["user_hash"])
	}
	require.Equal(t, 2, n)
	require.Equal(t, "false", response.Trailer.Get("X-Tollgate-Truncated"))

	response = download(t, checked(h), admin, "?format=csv")
	require.Equal(t, "text/csv; charset=utf-8", response.Header.Get("Content-Type"))
	require.Equal(t, `attachment; filename="tollgate-usage.csv"`, response.Header.Get("Content-Disposition"))
	rows, err := csv.NewReader(response.Body).ReadAll()
	require.NoError(t, err)
	require.Len(t, rows, 4)
	cells := map[string]string{}
	for i, name := range rows[0] {
		cells[name] = rows[1][i]
	}
	require.Len(t, cells, len(whole.Logs[0])-1, "every member has its column; the cost, which JSON has twice, one")
	require.Equal(t, "'=cmd|'/C calc'!A0", cells["specialist_name"])
	require.Equal(t, `'+1,"x"`, cells["model"])
	require.Equal(t, "'\t1", cells["request_id"])
	require.Equal(t, "0.0075", cells["cost_usd"])
	require.Equal(t, "80", cells["ttft_ms"])
	require.Equal(t, "2026-11-22T09:00:00.123456Z", cells["timestamp"])

	log.records = nil
	body, err := io.ReadAll(download(t, checked(h), admin, "").Body)
	require.NoError(t, err)
	require.JSONEq(t, `{"logs":[],"truncated":false}`, string(body))
}

func TestCells(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"": "", "plain": "plain", "a=b": "a=b", "=1": "'=1", "+1": "'+1", "-1": "'-1", "@x": "'@x", "\tx": "'\tx", "\rx": "'\rx", "\nx": "'\nx",
	} {
		require.Equal(t, want, cell(text))
	}
}

// An export of many pages is whole, and has an end.
func TestExportPages(t *testing.T) {
	t.Parallel()
	log := &endlessLog{usageFake: *newUsageFake(), rows: 2*usage.MaxLimit + 7}
	h := newHandler(t, func(o *Options) { o.Usage = log })
	body, err := io.ReadAll(download(t, h, admin, "?format=ndjson").Body)
	require.NoError(t, err)
	require.Equal(t, log.rows, strings.Count(string(body), "\n"))
	require.EqualValues(t, 3, log.pages.Load())

	response := download(t, newHandler(t, func(o *Options) {
		o.Usage, o.MaxExport = &endlessLog{usageFake: *newUsageFake()}, 2500
	}), admin, "?format=csv")
	rows := 0
	for lines := bufio.NewScanner(response.Body); lines.Scan(); {
		rows++
	}
	require.Equal(t, 2501, rows)
	require.Equal(t, "true", response.Trailer.Get("X-Tollgate-Truncated"))
}

// What breaks in the middle does not look whole.
func TestBrokenExport(t *testing.T) {
	t.Parallel()
	for _, format := range []string{"json", "ndjson", "csv"} {
		h := newHandler(t, func(o *Options) { o.Usage = &endlessLog{usageFake: *newUsageFake(), fail: 4} })
		_, err := io.ReadAll(download(t, h, admin, "?format="+format).Body)
		require.ErrorIs(t, err, io.ErrUnexpectedEOF, format)
	}
}

// An export ends when nobody reads it any more.
func TestExportOfSomebodyGone(t *testing.T) {
	t.Parallel()
	log := &endlessLog{usageFake: *newUsageFake()}
	h := newHandler(t, func(o *Options) { o.Usage = log })
	done := make(chan struct{})
	response := download(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer close(done)
		h.ServeHTTP(w, r)
	}), admin, "?format=ndjson")
	_, err := io.ReadFull(response.Body, make([]byte, 1000))
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		require.Fail(t, "it goes on")
	}
	require.Less(t, log.pages.Load(), int64(DefaultMaxExport/usage.MaxLimit))
}

func TestHeadOfAnExportReadsNothing(t *testing.T) {
	t.Parallel()
	log := &endlessLog{usageFake: *newUsageFake()}
	h := newHandler(t, func(o *Options) { o.Usage = log })
	w := call(h, admin, "HEAD", "/usage/export?format=csv", "")
	require.Equal(t, 200, w.Code)
	require.Equal(t, "text/csv; charset=utf-8", w.Header().Get("Content-Type"))
	require.Zero(t, log.pages.Load())
}
