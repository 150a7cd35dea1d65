package usage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/financecommander/tollgate/internal/database"
)

// Waits between attempts while the database is down.
const (
	firstBackoff = 250 * time.Millisecond
	maxBackoff   = 15 * time.Second
	// outageLogInterval is how often a lasting outage is logged.
	outageLogInterval = time.Minute
)

// shipper brings segments into the database, oldest first. It is one goroutine.
type shipper struct {
	*Ledger
	spool *spool

	failures int       // in a row
	retryAt  time.Time // not before
	logged   time.Time // when the outage was last logged
	outage   time.Time // when it began
	shipped  int64     // records since it began

	data  []byte   // contents of a segment
	lines [][]byte // its records
	batch []byte   // JSON array for the database
}

// run works until the ledger stops. Then it ships what is left once and lets go
// of the spool.
func (s *shipper) run(ctx context.Context) error {
	ship := time.NewTicker(s.config.ShipInterval)
	defer ship.Stop()
	adopt := time.NewTicker(adoptInterval)
	defer adopt.Stop()
	partition := time.NewTimer(0)
	defer partition.Stop()
	s.adopt()
	for {
		select {
		case <-s.stopping:
			return errors.Join(s.finish(ctx), s.spool.close())
		case reply := <-s.flush:
			reply <- s.shipAll(ctx)
		case <-ship.C:
			s.shipUnlessWaiting(ctx)
		case <-s.wake:
			s.shipUnlessWaiting(ctx)
		case <-adopt.C:
			s.adopt()
		case <-partition.C:
			partition.Reset(s.ensurePartitions(ctx))
		}
	}
}

// shipUnlessWaiting ships, unless it is the pause after a failure. While the
// database is down the open segment goes on being written, and is sealed when it
// is large: an outage of hours must not leave tens of thousands of small ones.
func (s *shipper) shipUnlessWaiting(ctx context.Context) {
	_ = s.rotate(maxSegmentBytes) // logged, as the next
	if !time.Now().Before(s.retryAt) {
		_ = s.shipAll(ctx)
	}
}

// shipAll ships everything that was there when it began.
func (s *shipper) shipAll(ctx context.Context) error {
	if err := s.shipQueue(ctx); err != nil {
		return err
	}
	if err := s.rotate(1); err != nil {
		return err
	}
	if err := s.shipQueue(ctx); err != nil {
		return err
	}
	s.recovered(ctx)
	return nil
}

func (s *shipper) shipQueue(ctx context.Context) error {
	for len(s.spool.queue) > 0 {
		if err := s.shipFirst(ctx); err != nil {
			s.failed(ctx, err)
			return err
		}
	}
	return nil
}

// rotate seals the open segment if it has at least so many bytes, and opens the
// next.
func (s *shipper) rotate(atLeast int64) error {
	if s.open.Load().bytes.Load() < atLeast {
		return nil
	}
	next, err := createSegment(s.spool.newPath())
	if err != nil {
		s.stats.fail(err)
		s.config.Logger.Error("no new usage segment; going on with the old one", slog.Any("error", err))
		return err
	}
	s.enqueue(s.open.Swap(next))
	return nil
}

func (s *shipper) enqueue(old *segment) {
	if err := old.seal(); err != nil { // what was written is there to be read
		s.stats.fail(err)
		s.config.Logger.Error("usage segment was not forced to disk", slog.Any("error", err))
	}
	s.spool.queue = append(s.spool.queue, sealed{
		path:    old.path,
		bytes:   old.bytes.Load(),
		records: old.records.Load(),
		first:   time.Unix(0, old.first.Load()),
	})
	s.stats.setOldest(s.spool.queue)
}

// shipFirst inserts the oldest segment and deletes its file. Done twice, it does
// the same.
func (s *shipper) shipFirst(ctx context.Context) error {
	segment := s.spool.queue[0]
	if err := s.read(segment.path); err != nil {
		return fmt.Errorf("read usage segment: %w", err)
	}
	for batch := range slices.Chunk(s.lines, s.config.BatchSize) {
		if err := s.insert(ctx, batch); err != nil {
			return err
		}
	}
	if err := s.spool.removeFirst(); err != nil {
		return fmt.Errorf("remove shipped usage segment: %w", err)
	}
	s.bytes.Add(-segment.bytes)
	s.records.Add(-segment.records)
	s.stats.setOldest(s.spool.queue)
	return nil
}

// read takes a segment file apart into s.lines. Lines that are no records, from
// a power cut or a failing disk, are put aside and counted.
func (s *shipper) read(path string) (err error) {
	if s.data, err = readFile(s.data[:0], path); err != nil {
		return err
	}
	s.lines = s.lines[:0]
	var corrupt [][]byte
	for line, intact := range frames(s.data) {
		if intact {
			s.lines = append(s.lines, line)
		} else {
			corrupt = append(corrupt, line)
		}
	}
	if len(corrupt) == 0 {
		return nil
	}
	if err := s.spool.setAside(path, ".corrupt", corrupt); err != nil {
		return err
	}
	s.stats.corrupt.Add(int64(len(corrupt)))
	s.config.Logger.Error("usage segment has corrupt lines, put aside",
		slog.String("file", filepath.Base(path)), slog.Int("lines", len(corrupt)))
	return nil
}

