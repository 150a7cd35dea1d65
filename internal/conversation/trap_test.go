package conversation_test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/conversation"
	"github.com/financecommander/tollgate/internal/database"
	"github.com/financecommander/tollgate/internal/gateway"
	"github.com/financecommander/tollgate/internal/identity"
	"github.com/financecommander/tollgate/internal/portal"
	"github.com/financecommander/tollgate/internal/secret"
	"github.com/financecommander/tollgate/internal/specialist"
	"github.com/financecommander/tollgate/internal/upstream"
	"github.com/financecommander/tollgate/internal/upstreamtest"
	"github.com/financecommander/tollgate/internal/usage"
	"github.com/financecommander/tollgate/pricing"
)

// ledger is one that keeps nothing.
type ledger struct{}

func (ledger) Admit() error                   { return nil }
func (ledger) Append(*usage.Record) error     { return nil }
func (ledger) Begin(*usage.Record) usage.Mark { return 0 }
func (ledger) End(usage.Mark)                 {}

// site is the gateway and the portal behind one server.
type site struct {
	t      *testing.T
	url    string
	client *http.Client
}

// newSite makes one whose provider answers questions such as "slow 20 x" with
// the words "x0 x1 …" in that manner. Without follow the gateway tells nobody of
// its answers.
func newSite(t *testing.T, follow bool) *site {
	t.Helper()
	db, err := database.Open("sqlite://", database.Options{}) // in memory: how fast a disk is does not matter here
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	_, err = db.Migrate(t.Context())
	require.NoError(t, err)
	key := secret.New("a secret of at least thirty-two bytes, for tests")
	service, err := conversation.New(conversation.Options{Store: db, Secret: key})
	require.NoError(t, err)

	registry, err := specialist.NewRegistry(specialist.Options{Configured: []specialist.Specialist{
		{ID: "helper", Name: "Helper", Provider: "openai", Model: "gpt-4o-mini", SystemPrompt: "Help."},
	}})
	require.NoError(t, err)
	transport := &http.Transport{MaxIdleConnsPerHost: 100}
	server := upstreamtest.New(t, answerByManner)
	provider, err := upstream.New(upstream.Config{
		Name: "openai", BaseURL: server.URL(), Transport: transport, Keys: []secret.Secret{secret.New("sk-test")},
	})
	require.NoError(t, err)
	o := gateway.Options{
		Logger: slog.New(slog.DiscardHandler), Providers: []*upstream.Provider{provider},
		Specialists: registry, Prices: pricing.Embedded(), Ledger: ledger{},
	}
	if follow {
		o.Answers = service
	}
	calls, api := gateway.New(o), portal.New(portal.Options{Conversations: service})
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		who := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
		r = r.WithContext(identity.NewContext(r.Context(), &identity.Principal{UserHash: who}))
		if calls.Serves(r) {
			calls.ServeHTTP(w, r)
			return
		}
		api.ServeHTTP(w, r)
	}))
	mine := &http.Transport{MaxIdleConnsPerHost: 100}
	t.Cleanup(func() {
		mine.CloseIdleConnections()
		front.Close()
		transport.CloseIdleConnections()
		service.Stop()
	})
	return &site{t: t, url: front.URL, client: &http.Client{Transport: mine}}
}

// answerByManner answers as the question says.
func answerByManner(w http.ResponseWriter, r *http.Request) {
	var request struct {
		Messages []struct{ Content string }
	}
	_ = json.NewDecoder(r.Body).Decode(&request)
	question := request.Messages[len(request.Messages)-1].Content
	pace, events := time.Duration(0), upstreamtest.ChatEvents(true, words(question)...)
	switch {
	case strings.HasPrefix(question, "slow"):
		pace = 30 * time.Millisecond
	case strings.HasPrefix(question, "delayed"):
		time.Sleep(1500 * time.Millisecond)
	case strings.HasPrefix(question, "broken"):
		pace, events = 5*time.Millisecond, events[:len(events)/2]
	}
	if pace > 0 {
		upstreamtest.Drip(pace, events...)(w, r)
		if strings.HasPrefix(question, "broken") {
			time.Sleep(time.Second) // what breaks off before anything was passed on is an error in an answer's place
		}
		return
	}
	upstreamtest.Stream(strings.Join(events, ""))(w, r)
}

// words are the answer to a question such as "slow 20 x".
func words(question string) []string {
	fields := strings.Fields(question)
	n, _ := strconv.Atoi(fields[1])
	all := make([]string, n)
	for i := range all {
		all[i] = fmt.Sprint(fields[2], i, " ")
	}
	return all
}

