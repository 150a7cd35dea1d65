package usage

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io/fs"
	"iter"
	"log/slog"
	"math"
	"math/bits"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"sync/atomic"
	"syscall"
	"unsafe"

	"github.com/financecommander/tollgate/internal/llm"
)

// A journal knows the attempts that are under way. It is a file in the ledger's
// slot of the spool, mapped into memory, so that an entry costs no system call
// and is there for the next process whatever ends this one. The file is divided
// into places of one record each:
//
//	8 bytes: length of the frame, 0: free; the frame, as in a segment
//
// The length is written last. Whoever finds the file after its owner died makes
// a segment of the records in it. That segment is shipped after the owner's own:
// of an attempt that had just been settled the true record comes first, and to
// insert the other does nothing. So an entry that is left by mistake is harmless.
type journal struct {
	memory []byte // the file; never unmapped, since a late call may still have its mark
	taken  [journalPlaces / 64]atomic.Uint64
}

const (
	journalName   = "inflight"
	journalPlaces = 4096
	// placeBytes is enough for a record with every usual field, some 600 bytes.
	placeBytes  = 1 << 10
	placeHeader = 8
	// recoveringName is the segment made of a journal until it is whole.
	recoveringName = "recovering"
)

// Mark is an entry in the journal of attempts under way. The zero Mark is none.
type Mark int

// Begin enters an attempt into the journal before it is sent: should the process
// die before [Ledger.End], the next one on the spool writes this record, with
// [llm.CauseInterrupted] and without a status, since nobody knows what the caller
// got. It makes no system call and never fails: with all 4,096 places taken, a
// record of more than about 1,000 bytes, a disk that is full or a ledger that is
// not running it gives the zero Mark, and [Stats] counts an attempt whose record
// such a death would cost. As [Ledger.Append], it gives r an id if it has none.
func (l *Ledger) Begin(r *Record) Mark {
	r.ensureID()
	interrupted := *r
	interrupted.Status, interrupted.Success, interrupted.ErrorCause = 0, false, llm.CauseInterrupted
	if j := l.journal.Load(); j != nil && l.open.Load() != nil {
		if mark := j.begin(&interrupted); mark != 0 {
			return mark
		}
	}
	if l.stats.unjournaled.Add(1) == 1 {
		l.config.Logger.Warn("a call has no place in the journal of calls under way, and would leave no record should the process die; further ones are only counted")
	}
	return 0
}

// End removes an entry, once the attempt's record is kept. When the ledger has
// been stopped the entry stays: the record can no longer be appended either.
func (l *Ledger) End(m Mark) {
	if m != 0 && l.open.Load() != nil {
		l.journal.Load().end(m)
	}
}

// createJournal makes and maps a journal. The file must not be there: one that is
// has yet to be recovered.
func createJournal(dir string) (*journal, error) {
	path := filepath.Join(dir, journalName)
	file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	if err := file.Truncate(journalPlaces * placeBytes); err != nil {
		return nil, err
	}
	memory, err := syscall.Mmap(int(file.Fd()), 0, journalPlaces*placeBytes, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
	if err != nil {
		return nil, os.NewSyscallError("mmap", err)
	}
	return &journal{memory: memory}, nil
}

func (j *journal) begin(r *Record) Mark {
	place, ok := j.take()
	if !ok {
		return 0
	}
	if !j.write(place, r) {
		j.give(place)
		return 0
	}
	return Mark(place + 1)
}

func (j *journal) end(m Mark) {
	place := int(m) - 1
	j.clear(place)
	j.give(place)
}

// take finds a free place, the first: so the same few pages of memory are used.
func (j *journal) take() (place int, ok bool) {
	for i := range j.taken {
		word := &j.taken[i]
		for old := word.Load(); old != math.MaxUint64; old = word.Load() {
			free := bits.TrailingZeros64(^old)
			if word.CompareAndSwap(old, old|1<<free) {
				return i*64 + free, true
			}
		}
	}
	return 0, false
}

func (j *journal) give(place int) { j.taken[place/64].And(^(uint64(1) << (place % 64))) }

// write fills a place; false: the record does not fit, or the disk has no room.
func (j *journal) write(place int, r *Record) (ok bool) {
	defer survive(debug.SetPanicOnFault(true), &ok)
	memory := j.memory[place*placeBytes:][:placeBytes]
	frame := appendFrame(memory[placeHeader:placeHeader:placeBytes], r)
	if len(frame) > placeBytes-placeHeader {
		return false // it went to the heap instead
	}
	header(memory).Store(uint64(len(frame)))
	return true
}

func (j *journal) clear(place int) {
	var ok bool // if not, the entry stays, harmless
	defer survive(debug.SetPanicOnFault(true), &ok)
	header(j.memory[place*placeBytes:]).Store(0)
}

// survive, deferred, takes it that memory could not be written: the file has
// holes, and where the disk has no room for one the system sends SIGBUS, which
// would otherwise end the process.
func survive(before bool, ok *bool) {
	debug.SetPanicOnFault(before)
	p := recover()
	if p == nil {
		return
	}
	if _, fault := p.(interface{ Addr() uintptr }); !fault {
		panic(p)
	}
	*ok = false
}

// header is the length at the beginning of a place, in the machine's byte order. A
// place is aligned to its size, so the length is stored at once.
func header(place []byte) *atomic.Uint64 {
	return (*atomic.Uint64)(unsafe.Pointer(&place[0]))
}

// interruptedIn yields the frames of the attempts that were under way. What is
// half written is none.
func interruptedIn(data []byte) iter.Seq[[]byte] {
	return func(yield func(frame []byte) bool) {
		for place := range slices.Chunk(data, placeBytes) {
			if len(place) <= placeHeader {
				continue
			}
			length, rest := binary.NativeEndian.Uint64(place), place[placeHeader:]
			if length == 0 || length > uint64(len(rest)) || rest[0] != '\n' {
				continue
			}
			frame := rest[:length]
			if _, intact := unframe(frame[1:]); intact && bytes.IndexByte(frame[1:], '\n') < 0 && !yield(frame) {
				return
			}
		}
	}
}

// openJournal recovers what the slot's last owner left and begins a new journal;
// nil: there can be none, and calls go on without.
func (l *Ledger) openJournal(s *spool) *journal {
	err := s.recover(s.dir)
	if err == nil {
		var j *journal
		if j, err = createJournal(s.dir); err == nil {
			return j
		}
	}
	l.stats.fail(err)
	l.config.Logger.Error("no journal of calls under way; should the process die, they leave no record", slog.Any("error", err))
	return nil
}

// recover makes a journal whose owner is gone the newest segment of this spool,
// and removes it. Ended at any step and done again, it does the same: a record
// is inserted once.
func (s *spool) recover(dir string) error {
	path := filepath.Join(dir, journalName)
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if frames := slices.Collect(interruptedIn(data)); len(frames) > 0 {
		segment := s.newPath()
		if err := s.writeWhole(segment, bytes.Join(frames, nil)); err != nil {
			return err
		}
		if err := s.enqueueFile(segment); err != nil {
			return err
		}
		s.interrupted += len(frames)
	}
	return os.Remove(path)
}

// writeWhole makes a file that is there whole or not at all.
func (s *spool) writeWhole(path string, data []byte) error {
	part := filepath.Join(s.dir, recoveringName)
	file, err := os.OpenFile(part, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(data)
	if err := errors.Join(err, file.Sync(), file.Close()); err != nil {
		return err
	}
	if err := os.Rename(part, path); err != nil {
		return err
	}
	return syncDir(s.dir)
}
