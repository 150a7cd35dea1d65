package metrics

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// The most names of pipelines, and of steps, that have series of their own. Admins
// can make pipelines at will, and rename them; what is over counts as [Other].
const (
	maxPipelines     = 200
	maxPipelineSteps = 500
)

// stepBuckets, in seconds: an expression takes no time, a step of a hundred items
// half an hour.
var stepBuckets = []float64{.1, .25, .5, 1, 2.5, 5, 10, 20, 40, 80, 160, 320, 600, 1200, 1800}

var (
	pipelineRunning = prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "tollgate_pipeline_runs_running",
		Help: "Runs of pipelines that this process has now.",
	})
	pipelineRuns = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "tollgate_pipeline_runs_total",
		Help: "Runs of pipelines that have ended, by pipeline and outcome: completed, or the error code of a run that failed.",
	}, []string{"pipeline", "outcome"})
	pipelineSteps = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "tollgate_pipeline_step_duration_seconds", Buckets: stepBuckets,
		Help: "Time that steps of pipelines took, with all their tries, by outcome: completed or failed.",
	}, []string{"pipeline", "step", "outcome"})

	pipelineNames     = seenNames{limit: maxPipelines}
	pipelineStepNames = seenNames{limit: maxPipelineSteps}
)

// PipelineRunStarted counts a run in; the function it returns counts it out, with
// the name of its pipeline and how it ended, a word of a closed list.
func PipelineRunStarted() (ended func(pipeline, outcome string)) {
	pipelineRunning.Inc()
	return func(pipeline, outcome string) {
		pipelineRunning.Dec()
		if !pipelineNames.take([2]string{pipeline}) {
			pipeline = Other
		}
		pipelineRuns.WithLabelValues(pipeline, outcome).Inc()
	}
}

// PipelineStep observes how long a step of a pipeline took. outcome is a word of a
// closed list.
func PipelineStep(pipeline, step, outcome string, d time.Duration) {
	if !pipelineStepNames.take([2]string{pipeline, step}) {
		pipeline, step = Other, Other
	}
	pipelineSteps.WithLabelValues(pipeline, step, outcome).Observe(d.Seconds())
}

// seenNames takes the names that come first, up to a limit, and no others after.
type seenNames struct {
	limit int

	mu   sync.Mutex // guards seen
	seen map[[2]string]bool
}

func (s *seenNames) take(name [2]string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.seen[name] {
		return true
	}
	if len(s.seen) >= s.limit {
		return false
	}
	if s.seen == nil {
		s.seen = make(map[[2]string]bool)
	}
	s.seen[name] = true
	return true
}
