package revocation

import (
	"encoding/json"
	"errors"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"
)

// saveShare bounds the part of its time that a registry spends writing its file:
// a write that took long is followed by a pause this many times as long.
const saveShare = 20

// saver is what is remembered of the file.
type saver struct {
	mu      sync.Mutex // one writer at a time, so that the newest state stays
	next    time.Time  // when it may be written again
	failing bool
}

// content is the file: what is revoked, with no more than hashes and ids.
type content struct {
	ReadAt  time.Time `json:"read_at,omitzero"` // when the database was last read
	Entries []Entry   `json:"entries"`
	Pending []Entry   `json:"pending,omitempty"` // those that the database does not have yet
}

// load puts in force what the file has. One that cannot be read is told of and
// passed over: the database has the same and more.
func (r *Registry) load() {
	if r.file == "" {
		return
	}
	text, err := os.ReadFile(r.file)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	var kept content
	if err == nil {
		err = json.Unmarshal(text, &kept)
	}
	entries, badEntries := normalizeAll(slices.Concat(kept.Entries, kept.Pending))
	pending, badPending := normalizeAll(kept.Pending)
	if err := errors.Join(err, badEntries, badPending); err != nil {
		r.logger.Warn("the file of revocations cannot be read", slog.String("file", r.file), slog.Any("error", err))
		return
	}
	r.apply(entries)
	r.dirty.Store(false)
	if r.store != nil && len(pending) > 0 {
		r.keepPending(pending)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.readAt = kept.ReadAt
}

// saveWhenDue writes the file when something is new, but a large one less often.
func (r *Registry) saveWhenDue() {
	r.saver.mu.Lock()
	due := !time.Now().Before(r.saver.next)
	r.saver.mu.Unlock()
	if due && r.dirty.Load() {
		r.save()
	}
}

// save writes the file and says once that it cannot be.
func (r *Registry) save() {
	if r.file == "" {
		return
	}
	r.saver.mu.Lock()
	defer r.saver.mu.Unlock()
	began := time.Now()
	r.dirty.Store(false)
	err := writeFile(r.file, r.content())
	r.saver.next = time.Now().Add(saveShare * time.Since(began))
	switch {
	case err != nil && !r.saver.failing:
		r.logger.Warn("the file of revocations cannot be written: a start without the database would not know of the latest",
			slog.String("file", r.file), slog.Any("error", err))
	case err == nil && r.saver.failing:
		r.logger.Info("the file of revocations can be written again", slog.String("file", r.file))
	}
	if r.saver.failing = err != nil; err != nil {
		r.dirty.Store(true)
	}
}

func (r *Registry) content() content {
	r.mu.Lock()
	now, pending, readAt := r.current.Load(), slices.Collect(maps.Values(r.pending)), r.readAt
	r.mu.Unlock()
	entries := make([]Entry, 0, len(now.settled)+len(now.recent))
	for k, m := range now.all() {
		entries = append(entries, m.entry(k, ""))
	}
	return content{ReadAt: readAt.UTC(), Entries: entries, Pending: pending}
}

// writeFile makes a file that is there whole or not at all.
func writeFile(path string, c content) error {
	text, err := json.Marshal(c)
	if err != nil {
		return err
	}
	file, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".new-*") // mode 0600
	if err != nil {
		return err
	}
	_, err = file.Write(text)
	if err = errors.Join(err, file.Sync(), file.Close()); err == nil {
		err = os.Rename(file.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(file.Name()))
	}
	return nil
}
