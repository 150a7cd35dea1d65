package conversation

import (
	"bytes"
	"context"
	"hash/maphash"
	"slices"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/financecommander/tollgate/internal/gateway"
	"github.com/financecommander/tollgate/internal/identity"
)

// How a reading and a stream meet.
const (
	// lead is how long before a reading's answer the last piece was written, so
	// that the page has it by then.
	lead = 40 * time.Millisecond
	// settle is how long after it the next piece comes, so that the page shows
	// what it read by then. It is a measured number.
	settle = 120 * time.Millisecond
	// maxPause is the longest that one reading holds a stream up, its waiting for
	// the question included.
	maxPause = 1500 * time.Millisecond
	// maxCredit is how long readings may hold a stream up at a stretch. It grows
	// again while the stream runs, as fast as it does: who reads all the time
	// cannot make it slower than half its pace.
	maxCredit = 3 * time.Second
)

// The bounds of what is held in memory.
const (
	shards      = 256
	maxPeople   = 512 // in a shard
	maxAnswers  = 64  // of one user, under way or not stored yet
	maxReadings = 64  // of one user
	maxAsked    = 16  // questions of one user that no stream was seen for
	maxMemory   = 256 << 20
)

// freshTime is how long after a conversation was made its first question is
// waited for.
const freshTime = 10 * time.Second

// askWindow is how far apart a question's being stored and its being asked may
// be. A page may upload attachments between them.
const askWindow = time.Minute

// live knows the answers under way, by user. A call touches its user's shard as
// it begins and ends, and otherwise only its own answer.
type live struct {
	seed   maphash.Seed
	memory atomic.Int64 // bytes of answers; touched when a text outgrows its room
	shards [shards]shard
}

func (l *live) init() {
	l.seed = maphash.MakeSeed()
	for i := range l.shards {
		l.shards[i].people = make(map[string]*person)
	}
}

func (l *live) shard(owner string) *shard { return &l.shards[l.number(owner)] }

func (l *live) number(owner string) int { return int(maphash.String(l.seed, owner) % shards) }

type shard struct {
	mu     sync.Mutex // guards the people and all that is said to be guarded by the shard
	people map[string]*person
	pruned time.Time
}

// person is what there is of one user. All of it is guarded by the shard.
type person struct {
	shard    *shard
	owner    string
	answers  []*answer  // under way, or not stored yet
	asked    []asked    // questions stored that no stream was seen for, oldest first
	readings []*reading // that may hold up answers
	changed  chan struct{}
	// held is whether there are readings. It is read without the shard's lock, by
	// whoever holds an answer's.
	held atomic.Bool
}

// asked is a question that was stored in a new conversation.
type asked struct {
	conversation string
	digest       digest
	at           time.Time
}

// get gives a user's person, made if need be; nil: there are too many.
func (sh *shard) get(owner string, now time.Time) *person {
	if p := sh.people[owner]; p != nil {
		return p
	}
	if len(sh.people) >= maxPeople {
		if now.Sub(sh.pruned) > time.Second {
			sh.prune(now)
		}
		if len(sh.people) >= maxPeople {
			return nil
		}
	}
	p := &person{shard: sh, owner: owner, changed: make(chan struct{})}
	sh.people[owner] = p
	return p
}

// prune forgets what is of no use any more.
func (sh *shard) prune(now time.Time) {
	sh.pruned = now
	for _, p := range sh.people {
		p.prune(now)
	}
}

func (p *person) prune(now time.Time) {
	p.asked = slices.DeleteFunc(p.asked, func(q asked) bool { return now.Sub(q.at) > askWindow })
	p.readings = slices.DeleteFunc(p.readings, func(r *reading) bool { return !r.holds().After(now) })
	p.held.Store(len(p.readings) > 0)
	if len(p.answers) == 0 && len(p.asked) == 0 && len(p.readings) == 0 && p.shard.people[p.owner] == p {
		delete(p.shard.people, p.owner)
	}
}

// tell wakes all who wait for something to change.
func (p *person) tell() {
	close(p.changed)
	p.changed = make(chan struct{})
}

// answer is a first answer, or one that may be: what a question belongs to is
// not known until it is stored.
type answer struct {
	s       *Service
	p       *person
	digest  digest // of the question
	model   string
	started time.Time

	// The stream's own.
	text     []byte
	reserved int64
	over     bool // there is no room for more

	mu   sync.Mutex // guards said; taken after the shard's
	said []byte     // what was passed on: a part of text

	// Guarded by the shard.
	conversation string // "": not known yet
	waiting      bool   // held up by a reading
	credit       time.Duration
	creditAt     time.Time
	ended        time.Time // zero: under way
	outcome      gateway.Outcome
	kept         chan struct{} // closed when it is stored, or will never be

	due   time.Time // when to store it; guarded by the keeper
	tries int       // the keeper's
}

// Begin implements [gateway.Answers].
func (s *Service) Begin(_ context.Context, who *identity.Principal, q gateway.Question) gateway.Answer {
	if !s.On() || who.UserHash == "" {
		return nil
	}
	now := time.Now()
	a := &answer{
		s: s, digest: s.digest(who.UserHash, roleUser, q.Text), model: q.Model, started: now,
		credit: maxCredit, creditAt: now, kept: make(chan struct{}),
	}
	sh := s.live.shard(who.UserHash)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	p := sh.get(who.UserHash, now)
	if p == nil || len(p.answers) >= maxAnswers {
		return nil
	}
	a.p = p
	p.answers = append(p.answers, a)
	for i, q := range slices.Backward(p.asked) { // the newest such question
		if q.digest == a.digest && now.Sub(q.at) <= askWindow {
			a.conversation = q.conversation
			p.asked = slices.Delete(p.asked, i, i+1)
			break
		}
	}
	p.tell()
	return a
}

