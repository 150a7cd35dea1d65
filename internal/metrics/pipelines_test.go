package metrics

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
)

// scrape gives the series of pipelines as they are now: the counter's or gauge's
// value, or a histogram's count, by name and label values.
func scrape(t *testing.T) map[string]float64 {
	t.Helper()
	registry := prometheus.NewRegistry()
	require.NoError(t, Register(registry))
	families, err := registry.Gather()
	require.NoError(t, err)
	series := make(map[string]float64)
	for _, family := range families {
		name, ours := strings.CutPrefix(family.GetName(), "tollgate_pipeline_")
		for _, m := range family.GetMetric() {
			id := name
			for _, label := range m.GetLabel() {
				id += " " + label.GetName() + "=" + label.GetValue()
			}
			if ours {
				series[id] = m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
			}
		}
	}
	return series
}

func TestPipelineRuns(t *testing.T) {
	before := scrape(t)
	ended, again := PipelineRunStarted(), PipelineRunStarted()
	require.InDelta(t, 2, scrape(t)["runs_running"], 0)
	ended("legal", "completed")
	again("legal", "cost_limit")
	PipelineStep("legal", "search", "failed", 3*time.Second)
	after := scrape(t)
	require.InDelta(t, 0, after["runs_running"], 0)
	for _, id := range []string{
		"runs_total outcome=completed pipeline=legal", "runs_total outcome=cost_limit pipeline=legal",
		"step_duration_seconds outcome=failed pipeline=legal step=search",
	} {
		require.InDelta(t, 1, after[id]-before[id], 0, id)
	}
}

// However many pipelines admins make, the series stay few.
func TestPipelineSeriesAreBounded(t *testing.T) {
	TestPipelineRuns(t) // a name that comes first keeps its series
	for i := range 3 * maxPipelineSteps {
		PipelineRunStarted()(fmt.Sprintf("made-%d", i), "completed")
		PipelineStep(fmt.Sprintf("made-%d", i/10), fmt.Sprintf("step%d", i), "completed", time.Second)
	}
	series := scrape(t)
	count := func(prefix string) (n int) {
		for id := range series {
			if strings.HasPrefix(id, prefix) {
				n++
			}
		}
		return n
	}
	require.LessOrEqual(t, count("runs_total outcome=completed"), maxPipelines+1)
	require.LessOrEqual(t, count("step_duration_seconds outcome=completed"), maxPipelineSteps+1)
	require.GreaterOrEqual(t, series["runs_total outcome=completed pipeline=other"], float64(2*maxPipelineSteps))
	require.GreaterOrEqual(t, series["step_duration_seconds outcome=completed pipeline=other step=other"], float64(2*maxPipelineSteps-1))
	TestPipelineRuns(t)
}
