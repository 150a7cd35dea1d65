package revocation

import (
	"iter"
	"maps"
	"math"
	"time"
)

// snapshot is what is revoked at one moment. It never changes, so that it is
// read without a lock. New entries go into the small map, so that adding one
// does not copy all.
type snapshot struct{ settled, recent map[key]mark }

// foldAt is how many recent entries there are before they are settled: so many
// that copying them each time costs as much as copying all at the end.
func foldAt(settled int) int { return max(256, int(math.Sqrt(2*float64(settled)))) }

func (s *snapshot) find(k key) (mark, bool) {
	if m, ok := s.recent[k]; ok {
		return m, true
	}
	m, ok := s.settled[k]
	return m, ok
}

// revokes tells whether a token is refused for what it says of one kind.
func (s *snapshot) revokes(kind Kind, value string, issued time.Time) bool {
	if value == "" {
		return false
	}
	m, ok := s.find(key{kind, canonical(value)})
	return ok && issued.UnixMicro() <= m.before // without an "iat" it is the year 1
}

// with gives a snapshot that has the entries too; the same one when it knows
// them all. Entries that ended before the cutoff are passed over.
func (s *snapshot) with(entries []Entry, cutoff time.Time) *snapshot {
	var recent map[key]mark
	for _, e := range entries {
		k, m := e.key(), e.mark()
		old, known := s.find(k)
		if later, seen := recent[k]; seen {
			old, known = later, true
		}
		if known {
			m = m.merge(old)
		}
		if known && m == old || m.expires < cutoff.UnixMicro() {
			continue
		}
		if recent == nil {
			recent = make(map[key]mark, len(s.recent)+len(entries))
			maps.Copy(recent, s.recent)
		}
		recent[k] = m
	}
	switch {
	case recent == nil:
		return s
	case len(recent) < foldAt(len(s.settled)):
		return &snapshot{s.settled, recent}
	}
	settled := make(map[key]mark, len(s.settled)+len(recent))
	maps.Copy(settled, s.settled)
	maps.Copy(settled, recent)
	return &snapshot{settled: settled}
}

// without gives a snapshot without the entries that ended before the cutoff.
func (s *snapshot) without(cutoff time.Time) *snapshot {
	ended := func(_ key, m mark) bool { return m.expires < cutoff.UnixMicro() }
	any := false
	for k, m := range s.all() {
		any = any || ended(k, m)
	}
	if !any {
		return s
	}
	kept := maps.Collect(s.all())
	maps.DeleteFunc(kept, ended)
	return &snapshot{settled: kept}
}

// all gives each entry once.
func (s *snapshot) all() iter.Seq2[key, mark] {
	return func(yield func(key, mark) bool) {
		for k, m := range s.recent {
			if !yield(k, m) {
				return
			}
		}
		for k, m := range s.settled {
			if _, newer := s.recent[k]; !newer && !yield(k, m) {
				return
			}
		}
	}
}
