package conversation

import (
	"context"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/financecommander/tollgate/internal/database"
	"github.com/financecommander/tollgate/internal/gateway"
	"github.com/financecommander/tollgate/internal/identity"
	"github.com/financecommander/tollgate/internal/secret"
	"github.com/financecommander/tollgate/internal/testenv"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var testSecret = secret.New("a secret of at least thirty-two bytes, for tests")

// onBoth runs a test on a fresh database of each kind, whose contents scan gives
// as one text.
func onBoth(t *testing.T, test func(t *testing.T, db *database.DB, scan func() string)) {
	t.Helper()
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		url := testenv.Postgres(t)
		test(t, migrated(t, url), func() string { return scanPostgres(t, url) })
	})
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		path := filepath.Join(t.TempDir(), "test.db")
		test(t, migrated(t, "sqlite:///"+path), func() string {
			var all strings.Builder
			for _, suffix := range []string{"", "-wal"} {
				content, err := os.ReadFile(path + suffix)
				require.NoError(t, err)
				all.Write(content)
			}
			return all.String()
		})
	})
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

func migrated(t testing.TB, url string) *database.DB {
	t.Helper()
	db, err := database.Open(url, database.Options{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	_, err = db.Migrate(t.Context())
	require.NoError(t, err)
	return db
}

func onSQLite(t testing.TB) *database.DB {
	t.Helper()
	return migrated(t, "sqlite:///"+filepath.Join(t.TempDir(), "test.db"))
}

func newService(t testing.TB, store Store) *Service {
	t.Helper()
	s, err := New(Options{Store: store, Secret: testSecret})
	require.NoError(t, err)
	t.Cleanup(s.Stop)
	return s
}

func create(t testing.TB, s *Service, owner string) string {
	t.Helper()
	c, err := s.Create(t.Context(), owner, Settings{})
	require.NoError(t, err)
	return c.UUID
}

func add(t testing.TB, s *Service, owner, id, role, content string) int64 {
	t.Helper()
	messageID, _, err := s.Add(t.Context(), owner, id, Posted{Role: role, Content: content})
	require.NoError(t, err)
	return messageID
}

// texts are a conversation's messages as "role: content", with those that have
// no id marked.
func texts(t testing.TB, s *Service, owner, id string) []string {
	t.Helper()
	read, err := s.Read(t.Context(), owner, id)
	require.NoError(t, err)
	read.Answered()
	return textsOf(read)
}

func textsOf(read *Reading) []string {
	lines := []string{}
	for _, m := range read.Messages {
		line := m.Role + ": " + m.Content
		if m.ID == 0 {
			line = "(" + line + ")"
		}
		lines = append(lines, line)
	}
	return lines
}

func begin(t testing.TB, s *Service, owner, question string) gateway.Answer {
	t.Helper()
	a := s.Begin(t.Context(), &identity.Principal{UserHash: owner}, gateway.Question{Text: question, Model: "m"})
	require.NotNil(t, a)
	return a
}

var whole = gateway.Outcome{Model: "gpt-4o", InputTokens: 10, OutputTokens: 3, Cost: 7_500_000_000, Whole: true}

// say gives an answer from its beginning to its end.
func say(t testing.TB, s *Service, owner, question string, pieces ...string) {
	t.Helper()
	a := begin(t, s, owner, question)
	for _, piece := range pieces {
		a.Text(piece)
		a.Pass(t.Context())
	}
	a.End(whole)
}

// flaky is a database that can be away.
type flaky struct {
	*database.DB

	mu   sync.Mutex // guards away
	away bool
}

func (f *flaky) set(away bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.away = away
}

func (f *flaky) fails() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.away {
		return fmt.Errorf("connection refused")
	}
	return nil
}

func (f *flaky) ChangeConversation(ctx context.Context, owner, uuid string, change func(*database.ConversationTx) error) error {
	if err := f.fails(); err != nil {
		return err
	}
	return f.DB.ChangeConversation(ctx, owner, uuid, change)
}
