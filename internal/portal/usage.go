package portal

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/financecommander/tollgate/internal/identity"
	"github.com/financecommander/tollgate/internal/llm"
	"github.com/financecommander/tollgate/internal/usage"
	"github.com/financecommander/tollgate/pricing"
)

// UsageLog is the database, seen by who reads the usage log.
type UsageLog interface {
	usage.Lister
	usage.Summarizer
}

func (h *Handler) usageRoutes() {
	h.handle("/usage", methods{http.MethodGet: h.withUsage(h.usageSummary)})
	h.handle("/usage/summary", methods{http.MethodGet: h.withUsage(h.usageSummary)})
	h.handle("/usage/logs", methods{http.MethodGet: h.withUsage(h.usageLogs)})
	h.handle("/usage/export", methods{http.MethodGet: h.withUsage(h.usageExport)})
}

// withUsage passes on known callers' requests while there is a usage log.
func (h *Handler) withUsage(serve callerFunc) handlerFunc {
	return authenticated(func(w http.ResponseWriter, r *http.Request, p *identity.Principal) error {
		if h.o.Usage == nil {
			return &llm.Error{Cause: llm.CauseNotFound, Message: "the usage log is turned off on this gateway"}
		}
		return serve(w, r, p)
	})
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
	filter, _, err := readUsageFilter(r, p)
	if err != nil {
		return err
	}
	records, err := usage.List(r.Context(), h.o.Usage, filter)
	if err != nil {
		return usageProblem(err)
	}
	page := usagePage{Logs: make([]usageRow, len(records.Records))}
	for i := range records.Records {
		page.Logs[i] = rowOf(&records.Records[i])
	}
	if records.Next != "" {
		page.Next = &records.Next
	}
	return writeJSON(w, page)
}

func rowOf(r *usage.Record) usageRow {
	return usageRow{
		ID:             r.ID.String(),
		Timestamp:      r.Timestamp.UTC(),
		UserHash:       r.UserHash,
		UserEmailHash:  r.UserEmailHash,
		SpecialistID:   r.SpecialistID,
		SpecialistName: r.SpecialistName,
		Provider:       r.Provider,
		Model:          r.Model,
		InputTokens:    r.InputTokens,
		OutputTokens:   r.OutputTokens,
		CostUSD:        r.Cost,
		EstimatedCost:  r.Cost,
		LatencyMS:      r.Latency.Round(time.Millisecond).Milliseconds(),
		Success:        r.Success,
	}
}

// usageProblem gives the error that callers see when the log cannot be read.
func usageProblem(err error) error {
	if errors.Is(err, usage.ErrBadCursor) {
		return unprocessable("before", `must be the "next" of an earlier answer`)
	}
	return &llm.Error{
		Cause: llm.CauseUnavailable, RetryAfter: 5 * time.Second, Err: fmt.Errorf("read the usage log: %w", err),
		Message: "the usage log cannot be read at the moment; try again shortly",
	}
}

// readUsageFilter reads which rows are asked for, and lets users have none but
// their own.
func readUsageFilter(r *http.Request, p *identity.Principal) (usage.Filter, url.Values, error) {
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return usage.Filter{}, nil, unprocessable("query", "is not a valid query string")
	}
	filter, err := usageFilterOf(query)
	if err != nil {
		return usage.Filter{}, nil, err
	}
	filter.UserHash, err = whose(p, filter.UserHash)
	return filter, query, err
}

// whose says which user's rows a caller gets who asked for those of a user, or for
// all: users have none but their own.
func whose(p *identity.Principal, asked string) (userHash string, err error) {
	switch {
	case p.Role() != identity.RoleUser:
		return asked, nil
	case p.UserHash == "": // would ask for everybody's rows
		return "", errors.New("principal without user hash")
	case asked != "" && asked != p.UserHash:
		return "", forbidden("only admins and viewers see the usage of others")
	}
	return p.UserHash, nil
}

func usageFilterOf(query url.Values) (filter usage.Filter, err error) {
	filter = usage.Filter{
		UserHash:     query.Get("user_hash"),
		SpecialistID: query.Get("specialist_id"),
		Model:        query.Get("model"),
		RunID:        query.Get("run_id"),
		Before:       query.Get("before"),
	}
	filter.Limit, err = strconv.Atoi(cmp.Or(query.Get("limit"), strconv.Itoa(usage.DefaultLimit)))
	if err != nil || filter.Limit < 1 || filter.Limit > usage.MaxLimit {
		return usage.Filter{}, unprocessable("limit", "must be 1 to "+strconv.Itoa(usage.MaxLimit))
	}
	if filter.From, err = readTime(query, "from"); err != nil {
		return usage.Filter{}, err
	}
	if filter.To, err = readTime(query, "to"); err != nil {
		return usage.Filter{}, err
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
