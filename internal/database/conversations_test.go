package database

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// aConversation is one as it comes back.
func aConversation(uuid, owner string) Conversation {
	return Conversation{
		UUID: uuid, Owner: owner, Title: []byte("\x00\xff'); DROP TABLE conversations; --"), Preview: []byte{}, Provider: "p", Model: "m",
		Mode: "o", SpecialistID: "s", Question: []byte{}, CreatedAt: day, UpdatedAt: day,
	}
}

func TestConversations(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, db *DB) {
		ctx := t.Context()
		_, err := db.Migrate(ctx)
		require.NoError(t, err)
		want := aConversation("c1", "alice")
		require.NoError(t, db.InsertConversation(ctx, want))
		require.True(t, IsUnique(db.InsertConversation(ctx, want)), "a UUID is given once")

		first := ConversationMessage{Role: "user", Content: []byte{0, 0xff}, Digest: []byte{1}, Origin: "page", CreatedAt: day}
		second := ConversationMessage{
			Role: "assistant", Content: []byte{2}, Digest: []byte{2}, Origin: "gateway", Model: "m",
			InputTokens: 1, OutputTokens: 2, CostPicodollars: 9_223_372_036_854_775_807, CreatedAt: day,
		}
		asked := day.Add(time.Hour)
		err = db.ChangeConversation(ctx, "alice", "c1", func(c *ConversationTx) error {
			require.Equal(t, want, c.Conversation)
			none, err := c.LastMessage()
			require.NoError(t, err)
			require.Nil(t, none)
			require.NoError(t, c.Insert(&first))
			require.NoError(t, c.Insert(&second))
			last, err := c.LastMessage()
			require.NoError(t, err)
			require.Equal(t, second.ID, last.ID)
			answer, err := c.FirstAnswer()
			require.NoError(t, err)
			require.Equal(t, second.ID, answer.ID)
			second.Content, second.Digest, second.Origin = []byte{3}, []byte{4}, "page"
			require.NoError(t, c.Replace(&second))
			c.Question, c.AskedAt, c.UpdatedAt, c.Preview, c.Answered = []byte{9}, &asked, asked, []byte{7}, true
			return nil
		})
		require.NoError(t, err)
		require.Greater(t, second.ID, first.ID)

		want.MessageCount, want.Answered, want.Preview = 2, true, []byte{7}
		want.Question, want.AskedAt, want.UpdatedAt = []byte{9}, &asked, asked
		got, err := db.Conversation(ctx, "alice", "c1")
		require.NoError(t, err)
		require.Equal(t, &want, got)
		messages, err := db.ConversationMessages(ctx, "c1")
		require.NoError(t, err)
		require.Equal(t, []ConversationMessage{first, second}, messages)

		undone := errors.New("undo it")
		err = db.ChangeConversation(ctx, "alice", "c1", func(c *ConversationTx) error {
			c.Model = "other"
			require.NoError(t, c.Insert(&ConversationMessage{Role: "user", Content: []byte{}, Digest: []byte{}}))
			return undone
		})
		require.Equal(t, undone, err)
		got, err = db.Conversation(ctx, "alice", "c1")
		require.NoError(t, err)
		require.Equal(t, &want, got)

		for _, find := range [][2]string{{"bob", "c1"}, {"", "c1"}, {"alice", "c2"}} {
			_, err := db.Conversation(ctx, find[0], find[1])
			require.ErrorIs(t, err, ErrNotFound)
			err = db.ChangeConversation(ctx, find[0], find[1], func(*ConversationTx) error { t.Error("changed"); return nil })
			require.ErrorIs(t, err, ErrNotFound)
			require.ErrorIs(t, db.DeleteConversation(ctx, find[0], find[1]), ErrNotFound)
		}
		require.NoError(t, db.DeleteConversation(ctx, "alice", "c1"))
		require.Equal(t, []string{"0"}, column(t, db, "SELECT count(*) FROM conversation_messages"), "its messages go with it")
	})
}

