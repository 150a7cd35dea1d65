package conversation

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/financecommander/tollgate/internal/database"
)

// How answers are stored that are over.
const (
	// keepers store at a time. Each has its own users.
	keepers = 4
	// maxQueue is how many answers wait for one of them. What comes when it is
	// full is not stored, and the log says so.
	maxQueue = 1024
	// keepTimeout bounds one attempt.
	keepTimeout = 5 * time.Second
	// lateQuestion is how long after the answer its question may be stored. Calls
	// that no page makes have none.
	lateQuestion = 4 * time.Second
	// keepFor is how long a database that is away is tried.
	keepFor = 10 * time.Minute
	// stopFor is how long Stop lets the rest be stored.
	stopFor = 5 * time.Second
)

// keeper stores answers behind the callers' backs. It runs while it has any.
type keeper struct {
	s    *Service
	wake chan struct{}

	mu      sync.Mutex // guards what follows, and the answers' due; taken after a shard's
	queue   []*answer
	running bool
	failing bool // the last attempt met a database that is away
}

func (k *keeper) init(s *Service) { k.s, k.wake = s, make(chan struct{}, 1) }

func (s *Service) keeperOf(a *answer) *keeper {
	return &s.keepers[s.live.number(a.p.owner)%keepers]
}

// add takes an answer to be stored, and says whether it could.
func (k *keeper) add(a *answer, due time.Time) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.s.isStopping() || len(k.queue) >= maxQueue {
		return false
	}
	a.due = due
	k.queue = append(k.queue, a)
	if !k.running {
		k.running = true
		k.s.storing.Go(k.run)
	}
	k.nudge()
	return true
}

// hurry lets an answer that waits for its question be stored now.
func (k *keeper) hurry(a *answer) {
	k.mu.Lock()
	defer k.mu.Unlock()
	a.due = time.Time{}
	k.nudge()
}

func (k *keeper) nudge() {
	select {
	case k.wake <- struct{}{}:
	default:
	}
}

// run stores what is due until nothing is left.
func (k *keeper) run() {
	for {
		a, pause := k.next()
		switch {
		case a != nil:
			k.store(a)
		case pause == 0:
			return
		default:
			timer := time.NewTimer(pause)
			select {
			case <-timer.C:
			case <-k.wake:
			case <-k.s.stopping:
			}
			timer.Stop()
		}
	}
}

// next takes the answer that is due; when none is, it says how long that will
// be; 0: there are none, and the keeper ends.
func (k *keeper) next() (*answer, time.Duration) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.queue) == 0 {
		k.running = false
		return nil, 0
	}
	at := 0
	for i, a := range k.queue {
		if a.due.Before(k.queue[at].due) {
			at = i
		}
	}
	a := k.queue[at]
	if pause := time.Until(a.due); pause > 0 && !k.s.isStopping() {
		return nil, pause
	}
	k.queue = slices.Delete(k.queue, at, at+1)
	return a, 0
}

// store tries to store an answer, and puts it off where it must.
func (k *keeper) store(a *answer) {
	a.tries++
	ctx, cancel := context.WithTimeout(k.s.keeping, keepTimeout)
	defer cancel()
	conversation, err := k.conversationOf(ctx, a)
	if err == nil && conversation != "" {
		err = k.s.keep(ctx, a.p.owner, conversation, a.message(), a.outcome.Whole)
	}
	now := time.Now()
	sh := a.p.shard
	sh.mu.Lock()
	defer sh.mu.Unlock()
	switch {
	case errors.Is(err, database.ErrNotFound): // it was deleted
		a.remove(now)
	case err != nil:
		k.failed(a, err, now)
	case conversation == "" && a.conversation != "" && k.add(a, now): // it came while we looked
	case conversation == "" && a.tries == 1 && k.add(a, now.Add(lateQuestion)):
	default:
		k.recovered()
		a.remove(now)
	}
}

// conversationOf gives the conversation of an answer; "": it has none yet.
func (k *keeper) conversationOf(ctx context.Context, a *answer) (string, error) {
	sh := a.p.shard
	sh.mu.Lock()
	conversation := a.conversation
	sh.mu.Unlock()
	if conversation != "" {
		return conversation, nil
	}
	found, err := k.s.store.UnansweredConversation(ctx, a.p.owner, a.digest[:], a.started.Add(-askWindow))
	if errors.Is(err, database.ErrNotFound) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	sh.mu.Lock()
	defer sh.mu.Unlock()
	taken := slices.ContainsFunc(a.p.answers, func(b *answer) bool { return b.conversation == found })
	if a.conversation == "" && !taken {
		a.conversation = found
		a.p.withdraw(found)
	}
	return a.conversation, nil
}

// failed puts off what a database that is away did not take. The shard is
// locked.
func (k *keeper) failed(a *answer, err error, now time.Time) {
	k.mu.Lock()
	first := !k.failing
	k.failing = true
	k.mu.Unlock()
	if first {
		k.s.logger.Warn("answers cannot be stored in their conversations; trying again until they can", slog.Any("error", err))
	}
	pause := min(100*time.Millisecond<<min(a.tries-1, 6), 5*time.Second)
	if now.Sub(a.ended) > keepFor || !k.add(a, now.Add(pause)) {
		k.s.logger.Error("an answer is not stored in its conversation", slog.Any("error", err))
		a.remove(now)
	}
}

func (k *keeper) recovered() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.failing {
		k.failing = false
		k.s.logger.Info("answers are stored in their conversations again")
	}
}

// message is the answer as it is stored.
func (a *answer) message() Message {
	model := a.outcome.Model
	if model == "" {
		model = a.model
	}
	return Message{
		Role: roleAssistant, Content: a.soFar(), Model: model,
		InputTokens: a.outcome.InputTokens, OutputTokens: a.outcome.OutputTokens, CostUSD: a.outcome.Cost,
		CreatedAt: a.ended,
	}
}

func (s *Service) isStopping() bool {
	select {
	case <-s.stopping:
		return true
	default:
		return false
	}
}
