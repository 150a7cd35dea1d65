// Package metrics holds Tollgate's Prometheus collectors. There is one set per
// process, so that counts survive configuration reloads and streams that began
// under an earlier configuration still count; [Register] adds it to whichever
// registry is asked to show it.
//
// Labels are bounded: providers, models and specialists by their configured or
// listed names ("other" for the rest), pipelines and their steps by the first few
// hundred names, causes from llm's closed list. Nothing that a client sent becomes
// a label.
package metrics

import (
	"errors"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/financecommander/tollgate/internal/llm"
)

// Buckets, in seconds: calls of language models take from tens of milliseconds
// to many minutes.
var (
	durationBuckets = []float64{.05, .1, .25, .5, 1, 2.5, 5, 10, 20, 40, 80, 160, 320, 640}
	firstBuckets    = []float64{.025, .05, .1, .25, .5, 1, 2.5, 5, 10, 20, 40, 80}
	gapBuckets      = []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 10, 60}
)

var (
	requests = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "tollgate_requests_total",
		Help: "Upstream attempts and refused calls, by provider, model, specialist, status class of the caller's answer and cause.",
	}, []string{"provider", "model", "specialist", "status", "cause"})
	tokens = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "tollgate_tokens_total",
		Help: "Tokens by kind; the kinds are disjoint.",
	}, []string{"provider", "model", "specialist", "kind"})
	cost = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "tollgate_cost_usd_total",
		Help: "Estimated cost in US dollars.",
	}, []string{"provider", "model", "specialist"})
	unpriced = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "tollgate_unpriced_calls_total",
		Help: "Calls recorded at cost 0 because the price table does not know the model.",
	}, []string{"provider", "model"})
	duration = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "tollgate_request_duration_seconds", Buckets: durationBuckets,
		Help: "Time from a call's arrival to the end of its answer.",
	}, []string{"provider", "model"})
	firstToken = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "tollgate_time_to_first_token_seconds", Buckets: firstBuckets,
		Help: "Time from a streamed call's arrival to its first generated content.",
	}, []string{"provider", "model"})
	gap = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "tollgate_stream_gap_seconds", Buckets: gapBuckets,
		Help: "Time between arrivals of events in a stream; events that arrive together count once.",
	}, []string{"provider"})
	streams = prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "tollgate_streams_in_flight",
		Help: "Streams being relayed now.",
	})
	limiter = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "tollgate_limiter_decisions_total",
		Help: "Rate-limit decisions: allowed or denied, made by redis, in process (local) or by policy while redis is away.",
	}, []string{"decision", "by"})
	limiterErrors = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "tollgate_limiter_errors_total",
		Help: "Rate-limit checks that redis did not answer in time or at all.",
	})
	ledger = &ledgerCollector{}
)

// Other stands in for a name that is not on the lists.
const Other = "other"

// Register adds every collector to a registry. Adding them twice is no error.
func Register(r prometheus.Registerer) error {
	for _, c := range []prometheus.Collector{
		requests, tokens, cost, unpriced, duration, firstToken, gap, streams, limiter, limiterErrors, ledger,
		logins, reused, revocations, pipelineRunning, pipelineRuns, pipelineSteps,
	} {
		if err := r.Register(c); err != nil {
			if _, again := errors.AsType[prometheus.AlreadyRegisteredError](err); again {
				continue
			}
			return err
		}
	}
	return nil
}

// Labels are the bounded names a call is counted under.
type Labels struct{ Provider, Model, Specialist string }

// Call counts calls under one set of labels, with the label lookups done once.
type Call struct {
	labels   Labels
	cost     prometheus.Counter
	unpriced prometheus.Counter
	duration prometheus.Observer
	first    prometheus.Observer
	gap      prometheus.Observer
	tokens   [len(kinds)]prometheus.Counter
	outcomes sync.Map // outcome → prometheus.Counter
}

type outcome struct {
	class int
	cause llm.Cause
}

var kinds = [...]string{
	"input", "cache_read", "cache_write_5m", "cache_write_1h", "output", "reasoning",
	"input_audio", "cached_audio", "output_audio", "input_image", "cached_image", "output_image",
	"input_video", "output_video",
}

var calls sync.Map // Labels → *Call

// For gives the counters of a set of labels.
func For(l Labels) *Call {
	if c, ok := calls.Load(l); ok {
		return c.(*Call)
	}
	c := &Call{
		labels:   l,
		cost:     cost.WithLabelValues(l.Provider, l.Model, l.Specialist),
		unpriced: unpriced.WithLabelValues(l.Provider, l.Model),
		duration: duration.WithLabelValues(l.Provider, l.Model),
		first:    firstToken.WithLabelValues(l.Provider, l.Model),
		gap:      gap.WithLabelValues(l.Provider),
	}
	for i, kind := range kinds {
		c.tokens[i] = tokens.WithLabelValues(l.Provider, l.Model, l.Specialist, kind)
	}
	kept, _ := calls.LoadOrStore(l, c)
	return kept.(*Call)
}

// Done is what one call came to.
type Done struct {
	Status   int // the caller's HTTP status
	Cause    llm.Cause
	Usage    llm.Usage
	CostUSD  float64
	Priced   bool
	Duration time.Duration
}

// Done counts a call that has ended.
func (c *Call) Done(d Done) {
	c.outcome(d.Status, d.Cause).Inc()
	c.duration.Observe(d.Duration.Seconds())
	if d.CostUSD > 0 {
		c.cost.Add(d.CostUSD)
	}
	if !d.Priced {
		c.unpriced.Inc()
	}
	u := &d.Usage
	for i, n := range [...]int64{
		u.Input, u.CacheRead, u.CacheWrite5m, u.CacheWrite1h, u.Output, u.Reasoning,
		u.InputAudio, u.CachedAudio, u.OutputAudio, u.InputImage, u.CachedImage, u.OutputImage,
		u.InputVideo, u.OutputVideo,
	} {
		if n > 0 {
			c.tokens[i].Add(float64(n))
		}
	}
}

func (c *Call) outcome(status int, cause llm.Cause) prometheus.Counter {
	key := outcome{status / 100, cause}
	if counter, ok := c.outcomes.Load(key); ok {
		return counter.(prometheus.Counter)
	}
	counter := requests.WithLabelValues(c.labels.Provider, c.labels.Model, c.labels.Specialist,
		statusClass(status), string(cause))
	c.outcomes.Store(key, counter)
	return counter
}

func statusClass(status int) string { return strconv.Itoa(status/100) + "xx" }

// FirstToken observes how long a stream's first content took.
func (c *Call) FirstToken(d time.Duration) { c.first.Observe(d.Seconds()) }

// Gap observes the time between two arrivals in a stream.
func (c *Call) Gap(d time.Duration) { c.gap.Observe(d.Seconds()) }

// Refused counts a call that was refused before any upstream was asked.
func Refused(status int, cause llm.Cause) {
	requests.WithLabelValues("", "", "", statusClass(status), string(cause)).Inc()
}

// StreamStarted counts a stream in; the function it returns counts it out.
func StreamStarted() (ended func()) {
	streams.Inc()
	return streams.Dec
}

// LimiterDecision counts one decision of the rate limiter.
func LimiterDecision(allowed bool, by string) {
	decision := "denied"
	if allowed {
		decision = "allowed"
	}
	limiter.WithLabelValues(decision, by).Inc()
}

// LimiterError counts one check that redis failed to answer.
func LimiterError() { limiterErrors.Inc() }