func TestListConversations(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, db *DB) {
		ctx := t.Context()
		_, err := db.Migrate(ctx)
		require.NoError(t, err)
		zone := time.FixedZone("", -7*3600)
		for i, after := range []time.Duration{0, time.Microsecond, 100 * time.Millisecond, time.Second, 0} {
			c := aConversation(fmt.Sprint("c", i), "alice")
			c.UpdatedAt = day.Add(after).In(zone)
			require.NoError(t, db.InsertConversation(ctx, c))
		}
		require.NoError(t, db.InsertConversation(ctx, aConversation("bobs", "bob")))
		page, total, err := db.ListConversations(ctx, "alice", 3, 1)
		require.NoError(t, err)
		require.EqualValues(t, 5, total)
		require.Len(t, page, 3)
		for i, want := range []string{"c2", "c1", "c4"} {
			require.Equal(t, want, page[i].UUID)
		}
		require.Equal(t, day.Add(100*time.Millisecond), page[0].UpdatedAt)

		deleted, err := db.DeleteConversationsOf(ctx, "alice")
		require.NoError(t, err)
		require.EqualValues(t, 5, deleted)
		page, total, err = db.ListConversations(ctx, "bob", 3, 0)
		require.NoError(t, err)
		require.EqualValues(t, 1, total)
		require.Equal(t, aConversation("bobs", "bob"), page[0])
	})
}

func TestUnansweredConversation(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, db *DB) {
		ctx := t.Context()
		_, err := db.Migrate(ctx)
		require.NoError(t, err)
		insert := func(uuid, owner string, question byte, asked time.Duration, answered bool) {
			c := aConversation(uuid, owner)
			c.Question, c.AskedAt, c.Answered = []byte{question}, new(day.Add(asked)), answered
			require.NoError(t, db.InsertConversation(ctx, c))
		}
		insert("old", "alice", 1, time.Second, false)
		insert("new", "alice", 1, 2*time.Second, false)
		insert("answered", "alice", 1, 3*time.Second, true)
		insert("other", "alice", 2, 4*time.Second, false)
		insert("bobs", "bob", 1, 5*time.Second, false)
		require.NoError(t, db.InsertConversation(ctx, aConversation("empty", "alice")))

		found, err := db.UnansweredConversation(ctx, "alice", []byte{1}, day)
		require.NoError(t, err)
		require.Equal(t, "new", found)
		for _, find := range []struct {
			owner    string
			question []byte
			after    time.Duration
		}{{"alice", []byte{3}, 0}, {"carol", []byte{1}, 0}, {"alice", []byte{1}, 2 * time.Second}, {"alice", []byte{}, -time.Hour}} {
			_, err := db.UnansweredConversation(ctx, find.owner, find.question, day.Add(find.after))
			require.ErrorIs(t, err, ErrNotFound)
		}
	})
}

// Changes at once wait for each other; none is lost.
func TestConversationsChangeInTurn(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, db *DB) {
		ctx := t.Context()
		_, err := db.Migrate(ctx)
		require.NoError(t, err)
		require.NoError(t, db.InsertConversation(ctx, aConversation("c", "alice")))
		var wg sync.WaitGroup
		for range 30 {
			wg.Go(func() {
				err := db.ChangeConversation(ctx, "alice", "c", func(c *ConversationTx) error {
					return c.Insert(&ConversationMessage{Role: "user", Content: []byte{}, Digest: []byte{}, CreatedAt: day})
				})
				if err != nil {
					t.Errorf("change: %v", err)
				}
			})
		}
		wg.Wait()
		c, err := db.Conversation(ctx, "alice", "c")
		require.NoError(t, err)
		require.EqualValues(t, 30, c.MessageCount)
	})
}

func TestReplicasDeleteOldConversations(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, db *DB) {
		ctx := t.Context()
		_, err := db.Migrate(ctx)
		require.NoError(t, err)
		for i := range 50 {
			require.NoError(t, db.InsertConversation(ctx, aConversation(fmt.Sprint(i), "alice")))
		}
		young := aConversation("young", "alice")
		young.UpdatedAt = day.Add(time.Microsecond)
		require.NoError(t, db.InsertConversation(ctx, young))
		var (
			wg    sync.WaitGroup
			total atomic.Int64
		)
		for range 4 {
			wg.Go(func() {
				for range 50 {
					deleted, err := db.DeleteOldConversations(ctx, young.UpdatedAt, 7)
					if err != nil {
						t.Errorf("delete: %v", err)
					}
					total.Add(deleted)
					if deleted == 0 {
						return
					}
				}
			})
		}
		wg.Wait()
		// Who found all that was left locked by others has ended early.
		rest, err := db.DeleteOldConversations(ctx, young.UpdatedAt, 100)
		require.NoError(t, err)
		require.EqualValues(t, 50, total.Load()+rest)
		require.Equal(t, []string{"young"}, column(t, db, "SELECT uuid FROM conversations"))
	})
}
