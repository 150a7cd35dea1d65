package run

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/financecommander/tollgate/internal/database"
	"github.com/financecommander/tollgate/internal/identity"
	"github.com/financecommander/tollgate/internal/llm"
	"github.com/financecommander/tollgate/internal/pipeline"
	"github.com/financecommander/tollgate/internal/pipeline/execute"
	"github.com/financecommander/tollgate/pricing"
)

// View is a run as its owner sees it. Its JSON is the portal's API.
type View struct {
	ID             string                `json:"pipeline_id"`
	PipelineName   string                `json:"pipeline_name"`
	Query          string                `json:"query"`
	Status         string                `json:"status"` // running, completed or failed
	Output         *string               `json:"output"`
	TotalTokens    *int64                `json:"total_tokens"`
	TotalCost      *pricing.Money        `json:"total_cost"`
	TotalCostUSD   *pricing.Money        `json:"total_cost_usd"` // the same
	DurationMS     *int64                `json:"duration_ms"`
	AgentBreakdown []pipeline.AgentUsage `json:"agent_breakdown"` // null while it runs
	ErrorCode      *string               `json:"error_code"`      // see execute.Code
	ErrorMessage   *string               `json:"error_message"`
	Attempt        int64                 `json:"attempt"`
	CreatedAt      time.Time             `json:"created_at"`
	EndedAt        *time.Time            `json:"ended_at"`
	UserHash       string                `json:"user_hash"`
	WSURL          string                `json:"ws_url"`
	Metadata       json.RawMessage       `json:"-"`
}

// metadata is what the table says of a run beside its columns: no texts.
type metadata struct {
	Agents    []string              `json:"agents"` // the steps, in the definition's order
	Breakdown []pipeline.AgentUsage `json:"breakdown,omitempty"`
	Steps     []stepNote            `json:"steps,omitempty"`
}

type stepNote struct {
	Step       string         `json:"step"`
	Status     execute.Status `json:"status"`
	DurationMS int64          `json:"duration_ms"`
}

func (m metadata) json() string {
	text, _ := json.Marshal(m) // a struct of texts and numbers
	return string(text)
}

func metadataOf(r *database.PipelineRun) (m metadata) {
	_ = json.Unmarshal([]byte(r.MetadataJSON), &m) // ours; else it says nothing
	return m
}

// view is a run's row as people see it. Texts that cannot be opened, as under
// another secret, are left out, as are those that are not the reader's to see.
func (s *Service) view(r *database.PipelineRun, texts bool) *View {
	v := &View{
		ID: r.ID, PipelineName: r.PipelineName, Status: r.Status, Attempt: r.Attempt, CreatedAt: r.CreatedAt, EndedAt: r.EndedAt,
		UserHash: r.UserHash, WSURL: "/api/v2/pipelines/ws/" + r.ID, Metadata: json.RawMessage(r.MetadataJSON),
	}
	if texts {
		query, _ := s.open(r.UserHash, r.ID, partQuery, r.Query)
		v.Query = string(query)
	}
	if r.Status == database.RunRunning {
		return v
	}
	if texts && r.Status == database.RunCompleted {
		if output, ok := s.open(r.UserHash, r.ID, partOutput, r.Output); ok {
			v.Output = new(string(output))
		}
	}
	cost := pricing.Money(r.TotalCostPicodollars)
	v.TotalTokens, v.TotalCost, v.TotalCostUSD, v.DurationMS = &r.TotalTokens, &cost, &cost, &r.DurationMS
	if v.AgentBreakdown = metadataOf(r).Breakdown; v.AgentBreakdown == nil {
		v.AgentBreakdown = []pipeline.AgentUsage{}
	}
	if r.Status == database.RunFailed {
		v.ErrorCode, v.ErrorMessage = &r.ErrorCode, &r.ErrorMessage
	}
	return v
}

// Get gives a run that its caller may see: their own, or as admin any. Who may not
// see it is told that there is none.
func (s *Service) Get(ctx context.Context, caller *identity.Principal, id string) (*View, error) {
	row, err := s.row(ctx, caller, id)
	if err != nil {
		return nil, err
	}
	return s.view(row, true), nil
}

// row gives the row of a run that a caller may see.
func (s *Service) row(ctx context.Context, caller *identity.Principal, id string) (*database.PipelineRun, error) {
	if _, err := uuid.Parse(id); err != nil || caller == nil || len(id) != 36 {
		return nil, noRun()
	}
	ctx, cancel := context.WithTimeout(ctx, dbTimeout)
	defer cancel()
	row, err := s.db.Run(ctx, strings.ToLower(id))
	switch {
	case errors.Is(err, database.ErrNotFound):
		return nil, noRun()
	case err != nil:
		return nil, away(err)
	case !mayRead(caller, row.UserHash):
		return nil, noRun()
	}
	return row, nil
}

