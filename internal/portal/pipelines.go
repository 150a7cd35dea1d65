package portal

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/financecommander/tollgate/internal/identity"
	"github.com/financecommander/tollgate/internal/llm"
	"github.com/financecommander/tollgate/internal/pipeline"
	"github.com/financecommander/tollgate/internal/pipeline/catalog"
	"github.com/financecommander/tollgate/internal/pipeline/run"
)

const (
	// maxPipelines are as many as a list has.
	maxPipelines = 1000
	// maxIdempotencyKey is the longest name of a request, in bytes.
	maxIdempotencyKey = 255
)

func (h *Handler) pipelineRoutes() {
	list := methods{http.MethodGet: forUsers(h.listPipelines)}
	h.handle("/pipelines", list)
	h.handle("/api/v2/pipelines/list", list)
	h.handle("/api/v2/pipelines/run", methods{http.MethodPost: h.pipelines(h.runPipeline)})
	h.runRoutes()
	h.handle("/api/v2/pipelines/ws/{id}", methods{http.MethodGet: h.runSocket})
}

// on tells whether pipelines can be run.
func (o *PipelineOptions) on() bool { return o.Catalog != nil && o.Runs != nil && o.Executor != nil }

// pipelines passes on requests of users while there are pipelines.
func (h *Handler) pipelines(serve callerFunc) handlerFunc {
	return forUsers(func(w http.ResponseWriter, r *http.Request, p *identity.Principal) error {
		if !h.o.Pipelines.on() {
			return pipelinesOff()
		}
		if p.UserHash == "" { // would be everybody who has none
			return errors.New("principal without user hash")
		}
		return serve(w, r, p)
	})
}

// pipelineItem is a pipeline as a list shows it.
type pipelineItem struct {
	Name        string          `json:"name"`
	DisplayName string          `json:"display_name"`
	Description string          `json:"description"`
	Agents      []pipelineAgent `json:"agents"`
	Type        string          `json:"type"`
	Category    string          `json:"category"`
}

// pipelineAgent is a step as a list shows it.
type pipelineAgent struct {
	Name  string `json:"name"`
	Goal  string `json:"goal"`
	Model string `json:"model"`
}

// listPipelines lists what the caller may run now. Where pipelines are turned off
// there are none, and pages that ask for them load.
func (h *Handler) listPipelines(w http.ResponseWriter, _ *http.Request, p *identity.Principal) error {
	list := []pipelineItem{}
	if o := &h.o.Pipelines; o.on() {
		for _, e := range o.Catalog.List() {
			if len(list) < maxPipelines && o.offers(p, e) {
				list = append(list, h.itemOf(e.Plan))
			}
		}
	}
	return writeJSON(w, map[string]any{"pipelines": list, "count": len(list)})
}

// offers tells whether a caller may run a pipeline now.
func (o *PipelineOptions) offers(p *identity.Principal, e *catalog.Entry) bool {
	return o.Executor != nil && o.Catalog.Faults(e) == nil && o.Executor.MayRun(p, e.Plan) == nil
}

func (h *Handler) itemOf(plan *pipeline.Plan) pipelineItem {
	d := &plan.Definition
	item := pipelineItem{
		Name: d.Name, DisplayName: cmp.Or(d.DisplayName, d.Name), Description: d.Description,
		Agents: make([]pipelineAgent, len(plan.Steps)), Type: "multi_agent", Category: d.Category,
	}
	if len(plan.Steps) == 1 {
		item.Type = "single"
	}
	for i, step := range plan.Steps {
		item.Agents[i] = pipelineAgent{Name: step.Name, Goal: step.Goal, Model: h.modelOf(&step.Step)}
	}
	return item
}

// modelOf is what does a step: the model's name, or the kind of a step that asks
// none.
func (h *Handler) modelOf(step *pipeline.Step) string {
	switch {
	case step.Kind() != pipeline.KindModel:
		return string(step.Kind())
	case step.Specialist == "":
		return step.Model
	}
	if s, ok := h.o.Specialists.Get(step.Specialist); ok {
		return s.Model
	}
	return step.Specialist // it went away just now
}

// runPipeline starts a run and answers at once.
func (h *Handler) runPipeline(w http.ResponseWriter, r *http.Request, p *identity.Principal) error {
	begin, err := h.readRun(w, r)
	if err != nil {
		return err
	}
	o := &h.o.Pipelines
	if refused := o.Executor.MayRun(p, begin.Plan); refused != nil {
		return refused
	}
	if begin.Release, err = o.hold(); err != nil {
		return err
	}
	begin.Caller, begin.Executor = p, o.Executor
	v, _, err := o.Runs.Begin(r.Context(), begin)
	if err != nil {
		return runProblem(err)
	}
	return writeJSON(w, v)
}

// readRun reads what is to be run.
func (h *Handler) readRun(w http.ResponseWriter, r *http.Request) (run.Begin, error) {
	var request struct {
		PipelineName   string `json:"pipeline_name"`
		Query          string `json:"query"`
		IdempotencyKey string `json:"idempotency_key"`
	}
	if err := readJSON(w, r, &request); err != nil {
		return run.Begin{}, err
	}
	key := cmp.Or(request.IdempotencyKey, r.Header.Get("Idempotency-Key"))
	switch {
	case request.PipelineName == "":
		return run.Begin{}, unprocessable("pipeline_name", "must be given")
	case strings.TrimSpace(request.Query) == "":
		return run.Begin{}, unprocessable("query", "must be given")
	case len(request.Query) > run.MaxQuery:
		return run.Begin{}, unprocessable("query", fmt.Sprintf("is longer than %d KiB", run.MaxQuery>>10))
	case len(key) > maxIdempotencyKey:
		return run.Begin{}, unprocessable("idempotency_key", "is longer than "+strconv.Itoa(maxIdempotencyKey)+" bytes")
	}
	entry, ok := h.o.Pipelines.Catalog.Get(request.PipelineName)
	if !ok {
		return run.Begin{}, &llm.Error{Cause: llm.CauseNotFound, Message: "there is no pipeline of this name"}
	}
	if faults := h.o.Pipelines.Catalog.Faults(entry); faults != nil {
		return run.Begin{}, cannotRun(entry.Plan, faults)
	}
	return run.Begin{Plan: entry.Plan, Query: request.Query, IdempotencyKey: key}, nil
}

// cannotRun says which step of a pipeline refers to what is not there now.
func cannotRun(plan *pipeline.Plan, faults *pipeline.Faults) error {
	message := "the pipeline " + strconv.Quote(plan.Definition.Name) + " cannot be run at the moment"
	if len(faults.List) > 0 {
		first := faults.List[0]
		var step int
		if _, err := fmt.Sscanf(first.Path, "steps[%d]", &step); err == nil && step >= 0 && step < len(plan.Steps) {
			message += ": step " + strconv.Quote(plan.Steps[step].Name)
		}
		message += ": " + first.Message
	}
	return &llm.Error{Cause: llm.CauseUnavailable, Message: message}
}

// hold keeps the configuration alive for a run.
func (o *PipelineOptions) hold() (release func(), err error) {
	if o.Hold == nil {
		return func() {}, nil
	}
	release, ok := o.Hold()
	if !ok {
		return nil, &llm.Error{
			Cause: llm.CauseUnavailable, RetryAfter: soon, Message: "the gateway's configuration is being replaced; try again shortly",
		}
	}
	return release, nil
}
