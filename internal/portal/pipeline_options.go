package portal

import (
	"github.com/financecommander/tollgate/internal/pipeline/catalog"
	"github.com/financecommander/tollgate/internal/pipeline/execute"
	"github.com/financecommander/tollgate/internal/pipeline/run"
)

// PipelineOptions are what pipelines are made of. The sockets of runs use Verify,
// Origins and Sockets of [ChatOptions].
type PipelineOptions struct {
	Catalog  *catalog.Catalog // nil: pipelines are turned off
	Runs     *run.Service
	Executor *execute.Executor
	// Hold keeps the configuration alive for a run; release ends that. ok is false
	// where it is being replaced. nil: nothing needs to be held.
	Hold func() (release func(), ok bool)
}
