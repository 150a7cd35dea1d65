package metrics

import (
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
)

// LedgerState is a snapshot of the usage ledger.
type LedgerState struct {
	QueuedRecords    int64   // in the spool, not yet in the database
	QueuedBytes      int64   // size of those
	OldestAgeSeconds float64 // age of the oldest of those; 0: none
	Shipped          int64   // written to the database since start
	Parked           int64   // refused by the database and put aside, since start
	Corrupt          int64   // damaged spool lines put aside, since start
	Unjournaled      int64   // calls that would leave no record should the process die, since start
}

var (
	ledgerQueued = prometheus.NewDesc("tollgate_ledger_queued_records",
		"Usage records in the spool that are not in the database yet.", nil, nil)
	ledgerBytes = prometheus.NewDesc("tollgate_ledger_queued_bytes",
		"Size of the spool in bytes.", nil, nil)
	ledgerAge = prometheus.NewDesc("tollgate_ledger_oldest_record_age_seconds",
		"Age of the oldest usage record that is not in the database yet.", nil, nil)
	ledgerRecords = prometheus.NewDesc("tollgate_ledger_records_total",
		"Usage records by what became of them: shipped to the database, parked after it refused them, or found corrupt in the spool.",
		[]string{"outcome"}, nil)
	ledgerUnjournaled = prometheus.NewDesc("tollgate_ledger_unjournaled_calls_total",
		"Calls for which there was no place in the journal of calls under way, so that the process's death would have cost their record.", nil, nil)
)

// ledgerCollector asks the ledger when it is scraped, so the ledger pays
// nothing per record.
type ledgerCollector struct {
	state atomic.Pointer[func() LedgerState]
}

// WatchLedger names the ledger that the ledger metrics describe: the newest.
func WatchLedger(state func() LedgerState) { ledger.state.Store(&state) }

func (c *ledgerCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{ledgerQueued, ledgerBytes, ledgerAge, ledgerRecords, ledgerUnjournaled} {
		ch <- d
	}
}

func (c *ledgerCollector) Collect(ch chan<- prometheus.Metric) {
	state := c.state.Load()
	if state == nil {
		return
	}
	s := (*state)()
	gauge := func(d *prometheus.Desc, v float64) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v)
	}
	gauge(ledgerQueued, float64(s.QueuedRecords))
	gauge(ledgerBytes, float64(s.QueuedBytes))
	gauge(ledgerAge, s.OldestAgeSeconds)
	ch <- prometheus.MustNewConstMetric(ledgerUnjournaled, prometheus.CounterValue, float64(s.Unjournaled))
	for outcome, n := range map[string]int64{"shipped": s.Shipped, "parked": s.Parked, "corrupt": s.Corrupt} {
		ch <- prometheus.MustNewConstMetric(ledgerRecords, prometheus.CounterValue, float64(n), outcome)
	}
}
