package run

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/financecommander/tollgate/internal/database"
	"github.com/financecommander/tollgate/internal/gateway"
	"github.com/financecommander/tollgate/internal/identity"
	"github.com/financecommander/tollgate/internal/llm"
	"github.com/financecommander/tollgate/internal/pipeline"
	"github.com/financecommander/tollgate/internal/pipeline/execute"
	"github.com/financecommander/tollgate/internal/secret"
	"github.com/financecommander/tollgate/internal/testenv"
	"github.com/financecommander/tollgate/internal/usage"
	"github.com/financecommander/tollgate/pricing"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	testSecret = secret.New("a secret of at least thirty-two bytes, for tests")
	alice      = &identity.Principal{UserHash: "alice", EmailHash: "alice@"}
	bob        = &identity.Principal{UserHash: "bob"}
	admin      = &identity.Principal{UserHash: "root", Roles: []string{identity.RoleAdmin}}
	viewer     = &identity.Principal{UserHash: "eye", Roles: []string{identity.RoleViewer}}
)

// place is a database that several replicas open.
type place struct {
	url  string
	db   *database.DB
	scan func() string // all that is in it, as one text
}

// onBoth runs a test on a fresh database of each kind.
func onBoth(t *testing.T, test func(t *testing.T, p *place)) {
	t.Helper()
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		url := testenv.Postgres(t)
		test(t, &place{url: url, db: opened(t, url), scan: func() string { return scanPostgres(t, url) }})
	})
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		path := filepath.Join(t.TempDir(), "test.db")
		url := "sqlite:///" + path
		test(t, &place{url: url, db: opened(t, url), scan: func() string {
			var all strings.Builder
			for _, suffix := range []string{"", "-wal"} {
				content, err := os.ReadFile(path + suffix)
				require.NoError(t, err)
				all.Write(content)
			}
			return all.String()
		}})
	})
}

func opened(t testing.TB, url string) *database.DB {
	t.Helper()
	db, err := database.Open(url, database.Options{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	_, err = db.Migrate(t.Context())
	require.NoError(t, err)
	return db
}

// scanPostgres gives every row of every table, with the bytes in it as they are.
func scanPostgres(t *testing.T, url string) string {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	require.NoError(t, err)
	defer conn.Close(context.Background())
	rows, err := conn.Query(t.Context(), "SELECT quote_ident(table_name) FROM information_schema.tables WHERE table_schema = 'public'")
	require.NoError(t, err)
	tables, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(t, err)
	var all strings.Builder
	for _, table := range tables {
		rows, err := conn.Query(t.Context(), "SELECT t::text FROM "+table+" t")
		require.NoError(t, err)
		texts, err := pgx.CollectRows(rows, pgx.RowTo[string])
		require.NoError(t, err)
		for _, text := range texts {
			all.WriteString(text)
			for piece := range strings.SplitSeq(text, `\\x`) {
				digits := strings.IndexFunc(piece, func(r rune) bool { return !strings.ContainsRune("0123456789abcdef", r) })
				bytes, _ := hex.DecodeString(piece[:max(digits, 0)])
				all.Write(bytes)
			}
		}
	}
	return all.String()
}

// replica is a service on a database, with its own connections.
func (p *place) replica(t testing.TB, change ...func(*Options)) *Service {
	t.Helper()
	o := Options{DB: opened(t, p.url), Secret: testSecret}
	for _, f := range change {
		f(&o)
	}
	s, err := New(o)
	require.NoError(t, err)
	s.Start(context.WithoutCancel(t.Context()))
	t.Cleanup(func() {
		over, cancel := context.WithCancel(context.Background())
		cancel()
		_ = s.Drain(over)
		s.Stop()
		require.Zero(t, s.Running())
		if n, ok := held.LoadAndDelete(s); ok {
			require.Zero(t, n.(*atomic.Int64).Load(), "runs that were not released")
		}
	})
	return s
}

// quick shortens leases, and leaves a loaded machine some time.
func quick(o *Options) {
	o.Lease, o.Heartbeat, o.Look = 1500*time.Millisecond, 300*time.Millisecond, 100*time.Millisecond
}

// kill ends all that a replica does with the database, as its death would.
func kill(s *Service) { s.giveUp() }

func planOf(t testing.TB, text string) *pipeline.Plan {
	t.Helper()
	plan, err := pipeline.Parse("test.yaml", []byte("name: test\n"+strings.ReplaceAll(text, "ask: ", "provider: fake\n    model: m\n    prompt: ")))
	require.NoError(t, err)
	return plan
}

// chain is a pipeline of two parallel steps and one behind them.
const chain = `
steps:
  - name: left
    ask: "L {{ .query }}"
  - name: right
    ask: "R {{ .query }}"
  - name: report
    depends_on: [left, right]
    ask: "{{ .steps.left.output }} and {{ .steps.right.output }}"
`

// models answers calls, and leaves rows in the usage log.
type models struct {
	db *database.DB
	// answer gives a step's pieces; nil: three of them. It may wait.
	answer func(ctx context.Context, step string, piece func(string)) *llm.Error
	may    *llm.Error
	late   bool // rows stay here

	mu    sync.Mutex // guards all below
	calls []string
	rows  []*usage.Record
}

func (m *models) MayDo(gateway.Call) *llm.Error { return m.may }

func (m *models) Do(ctx context.Context, c gateway.Call) (*gateway.Answered, *llm.Error) {
	m.mu.Lock()
	m.calls = append(m.calls, c.Label.Step)
	m.mu.Unlock()
	var text strings.Builder
	var err *llm.Error
	piece := func(p string) { text.WriteString(p); c.Text(p) }
	if m.answer != nil {
		err = m.answer(ctx, c.Label.Step, piece)
	} else {
		for i := range 3 {
			piece(fmt.Sprint(c.Label.Step, "-", i, " "))
		}
	}
	row := usage.NewRecord(time.Now())
	row.UserHash, row.RunID, row.Step, row.Model, row.Success = c.Caller.UserHash, c.Label.Run, c.Label.Step, "m", err == nil
	row.InputTokens, row.OutputTokens, row.Cost, row.Priced = 7, int64(text.Len()), 1_000_000_000_001, true
	row.UsageSource = llm.UsageProvider
	m.leave(row)
	c.Record(*row)
	if err != nil {
		return nil, err
	}
	return &gateway.Answered{Text: text.String(), Provider: "fake", Model: "m"}, nil
}

func (m *models) leave(row *usage.Record) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.rows = append(m.rows, row)
	if !m.late && m.db != nil {
		m.ship()
	}
}

// ship brings the rows to the database. The lock is held.
func (m *models) ship() {
	for _, row := range m.rows {
		if _, err := m.db.InsertUsage(context.Background(), append(row.AppendJSON([]byte("[")), ']')); err != nil {
			panic(err)
		}
	}
	m.rows = nil
}

func (m *models) asked() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]string{}, m.calls...)
}

