package conversation

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/database"
	"github.com/financecommander/tollgate/internal/llm"
	"github.com/financecommander/tollgate/internal/secret"
	"github.com/financecommander/tollgate/pricing"
)

func requireProblem(t *testing.T, err error, status int, param string) {
	t.Helper()
	e, ok := errors.AsType[*llm.Error](err)
	require.True(t, ok, "%v", err)
	require.Equal(t, status, e.Status(), e.Message)
	require.Equal(t, param, e.Param)
}

func TestConversations(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, db *database.DB, scan func() string) {
		ctx, s := t.Context(), newService(t, db)
		made, err := s.Create(ctx, "alice", Settings{Provider: new("openai"), Model: new("gpt-4o"), Mode: new("specialist"), SpecialistID: new("helper")})
		require.NoError(t, err)
		require.Empty(t, cmp.Diff(&Conversation{
			UUID: made.UUID, Title: "New conversation", Provider: "openai", Model: "gpt-4o", Mode: "specialist", SpecialistID: "helper",
			CreatedAt: made.CreatedAt, UpdatedAt: made.CreatedAt,
		}, made))

		const question, answer = "What is the very secret question about that I put here today?", "Confidential words of an answer."
		first, title, err := s.Add(ctx, "alice", made.UUID, Posted{Role: "user", Content: question})
		require.NoError(t, err)
		require.Equal(t, "What is the very secret question about that I put", title)
		second, title, err := s.Add(ctx, "alice", made.UUID, Posted{
			Role: "assistant", Content: answer, Model: "gpt-4o", InputTokens: 10, OutputTokens: 3, CostUSD: new(pricing.Money(1)),
		})
		require.NoError(t, err)
		require.Equal(t, "What is the very secret question about that I put", title, "the first message gives it")
		require.Positive(t, first)
		require.Greater(t, second, first)

		read, err := s.Read(ctx, "alice", made.UUID)
		require.NoError(t, err)
		read.Answered()
		require.Empty(t, cmp.Diff([]Message{
			{ID: first, Role: "user", Content: question},
			{ID: second, Role: "assistant", Content: answer, Model: "gpt-4o", InputTokens: 10, OutputTokens: 3, CostUSD: 1},
		}, read.Messages, cmpopts.IgnoreFields(Message{}, "CreatedAt")))
		require.EqualValues(t, 2, read.MessageCount)
		require.Equal(t, answer, read.Preview)
		require.True(t, read.UpdatedAt.After(read.CreatedAt))

		own, err := s.Update(ctx, "alice", made.UUID, Settings{Title: new(" My  own title "), Model: new("gpt-5")})
		require.NoError(t, err)
		require.Equal(t, "My own title", own.Title)
		require.Equal(t, "gpt-5", own.Model)
		require.Equal(t, "helper", own.SpecialistID, "what is not given stays")
		list, total, err := s.List(ctx, "alice", 10, 0)
		require.NoError(t, err)
		require.EqualValues(t, 1, total)
		require.Empty(t, cmp.Diff([]Conversation{*own}, list))

		for _, plain := range []string{"secret question", "Confidential", "My own title"} {
			require.NotContains(t, scan(), plain)
		}
		require.Contains(t, scan(), made.UUID, "the scan does see what is there")
		require.NoError(t, s.Delete(ctx, "alice", made.UUID))
		requireProblem(t, s.Delete(ctx, "alice", made.UUID), 404, "")
		left, err := db.ConversationMessages(ctx, made.UUID)
		require.NoError(t, err)
		require.Empty(t, left)
	})
}