// asked notes that a question was stored in a conversation without an answer.
func (s *Service) asked(owner, conversation string, d digest, now time.Time) {
	sh := s.live.shard(owner)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	p := sh.get(owner, now)
	if p == nil {
		return
	}
	defer p.tell()
	for _, a := range p.answers { // the oldest that waits for its question
		if a.conversation == "" && a.digest == d {
			s.tie(a, conversation)
			return
		}
	}
	p.withdraw(conversation)
	if len(p.asked) >= maxAsked {
		p.asked = slices.Delete(p.asked, 0, 1)
	}
	p.asked = append(p.asked, asked{conversation, d, now})
}

// tie says which conversation an answer belongs to.
func (s *Service) tie(a *answer, conversation string) {
	a.conversation = conversation
	a.p.withdraw(conversation)
	if !a.ended.IsZero() {
		s.keeperOf(a).hurry(a)
	}
}

// withdraw forgets a conversation's question.
func (p *person) withdraw(conversation string) {
	p.asked = slices.DeleteFunc(p.asked, func(q asked) bool { return q.conversation == conversation })
}

// answered notes that a conversation has an answer.
func (l *live) answered(owner, conversation string) {
	sh := l.shard(owner)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if p := sh.people[owner]; p != nil {
		p.withdraw(conversation)
		p.tell()
		p.prune(time.Now())
	}
}

// forget notes that a conversation was deleted; "" for all of a user's. An
// answer to it finds nothing to be stored in.
func (l *live) forget(owner, conversation string) {
	if conversation != "" {
		l.answered(owner, conversation)
		return
	}
	sh := l.shard(owner)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if p := sh.people[owner]; p != nil {
		p.asked = nil
		p.tell()
		p.prune(time.Now())
	}
}

// Again implements [gateway.Answer].
func (a *answer) Again() {
	a.text = a.text[:len(a.said)] // only this goroutine changes said
	a.over = false
}

// Text implements [gateway.Answer].
func (a *answer) Text(piece string) {
	if a.over {
		return
	}
	if room := MaxAnswer - len(a.text); len(piece) > room {
		for room > 0 && !utf8.RuneStart(piece[room]) {
			room--
		}
		piece, a.over = piece[:room], true
	}
	if need := len(a.text) + len(piece); need > cap(a.text) && !a.grow(need) {
		a.over = true
		return
	}
	a.text = append(a.text, piece...)
}

// grow makes room for an answer, if there is memory.
func (a *answer) grow(need int) bool {
	room := min(max(2*cap(a.text), need, 1<<10), max(need, MaxAnswer))
	more := int64(room) - a.reserved
	if a.s.live.memory.Add(more) > maxMemory {
		a.s.live.memory.Add(-more)
		return false
	}
	a.reserved += more
	a.text = append(make([]byte, 0, room), a.text...)
	return true
}

// Pass implements [gateway.Answer].
func (a *answer) Pass(ctx context.Context) (waited bool) {
	if a.pass(false) {
		return false
	}
	for {
		wait, changed := a.hold()
		if wait <= 0 {
			return waited
		}
		waited = true
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-changed:
		case <-ctx.Done():
			timer.Stop()
			return true
		}
		timer.Stop()
	}
}

// pass says that what there is goes to the caller now, unless a reading may be
// in the way. Whoever reads makes itself known first and takes the text then,
// both under this lock or one around it, so a piece is either in what it took or
// is held up.
func (a *answer) pass(inspite bool) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.p.held.Load() && !inspite {
		return false
	}
	a.said = a.text
	return true
}

// hold says how long the answer must wait for readings. If it need not, it has
// passed.
func (a *answer) hold() (wait time.Duration, changed <-chan struct{}) {
	sh := a.p.shard
	sh.mu.Lock()
	defer sh.mu.Unlock()
	now := time.Now()
	if a.waiting {
		a.credit -= now.Sub(a.creditAt)
	} else {
		a.credit = min(maxCredit, a.credit+now.Sub(a.creditAt))
	}
	a.creditAt = now
	var until time.Time
	for _, r := range a.p.readings {
		if r.concerns(a) {
			until = later(until, r.holds())
		}
	}
	wait = min(until.Sub(now), a.credit)
	a.waiting = wait > 0
	if !a.waiting {
		a.p.prune(now)
		a.pass(true)
	}
	return wait, a.p.changed
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// End implements [gateway.Answer].
func (a *answer) End(o gateway.Outcome) {
	a.mu.Lock()
	a.said = a.text
	a.mu.Unlock()

	sh := a.p.shard
	sh.mu.Lock()
	defer sh.mu.Unlock()
	a.outcome, a.ended = o, time.Now()
	if a.over {
		a.outcome.Whole = false
	}
	switch {
	case len(bytes.TrimSpace(a.said)) == 0:
		a.remove(a.ended)
	case !a.s.keeperOf(a).add(a, a.ended):
		a.s.logger.Error("an answer is not stored in its conversation: too many wait, or the gateway stops")
		a.remove(a.ended)
	default:
		a.p.tell()
	}
}

// remove forgets an answer that is stored, or never will be. The shard is locked.
func (a *answer) remove(now time.Time) {
	a.p.answers = slices.DeleteFunc(a.p.answers, func(b *answer) bool { return a == b })
	a.s.live.memory.Add(-a.reserved)
	close(a.kept)
	a.p.tell()
	a.p.prune(now)
}

// soFar is the text that was passed on.
func (a *answer) soFar() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return string(a.said)
}
