package ratelimit

import (
	"context"
	"hash/maphash"
	"math/bits"
	"sync"
	"time"
)

const (
	shardCount = 64 // as many as a uint64 has bits: a set of shards is one

	// DefaultMaxKeys is how many buckets a Memory holds by default: about 30
	// MB when full.
	DefaultMaxKeys = 1 << 17
)

// Memory keeps buckets in this process. It is safe for use by many goroutines,
// starts none, and never holds more than its number of buckets: full buckets
// are forgotten, which changes nothing, and when there is still no room the
// bucket that would be full soonest makes way.
type Memory struct {
	now    func() time.Time
	seed   maphash.Seed
	shards [shardCount]shard
}

// NewMemory gives an empty limiter. maxKeys bounds the buckets it remembers, 0
// means [DefaultMaxKeys]; now is the clock, nil means [time.Now].
func NewMemory(maxKeys int, now func() time.Time) *Memory {
	if maxKeys <= 0 {
		maxKeys = DefaultMaxKeys
	}
	if now == nil {
		now = time.Now
	}
	m := &Memory{now: now, seed: maphash.MakeSeed()}
	for i := range m.shards {
		m.shards[i].init((maxKeys + shardCount - 1) / shardCount)
	}
	return m
}

// Take implements [Limiter].
func (m *Memory) Take(ctx context.Context, asks ...Ask) (Decision, error) {
	if err := checkAsks(asks); err != nil {
		return Decision{}, err
	}
	if err := ctx.Err(); err != nil {
		return Decision{}, err
	}
	places := make([]place, 0, 8) // on the stack for as many asks as requests have
	for i := range asks {
		places = append(places, m.placeOf(asks[i].Key))
	}
	held := m.lock(places)
	defer m.unlock(held)
	// Read under the locks, so that time never runs backwards for a bucket.
	return m.take(m.now().UnixNano(), asks, places), nil
}

// take decides with the shards' locks held.
func (m *Memory) take(now int64, asks []Ask, places []place) Decision {
	debts := make([]time.Duration, 0, 8)
	results := make([]Result, len(asks))
	for i, p := range places {
		debt := m.shards[p.shard].debt(p.key, now)
		var after time.Duration
		after, results[i] = spend(debt, asks[i].Limit, asks[i].N)
		debts = append(debts, after)
	}
	d := decide(results)
	for i, p := range places {
		s := &m.shards[p.shard]
		switch {
		case d.Allowed:
			s.set(p.key, now, debts[i])
		case results[i].RetryAfter < 0:
			results[i] = untouched(s.debt(p.key, now), asks[i].Limit)
		}
	}
	return d
}

// follow brings the buckets to where another limiter's decision left them.
func (m *Memory) follow(asks []Ask, d Decision) {
	now := m.now().UnixNano()
	for i := range asks {
		p := m.placeOf(asks[i].Key)
		s := &m.shards[p.shard]
		s.mu.Lock()
		s.set(p.key, now, d.Results[i].ResetAfter)
		s.mu.Unlock()
	}
}

// place is where a bucket is kept.
type place struct {
	key   string
	shard int
}

func (m *Memory) placeOf(key string) place {
	key = storedKey(key)
	return place{key: key, shard: int(maphash.String(m.seed, key) % shardCount)}
}

// lock locks the shards of all places, in rising order so that no two requests
// can wait for each other, and gives the set of them.
func (m *Memory) lock(places []place) (held uint64) {
	for _, p := range places {
		held |= 1 << p.shard
	}
	for rest := held; rest != 0; rest &= rest - 1 {
		m.shards[bits.TrailingZeros64(rest)].mu.Lock()
	}
	return held
}

func (m *Memory) unlock(held uint64) {
	for ; held != 0; held &= held - 1 {
		m.shards[bits.TrailingZeros64(held)].mu.Unlock()
	}
}

// Len is how many buckets are remembered.
func (m *Memory) Len() (n int) {
	for i := range m.shards {
		s := &m.shards[i]
		s.mu.Lock()
		n += len(s.heap)
		s.mu.Unlock()
	}
	return n
}

// shard is a bounded part of the buckets: a map to find one, and a heap with the
// one that is full soonest on top.
type shard struct {
	mu   sync.Mutex
	max  int
	byID map[string]*bucket
	heap []*bucket
	_    [64]byte // keeps neighbours' locks off this cache line
}

// bucket that is not full.
type bucket struct {
	key    string
	fullAt int64 // Unix time in nanoseconds
	at     int   // index in the heap
}

func (s *shard) init(maxKeys int) {
	s.max = maxKeys
	s.byID = make(map[string]*bucket)
}

// debt is how long the bucket still needs to be full.
func (s *shard) debt(key string, now int64) time.Duration {
	if b := s.byID[key]; b != nil && b.fullAt > now {
		return time.Duration(b.fullAt - now)
	}
	return 0
}

// set gives the bucket a debt. A full bucket needs no memory.
func (s *shard) set(key string, now int64, debt time.Duration) {
	b := s.byID[key]
	switch {
	case b != nil:
		b.fullAt = now + int64(debt)
		s.sift(b)
	case debt > 0:
		s.makeRoom(now)
		b = &bucket{key: key, fullAt: now + int64(debt), at: len(s.heap)}
		s.byID[key] = b
		s.heap = append(s.heap, b)
		s.sift(b)
	}
}

// makeRoom forgets full buckets, a few at a time so that no request pays for
// many, and one more if there is no room otherwise.
func (s *shard) makeRoom(now int64) {
	for range 4 {
		if len(s.heap) == 0 || (s.heap[0].fullAt > now && len(s.heap) < s.max) {
			return
		}
		s.pop()
	}
}

func (s *shard) pop() {
	top, last := s.heap[0], s.heap[len(s.heap)-1]
	delete(s.byID, top.key)
	s.heap[len(s.heap)-1] = nil
	s.heap = s.heap[:len(s.heap)-1]
	if last != top {
		last.at = 0
		s.heap[0] = last
		s.sift(last)
	}
}

// sift moves a bucket to its place in the heap.
func (s *shard) sift(b *bucket) {
	for b.at > 0 {
		parent := s.heap[(b.at-1)/2]
		if parent.fullAt <= b.fullAt {
			break
		}
		s.swap(b, parent)
	}
	for {
		child := 2*b.at + 1
		if child >= len(s.heap) {
			return
		}
		if child+1 < len(s.heap) && s.heap[child+1].fullAt < s.heap[child].fullAt {
			child++
		}
		if s.heap[child].fullAt >= b.fullAt {
			return
		}
		s.swap(b, s.heap[child])
	}
}

func (s *shard) swap(a, b *bucket) {
	s.heap[a.at], s.heap[b.at] = b, a
	a.at, b.at = b.at, a.at
}