func answerTo(question string) string { return strings.Join(words(question), "") }

// The trap, 20 new conversations in each manner, with readings at different
// moments, pages that store the answer and pages that do not.
func TestFirstRepliesAreWhole(t *testing.T) {
	t.Parallel()
	for _, manner := range []string{"instant", "slow", "delayed"} {
		for weather, m := range map[string]manners{
			"":              {},
			"late question": {questionAfter: 300 * time.Millisecond},
			"two readings":  {rereads: 2},
		} {
			t.Run(strings.TrimSpace(manner+" "+weather), func(t *testing.T) {
				t.Parallel()
				s := newSite(t, true)
				rereadAfter := []time.Duration{0, 0, 5 * time.Millisecond, 40 * time.Millisecond, 150 * time.Millisecond, 400 * time.Millisecond}
				inParallel(20, func(i int) {
					question := fmt.Sprintf("%s 20 w%d-", manner, i)
					m := m
					m.rereadAfter, m.render = rereadAfter[i%len(rereadAfter)], time.Duration(i%4)*20*time.Millisecond
					m.storesAnswer = i%2 == 0
					askWhole(t, &page{site: s, who: fmt.Sprint(t.Name(), i), manners: m}, question)
				})
			})
		}
	}
}

// A question that takes very long to be stored costs nobody the reply.
func TestVeryLateQuestion(t *testing.T) {
	t.Parallel()
	s := newSite(t, true)
	questions := []string{"instant 20 w", "slow 20 w", "delayed 20 w"}
	inParallel(len(questions), func(i int) {
		question := questions[i]
		p := &page{site: s, who: question, manners: manners{questionAfter: 2 * time.Second, rereadAfter: 40 * time.Millisecond}}
		_, shown, reloaded, err := p.ask(question)
		switch {
		case err != nil:
			t.Error(question, err)
		case len(shown) == 0 || bare(shown)[len(shown)-1] != want(question)[1]:
			t.Errorf("%s: shown is %q", question, bare(shown))
		case !slices.Equal(bare(reloaded), want(question)):
			t.Errorf("%s: after a reload it is %q", question, bare(reloaded))
		}
	})
}

// inParallel calls a function n times, a few at once. A page has only so much
// time, so the race detector, which takes most of it, gets fewer pages.
func inParallel(n int, f func(i int)) {
	if underRace {
		n = min(n, 3)
	}
	var wg sync.WaitGroup
	places := make(chan struct{}, 20)
	for i := range n {
		places <- struct{}{}
		wg.Go(func() {
			defer func() { <-places }()
			f(i)
		})
	}
	wg.Wait()
}

func requireWhole(t *testing.T, question string, shown, reloaded []message, err error) {
	t.Helper()
	if problem := wholeness(question, shown, reloaded, err); problem != "" {
		t.Error(problem)
	}
}

// wholeness says what is wrong with a question's answer; nothing: "".
func wholeness(question string, shown, reloaded []message, err error) string {
	switch {
	case err != nil:
		return err.Error()
	case !slices.Equal(bare(shown), want(question)):
		return fmt.Sprintf("%s: shown is %q", question, bare(shown))
	case !slices.Equal(bare(reloaded), want(question)):
		return fmt.Sprintf("%s: after a reload it is %q", question, bare(reloaded))
	case reloaded[0].ID <= 0 || reloaded[1].ID <= reloaded[0].ID:
		return fmt.Sprintf("%s: the ids are %d and %d", question, reloaded[0].ID, reloaded[1].ID)
	}
	return ""
}

// Without all this the page does lose words, so the test above can fail.
func TestThereIsATrap(t *testing.T) {
	t.Parallel()
	s := newSite(t, false)
	var mu sync.Mutex
	tried, lost := 0, 0
	inParallel(10, func(i int) {
		question := fmt.Sprintf("slow 10 w%d-", i)
		_, shown, _, err := (&page{site: s, who: fmt.Sprint("user", i), manners: manners{rereadAfter: 40 * time.Millisecond}}).ask(question)
		mu.Lock()
		defer mu.Unlock()
		tried++
		if err != nil || !slices.Equal(bare(shown), want(question)) {
			lost++
		}
	})
	require.Equal(t, tried, lost)
}