// mayRead says whether a caller may read a user's run.
func mayRead(caller *identity.Principal, user string) bool {
	return caller != nil && (caller.UserHash == user || caller.Role() == identity.RoleAdmin)
}

// Filter says which runs are wanted; zero fields but Caller do not matter.
type Filter struct {
	// Caller is who asks. Users get their own runs alone; viewers everybody's, but
	// without the texts of those that are not theirs.
	Caller   *identity.Principal
	UserHash string // empty: everybody's, which only admins and viewers may ask for
	Pipeline string
	Status   string
	From, To time.Time
	Before   string // the "next" of an earlier page
	Limit    int    // 1 to 500
}

// maxPage is the most runs that a page has.
const maxPage = 500

// List gives a page of runs, newest first, and the next page's Before. Outputs are
// left out, since they may be large.
func (s *Service) List(ctx context.Context, f Filter) (list []View, next string, err error) {
	if f.Caller == nil || f.Caller.Role() == identity.RoleUser && f.UserHash != f.Caller.UserHash {
		return nil, "", &llm.Error{Cause: llm.CauseForbidden, Message: "these are not your runs"}
	}
	if f.Before != "" && uuid.Validate(f.Before) != nil {
		return nil, "", wrong("before", "is no page's next")
	}
	f.Limit = max(1, min(f.Limit, maxPage))
	filter := database.RunFilter{
		UserHash: f.UserHash, Pipeline: f.Pipeline, Status: f.Status, From: f.From, To: f.To, Before: f.Before, Limit: f.Limit + 1,
	}
	if !f.From.IsZero() {
		filter.FromID = firstID(f.From)
	}
	ctx, cancel := context.WithTimeout(ctx, dbTimeout)
	defer cancel()
	rows, err := s.db.ListRuns(ctx, filter)
	if err != nil {
		return nil, "", away(err)
	}
	if len(rows) > f.Limit {
		rows = rows[:f.Limit]
		next = rows[f.Limit-1].ID
	}
	list = make([]View, len(rows))
	for i := range rows {
		list[i] = *s.view(&rows[i], mayRead(f.Caller, rows[i].UserHash))
	}
	return list, next, nil
}

// idMargin is more than the time between an id and its row's creation.
const idMargin = time.Second

// firstID is below the id of any run that was made at a time or later: ids begin
// with their milliseconds (RFC 9562, section 5.7).
func firstID(t time.Time) string {
	ms := max(0, t.Add(-idMargin).UnixMilli())
	var id uuid.UUID
	for i := range 6 {
		id[i] = byte(ms >> (40 - 8*i))
	}
	return id.String()
}

// mergeUsage is the breakdown that follows from the one that a run has and from the
// usage log's rows: of each step whatever knows of more calls, since rows are never
// taken back, but may come late. Steps are in the definition's order.
func mergeUsage(m metadata, rows []database.RunUsage) []pipeline.AgentUsage {
	known := make(map[string]pipeline.AgentUsage, len(m.Breakdown))
	order := slices.Clone(m.Agents)
	for _, u := range m.Breakdown {
		known[u.Agent] = u
		order = append(order, u.Agent)
	}
	for _, row := range rows {
		if row.Calls >= known[row.Step].Calls {
			known[row.Step] = pipeline.AgentUsage{
				Agent: row.Step, Model: row.Model, InputTokens: row.InputTokens, OutputTokens: row.OutputTokens,
				TotalTokens: row.InputTokens + row.OutputTokens, Cost: pricing.Money(row.CostPicodollars), Calls: row.Calls,
			}
		}
		order = append(order, row.Step)
	}
	merged := make([]pipeline.AgentUsage, 0, len(order))
	done := make(map[string]bool, len(order))
	for _, agent := range order {
		if !done[agent] {
			done[agent] = true
			usage := known[agent]
			usage.Agent = agent
			merged = append(merged, usage)
		}
	}
	return merged
}

// totals are the sum of a breakdown.
func totals(breakdown []pipeline.AgentUsage) (t database.RunTotals) {
	var cost pricing.Money
	for _, u := range breakdown {
		t.InputTokens = sum(t.InputTokens, u.InputTokens)
		t.OutputTokens = sum(t.OutputTokens, u.OutputTokens)
		cost = cost.Add(u.Cost)
	}
	t.TotalTokens, t.TotalCostPicodollars = sum(t.InputTokens, t.OutputTokens), int64(cost)
	return t
}

// sum stops at the largest number.
func sum(a, b int64) int64 {
	if a > math.MaxInt64-b {
		return math.MaxInt64
	}
	return a + b
}
