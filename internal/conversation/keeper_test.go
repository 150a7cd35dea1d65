package conversation

import (
	"bytes"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/database"
	"github.com/financecommander/tollgate/internal/gateway"
)

// A reading right after the end shows the stored answer, with what it cost.
func TestAnswersAreStored(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, db *database.DB, scan func() string) {
		s := newService(t, db)
		id := create(t, s, "alice")
		add(t, s, "alice", id, "user", "why?")
		say(t, s, "alice", "why?", "Because ", "of a private matter.")
		read, err := s.Read(t.Context(), "alice", id)
		require.NoError(t, err)
		read.Answered()
		require.Equal(t, []string{"user: why?", "assistant: Because of a private matter."}, textsOf(read))
		stored := read.Messages[1]
		require.Equal(t, Message{
			ID: stored.ID, Role: "assistant", Content: "Because of a private matter.", Model: "gpt-4o",
			InputTokens: 10, OutputTokens: 3, CostUSD: 7_500_000_000, CreatedAt: stored.CreatedAt,
		}, stored)
		require.NotContains(t, scan(), "private matter")

		add(t, s, "alice", id, "user", "why?")
		say(t, s, "alice", "why?", "Because I say so.")
		require.Len(t, texts(t, s, "alice", id), 3, "later answers are the page's to store")
	})
}

// While the answer is given a reading has what was passed on so far.
func TestReadingAlong(t *testing.T) {
	t.Parallel()
	s := newService(t, onSQLite(t))
	id := create(t, s, "alice")
	a := begin(t, s, "alice", "why?")
	time.AfterFunc(50*time.Millisecond, func() { add(t, s, "alice", id, "user", "why?") })
	require.Equal(t, []string{"user: why?", "(assistant: )"}, texts(t, s, "alice", id), "it waits for the question")
	a.Text("Because")
	a.Pass(t.Context())
	a.Text(" of it")
	require.Equal(t, []string{"user: why?", "(assistant: Because)"}, texts(t, s, "alice", id))
	a.Pass(t.Context())
	require.Equal(t, []string{"user: why?", "(assistant: Because of it)"}, texts(t, s, "alice", id))
	a.End(whole)
	require.Equal(t, []string{"user: why?", "assistant: Because of it"}, texts(t, s, "alice", id))

	began := time.Now()
	empty := create(t, s, "alice")
	require.Empty(t, texts(t, s, "alice", empty), "nothing was asked")
	require.Less(t, time.Since(began), maxWait)
	a = begin(t, s, "alice", "what?")
	began = time.Now()
	require.Equal(t, []string{"(assistant: )"}, texts(t, s, "alice", empty), "the question takes long")
	require.GreaterOrEqual(t, time.Since(began), maxWait)
	b := begin(t, s, "alice", "what else?")
	require.Empty(t, texts(t, s, "alice", empty), "either may be another conversation's")
	a.End(gateway.Outcome{})
	b.End(gateway.Outcome{})
	require.Empty(t, texts(t, s, "alice", empty), "an answer that never came is none")
}

// The question may be stored by another replica, before the answer ends or after.
func TestReplicas(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, db *database.DB, _ func() string) {
		here, there := newService(t, db), newService(t, db)
		id := create(t, there, "alice")
		a := begin(t, here, "alice", "why?")
		a.Text("Because.")
		a.Pass(t.Context())
		time.AfterFunc(150*time.Millisecond, func() { add(t, there, "alice", id, "user", "why?") })
		require.Equal(t, []string{"user: why?", "(assistant: Because.)"}, texts(t, here, "alice", id))
		a.End(whole)
		require.Equal(t, []string{"user: why?", "assistant: Because."}, texts(t, here, "alice", id))
		require.Equal(t, []string{"user: why?", "assistant: Because."}, texts(t, there, "alice", id))

		id = create(t, there, "alice")
		add(t, there, "alice", id, "user", "how?")
		say(t, here, "alice", "how?", "So.")
		require.Eventually(t, func() bool {
			got := texts(t, there, "alice", id)
			return len(got) == 2 && got[1] == "assistant: So."
		}, 5*time.Second, 10*time.Millisecond)
	})
}

// A question that is stored after its answer finds it.
func TestLateQuestion(t *testing.T) {
	t.Parallel()
	s := newService(t, onSQLite(t))
	id := create(t, s, "alice")
	say(t, s, "alice", "why?", "Because.")
	time.Sleep(50 * time.Millisecond)
	add(t, s, "alice", id, "user", "why?")
	require.Equal(t, []string{"user: why?", "assistant: Because."}, texts(t, s, "alice", id))
	requireInOrder(t, s, "alice", id)

	id = create(t, s, "alice")
	a := begin(t, s, "alice", "how?")
	time.Sleep(50 * time.Millisecond)
	add(t, s, "alice", id, "user", "how?")
	requireInOrder(t, s, "alice", id)
	a.End(whole)
}