// Another user's conversation is not there.
func TestOwners(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, db *database.DB, _ func() string) {
		ctx, s := t.Context(), newService(t, db)
		id := create(t, s, "alice")
		add(t, s, "alice", id, "user", "why?")
		for _, find := range [][2]string{{"bob", id}, {"", id}, {"alice", "x' OR '1'='1"}, {"alice", ""}} {
			_, err := s.Read(ctx, find[0], find[1])
			requireProblem(t, err, 404, "")
			_, err = s.Update(ctx, find[0], find[1], Settings{Title: new("mine")})
			requireProblem(t, err, 404, "")
			_, _, err = s.Add(ctx, find[0], find[1], Posted{Role: "user", Content: "mine"})
			requireProblem(t, err, 404, "")
			requireProblem(t, s.Delete(ctx, find[0], find[1]), 404, "")
		}
		list, total, err := s.List(ctx, "bob", 10, 0)
		require.NoError(t, err)
		require.Zero(t, total)
		require.Empty(t, list)

		bobs := create(t, s, "bob")
		require.NoError(t, s.Forget(ctx, "alice"))
		_, err = s.Read(ctx, "alice", id)
		requireProblem(t, err, 404, "")
		require.Empty(t, texts(t, s, "bob", bobs))
	})
}

func TestListIsNewestFirst(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, db *database.DB, _ func() string) {
		s := newService(t, db)
		var ids []string
		for range 5 {
			ids = append(ids, create(t, s, "alice"))
		}
		add(t, s, "alice", ids[1], "user", "why?")
		page := func(limit, offset int) (got []string) {
			list, total, err := s.List(t.Context(), "alice", limit, offset)
			require.NoError(t, err)
			require.EqualValues(t, 5, total)
			for _, c := range list {
				got = append(got, c.UUID)
			}
			return got
		}
		require.Equal(t, []string{ids[1], ids[4], ids[3]}, page(3, 0))
		require.Equal(t, []string{ids[2], ids[0]}, page(3, 3))
		require.Empty(t, page(3, 5))
	})
}

func TestBadMessages(t *testing.T) {
	t.Parallel()
	s := newService(t, onSQLite(t))
	id := create(t, s, "alice")
	for name, test := range map[string]struct {
		message Posted
		param   string
	}{
		"role":           {Posted{Role: "robot", Content: "x"}, "role"},
		"no role":        {Posted{Content: "x"}, "role"},
		"nothing":        {Posted{Role: "user"}, "content"},
		"blank":          {Posted{Role: "user", Content: " \n"}, "content"},
		"no answer":      {Posted{Role: "assistant"}, "content"},
		"long":           {Posted{Role: "user", Content: strings.Repeat("ü", MaxMessage+1)}, "content"},
		"long system":    {Posted{Role: "system", Content: strings.Repeat("ü", MaxMessage+1)}, "content"},
		"long answer":    {Posted{Role: "assistant", Content: strings.Repeat("x", MaxAnswer+1)}, "content"},
		"long model":     {Posted{Role: "user", Content: "x", Model: strings.Repeat("x", 201)}, "model"},
		"model with NUL": {Posted{Role: "user", Content: "x", Model: "\x00"}, "model"},
		"input":          {Posted{Role: "user", Content: "x", InputTokens: -1}, "input_tokens"},
		"output":         {Posted{Role: "user", Content: "x", OutputTokens: -1}, "output_tokens"},
		"cost":           {Posted{Role: "user", Content: "x", CostUSD: new(pricing.Money(-1))}, "cost_usd"},
	} {
		_, _, err := s.Add(t.Context(), "alice", id, test.message)
		t.Log(name)
		requireProblem(t, err, 422, test.param)
	}
	for param, set := range map[string]Settings{
		"title": {Title: new(" ")}, "provider": {Provider: new("\n")}, "mode": {Mode: new(strings.Repeat("x", 201))},
	} {
		_, err := s.Create(t.Context(), "alice", set)
		requireProblem(t, err, 422, param)
		_, err = s.Update(t.Context(), "alice", id, set)
		requireProblem(t, err, 422, param)
	}
	require.Empty(t, texts(t, s, "alice", id))

	longest := []string{"user: " + strings.Repeat("ü", MaxMessage), "assistant: " + strings.Repeat("x\x00", MaxAnswer/2)}
	for _, m := range longest {
		role, content, _ := strings.Cut(m, ": ")
		add(t, s, "alice", id, role, content)
	}
	require.Equal(t, longest, texts(t, s, "alice", id))
}

