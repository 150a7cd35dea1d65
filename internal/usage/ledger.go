package usage

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// Errors of [Ledger.Append] and [Ledger.Admit].
var (
	// ErrClosed: the ledger is not started, or stopped.
	ErrClosed = errors.New("usage ledger is closed")
	// ErrFull: the spool has reached Config.MaxBytes, because the database has
	// not taken records for long.
	ErrFull = errors.New("usage spool is full")
	// ErrUnwritable: the last record could not be written, because the disk is
	// full, for instance.
	ErrUnwritable = errors.New("usage spool cannot be written")
)

// Store is the database. Package database has the real one.
type Store interface {
	// InsertUsage inserts a JSON array of records, whole or not at all, skips
	// those that are there already, and says how many were new. An error that
	// is database.ErrBadRecord is the fault of a record; any other may pass.
	InsertUsage(ctx context.Context, records []byte) (inserted int64, err error)
	// RejectUsage keeps a record that InsertUsage will never take.
	RejectUsage(ctx context.Context, record []byte, reason string) error
}

// partitioner is what a Store may do besides: make the tables of months to come.
type partitioner interface {
	EnsurePartitions(ctx context.Context, now time.Time) error
}

// Defaults of [Config].
const (
	// DefaultShipInterval keeps the log a quarter of a second behind.
	DefaultShipInterval = 250 * time.Millisecond
	// DefaultSyncInterval is what a power cut may cost.
	DefaultSyncInterval = 100 * time.Millisecond
	// DefaultBatchSize is where larger batches ceased to be faster per row.
	DefaultBatchSize = 500
	// DefaultMaxBytes holds some two million records: an hour of outage at 500
	// requests a second.
	DefaultMaxBytes = 1 << 30
)

const (
	// reservedShare of MaxBytes is for the records of calls that were admitted
	// already: Admit refuses before Append does.
	reservedShare = 10
	// maxSegmentBytes is where a segment is sealed although older ones wait.
	maxSegmentBytes = 4 << 20
	// insertTimeout is per batch; a slower database counts as down.
	insertTimeout = 30 * time.Second
	// adoptInterval is how often a ledger looks for segments of dead processes.
	adoptInterval = time.Minute
	// partitionInterval is how often it makes the partitions of months to come,
	// which are made two months ahead.
	partitionInterval = 24 * time.Hour
	partitionRetry    = time.Hour
)

// Config tunes a ledger. Dir is required.
type Config struct {
	// Dir is the spool's directory, on a local disk. Files in it are readable by
	// the owner only.
	Dir string
	// ShipInterval is how long a record waits for its batch; BatchSize records
	// are shipped sooner.
	ShipInterval time.Duration
	BatchSize    int
	// SyncInterval is how often records are forced to disk.
	SyncInterval time.Duration
	// MaxBytes bounds the spool on disk.
	MaxBytes int64
	// Logger gets outages and recoveries; nil: nothing is logged.
	Logger *slog.Logger
}

func (c Config) withDefaults() Config {
	c.ShipInterval = cmp.Or(c.ShipInterval, DefaultShipInterval)
	c.BatchSize = cmp.Or(c.BatchSize, DefaultBatchSize)
	c.SyncInterval = cmp.Or(c.SyncInterval, DefaultSyncInterval)
	c.MaxBytes = cmp.Or(c.MaxBytes, DefaultMaxBytes)
	c.Logger = cmp.Or(c.Logger, slog.New(slog.DiscardHandler))
	return c
}

// Ledger keeps usage records. It is safe for concurrent use.
type Ledger struct {
	config Config
	store  Store

	open       atomic.Pointer[segment] // nil: closed
	journal    atomic.Pointer[journal] // nil: none
	bytes      atomic.Int64            // in the spool
	records    atomic.Int64            // in the spool
	unwritable atomic.Bool             // the last append failed
	buffers    sync.Pool               // *[]byte

	wake  chan struct{}   // a batch is full
	flush chan chan error // somebody waits for an empty spool

	started  atomic.Bool
	stopOnce sync.Once
	stopping chan struct{}      // closed: ship what is left and end
	done     chan struct{}      // closed: ended
	abort    context.CancelFunc // ends what the shipper is doing
	stopErr  error              // set before done is closed

	stats stats
}

// New makes a ledger. It does no I/O; [Ledger.Start] does.
func New(config Config, store Store) *Ledger {
	l := &Ledger{
		config:   config.withDefaults(),
		store:    store,
		wake:     make(chan struct{}, 1),
		flush:    make(chan chan error),
		stopping: make(chan struct{}),
		done:     make(chan struct{}),
	}
	l.buffers.New = func() any { return new([]byte) }
	return l
}

