package portal

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/google/uuid"

	"github.com/financecommander/tollgate/internal/identity"
	"github.com/financecommander/tollgate/internal/llm"
	"github.com/financecommander/tollgate/internal/pipeline/run"
	"github.com/financecommander/tollgate/pricing"
)

const (
	// defaultRuns is how many runs a list has unless asked, maxRuns at most.
	defaultRuns = 20
	maxRuns     = 500
	// soon is when to try again what a dependency could not do.
	soon = 5 * time.Second
)

func (h *Handler) runRoutes() {
	h.handle("/api/v2/pipelines/runs", methods{http.MethodGet: h.pipelines(h.listRuns)})
	h.handle("/api/v2/pipelines/runs/{id}", methods{http.MethodGet: h.oneRun(h.getRun)})
	h.handle("/api/v2/pipelines/runs/{id}/cancel", methods{http.MethodPost: h.oneRun(h.cancelRun)})
	h.handle("/api/v2/pipelines/runs/{id}/resume", methods{http.MethodPost: h.oneRun(h.resumeRun)})
	h.handle("/usage/pipelines", methods{http.MethodGet: authenticated(h.runsUsage)})
}

// oneRun passes on requests for a run whose id may be one.
func (h *Handler) oneRun(serve callerFunc) handlerFunc {
	return h.pipelines(func(w http.ResponseWriter, r *http.Request, p *identity.Principal) error {
		if uuid.Validate(r.PathValue("id")) != nil {
			return noSuchRun()
		}
		return serve(w, r, p)
	})
}

func noSuchRun() error {
	return &llm.Error{Cause: llm.CauseNotFound, Message: "there is no such run"}
}

// runProblem makes of an error of the database's one that a caller may see.
func runProblem(err error) error {
	if _, ok := errors.AsType[*llm.Error](err); err == nil || ok {
		return err
	}
	return &llm.Error{
		Cause: llm.CauseUnavailable, RetryAfter: soon, Err: fmt.Errorf("pipeline runs: %w", err),
		Message: "pipeline runs cannot be reached at the moment; try again shortly",
	}
}

// answerRun answers with a run, or says why there is none.
func answerRun(w http.ResponseWriter, v *run.View, err error) error {
	if err != nil {
		return runProblem(err)
	}
	return writeJSON(w, v)
}

func (h *Handler) getRun(w http.ResponseWriter, r *http.Request, p *identity.Principal) error {
	v, err := h.o.Pipelines.Runs.Get(r.Context(), p, r.PathValue("id"))
	return answerRun(w, v, err)
}

func (h *Handler) cancelRun(w http.ResponseWriter, r *http.Request, p *identity.Principal) error {
	v, err := h.o.Pipelines.Runs.Cancel(r.Context(), p, r.PathValue("id"))
	return answerRun(w, v, err)
}

func (h *Handler) resumeRun(w http.ResponseWriter, r *http.Request, p *identity.Principal) error {
	o := &h.o.Pipelines
	release, err := o.hold()
	if err != nil {
		return err
	}
	v, err := o.Runs.Resume(r.Context(), p, r.PathValue("id"), o.Executor, release)
	return answerRun(w, v, err)
}

// listRuns shows callers their own runs, and admins everybody's.
func (h *Handler) listRuns(w http.ResponseWriter, r *http.Request, p *identity.Principal) error {
	runs, next, err := h.readRuns(r, p)
	if err != nil {
		return err
	}
	return writeJSON(w, map[string]any{"runs": runs, "next": next})
}

// usageRun is a run in the usage log. The two costs are one number under the names
// that two generations of clients know. What a run that is under way has used is
// not known yet and 0, as clients do sums with it.
type usageRun struct {
	ID           string        `json:"pipeline_id"`
	PipelineName string        `json:"pipeline_name"`
	Query        string        `json:"query"`
	Status       string        `json:"status"`
	TotalTokens  int64         `json:"total_tokens"`
	TotalCost    pricing.Money `json:"total_cost"`
	TotalCostUSD pricing.Money `json:"total_cost_usd"`
	DurationMS   int64         `json:"duration_ms"`
	ErrorMessage *string       `json:"error_message"`
	CreatedAt    time.Time     `json:"created_at"`
}

// runsUsage shows what runs used. Viewers see everybody's but not what others
// asked.
func (h *Handler) runsUsage(w http.ResponseWriter, r *http.Request, p *identity.Principal) error {
	if !h.o.Pipelines.on() { // pages that ask for them load
		return writeJSON(w, map[string]any{"runs": []usageRun{}, "next": nil})
	}
	runs, next, err := h.readRuns(r, p)
	if err != nil {
		return err
	}
	rows := make([]usageRun, len(runs))
	for i := range runs {
		v := &runs[i]
		rows[i] = usageRun{
			ID: v.ID, PipelineName: v.PipelineName, Query: v.Query, Status: v.Status,
			TotalTokens: or0(v.TotalTokens), TotalCost: or0(v.TotalCost), TotalCostUSD: or0(v.TotalCost),
			DurationMS: or0(v.DurationMS), ErrorMessage: v.ErrorMessage, CreatedAt: v.CreatedAt,
		}
	}
	return writeJSON(w, map[string]any{"runs": rows, "next": next})
}

// or0 is what p points at, or nothing.
func or0[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}

// readRuns reads the page of runs that is asked for; next is nil on the last one.
func (h *Handler) readRuns(r *http.Request, p *identity.Principal) (runs []run.View, next *string, err error) {
	filter, err := readRunFilter(r, p)
	if err != nil {
		return nil, nil, err
	}
	runs, before, err := h.o.Pipelines.Runs.List(r.Context(), filter)
	if err != nil {
		return nil, nil, runProblem(err)
	}
	if runs == nil {
		runs = []run.View{}
	}
	if before != "" {
		next = &before
	}
	return runs, next, nil
}

var runStatuses = []string{"running", "completed", "failed"}

// readRunFilter reads which runs are asked for, and lets users have none but their
// own.
func readRunFilter(r *http.Request, p *identity.Principal) (filter run.Filter, err error) {
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return run.Filter{}, unprocessable("query", "is not a valid query string")
	}
	filter = run.Filter{
		Caller: p, Pipeline: query.Get("pipeline_name"), Status: query.Get("status"), Before: query.Get("before"),
	}
	if filter.Status != "" && !slices.Contains(runStatuses, filter.Status) {
		return run.Filter{}, unprocessable("status", "must be running, completed or failed")
	}
	filter.Limit, err = strconv.Atoi(cmp.Or(query.Get("limit"), strconv.Itoa(defaultRuns)))
	if err != nil || filter.Limit < 1 || filter.Limit > maxRuns {
		return run.Filter{}, unprocessable("limit", "must be 1 to "+strconv.Itoa(maxRuns))
	}
	if filter.From, err = readTime(query, "from"); err != nil {
		return run.Filter{}, err
	}
	if filter.To, err = readTime(query, "to"); err != nil {
		return run.Filter{}, err
	}
	filter.UserHash, err = whose(p, query.Get("user_hash"))
	return filter, err
}
