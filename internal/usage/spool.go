package usage

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// A spool is a directory of segment files that one ledger owns. It is one of the
// numbered slots of the directory that was configured: a second process on the
// same directory, or the next ledger of this one while a configuration is being
// replaced, takes the next slot. Whoever runs adopts the segments of slots whose
// owner is gone. Only the shipper's goroutine uses it.
type spool struct {
	root  string
	dir   string // root/<slot>
	lock  *os.File
	queue []sealed // oldest first

	lastName    int64
	interrupted int // records recovered from journals and not yet reported
}

// sealed is a segment that is waiting to be shipped.
type sealed struct {
	path    string
	bytes   int64
	records int64
	first   time.Time // when its oldest record came, or a little earlier
}

const (
	// maxSlots bounds the search for a free slot; more ledgers than this on one
	// directory are a mistake.
	maxSlots      = 64
	segmentSuffix = ".log"
	lockName      = "lock"
)

// openSpool takes the first free slot and queues what its last owner left.
func openSpool(root string) (*spool, error) {
	for slot := range maxSlots {
		dir := filepath.Join(root, strconv.Itoa(slot))
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, err
		}
		lock, err := tryLock(dir)
		if err != nil {
			return nil, err
		}
		if lock == nil {
			continue
		}
		s := &spool{root: root, dir: dir, lock: lock}
		if err := s.enqueueAll(); err != nil {
			return nil, errors.Join(err, s.close())
		}
		return s, nil
	}
	return nil, fmt.Errorf("spool %s: all %d slots are in use", root, maxSlots)
}

// tryLock locks a slot for as long as the file is open; nil: somebody has it.
// The kernel lets go of it when the process dies, however it dies.
func tryLock(dir string) (*os.File, error) {
	file, err := os.OpenFile(filepath.Join(dir, lockName), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	err = syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if err == nil {
		return file, nil
	}
	file.Close()
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return nil, nil
	}
	return nil, fmt.Errorf("lock %s: %w", dir, err)
}

// newPath names the next segment of this slot; names sort by age.
func (s *spool) newPath() string {
	s.lastName = max(s.lastName+1, time.Now().UnixNano())
	return filepath.Join(s.dir, fmt.Sprintf("%020d%s", s.lastName, segmentSuffix))
}

// enqueueAll queues the segments found in the slot.
func (s *spool) enqueueAll() error {
	paths, err := segmentsIn(s.dir)
	if err != nil {
		return err
	}
	for _, path := range paths {
		if err := s.enqueueFile(path); err != nil {
			return err
		}
	}
	return nil
}

func (s *spool) enqueueFile(path string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	name := strings.TrimSuffix(filepath.Base(path), segmentSuffix)
	born, _ := strconv.ParseInt(name, 10, 64) // of a foreign name: long ago
	s.lastName = max(s.lastName, born)        // newer ones sort after it, though the clock was set back
	s.queue = append(s.queue, sealed{
		path:    path,
		bytes:   int64(len(data)),
		records: int64(bytes.Count(data, []byte{'\n'})),
		first:   time.Unix(0, born),
	})
	return nil
}

func segmentsIn(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir) // sorted by name
	if err != nil {
		return nil, err
	}
	var paths []string
	for _, e := range entries {
		if e.Type().IsRegular() && strings.HasSuffix(e.Name(), segmentSuffix) {
			paths = append(paths, filepath.Join(dir, e.Name()))
		}
	}
	return paths, nil
}

// adopt takes over the segments and journals of slots whose owner is gone.
func (s *spool) adopt() error {
	entries, err := os.ReadDir(s.root)
	if err != nil {
		return err
	}
	var errs []error
	for _, e := range entries {
		dir := filepath.Join(s.root, e.Name())
		if _, err := strconv.Atoi(e.Name()); err == nil && e.IsDir() && dir != s.dir {
			errs = append(errs, s.adoptSlot(dir))
		}
	}
	return errors.Join(errs...)
}

func (s *spool) adoptSlot(dir string) error {
	if left, err := leftIn(dir); err != nil || !left {
		return err
	}
	lock, err := tryLock(dir)
	if err != nil || lock == nil {
		return err
	}
	defer lock.Close()
	paths, err := segmentsIn(dir) // again: its owner may have shipped some
	if err != nil {
		return err
	}
	for _, path := range paths {
		mine := s.newPath()
		if err := os.Rename(path, mine); err != nil {
			return err
		}
		if err := s.enqueueFile(mine); err != nil {
			return err
		}
	}
	return s.recover(dir)
}

// leftIn says whether a slot holds anything to adopt.
func leftIn(dir string) (bool, error) {
	if _, err := os.Stat(filepath.Join(dir, journalName)); err == nil {
		return true, nil
	}
	paths, err := segmentsIn(dir)
	return len(paths) > 0, err
}

// bytes and records are the sums over the queue.
func (s *spool) bytes() (n int64) {
	for _, seg := range s.queue {
		n += seg.bytes
	}
	return n
}

func (s *spool) records() (n int64) {
	for _, seg := range s.queue {
		n += seg.records
	}
	return n
}

// removeFirst deletes the oldest segment, which is in the database now.
func (s *spool) removeFirst() error {
	if err := os.Remove(s.queue[0].path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	s.queue = slices.Delete(s.queue, 0, 1)
	return nil
}

// setAside writes lines that cannot be shipped to a file beside the segment, for
// a person to look at. A repeated attempt writes the same file again.
func (s *spool) setAside(segment, suffix string, lines [][]byte) error {
	path := strings.TrimSuffix(segment, segmentSuffix) + suffix
	text := append(bytes.Join(lines, []byte{'\n'}), '\n')
	return os.WriteFile(path, text, 0o600)
}

// close lets go of the slot.
func (s *spool) close() error { return s.lock.Close() }