// One user in many tabs at once, each with a question of its own.
func TestTabsOfOneUser(t *testing.T) {
	t.Parallel()
	s := newSite(t, true)
	inParallel(10, func(i int) {
		question := fmt.Sprintf("slow 20 tab%d-", i)
		askWhole(t, &page{site: s, who: "alice", manners: manners{rereadAfter: time.Duration(i) * 10 * time.Millisecond}}, question)
	})
}

// Two tabs with the same question: each conversation has one answer.
func TestTheSameQuestionInTwoTabs(t *testing.T) {
	t.Parallel()
	s := newSite(t, true)
	const question = "slow 20 same"
	ids, shown, problems := [2]string{}, [2][]message{}, [2]error{}
	inParallel(2, func(i int) { ids[i], shown[i], _, problems[i] = (&page{site: s, who: "alice"}).ask(question) })
	for i, id := range ids {
		reloaded, err := (&page{site: s, who: "alice"}).read("/conversations/" + id)
		requireWhole(t, question, shown[i], reloaded, cmp.Or(problems[i], err))
	}
}

// A second tab that opens the conversation sees the text so far and disturbs
// nobody; one that reads all the time cannot hold the stream up for ever.
func TestOnlookers(t *testing.T) {
	t.Parallel()
	s := newSite(t, true)
	const question = "slow 40 w"
	id := make(chan string, 1)
	done := make(chan struct{})
	go func() {
		defer close(done)
		p := &page{site: s, who: "alice"}
		started := time.Now()
		_, shown, reloaded, err := p.ask(question)
		requireWhole(t, question, shown, reloaded, err)
		if took := time.Since(started); took > 8*time.Second {
			t.Errorf("the answer took %v", took)
		}
	}()
	go func() {
		tab := &page{site: s, who: "alice"}
		for {
			var list struct{ Conversations []struct{ UUID string } }
			if err := tab.call("GET", "/conversations/", nil, &list); err == nil && len(list.Conversations) > 0 {
				id <- list.Conversations[0].UUID
				return
			}
			time.Sleep(5 * time.Millisecond)
		}
	}()
	tab, path, readings, partial := &page{site: s, who: "alice"}, "/conversations/"+<-id, 0, 0
	stranger := &page{site: s, who: "bob"}
	require.ErrorContains(t, stranger.call("GET", path, nil, &struct{}{}), "404")
	for {
		messages, err := tab.read(path)
		require.NoError(t, err)
		readings++
		if n := len(messages); n == 2 && messages[1].ID == 0 {
			require.True(t, strings.HasPrefix(answerTo(question), messages[1].Content), messages[1].Content)
			partial++
		}
		select {
		case <-done:
			require.Greater(t, readings, 3)
			require.Greater(t, partial, 1)
			return
		default:
		}
	}
}

// Who leaves early, or whose answer breaks off, finds what there was.
func TestWhatThereWasIsKept(t *testing.T) {
	t.Parallel()
	s := newSite(t, true)
	for name, p := range map[string]*page{
		"slow 30 left":     {manners: manners{leavesAfter: 5}},
		"broken 20 broken": {},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p.site, p.who, p.rereadAfter = s, name, 50*time.Millisecond
			id, _, reloaded, err := p.ask(name)
			require.NoError(t, err)
			require.Len(t, reloaded, 2)
			require.Eventually(t, func() bool {
				messages, err := p.read("/conversations/" + id)
				return err == nil && len(messages) == 2 && messages[1].ID > 0 && messages[1].Content != "" &&
					messages[1].Content != answerTo(name) && strings.HasPrefix(answerTo(name), messages[1].Content)
			}, 5*time.Second, 20*time.Millisecond)
		})
	}
}

// An answer in one piece is stored as well.
func TestUnstreamedAnswer(t *testing.T) {
	t.Parallel()
	s := newSite(t, true)
	const question = "instant 5 w"
	p := &page{site: s, who: "alice"}
	var made struct{ UUID string }
	require.NoError(t, p.call("POST", "/conversations", map[string]any{}, &made))
	path := "/conversations/" + made.UUID
	var stored struct{ ID int64 }
	require.NoError(t, p.call("POST", path+"/messages", map[string]any{"role": "user", "content": question}, &stored))
	var sent struct{ Content string }
	require.NoError(t, p.call("POST", "/chat/send", map[string]any{"specialist_id": "helper", "message": question}, &sent))
	require.Equal(t, answerTo(question), sent.Content)
	messages, err := p.read(path)
	require.NoError(t, err)
	require.Equal(t, want(question), bare(messages))
	require.Positive(t, messages[1].ID)
}
