package conversation

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/database"
	"github.com/financecommander/tollgate/internal/gateway"
	"github.com/financecommander/tollgate/internal/identity"
)

// nowhere is a database for tests of what happens before it.
type nowhere struct {
	Store

	mu    sync.Mutex // guards asked
	asked int
}

func (n *nowhere) UnansweredConversation(context.Context, string, []byte, time.Time) (string, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.asked++
	return "", database.ErrNotFound
}

func (n *nowhere) ChangeConversation(context.Context, string, string, func(*database.ConversationTx) error) error {
	return database.ErrNotFound
}

// fresh is a conversation that was just made.
func fresh(owner, id string) *database.Conversation {
	return &database.Conversation{UUID: id, Owner: owner, CreatedAt: time.Now()}
}

func TestReadingsHoldStreamsUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t, &nowhere{})
		a := begin(t, s, "alice", "why?").(*answer)
		a.Text("one ")
		require.False(t, a.Pass(t.Context()))
		a.Text("two ")
		require.Equal(t, "one ", a.soFar(), "what is not passed on is not told")

		r := s.live.read(fresh("alice", "c"), time.Now())
		require.Equal(t, "one ", a.soFar())
		began := time.Now()
		time.AfterFunc(200*time.Millisecond, func() { r.done(time.Now()) })
		require.True(t, a.Pass(t.Context()))
		require.Equal(t, 200*time.Millisecond+settle, time.Since(began))
		require.Equal(t, "one two ", a.soFar())
		require.False(t, a.Pass(t.Context()), "the reading is over")

		s.live.read(fresh("alice", "c"), time.Now()) // is never answered
		began = time.Now()
		require.True(t, a.Pass(t.Context()))
		require.Equal(t, maxPause, time.Since(began))

		s.live.read(fresh("alice", "c"), time.Now())
		gone, leave := context.WithCancel(t.Context())
		time.AfterFunc(10*time.Millisecond, leave)
		began = time.Now()
		require.True(t, a.Pass(gone))
		require.Equal(t, 10*time.Millisecond, time.Since(began), "who left waits for nothing")
		a.End(whole)
	})
}

func TestReadingsConcernTheirOwnStreamsOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t, &nowhere{})
		alices, bobs := begin(t, s, "alice", "why?"), begin(t, s, "bob", "why?")
		tied := begin(t, s, "alice", "how?")
		s.asked("alice", "other", s.digest("alice", roleUser, " how?\n"), time.Now())

		require.NotNil(t, s.live.read(fresh("alice", "c"), time.Now()))
		require.False(t, bobs.Pass(t.Context()), "another user's")
		require.False(t, tied.Pass(t.Context()), "another conversation's")
		require.True(t, alices.Pass(t.Context()))

		old := fresh("alice", "old")
		old.CreatedAt = old.CreatedAt.Add(-time.Hour)
		require.Nil(t, s.live.read(old, time.Now()), "no answer can be meant for it")
		old.Question, old.AskedAt = new(s.digest("alice", roleUser, "why?"))[:], new(time.Now())
		require.NotNil(t, s.live.read(old, time.Now()), "but for its question")
		for _, a := range []gateway.Answer{alices, bobs, tied} {
			a.End(whole)
		}
	})
}

// Who reads all the time takes half of a stream's pace at most, after a while.
func TestReadingsDoNotStarveStreams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t, &nowhere{})
		a := begin(t, s, "alice", "why?")
		ctx, stop := context.WithCancel(t.Context())
		var readers sync.WaitGroup
		for range 3 {
			readers.Go(func() {
				for ctx.Err() == nil {
					r := s.live.read(fresh("alice", "c"), time.Now())
					_ = wait(ctx, 7*time.Millisecond, nil)
					r.done(time.Now())
				}
			})
		}
		const work = 20 * time.Second
		began := time.Now()
		for range work / (10 * time.Millisecond) {
			time.Sleep(10 * time.Millisecond)
			a.Text("x")
			a.Pass(t.Context())
		}
		took := time.Since(began)
		stop()
		readers.Wait()
		require.Greater(t, took, work+maxCredit)
		require.LessOrEqual(t, took, 2*work+maxCredit+settle)
		a.End(whole)
	})
}

func TestTies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t, &nowhere{})
		asked := func(conversation, question string) {
			s.asked("alice", conversation, s.digest("alice", roleUser, question), time.Now())
		}
		conversationOf := func(a gateway.Answer) string { return a.(*answer).conversation }

		asked("c1", "why?")
		asked("c2", "why?")
		asked("c3", "how?")
		first, second, third := begin(t, s, "alice", "why?"), begin(t, s, "alice", "why?"), begin(t, s, "alice", "why?")
		require.Equal(t, "c2", conversationOf(first), "the newest conversation")
		require.Equal(t, "c1", conversationOf(second))
		require.Empty(t, conversationOf(third))
		asked("c4", " why?\n")
		require.Equal(t, "c4", conversationOf(third), "the question may come later")
		require.Empty(t, conversationOf(begin(t, s, "bob", "how?")), "another user's")

		time.Sleep(askWindow + time.Second)
		require.Empty(t, conversationOf(begin(t, s, "alice", "how?")), "that was long ago")
		asked("c5", "when?")
		s.live.answered("alice", "c5")
		require.Empty(t, conversationOf(begin(t, s, "alice", "when?")), "it has an answer")
		asked("c6", "when?")
		s.live.forget("alice", "")
	})
}