func TestConversationsAreNotEndless(t *testing.T) {
	t.Parallel()
	db := onSQLite(t)
	s := newService(t, db)
	id := create(t, s, "alice")
	err := db.ChangeConversation(t.Context(), "alice", id, func(c *database.ConversationTx) error {
		c.MessageCount = MaxMessages - 1
		return nil
	})
	require.NoError(t, err)
	add(t, s, "alice", id, "user", "the last one")
	_, _, err = s.Add(t.Context(), "alice", id, Posted{Role: "user", Content: "one too many"})
	requireProblem(t, err, 409, "")
	say(t, s, "alice", "the last one", "No.")
	require.Equal(t, []string{"user: the last one"}, texts(t, s, "alice", id)[:1])
}

// However well a text packs, it is long once it is read: nobody shall fill the
// memory with one conversation, nor by reading a long one many times at once.
func TestConversationsAreOfBoundedSize(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, db *database.DB, _ func() string) {
		s := newService(t, db)
		id := create(t, s, "alice")
		long := strings.Repeat("\x01", MaxAnswer-16)
		for i := range MaxText / MaxAnswer {
			add(t, s, "alice", id, "assistant", long+fmt.Sprint(i))
		}
		_, _, err := s.Add(t.Context(), "alice", id, Posted{Role: "assistant", Content: long})
		requireProblem(t, err, 409, "")
		add(t, s, "alice", id, "user", "a short one fits")

		var readings []*Reading
		for range 2 {
			read, err := s.Read(t.Context(), "alice", id)
			require.NoError(t, err)
			readings = append(readings, read)
		}
		_, err = s.Read(t.Context(), "alice", id)
		requireProblem(t, err, 503, "")
		other := create(t, s, "alice")
		read, err := s.Read(t.Context(), "alice", other)
		require.NoError(t, err, "short ones need no room")
		read.Answered()
		for _, read := range readings {
			read.Answered()
		}
		read, err = s.Read(t.Context(), "alice", id)
		require.NoError(t, err, "there is room again")
		read.Answered()
	})
}

// An answer is one message, whoever stores it first.
func TestAnswersAreStoredOnce(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, db *database.DB, _ func() string) {
		const full = "Because it is so. And so it is."
		cut := whole
		cut.Whole = false
		for name, test := range map[string]struct {
			ours, theirs string
			cut          bool
			want         string // "" : two messages
		}{
			"the same":               {ours: full, theirs: full, want: full},
			"but for space":          {ours: full + "\n", theirs: " " + full, want: full + "\n"},
			"the page's is half":     {ours: full, theirs: "Because it", want: full},
			"the page's is nothing":  {ours: full, theirs: "", want: full},
			"the page's says more":   {ours: full, theirs: full + "!", want: full},
			"ours broke off":         {ours: "Because", theirs: "Because\n\n[The answer broke off: why]", cut: true, want: "Because\n\n[The answer broke off: why]"},
			"the page's is another":  {ours: full, theirs: "No."},
			"and ours had broke off": {ours: "Because", theirs: "No.", cut: true},
		} {
			s := newService(t, db)
			id := create(t, s, name)
			add(t, s, name, id, "user", "why?")
			a := begin(t, s, name, "why?")
			a.Text(test.ours)
			outcome := whole
			if test.cut {
				outcome = cut
			}
			a.End(outcome)
			s.Stop() // which stores it, however slow the machine is
			s = newService(t, db)
			require.Equal(t, []string{"user: why?", "assistant: " + test.ours}, texts(t, s, name, id), name)
			mine := add(t, s, name, id, "assistant", test.theirs)
			again := add(t, s, name, id, "assistant", test.theirs)
			require.Equal(t, mine, again, name)
			want := []string{"user: why?", "assistant: " + test.want}
			if test.want == "" {
				want = []string{"user: why?", "assistant: " + test.ours, "assistant: " + test.theirs}
			}
			require.Equal(t, want, texts(t, s, name, id), name)
			read, err := s.Read(t.Context(), name, id)
			require.NoError(t, err)
			require.Equal(t, mine, read.Messages[len(want)-1].ID, name)
			require.EqualValues(t, len(want), read.MessageCount)
		}

		for name, test := range map[string]struct{ theirs, want string }{
			"the page was first":            {full, full},
			"and interrupted":               {"Because it", full},
			"and has something else to say": {"No.", "No."},
		} {
			s := newService(t, db)
			id := create(t, s, name)
			add(t, s, name, id, "user", "why?")
			a := begin(t, s, name, "why?")
			a.Text(full)
			mine := add(t, s, name, id, "assistant", test.theirs)
			a.End(whole)
			s.Stop()
			s = newService(t, db)
			require.Equal(t, []string{"user: why?", "assistant: " + test.want}, texts(t, s, name, id), name)
			require.Equal(t, mine, add(t, s, name, id, "assistant", test.want), name)
		}
	})
}

