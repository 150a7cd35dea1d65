package portal

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"math/big"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/financecommander/tollgate/internal/database"
	"github.com/financecommander/tollgate/internal/identity"
	"github.com/financecommander/tollgate/internal/usage"
)

// The range of a summary: the last 30 days by default, today included, and never
// more than a leap year, so that what a summary costs has a bound.
const (
	summaryDays    = 30
	maxSummaryDays = 366
	summaryTimeout = 30 * time.Second
)

// usageSums are sums in the API's JSON. The percentiles are null where nothing
// was measured.
type usageSums struct {
	Requests     int64       `json:"requests"`
	Errors       int64       `json:"errors"`
	InputTokens  int64       `json:"input_tokens"`
	OutputTokens int64       `json:"output_tokens"`
	TotalTokens  int64       `json:"total_tokens"`
	CostUSD      json.Number `json:"cost_usd"`
	LatencyP50   *int64      `json:"latency_p50_ms"`
	LatencyP95   *int64      `json:"latency_p95_ms"`
	TTFTP50      *int64      `json:"ttft_p50_ms"`
	TTFTP95      *int64      `json:"ttft_p95_ms"`
	Unpriced     int64       `json:"unpriced"`
}

type usageGroup struct {
	Key  string `json:"key"`
	Name string `json:"name,omitempty"`
	usageSums
}

type usageSummary struct {
	Totals  usageSums           `json:"totals"`
	Groups  []usageGroup        `json:"groups"`
	GroupBy database.UsageGroup `json:"group_by"`
	From    time.Time           `json:"from"`
	To      time.Time           `json:"to"`
}

// usageSummary adds up callers' own rows, and for admins and viewers everybody's.
func (h *Handler) usageSummary(w http.ResponseWriter, r *http.Request, p *identity.Principal) error {
	filter, query, err := readUsageFilter(r, p)
	if err != nil {
		return err
	}
	by, err := readGroup(query, p)
	if err != nil {
		return err
	}
	if filter.From, filter.To, err = summaryRange(filter.From, filter.To, time.Now()); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(r.Context(), summaryTimeout)
	defer cancel()
	sums, err := usage.Summarize(ctx, h.o.Usage, filter, by)
	if err != nil {
		return usageProblem(err)
	}
	answer := usageSummary{
		Totals: sumsOf(&sums.Total), Groups: make([]usageGroup, len(sums.Groups)),
		GroupBy: by, From: filter.From, To: filter.To,
	}
	for i := range sums.Groups {
		sum := &sums.Groups[i]
		answer.Groups[i] = usageGroup{Key: sum.Key, usageSums: sumsOf(sum)}
		if by == database.UsageBySpecialist {
			answer.Groups[i].Name = h.specialistName(sum)
		}
	}
	return writeJSON(w, answer)
}

// specialistName is what a specialist is called today, or was in the log.
func (h *Handler) specialistName(sum *database.UsageSum) string {
	if h.o.Specialists != nil {
		if s, ok := h.o.Specialists.Get(sum.Key); ok && s.ID == sum.Key {
			return s.Name
		}
	}
	return sum.Name
}

func readGroup(query url.Values, p *identity.Principal) (database.UsageGroup, error) {
	by := database.UsageGroup(cmp.Or(query.Get("group_by"), string(database.UsageByDay)))
	if !slices.Contains(usage.Groups, by) {
		return "", unprocessable("group_by", "must be day, model, specialist or user")
	}
	if by == database.UsageByUser && p.Role() == identity.RoleUser {
		return "", forbidden("only admins and viewers see the usage of others")
	}
	return by, nil
}

// summaryRange fills in the ends that were not given: up to the end of today, and
// from 30 days before the end on.
func summaryRange(from, to, now time.Time) (time.Time, time.Time, error) {
	if to.IsZero() {
		to = now.UTC().Truncate(24*time.Hour).AddDate(0, 0, 1) // Truncate counts in days of UTC
	}
	if from.IsZero() {
		from = to.AddDate(0, 0, -summaryDays)
	}
	if !from.Before(to) {
		return from, to, unprocessable("from", "must be before to")
	}
	if to.Sub(from) > maxSummaryDays*24*time.Hour {
		return from, to, unprocessable("from", fmt.Sprintf("must be at most %d days before to", maxSummaryDays))
	}
	return from, to, nil
}

func sumsOf(s *database.UsageSum) usageSums {
	return usageSums{
		Requests: s.Requests, Errors: s.Errors,
		InputTokens: s.InputTokens, OutputTokens: s.OutputTokens, TotalTokens: s.InputTokens + s.OutputTokens,
		CostUSD:    dollars(s.Cost),
		LatencyP50: s.LatencyP50, LatencyP95: s.LatencyP95, TTFTP50: s.TTFTP50, TTFTP95: s.TTFTP95,
		Unpriced: s.Unpriced,
	}
}

// dollars writes picodollars as an exact number of USD. A sum may be more than
// pricing.Money can say.
func dollars(picodollars *big.Int) json.Number {
	digits := fmt.Sprintf("%013d", picodollars)
	point := len(digits) - 12
	return json.Number(strings.TrimSuffix(strings.TrimRight(digits[:point]+"."+digits[point:], "0"), "."))
}
