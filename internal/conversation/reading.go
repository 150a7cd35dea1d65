package conversation

import (
	"bytes"
	"slices"
	"time"

	"github.com/financecommander/tollgate/internal/database"
)

// reading is a conversation's being read while its first answer may be under
// way. Guarded by the shard.
type reading struct {
	p            *person
	conversation string
	fresh        bool   // the conversation is new: an answer to any question may be for it
	question     []byte // its question's digest; empty: not known yet
	began        time.Time
	answered     time.Time // zero: not yet
}

// concerns says whether the reading holds an answer up. Of two answers to one
// question asked in two tabs nobody knows for sure which belongs where.
func (r *reading) concerns(a *answer) bool {
	return a.conversation == r.conversation || a.conversation == "" && r.fresh || bytes.Equal(r.question, a.digest[:])
}

// holds is until when the reading holds answers up.
func (r *reading) holds() time.Time {
	limit := r.began.Add(maxPause)
	if r.answered.IsZero() {
		return limit
	}
	if end := r.answered.Add(settle); end.Before(limit) {
		return end
	}
	return limit
}

// read begins a reading, if there is an answer that it concerns or, in a fresh
// conversation, may soon be.
func (l *live) read(c *database.Conversation, now time.Time) *reading {
	fresh := now.Sub(c.CreatedAt) < freshTime
	sh := l.shard(c.Owner)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	p := sh.people[c.Owner]
	if p == nil && fresh {
		p = sh.get(c.Owner, now)
	}
	if p == nil || len(p.readings) >= maxReadings || !fresh && p.answerTo(c) == nil {
		return nil
	}
	r := &reading{p: p, conversation: c.UUID, fresh: fresh, question: c.Question, began: now}
	p.readings = append(p.readings, r)
	p.held.Store(true)
	return r
}

// answerTo gives the answer that belongs to a conversation, or, by its question,
// must; nil: none does.
func (p *person) answerTo(c *database.Conversation) *answer {
	for _, a := range slices.Backward(p.answers) {
		if a.conversation == c.UUID {
			return a
		}
	}
	if c.AskedAt == nil {
		return nil
	}
	for _, a := range p.answers {
		if a.conversation == "" && bytes.Equal(a.digest[:], c.Question) && a.started.Sub(*c.AskedAt) <= askWindow {
			return a
		}
	}
	return nil
}

// find looks for the answer that is read along, and says what will tell of a
// change, and whether one may still come.
func (r *reading) find(c *database.Conversation) (a *answer, changed <-chan struct{}, may bool) {
	sh := r.p.shard
	sh.mu.Lock()
	defer sh.mu.Unlock()
	r.question = c.Question
	if a = r.p.answerTo(c); a != nil && a.conversation == "" { // its question was stored by another replica
		a.s.tie(a, c.UUID)
	}
	may = slices.ContainsFunc(r.p.answers, func(a *answer) bool { return a.conversation == "" })
	return a, r.p.changed, may
}

// guess gives the answer that must be a new conversation's whose question takes
// long to be stored: the only one that no conversation is known of. Without it
// the page would show no answer at all.
func (r *reading) guess(c *database.Conversation) (only *answer) {
	r.p.shard.mu.Lock()
	defer r.p.shard.mu.Unlock()
	if !r.fresh || c.AskedAt != nil {
		return nil
	}
	for _, a := range r.p.answers {
		switch {
		case a.conversation != "" || a.started.Before(c.CreatedAt):
		case only != nil:
			return nil
		default:
			only = a
		}
	}
	return only
}

// state says since when the answer is over (zero: it is not), and what will tell
// that it is stored.
func (a *answer) state() (ended time.Time, kept <-chan struct{}) {
	a.p.shard.mu.Lock()
	defer a.p.shard.mu.Unlock()
	return a.ended, a.kept
}

// done says that the reading was answered. Where nothing is under way there is
// nothing to hold up any more.
func (r *reading) done(now time.Time) {
	sh := r.p.shard
	sh.mu.Lock()
	defer sh.mu.Unlock()
	r.answered = now
	if !slices.ContainsFunc(r.p.answers, func(a *answer) bool { return a.ended.IsZero() }) {
		r.p.readings = slices.DeleteFunc(r.p.readings, func(other *reading) bool { return r == other })
	}
	r.p.tell()
	r.p.prune(now)
}
