package portal

import (
	"net/http"

	"github.com/financecommander/tollgate/internal/identity"
	"github.com/financecommander/tollgate/internal/llm"
)

// This gateway has no pipelines. Its answers say so truthfully, so that the
// pages of a frontend that asks for them load: there are none, and none has run.
func (h *Handler) pipelineRoutes() {
	list := methods{http.MethodGet: forUsers(listPipelines)}
	h.handle("/pipelines", list)
	h.handle("/api/v2/pipelines/list", list)
	h.handle("/api/v2/pipelines/run", methods{http.MethodPost: forUsers(runPipeline)})
	h.handle("/api/v2/pipelines/runs/{id}", methods{http.MethodGet: authenticated(getPipelineRun)})
	h.handle("/usage/pipelines", methods{http.MethodGet: authenticated(listPipelineRuns)})
}

func listPipelines(w http.ResponseWriter, _ *http.Request, _ *identity.Principal) error {
	return writeJSON(w, map[string]any{"pipelines": []any{}, "count": 0})
}

func listPipelineRuns(w http.ResponseWriter, _ *http.Request, _ *identity.Principal) error {
	return writeJSON(w, map[string]any{"runs": []any{}})
}

func runPipeline(w http.ResponseWriter, r *http.Request, _ *identity.Principal) error {
	var request struct {
		PipelineName string `json:"pipeline_name"`
		Query        string `json:"query"`
	}
	if err := readJSON(w, r, &request); err != nil {
		return err
	}
	if request.PipelineName == "" {
		return unprocessable("pipeline_name", "must be given")
	}
	return &llm.Error{Cause: llm.CauseNotFound, Message: "there is no pipeline of this name"}
}

func getPipelineRun(http.ResponseWriter, *http.Request, *identity.Principal) error {
	return &llm.Error{Cause: llm.CauseNotFound, Message: "there is no pipeline run of this id"}
}
