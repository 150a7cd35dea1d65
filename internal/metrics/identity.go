package metrics

import (
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

var (
	logins = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "tollgate_logins_total",
		Help: "Log-ins by way (trusted, email or an OpenID Connect provider's name) and outcome (ok or refused).",
	}, []string{"way", "outcome"})
	reused = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "tollgate_refresh_tokens_reused_total",
		Help: "Refresh tokens that came a second time, which ends their log-in: somebody else may have them.",
	})
	revocations = &revocationCollector{}
)

// LogIn counts an attempt to sign in. way is a configured name.
func LogIn(way string, ok bool) {
	outcome := "refused"
	if ok {
		outcome = "ok"
	}
	logins.WithLabelValues(way, outcome).Inc()
}

// RefreshTokenReused counts a refresh token that was used before.
func RefreshTokenReused() { reused.Inc() }

var revocationAge = prometheus.NewDesc("tollgate_revocations_age_seconds",
	"Time since the revocations of tokens were last read from the database.", nil, nil)

// revocationCollector asks the registry of revocations when it is scraped.
type revocationCollector struct {
	age atomic.Pointer[func() time.Duration]
}

// WatchRevocations names the registry that the metric describes: the newest.
func WatchRevocations(age func() time.Duration) { revocations.age.Store(&age) }

func (c *revocationCollector) Describe(ch chan<- *prometheus.Desc) { ch <- revocationAge }

func (c *revocationCollector) Collect(ch chan<- prometheus.Metric) {
	if age := c.age.Load(); age != nil {
		ch <- prometheus.MustNewConstMetric(revocationAge, prometheus.GaugeValue, (*age)().Seconds())
	}
}
