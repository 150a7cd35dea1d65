package usage

import (
	"errors"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"
)

// segment is the spool file that is being written. Any number of goroutines
// append at once: each record is one write to a file opened with O_APPEND, which
// the kernel puts at the end whole, so no lock of ours is held over it.
type segment struct {
	path string
	file *os.File

	// writers counts the writes under way; sealing adds sealedFlag, after which
	// no write may begin, and the last writer out closes drained.
	writers   atomic.Int64
	drained   chan struct{}
	drainOnce sync.Once

	bytes   atomic.Int64
	records atomic.Int64
	first   atomic.Int64 // Unix nanoseconds of the oldest record; 0: empty

	syncing sync.Mutex // the background sync and the sealing may meet
	synced  int64      // bytes known to be on disk; guarded by syncing
}

const sealedFlag = 1 << 62

// createSegment makes a new, empty segment file.
func createSegment(path string) (*segment, error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	return &segment{path: path, file: file, drained: make(chan struct{})}, nil
}

// errSealed says that there is a newer segment.
var errSealed = errors.New("segment is sealed")

// append writes one frame. It says how many bytes came to the file, a part of the
// frame when it fails, and how many records the segment has now.
func (s *segment) append(frame []byte) (n int, records int64, err error) {
	n, err = s.write(frame)
	if err != nil {
		return n, 0, err
	}
	if s.first.Load() == 0 {
		s.first.CompareAndSwap(0, time.Now().UnixNano())
	}
	return n, s.records.Add(1), nil
}

// write writes to the end of the file.
func (s *segment) write(b []byte) (int, error) {
	defer s.leave()
	if s.writers.Add(1) >= sealedFlag {
		return 0, errSealed
	}
	n, err := s.file.Write(b)
	s.bytes.Add(int64(n))
	return n, err
}

func (s *segment) leave() {
	if s.writers.Add(-1) == sealedFlag {
		s.drainOnce.Do(func() { close(s.drained) })
	}
}

// seal waits for the writes under way and closes the file, all of it on disk.
// No write succeeds after it. It is called once.
func (s *segment) seal() error {
	if s.writers.Add(sealedFlag) == sealedFlag {
		s.drainOnce.Do(func() { close(s.drained) })
	}
	<-s.drained
	return errors.Join(s.sync(), s.file.Close())
}

// sync brings to disk what was appended since the last time.
func (s *segment) sync() error {
	s.syncing.Lock()
	defer s.syncing.Unlock()
	size := s.bytes.Load()
	if size == s.synced {
		return nil
	}
	if err := s.file.Sync(); err != nil {
		return err
	}
	if s.synced == 0 { // its name must be on disk as well
		if err := syncDir(filepath.Dir(s.path)); err != nil {
			return err
		}
	}
	s.synced = size
	return nil
}

func syncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