// What is posted at once is stored in some order, whole.
func TestMessagesAtOnce(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, db *database.DB, _ func() string) {
		s := newService(t, db)
		id := create(t, s, "alice")
		var wg sync.WaitGroup
		for i := range 20 {
			wg.Go(func() {
				if _, _, err := s.Add(t.Context(), "alice", id, Posted{Role: "user", Content: fmt.Sprint("message ", i)}); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		read, err := s.Read(t.Context(), "alice", id)
		require.NoError(t, err)
		require.EqualValues(t, 20, read.MessageCount)
		require.Len(t, read.Messages, 20)
		for i, m := range read.Messages[1:] {
			require.Greater(t, m.ID, read.Messages[i].ID)
		}
		require.Equal(t, read.Messages[19].Content, read.Preview)
		require.Equal(t, read.Messages[0].Content, read.Title)
	})
}

// Another secret makes what is stored unreadable, which must not break a page.
func TestAnotherSecret(t *testing.T) {
	t.Parallel()
	db := onSQLite(t)
	s := newService(t, db)
	id := create(t, s, "alice")
	add(t, s, "alice", id, "user", "why?")
	other, err := New(Options{Store: db, Secret: secret.New("another secret of thirty-two bytes and more")})
	require.NoError(t, err)
	defer other.Stop()
	require.Equal(t, []string{"user: " + unreadable}, texts(t, other, "alice", id))
	list, _, err := other.List(t.Context(), "alice", 1, 0)
	require.NoError(t, err)
	require.Equal(t, unreadable, list[0].Title)
	require.NotEqual(t, untitled, list[0].Title)
}

// A content opens in its own conversation, role and owner's hands only.
func TestContentsStayInTheirPlace(t *testing.T) {
	t.Parallel()
	s := newService(t, &nowhere{})
	c := &database.Conversation{UUID: "c", Owner: "alice"}
	sealed := s.seal(c, roleUser, "why?")
	text, ok := s.open(c, roleUser, sealed)
	require.True(t, ok)
	require.Equal(t, "why?", text)
	_, ok = s.open(c, roleAssistant, sealed)
	require.False(t, ok)
	_, ok = s.open(&database.Conversation{UUID: "d", Owner: "alice"}, roleUser, sealed)
	require.False(t, ok)
	_, ok = s.open(&database.Conversation{UUID: "c", Owner: "bob"}, roleUser, sealed)
	require.False(t, ok)
}

func TestOldConversationsAreDeleted(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, db *database.DB, _ func() string) {
		s, err := New(Options{Store: db, Secret: testSecret, MaxAge: 24 * time.Hour})
		require.NoError(t, err)
		defer s.Stop()
		now := time.Now()
		for i := range 2*sweepBatch + 5 {
			require.NoError(t, db.InsertConversation(t.Context(), database.Conversation{
				UUID: fmt.Sprint("old", i), Owner: "alice", CreatedAt: now, UpdatedAt: now.Add(-25 * time.Hour),
			}))
		}
		id := create(t, s, "alice")
		s.janitor.Sweep(t.Context())
		list, total, err := s.List(t.Context(), "alice", 10, 0)
		require.NoError(t, err)
		require.EqualValues(t, 1, total)
		require.Equal(t, id, list[0].UUID)

		s.Start(t.Context())
		s.Start(t.Context())
		s.Stop()
		s.Stop()
	})
}