func (m *models) executor() *execute.Executor {
	return execute.New(execute.Options{Models: m})
}

// gate holds calls until it is opened.
type gate struct {
	arrived chan string
	open    chan struct{}
}

func newGate() *gate { return &gate{arrived: make(chan string, 100), open: make(chan struct{})} }

// pass waits at the gate; false: the call was ended.
func (g *gate) pass(ctx context.Context, step string) bool {
	g.arrived <- step
	select {
	case <-g.open:
		return true
	case <-ctx.Done():
		return false
	}
}

var left = &llm.Error{Cause: llm.CauseClientGone, Message: "the caller left"}

// holding lets a step say a first piece, and the rest behind the gate.
func (g *gate) holding(held string) func(ctx context.Context, step string, piece func(string)) *llm.Error {
	return func(ctx context.Context, step string, piece func(string)) *llm.Error {
		piece(step + " begins ")
		if step == held && !g.pass(ctx, step) {
			return left
		}
		piece("and ends")
		return nil
	}
}

// held counts what runs of a service hold, by service.
var held sync.Map

// begin starts a run of alice's.
func begin(t testing.TB, s *Service, m *models, plan *pipeline.Plan, query string) *View {
	t.Helper()
	v, again, err := s.Begin(t.Context(), Begin{Caller: alice, Plan: plan, Query: query, Executor: m.executor(), Release: hold(s)})
	require.NoError(t, err)
	require.False(t, again)
	require.Equal(t, "running", v.Status)
	return v
}

// hold gives what a run must call once, which is checked at the test's end.
func hold(s *Service) (release func()) {
	n, _ := held.LoadOrStore(s, new(atomic.Int64))
	n.(*atomic.Int64).Add(1)
	return func() { n.(*atomic.Int64).Add(-1) }
}

// patience bounds waits in tests, on machines however loaded.
const patience = 30 * time.Second

// all follows a run to its end.
func all(t testing.TB, s *Service, id string) []pipeline.StoredEvent {
	t.Helper()
	events, err := follow(t.Context(), s, id)
	require.NoError(t, err)
	return events
}

