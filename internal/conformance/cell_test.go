package conformance

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/dialect"
	"github.com/financecommander/tollgate/internal/gateway"
	"github.com/financecommander/tollgate/internal/identity"
	"github.com/financecommander/tollgate/internal/seal"
	"github.com/financecommander/tollgate/internal/secret"
	"github.com/financecommander/tollgate/internal/upstream"
	"github.com/financecommander/tollgate/internal/upstreamtest/fakes"
	"github.com/financecommander/tollgate/internal/usage"
	"github.com/financecommander/tollgate/pricing"
)

// upstreamKind is one upstream dialect, with a provider that speaks it.
type upstreamKind struct {
	name     string
	kind     fakes.Kind
	provider string
	model    string
	formats  []dialect.Name
	shows    bool // its thinking is told unasked
	keeps    bool // it wants its thinking's state back
}

var upstreams = []upstreamKind{
	{"OpenAI Chat", fakes.OpenAIChat, "xai", "grok-4", []dialect.Name{dialect.OpenAIChat}, true, false},
	{"OpenAI Responses", fakes.OpenAI, "openai", "gpt-5", []dialect.Name{dialect.OpenAIResponses}, false, true},
	{"Anthropic", fakes.Anthropic, "anthropic", "claude-sonnet-4-5", nil, true, true},
	{"Gemini", fakes.Gemini, "gemini", "gemini-3-pro-preview", nil, false, true},
}

// stage is a gateway with one fake upstream of each kind behind it.
type stage struct {
	url    string
	fakes  map[string]*fakes.Server // by the kind's name
	ledger *ledger
}

func newStage(t *testing.T) *stage {
	s := &stage{fakes: map[string]*fakes.Server{}, ledger: &ledger{}}
	transport := &http.Transport{DisableCompression: true}
	var providers []*upstream.Provider
	for _, u := range upstreams {
		fake := fakes.New(t, u.kind)
		p, err := upstream.New(upstream.Config{
			Name: u.provider, BaseURL: fake.BaseURL(), Keys: []secret.Secret{secret.New(fakes.Key)},
			Formats: u.formats, Transport: transport,
		})
		require.NoError(t, err)
		providers = append(providers, p)
		s.fakes[u.name] = fake
	}
	box, err := seal.New(secret.New("a secret of at least thirty-two bytes"), "test")
	require.NoError(t, err)
	g := gateway.New(gateway.Options{
		Logger: slog.New(slog.DiscardHandler), Providers: providers, Prices: pricing.Embedded(), Ledger: s.ledger,
		Seal: func(owner string) dialect.Sealer { return box.ForOwner(owner) },
	})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		g.ServeHTTP(w, r.WithContext(identity.NewContext(r.Context(), &identity.Principal{UserHash: "u1"})))
	}))
	t.Cleanup(func() { server.Close(); transport.CloseIdleConnections() })
	s.url = server.URL
	return s
}

// cell is one client dialect against one upstream dialect, streamed or not.
type cell struct {
	*testing.T
	*stage
	client dialectClient
	to     upstreamKind
	stream bool
}

func (c *cell) fake() *fakes.Server { return c.fakes[c.to.name] }

// same says that client and upstream speak one dialect, so that bytes pass.
func (c *cell) same() bool { return c.client.name() == c.to.name }

// ask makes one call and checks its one row.
func (c *cell) ask(t talk, header ...string) (outcome, usage.Record) {
	c.Helper()
	t.model, t.stream = c.to.provider+"/"+c.to.model, c.stream
	before := c.ledger.len()
	o := c.send(c.Context(), t, header...)
	row := c.ledger.wait(c.T, before)
	require.Equal(c, o.status == http.StatusOK && o.whole, row.Success, "%s\n%s", row.ErrorCause, o.raw)
	return o, row
}

// good makes a call that must succeed, with the fake's usage in the answer and in
// the row.
func (c *cell) good(t talk) outcome {
	c.Helper()
	o, row := c.ask(t)
	require.Equal(c, http.StatusOK, o.status, "%s\nupstream: %v", o.raw, last(c.fake().Problems()))
	require.Empty(c, o.errText, o.raw)
	require.True(c, o.whole, o.raw)
	require.EqualValues(c, fakes.InputTokens, o.usage.input, o.raw)
	require.EqualValues(c, fakes.InputTokens, row.InputTokens)
	require.Equal(c, row.OutputTokens, o.usage.output, o.raw)
	require.Equal(c, row.CachedTokens, o.usage.cached, o.raw)
	require.True(c, row.Priced)
	return o
}

func (c *cell) send(ctx context.Context, t talk, header ...string) outcome {
	c.Helper()
	body, err := json.Marshal(c.client.body(t))
	require.NoError(c, err)
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url+c.client.path(t), strings.NewReader(string(body)))
	require.NoError(c, err)
	r.Header.Set("Content-Type", "application/json")
	for list := append(c.client.header(), header...); len(list) > 1; list = list[2:] {
		r.Header.Set(list[0], list[1])
	}
	resp, err := http.DefaultTransport.RoundTrip(r)
	require.NoError(c, err)
	defer resp.Body.Close()
	raw, readErr := io.ReadAll(resp.Body)
	o := outcome{status: resp.StatusCode, header: resp.Header, raw: string(raw)}
	c.client.read(t, &o)
	o.whole = o.whole && readErr == nil
	return o
}

// ledger keeps records for the test.
type ledger struct {
	mu      sync.Mutex // guards records
	records []usage.Record
}

func (*ledger) Admit() error                   { return nil }
func (*ledger) Begin(*usage.Record) usage.Mark { return 0 }
func (*ledger) End(usage.Mark)                 {}

func (l *ledger) Append(r *usage.Record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.records = append(l.records, *r)
	return nil
}

func (l *ledger) len() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.records)
}

// wait gives the record that comes after so many, and checks that there is one.
func (l *ledger) wait(t *testing.T, before int) usage.Record {
	t.Helper()
	require.Eventually(t, func() bool { return l.len() > before }, 5*time.Second, time.Millisecond, "no row")
	require.Equal(t, before+1, l.len(), "one row a call")
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.records[before]
}

func last(problems []string) string {
	if len(problems) == 0 {
		return "no problem"
	}
	return problems[len(problems)-1]
}
