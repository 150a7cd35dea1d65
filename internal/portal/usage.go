package portal

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/financecommander/tollgate/internal/identity"
	"github.com/financecommander/tollgate/pricing"
)

// The number of rows in one answer of /usage/logs.
const (
	defaultRows = 50
	maxRows     = 1000
)

// UsageFilter says which rows of the usage log are asked for. Empty fields do
// not restrict.
type UsageFilter struct {
	UserHash     string
	SpecialistID string
	Model        string
	From, To     time.Time // From <= timestamp < To
	Before       string    // cursor: the next of an earlier page
	Limit        int
}

// UsageRow is one row as the API shows it.
type UsageRow struct {
	ID             string
	Timestamp      time.Time
	UserHash       string
	UserEmailHash  string
	SpecialistID   string
	SpecialistName string
	Provider       string
	Model          string
	InputTokens    int64
	OutputTokens   int64
	Cost           pricing.Money
	LatencyMS      int64
	Success        bool
}

// UsageLog reads the usage log.
type UsageLog interface {
	// List gives rows, newest first, and the cursor of the page that follows
	// ("" when there is none). A cursor that it did not make is an error of type
	// *llm.Error.
	List(context.Context, UsageFilter) (rows []UsageRow, next string, err error)
}

// usageRow is a row in the API's JSON. The two costs are one number under the
// names that two generations of clients know.
type usageRow struct {
	ID             string        `json:"id"`
	Timestamp      time.Time     `json:"timestamp"`
	UserHash       string        `json:"user_hash"`
	UserEmailHash  string        `json:"user_email_hash"`
	SpecialistID   string        `json:"specialist_id"`
	SpecialistName string        `json:"specialist_name"`
	Provider       string        `json:"provider"`
	Model          string        `json:"model"`
	InputTokens    int64         `json:"input_tokens"`
	OutputTokens   int64         `json:"output_tokens"`
	CostUSD        pricing.Money `json:"cost_usd"`
	EstimatedCost  pricing.Money `json:"estimated_cost_usd"`
	LatencyMS      int64         `json:"latency_ms"`
	Success        bool          `json:"success"`
}

type usagePage struct {
	Logs []usageRow `json:"logs"`
	Next *string    `json:"next"` // null on the last page
}

// usageLogs shows callers their own rows, and admins everybody's.
func (h *Handler) usageLogs(w http.ResponseWriter, r *http.Request, p *identity.Principal) error {
	filter, err := readUsageFilter(r.URL.RawQuery)
	if err != nil {
		return err
	}
	if !p.HasRole(AdminRole) {
		if p.UserHash == "" { // would ask for everybody's rows
			return errors.New("principal without user hash")
		}
		if filter.UserHash != "" && filter.UserHash != p.UserHash {
			return forbidden("only admins see the usage of others")
		}
		filter.UserHash = p.UserHash
	}
	rows, next, err := h.o.Usage.List(r.Context(), filter)
	if err != nil {
		return err
	}
	page := usagePage{Logs: make([]usageRow, len(rows))}
	for i := range rows {
		page.Logs[i] = rowOf(&rows[i])
	}
	if next != "" {
		page.Next = &next
	}
	return writeJSON(w, page)
}

func rowOf(row *UsageRow) usageRow {
	return usageRow{
		ID:             row.ID,
		Timestamp:      row.Timestamp.UTC(),
		UserHash:       row.UserHash,
		UserEmailHash:  row.UserEmailHash,
		SpecialistID:   row.SpecialistID,
		SpecialistName: row.SpecialistName,
		Provider:       row.Provider,
		Model:          row.Model,
		InputTokens:    row.InputTokens,
		OutputTokens:   row.OutputTokens,
		CostUSD:        row.Cost,
		EstimatedCost:  row.Cost,
		LatencyMS:      row.LatencyMS,
		Success:        row.Success,
	}
}

func readUsageFilter(rawQuery string) (UsageFilter, error) {
	query, err := url.ParseQuery(rawQuery)
	if err != nil {
		return UsageFilter{}, unprocessable("query", "is not a valid query string")
	}
	filter := UsageFilter{
		UserHash:     query.Get("user_hash"),
		SpecialistID: query.Get("specialist_id"),
		Model:        query.Get("model"),
		Before:       query.Get("before"),
	}
	filter.Limit, err = strconv.Atoi(cmp.Or(query.Get("limit"), strconv.Itoa(defaultRows)))
	if err != nil || filter.Limit < 1 || filter.Limit > maxRows {
		return UsageFilter{}, unprocessable("limit", "must be 1 to "+strconv.Itoa(maxRows))
	}
	if filter.From, err = readTime(query, "from"); err != nil {
		return UsageFilter{}, err
	}
	if filter.To, err = readTime(query, "to"); err != nil {
		return UsageFilter{}, err
	}
	return filter, nil
}

// readTime reads a parameter that is a time (RFC 3339) or a day, which means its
// first moment in UTC.
func readTime(query url.Values, name string) (time.Time, error) {
	text := query.Get(name)
	if text == "" {
		return time.Time{}, nil
	}
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if t, err := time.Parse(layout, text); err == nil {
			return t.UTC(), nil
		}
	}
	return time.Time{}, unprocessable(name, "must be a time such as 2026-01-31T12:00:00Z, or a day such as 2026-01-31")
}