// Nothing is held for ever, and there is a bound to everything.
func TestBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &nowhere{}
		s := newService(t, n)
		people := func() (n int) {
			for i := range s.live.shards {
				s.live.shards[i].mu.Lock()
				n += len(s.live.shards[i].people)
				s.live.shards[i].mu.Unlock()
			}
			return n
		}
		for range 3 * maxAsked {
			s.asked("alice", fmt.Sprint(time.Now()), digest{1}, time.Now())
		}
		require.LessOrEqual(t, len(s.live.shard("alice").people["alice"].asked), maxAsked)

		answers := make([]gateway.Answer, 0, maxAnswers)
		for range maxAnswers {
			answers = append(answers, begin(t, s, "alice", "why?"))
		}
		require.Nil(t, s.Begin(t.Context(), &identity.Principal{UserHash: "alice"}, gateway.Question{Text: "why?"}))
		require.Nil(t, s.Begin(t.Context(), &identity.Principal{}, gateway.Question{Text: "why?"}), "nobody")
		for _, a := range answers {
			a.Text(strings.Repeat("x", 1000))
			a.End(whole)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		require.Equal(t, 2*maxAnswers, n.asked, "calls without a conversation are looked for twice")
		require.Zero(t, s.live.memory.Load())
		s.live.prune(time.Now().Add(time.Hour))
		require.Zero(t, people())

		for i := range 3 * shards * maxPeople {
			s.asked(fmt.Sprint("user", i), "c", digest{}, time.Now())
		}
		require.LessOrEqual(t, people(), shards*maxPeople)
	})
}

func TestTextIsBounded(t *testing.T) {
	t.Parallel()
	s := newService(t, &nowhere{})
	a := begin(t, s, "alice", "why?").(*answer)
	for range MaxAnswer/3 + 10 {
		a.Text("üx") // three bytes: the bound falls into a character
	}
	a.Pass(t.Context())
	rest, ok := strings.CutPrefix(strings.Repeat("üx", MaxAnswer)[:MaxAnswer-1], a.soFar())
	require.True(t, ok)
	require.Empty(t, rest)
	require.EqualValues(t, MaxAnswer, s.live.memory.Load())
	a.End(gateway.Outcome{Whole: true})
	require.False(t, a.outcome.Whole)

	b := begin(t, s, "alice", "why?").(*answer)
	s.live.memory.Add(maxMemory)
	b.Text("x")
	b.Pass(t.Context())
	require.Empty(t, b.soFar(), "there is no memory")
	s.live.memory.Add(-maxMemory)
	b.End(whole)
}

// Another upstream is asked where one failed before its first byte went out.
func TestAgain(t *testing.T) {
	t.Parallel()
	s := newService(t, &nowhere{})
	a := begin(t, s, "alice", "why?").(*answer)
	a.Text("one ")
	a.Again()
	a.Text("two ")
	a.Pass(t.Context())
	a.Again()
	a.Text("three")
	a.Pass(t.Context())
	require.Equal(t, "two three", a.soFar())
	a.End(whole)
}

func TestOff(t *testing.T) {
	t.Parallel()
	s, err := New(Options{Off: true})
	require.NoError(t, err)
	require.False(t, s.On())
	require.False(t, (*Service)(nil).On())
	require.Nil(t, s.Begin(t.Context(), &identity.Principal{UserHash: "alice"}, gateway.Question{Text: "why?"}))
	require.NoError(t, s.Forget(t.Context(), "alice"))
	s.Start(t.Context())
	s.Stop()
	(*Service)(nil).Stop()

	_, err = New(Options{Secret: testSecret})
	require.ErrorContains(t, err, "database")
	_, err = New(Options{Store: &nowhere{}})
	require.ErrorContains(t, err, "secret")
}

// What a piece costs while nobody reads: no lock that calls share.
func BenchmarkPiece(b *testing.B) {
	s := newService(b, &nowhere{})
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		a := begin(b, s, "alice", "why?").(*answer)
		for pb.Next() {
			if len(a.text) > MaxAnswer/2 {
				a.text, a.said = a.text[:0], nil
			}
			a.Text("word ")
			a.Pass(context.Background())
		}
		a.Again()
		a.End(whole)
	})
}