// requireInOrder says that a question and its answer come in that order by their
// times, too.
func requireInOrder(t testing.TB, s *Service, owner, id string) {
	t.Helper()
	read, err := s.Read(t.Context(), owner, id)
	require.NoError(t, err)
	defer read.Answered()
	require.Len(t, read.Messages, 2)
	require.False(t, read.Messages[1].CreatedAt.Before(read.Messages[0].CreatedAt), read.Messages)
}

// An answer is never put into a conversation of long ago that asked the same.
func TestOldQuestionsGetNoAnswers(t *testing.T) {
	t.Parallel()
	db := onSQLite(t)
	old := newService(t, db)
	id := create(t, old, "alice")
	add(t, old, "alice", id, "user", "why?")
	err := db.ChangeConversation(t.Context(), "alice", id, func(c *database.ConversationTx) error {
		c.AskedAt = new(time.Now().Add(-time.Hour))
		return nil
	})
	require.NoError(t, err)
	s := newService(t, db)
	say(t, s, "alice", "why?", "Because.")
	s.Stop()
	require.Equal(t, []string{"user: why?"}, texts(t, old, "alice", id))
}

// The database may be away for a while; the stream's end does not wait for it.
func TestDatabaseAway(t *testing.T) {
	t.Parallel()
	db := &flaky{DB: onSQLite(t)}
	var logs bytes.Buffer
	var mu sync.Mutex
	s, err := New(Options{Store: db, Secret: testSecret, Logger: slog.New(slog.NewTextHandler(&locked{mu: &mu, w: &logs}, nil))})
	require.NoError(t, err)
	t.Cleanup(s.Stop)
	id := create(t, s, "alice")
	add(t, s, "alice", id, "user", "why?")
	db.set(true)
	began := time.Now()
	say(t, s, "alice", "why?", "Because of something private.")
	require.Less(t, time.Since(began), 500*time.Millisecond)
	require.Equal(t, []string{"user: why?", "(assistant: Because of something private.)"}, texts(t, s, "alice", id), "it is told from memory")
	db.set(false)
	require.Eventually(t, func() bool {
		return texts(t, s, "alice", id)[1] == "assistant: Because of something private."
	}, 10*time.Second, 10*time.Millisecond)

	db.set(true)
	id = create(t, s, "bob")
	err = db.DB.ChangeConversation(t.Context(), "bob", id, func(*database.ConversationTx) error { return nil })
	require.NoError(t, err)
	db.set(false)
	add(t, s, "bob", id, "user", "how?")
	db.set(true)
	say(t, s, "bob", "how?", "So.")
	s.Stop()
	mu.Lock()
	defer mu.Unlock()
	require.Equal(t, 1, strings.Count(logs.String(), "are stored in their conversations again"), logs.String())
	require.Contains(t, logs.String(), "an answer is not stored")
	require.NotContains(t, logs.String(), "private")
}

type locked struct {
	mu *sync.Mutex
	w  *bytes.Buffer
}

func (l *locked) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}

// What waits at the end is stored before the service stops.
func TestStopStores(t *testing.T) {
	t.Parallel()
	db := onSQLite(t)
	s := newService(t, db)
	id := create(t, s, "alice")
	add(t, s, "alice", id, "user", "why?")
	say(t, s, "alice", "why?", "Because.")
	s.Stop()
	s.Stop()
	require.Equal(t, []string{"user: why?", "assistant: Because."}, texts(t, newService(t, db), "alice", id))

	late := begin(t, s, "alice", "why?")
	late.Text("Too late.")
	late.End(whole)
	require.Zero(t, s.live.memory.Load())
}

// A conversation that is deleted while its answer is given stays deleted.
func TestDeletedMeanwhile(t *testing.T) {
	t.Parallel()
	s := newService(t, onSQLite(t))
	for _, remove := range []func(id string) error{
		func(id string) error { return s.Delete(t.Context(), "alice", id) },
		func(string) error { return s.Forget(t.Context(), "alice") },
	} {
		id := create(t, s, "alice")
		add(t, s, "alice", id, "user", "why?")
		a := begin(t, s, "alice", "why?")
		a.Text("Because.")
		require.NoError(t, remove(id))
		a.End(whole)
		_, err := s.Read(t.Context(), "alice", id)
		requireProblem(t, err, 404, "")
		require.Eventually(t, func() bool { return s.live.memory.Load() == 0 }, 5*time.Second, time.Millisecond)
	}
}