// Start takes a slot of the spool directory and begins to ship, first what an
// earlier process left. The database need not be there yet.
func (l *Ledger) Start() error {
	if !l.started.CompareAndSwap(false, true) {
		return errors.New("usage ledger was started before")
	}
	if err := l.start(); err != nil {
		l.started.Store(false)
		return fmt.Errorf("open usage spool: %w", err)
	}
	return nil
}

func (l *Ledger) start() error {
	spool, err := openSpool(l.config.Dir)
	if err != nil {
		return err
	}
	segment, err := createSegment(spool.newPath())
	if err != nil {
		return errors.Join(err, spool.close())
	}
	l.journal.Store(l.openJournal(spool))
	l.bytes.Store(spool.bytes())
	l.records.Store(spool.records())
	l.open.Store(segment)

	var ctx context.Context
	ctx, l.abort = context.WithCancel(context.Background())
	shipper := &shipper{Ledger: l, spool: spool}
	var background sync.WaitGroup
	background.Go(l.syncLoop)
	go func() {
		defer close(l.done)
		defer l.abort()
		l.stopErr = shipper.run(ctx)
		background.Wait()
	}()
	return nil
}

// Append keeps a record. When it returns nil the record survives a crash of the
// process, and a power cut after [Config.SyncInterval]. It is one write to a
// file, and never waits for the database. A record without an id is given one.
func (l *Ledger) Append(r *Record) error {
	r.ensureID()
	buffer := l.buffers.Get().(*[]byte)
	defer l.buffers.Put(buffer)
	*buffer = appendFrame((*buffer)[:0], r)
	frame := *buffer

	size := int64(len(frame))
	if l.bytes.Add(size) > l.config.MaxBytes {
		l.bytes.Add(-size)
		return ErrFull
	}
	for {
		segment := l.open.Load()
		if segment == nil {
			l.bytes.Add(-size)
			return ErrClosed
		}
		n, records, err := segment.append(frame)
		if err == nil {
			l.appended(records)
			return nil
		}
		if !errors.Is(err, errSealed) {
			l.bytes.Add(int64(n) - size)
			l.unwritable.Store(true)
			return fmt.Errorf("%w: %w", ErrUnwritable, err)
		}
	}
}

func (l *Ledger) appended(inSegment int64) {
	l.records.Add(1)
	if l.unwritable.Load() {
		l.unwritable.Store(false)
	}
	if inSegment == int64(l.config.BatchSize) {
		select {
		case l.wake <- struct{}{}:
		default: // the shipper knows
		}
	}
}

// Admit says whether a record could be kept, so that a call that will cost money
// is refused while it could not. It begins to refuse when nine tenths of the
// spool are full: the rest is for calls under way. It costs a few nanoseconds.
func (l *Ledger) Admit() error {
	switch {
	case l.open.Load() == nil:
		return ErrClosed
	case l.unwritable.Load():
		return ErrUnwritable
	case l.bytes.Load() > l.config.MaxBytes-l.config.MaxBytes/reservedShare:
		return ErrFull
	default:
		return nil
	}
}

// Flush ships all that was appended before the call. It fails when the database
// does not take it at once.
func (l *Ledger) Flush(ctx context.Context) error {
	reply := make(chan error, 1)
	select {
	case l.flush <- reply:
	case <-l.done:
		return ErrClosed
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	select {
	case err := <-reply:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Stop refuses new records, ships what is left until ctx ends, and waits for all
// goroutines. What it could not ship stays on disk for the next start, which is
// what its error then says; nothing is lost. It may be called twice. Whoever
// appends must have ended before: a record that comes later gets ErrClosed.
func (l *Ledger) Stop(ctx context.Context) error {
	if !l.started.Load() {
		return nil
	}
	l.stopOnce.Do(func() { close(l.stopping) })
	select {
	case <-l.done:
	case <-ctx.Done():
		l.abort()
		<-l.done
	}
	return l.stopErr
}

// syncLoop forces records to disk, and finds out when a disk that was full can be
// written again.
func (l *Ledger) syncLoop() {
	tick := time.NewTicker(l.config.SyncInterval)
	defer tick.Stop()
	for {
		select {
		case <-l.stopping:
			return
		case <-tick.C:
			l.syncOpen()
		}
	}
}

func (l *Ledger) syncOpen() {
	segment := l.open.Load()
	if segment == nil {
		return
	}
	if l.unwritable.Load() {
		l.probe(segment)
	}
	if err := segment.sync(); err != nil && segment == l.open.Load() {
		l.stats.fail(err)
		l.config.Logger.Error("usage records cannot be forced to disk", slog.Any("error", err))
	}
}

// probe writes an empty line, which is no record, to see whether that works.
func (l *Ledger) probe(s *segment) {
	n, err := s.write([]byte{'\n'})
	l.bytes.Add(int64(n))
	if err == nil {
		l.unwritable.Store(false)
		l.config.Logger.Info("usage spool can be written again")
	}
}
