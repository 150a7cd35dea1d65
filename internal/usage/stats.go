package usage

import (
	"sync"
	"sync/atomic"
	"time"
)

// Stats is the state of a ledger, for health checks and metrics.
type Stats struct {
	Records  int64         // in the spool
	Bytes    int64         // in the spool
	MaxBytes int64         // of the spool
	Oldest   time.Duration // age of the oldest record in the spool

	Shipped int64 // records that were new to the database, since the start
	Parked  int64 // refused by the database and put aside
	Corrupt int64 // lines of spool files that were no records

	// Unjournaled attempts had no entry in the journal: had the process died
	// meanwhile, there would be no record of them.
	Unjournaled int64

	Batches       int64         // inserted since the start
	LastBatch     int           // records in the last one
	LastBatchTime time.Duration // how long it took

	Failures    int64  // attempts that failed since the start
	LastError   string // empty: none since the start
	LastErrorAt time.Time
}

// stats is what a ledger counts beside what Append touches.
type stats struct {
	shipped, parked, corrupt, unjournaled, batches, failures atomic.Int64

	oldestSealed atomic.Int64 // Unix nanoseconds; 0: none waits

	mu            sync.Mutex // guards the fields below
	lastBatch     int
	lastBatchTime time.Duration
	lastError     string
	lastErrorAt   time.Time
}

func (s *stats) batch(records int, inserted int64, took time.Duration) {
	s.shipped.Add(inserted)
	s.batches.Add(1)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lastBatch, s.lastBatchTime = records, took
}

func (s *stats) fail(err error) {
	s.failures.Add(1)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lastError, s.lastErrorAt = err.Error(), time.Now().UTC()
}

func (s *stats) setOldest(queue []sealed) {
	var oldest int64
	if len(queue) > 0 {
		oldest = queue[0].first.UnixNano()
	}
	s.oldestSealed.Store(oldest)
}

// Stats reports the state of the ledger.
func (l *Ledger) Stats() Stats {
	s := &l.stats
	s.mu.Lock()
	defer s.mu.Unlock()
	return Stats{
		Records:       l.records.Load(),
		Bytes:         l.bytes.Load(),
		MaxBytes:      l.config.MaxBytes,
		Oldest:        l.oldest(),
		Shipped:       s.shipped.Load(),
		Parked:        s.parked.Load(),
		Corrupt:       s.corrupt.Load(),
		Unjournaled:   s.unjournaled.Load(),
		Batches:       s.batches.Load(),
		LastBatch:     s.lastBatch,
		LastBatchTime: s.lastBatchTime,
		Failures:      s.failures.Load(),
		LastError:     s.lastError,
		LastErrorAt:   s.lastErrorAt,
	}
}

func (l *Ledger) oldest() time.Duration {
	first := l.stats.oldestSealed.Load()
	if segment := l.open.Load(); first == 0 && segment != nil {
		first = segment.first.Load()
	}
	if first == 0 {
		return 0
	}
	return time.Since(time.Unix(0, first))
}