// insert brings records into the database. When one of them is refused for what
// it is, the batch is halved until that one is alone; it is then parked, and the
// others go in.
func (s *shipper) insert(ctx context.Context, records [][]byte) error {
	err := s.insertOnce(ctx, records)
	switch {
	case !errors.Is(err, database.ErrBadRecord):
		return err
	case len(records) == 1:
		return s.park(ctx, records[0], err)
	}
	half := len(records) / 2
	if err := s.insert(ctx, records[:half]); err != nil {
		return err
	}
	return s.insert(ctx, records[half:])
}

func (s *shipper) insertOnce(ctx context.Context, records [][]byte) error {
	ctx, cancel := context.WithTimeout(ctx, insertTimeout)
	defer cancel()
	began := time.Now()
	s.batch = appendArray(s.batch[:0], records)
	inserted, err := s.store.InsertUsage(ctx, s.batch)
	if err != nil {
		return err
	}
	s.shipped += inserted
	s.stats.batch(len(records), inserted, time.Since(began))
	return nil
}

// park keeps a record that the database will never take: in its table for such,
// or, if even that fails, in a file in the spool.
func (s *shipper) park(ctx context.Context, record []byte, reason error) error {
	ctx, cancel := context.WithTimeout(ctx, insertTimeout)
	defer cancel()
	if err := s.store.RejectUsage(ctx, record, reason.Error()); err != nil {
		if err := s.spool.setAside(s.spool.newPath(), ".rejected", [][]byte{record}); err != nil {
			return fmt.Errorf("park usage record: %w", err)
		}
	}
	s.stats.parked.Add(1)
	s.config.Logger.ErrorContext(ctx, "usage record refused by the database, parked", slog.Any("error", reason))
	return nil
}

// finish closes the open segment and ships what is left, once.
func (s *shipper) finish(ctx context.Context) error {
	s.enqueue(s.open.Swap(nil))
	for len(s.spool.queue) > 0 {
		if err := s.shipFirst(ctx); err != nil {
			s.stats.fail(err)
			s.config.Logger.WarnContext(ctx, "usage records stay in the spool for the next start",
				slog.Int64("records", s.records.Load()), slog.Any("error", err))
			return fmt.Errorf("%d usage records stay in the spool for the next start: %w", s.records.Load(), err)
		}
	}
	return nil
}

func (s *shipper) failed(ctx context.Context, err error) {
	now := time.Now()
	if s.failures == 0 {
		s.outage, s.shipped, s.logged = now, 0, time.Time{}
	}
	s.failures++
	s.retryAt = now.Add(backoff(s.failures))
	s.stats.fail(err)
	if ctx.Err() == nil && now.Sub(s.logged) >= outageLogInterval {
		s.logged = now
		s.config.Logger.WarnContext(ctx, "usage records wait in the spool: the database does not take them", slog.Any("error", err),
			slog.Int64("records", s.records.Load()), slog.Int64("bytes", s.bytes.Load()), slog.Int("attempts", s.failures))
	}
}

func (s *shipper) recovered(ctx context.Context) {
	if s.failures == 0 {
		return
	}
	s.config.Logger.InfoContext(ctx, "usage records are shipped again",
		slog.Int64("records", s.shipped), slog.Duration("outage", time.Since(s.outage)))
	s.failures, s.retryAt = 0, time.Time{}
}

// backoff doubles with each failure, and differs by chance between replicas.
func backoff(failures int) time.Duration {
	pause := min(maxBackoff, firstBackoff<<min(failures-1, 10))
	return pause/2 + rand.N(pause)
}

func (s *shipper) adopt() {
	before := len(s.spool.queue)
	if err := s.spool.adopt(); err != nil {
		s.stats.fail(err)
		s.config.Logger.Error("leftover usage segments cannot be adopted", slog.Any("error", err))
	}
	for _, segment := range s.spool.queue[before:] {
		s.bytes.Add(segment.bytes)
		s.records.Add(segment.records)
	}
	s.stats.setOldest(s.spool.queue)
	if s.spool.interrupted > 0 {
		s.config.Logger.Warn("an earlier process died; calls that were under way get their records from its journal",
			slog.Int("records", s.spool.interrupted))
		s.spool.interrupted = 0
	}
}

// ensurePartitions makes the tables of months to come and says when to look
// again.
func (s *shipper) ensurePartitions(ctx context.Context) time.Duration {
	store, ok := s.store.(partitioner)
	if !ok {
		return partitionInterval
	}
	ctx, cancel := context.WithTimeout(ctx, insertTimeout)
	defer cancel()
	if err := store.EnsurePartitions(ctx, time.Now()); err != nil {
		s.config.Logger.WarnContext(ctx, "partitions of coming months were not made", slog.Any("error", err))
		return partitionRetry
	}
	return partitionInterval
}

func appendArray(b []byte, records [][]byte) []byte {
	b = append(b, '[')
	for i, record := range records {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, record...)
	}
	return append(b, ']')
}

// readFile is os.ReadFile into a buffer that is used again.
func readFile(buffer []byte, path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return buffer, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return buffer, err
	}
	buffer = slices.Grow(buffer[:0], int(info.Size()))[:info.Size()]
	_, err = io.ReadFull(file, buffer)
	return buffer, err
}