func follow(ctx context.Context, s *Service, id string) (all []pipeline.StoredEvent, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	feed, err := s.Follow(ctx, admin, id)
	if err != nil {
		return nil, err
	}
	return rest(ctx, feed)
}

// rest reads a feed to its end.
func rest(ctx context.Context, feed *Feed) (all []pipeline.StoredEvent, err error) {
	defer feed.Close()
	for {
		events, err := feed.Next(ctx)
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return all, err
		}
		if len(events) > feedPage {
			return all, fmt.Errorf("%d events at once", len(events))
		}
		all = append(all, events...)
	}
}

// ended waits until the database has a run's end.
func ended(t testing.TB, s *Service, id string) *View {
	t.Helper()
	var v *View
	require.Eventually(t, func() bool {
		var err error
		v, err = s.Get(t.Context(), admin, id)
		return err == nil && v.Status != "running"
	}, patience, 10*time.Millisecond)
	return v
}

// said checks what holds of each run's events, and gives the outputs of its agents.
func said(events []pipeline.StoredEvent) (outputs map[string]string, err error) {
	outputs = map[string]string{}
	soFar := map[string]*strings.Builder{}
	for i, e := range events {
		var data struct {
			Agent, Content, Output string
			Skipped                bool
		}
		if err := json.Unmarshal(e.Data, &data); err != nil {
			return nil, err
		}
		last := e.Type == pipeline.EventComplete || e.Type == pipeline.EventError
		switch {
		case e.Seq != int64(i+1):
			return nil, fmt.Errorf("event %d has number %d", i+1, e.Seq)
		case i > 0 && (e.RunID != events[0].RunID || e.Timestamp.Before(events[i-1].Timestamp)):
			return nil, fmt.Errorf("event %d is of another run or time", i+1)
		case (i == 0) != (e.Type == pipeline.EventStart), last != (i == len(events)-1):
			return nil, fmt.Errorf("event %d of %d is %s", i+1, len(events), e.Type)
		}
		switch e.Type {
		case pipeline.EventAgentStart, pipeline.EventRetry:
			soFar[data.Agent] = &strings.Builder{}
		case pipeline.EventAgentToken:
			if soFar[data.Agent] == nil {
				return nil, fmt.Errorf("%s says something before it starts", data.Agent)
			}
			soFar[data.Agent].WriteString(data.Content)
		case pipeline.EventAgentComplete:
			if !data.Skipped && soFar[data.Agent].String() != data.Output {
				return nil, fmt.Errorf("%s said %q, its output is %q", data.Agent, soFar[data.Agent], data.Output)
			}
			outputs[data.Agent] = data.Output
		default:
		}
	}
	if len(events) == 0 {
		return nil, errors.New("there are no events")
	}
	return outputs, nil
}

func outputsOf(t testing.TB, events []pipeline.StoredEvent) map[string]string {
	t.Helper()
	outputs, err := said(events)
	require.NoError(t, err)
	return outputs
}

// sameSums checks that a run's totals are its breakdown and the rows of the usage
// log.
func sameSums(t testing.TB, db *database.DB, v *View) {
	t.Helper()
	rows, err := db.RunUsageOf(t.Context(), v.ID, v.CreatedAt)
	require.NoError(t, err)
	var tokens, calls int64
	var cost pricing.Money
	for _, row := range rows {
		for _, u := range v.AgentBreakdown {
			if u.Agent == row.Step {
				require.Equal(t, pipeline.AgentUsage{
					Agent: row.Step, Model: row.Model, InputTokens: row.InputTokens, OutputTokens: row.OutputTokens,
					TotalTokens: row.InputTokens + row.OutputTokens, Cost: pricing.Money(row.CostPicodollars), Calls: row.Calls,
				}, u)
			}
		}
		tokens, cost, calls = tokens+row.InputTokens+row.OutputTokens, cost+pricing.Money(row.CostPicodollars), calls+row.Calls
	}
	require.Equal(t, tokens, *v.TotalTokens)
	require.Equal(t, cost, *v.TotalCost)
	require.Equal(t, cost, *v.TotalCostUSD)
	for _, u := range v.AgentBreakdown {
		calls -= u.Calls
	}
	require.Zero(t, calls, "calls of rows and breakdown")
}

// problem is the error that a caller sees.
func problem(t testing.TB, err error, status int) *llm.Error {
	t.Helper()
	p, ok := errors.AsType[*llm.Error](err)
	require.True(t, ok, "%v", err)
	require.Equal(t, status, p.Status(), p)
	return p
}

// logs gathers what a service logs.
type logs struct {
	mu  sync.Mutex // guards buf
	buf bytes.Buffer
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}
