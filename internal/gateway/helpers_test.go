package gateway_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/financecommander/tollgate/internal/gateway"
	"github.com/financecommander/tollgate/internal/identity"
	"github.com/financecommander/tollgate/internal/llm"
	"github.com/financecommander/tollgate/internal/portal/apitest"
	"github.com/financecommander/tollgate/internal/secret"
	"github.com/financecommander/tollgate/internal/specialist"
	"github.com/financecommander/tollgate/internal/upstream"
	"github.com/financecommander/tollgate/internal/usage"
	"github.com/financecommander/tollgate/pricing"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// upstreamKey is the provider's key; it may be seen by upstreams only.
const upstreamKey = "sk-upstream-3f9a7c"

// callerKey is what callers send as their token.
const callerKey = "caller-token-51b2"

// ledger is a Ledger that keeps records for the test to look at.
type ledger struct {
	AdmitFunc  func() error
	AppendFunc func(*usage.Record) error // runs first; the record is kept if it gives no error

	mu      sync.Mutex // guards what follows
	records []usage.Record
	begun   []usage.Record // as they were when they began
	open    map[usage.Mark]uuid.UUID
	changed chan struct{}
}

func newLedger() *ledger {
	return &ledger{changed: make(chan struct{}, 1), open: make(map[usage.Mark]uuid.UUID)}
}

func (l *ledger) Admit() error {
	if l.AdmitFunc == nil {
		return nil
	}
	return l.AdmitFunc()
}

func (l *ledger) Append(r *usage.Record) error {
	if l.AppendFunc != nil {
		if err := l.AppendFunc(r); err != nil {
			return err
		}
	}
	l.mu.Lock()
	l.records = append(l.records, *r)
	l.mu.Unlock()
	select {
	case l.changed <- struct{}{}:
	default:
	}
	return nil
}

func (l *ledger) Begin(r *usage.Record) usage.Mark {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.begun = append(l.begun, *r)
	mark := usage.Mark(len(l.begun))
	l.open[mark] = r.ID
	return mark
}

func (l *ledger) End(m usage.Mark) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.open, m)
}

// underWay counts the attempts that have begun and not ended.
func (l *ledger) underWay() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.open)
}

func (l *ledger) all() []usage.Record {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.records)
}

// wait gives the records as soon as there are n of them.
func (l *ledger) wait(t *testing.T, n int) []usage.Record {
	t.Helper()
	limit := time.After(5 * time.Second)
	for {
		if records := l.all(); len(records) >= n {
			require.Len(t, records, n)
			return records
		}
		select {
		case <-l.changed:
		case <-limit:
			t.Fatalf("there are %d records, not %d", len(l.all()), n)
		}
	}
}

// one gives the only record.
func (l *ledger) one(t *testing.T) usage.Record {
	t.Helper()
	return l.wait(t, 1)[0]
}

// specialists is a fixed set of them.
type specialists []*specialist.Specialist

func (s specialists) Get(name string) (*specialist.Specialist, bool) {
	for _, one := range s {
		if one.ID == name || slices.Contains(one.Aliases, name) {
			return one, true
		}
	}
	return nil, false
}

func (specialists) Loaded() bool { return true }

func (s specialists) List() []*specialist.Specialist { return s }

// connections is the transport to upstreams; it counts what it has open.
type connections struct {
	*http.Transport
	open, dialed atomic.Int64
}

type countedConn struct {
	net.Conn
	once sync.Once
	open *atomic.Int64
}

func (c *countedConn) Close() error {
	c.once.Do(func() { c.open.Add(-1) })
	return c.Conn.Close()
}

// newConnections makes a transport and, when the test ends, finds out whether a
// connection was left behind.
func newConnections(t *testing.T) *connections {
	c := &connections{}
	c.Transport = &http.Transport{
		DisableCompression: true, MaxIdleConnsPerHost: 100,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := new(net.Dialer).DialContext(ctx, network, address)
			if err != nil {
				return nil, err
			}
			c.open.Add(1)
			c.dialed.Add(1)
			return &countedConn{Conn: conn, open: &c.open}, nil
		},
	}
	t.Cleanup(func() {
		c.CloseIdleConnections()
		require.Eventually(t, func() bool { c.CloseIdleConnections(); return c.open.Load() == 0 },
			5*time.Second, time.Millisecond, "upstream connections were left open")
	})
	return c
}

// logs is a log to look for secrets in.
type logs struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// fixture is a gateway behind a real HTTP server.
type fixture struct {
	t      *testing.T
	url    string
	ledger *ledger
	logs   *logs
	client *http.Client
}

// setup makes a gateway with the providers given. configure may change its
// options.
func setup(t *testing.T, configure func(*gateway.Options), providers ...*upstream.Provider) *fixture {
	t.Helper()
	f := &fixture{t: t, ledger: newLedger(), logs: &logs{}}
	o := gateway.Options{
		Logger: slog.New(slog.NewTextHandler(f.logs, &slog.HandlerOptions{Level: slog.LevelDebug})), Providers: providers,
		Prices: pricing.Embedded(), Ledger: f.ledger,
	}
	if configure != nil {
		configure(&o)
	}
	server := httptest.NewUnstartedServer(withPrincipal(gateway.New(o)))
	server.Config.ErrorLog = slog.NewLogLogger(slog.NewTextHandler(f.logs, nil), slog.LevelError)
	server.Start()
	transport := &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 100}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		server.Close()
		require.Zero(t, f.ledger.underWay(), "every attempt that began has ended")
		for _, leak := range []string{upstreamKey, callerKey, "org-secret123", "internal-host-17"} {
			require.NotContains(t, f.logs.String(), leak)
		}
	})
	f.url, f.client = server.URL, &http.Client{Transport: apitest.Transport(t, transport)}
	return f
}

// withPrincipal does what the authentication in front of the gateway does: a
// call with a token has a principal. A token "only:a,b" may use a and b.
func withPrincipal(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
		if token == "" {
			next.ServeHTTP(w, r)
			return
		}
		p := &identity.Principal{Subject: "u1", UserHash: "hash-u1", EmailHash: "hash-mail", TokenID: "jti-1"}
		if names, ok := strings.CutPrefix(token, "only:"); ok {
			p.Specialists = strings.Split(names, ",")
		}
		next.ServeHTTP(w, r.WithContext(identity.NewContext(r.Context(), p)))
	})
}

// provider makes a provider of OpenAI's kind at a base URL.
func provider(t *testing.T, name, baseURL string, timeouts upstream.Timeouts) *upstream.Provider {
	t.Helper()
	return configured(t, upstream.Config{Name: name, BaseURL: baseURL, Timeouts: timeouts})
}

func configured(t *testing.T, c upstream.Config) *upstream.Provider {
	t.Helper()
	if c.Transport == nil {
		c.Transport = newConnections(t)
	}
	if c.Keys == nil {
		c.Keys = []secret.Secret{secret.New(upstreamKey)}
	}
	p, err := upstream.New(c)
	require.NoError(t, err)
	return p
}

// answer is what a caller got.
type answer struct {
	Status int
	Header http.Header
	Body   string
	Err    error // of reading the body
}

// do sends a request with the caller's token. header holds names and values in
// turn; an empty value takes the header away.
func (f *fixture) do(method, path, body string, header ...string) answer {
	f.t.Helper()
	return f.send(f.request(f.t.Context(), method, path, strings.NewReader(body), header...))
}

func (f *fixture) post(path, body string, header ...string) answer {
	f.t.Helper()
	return f.do(http.MethodPost, path, body, header...)
}

func (f *fixture) chat(body string, header ...string) answer {
	f.t.Helper()
	return f.post("/v1/chat/completions", body, header...)
}

func (f *fixture) request(ctx context.Context, method, path string, body io.Reader, header ...string) *http.Request {
	f.t.Helper()
	r, err := http.NewRequestWithContext(ctx, method, f.url+path, body)
	require.NoError(f.t, err)
	r.Header.Set("Authorization", "Bearer "+callerKey)
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
		if header[i+1] == "" {
			r.Header.Del(header[i])
		}
	}
	return r
}

func (f *fixture) send(r *http.Request) answer {
	f.t.Helper()
	resp, err := f.client.Do(r)
	require.NoError(f.t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	a := answer{Status: resp.StatusCode, Header: resp.Header, Body: string(body), Err: err}
	for _, leak := range []string{upstreamKey, "org-secret123", "internal-host-17"} {
		require.NotContains(f.t, a.Body, leak)
	}
	return a
}

// apiError is OpenAI's error, as its SDKs read it.
type apiError struct {
	Message string  `json:"message"`
	Type    string  `json:"type"`
	Code    *string `json:"code"`
	Param   *string `json:"param"`
}

// parseError reads an OpenAI error body and the request id beside it.
func parseError(t *testing.T, body string) (e apiError, requestID string) {
	t.Helper()
	var b struct {
		Error     *apiError `json:"error"`
		RequestID string    `json:"request_id"`
	}
	require.NoError(t, json.Unmarshal([]byte(body), &b), body)
	require.NotNil(t, b.Error, body)
	require.NotEmpty(t, b.Error.Message)
	return *b.Error, b.RequestID
}

// requireError says that the answer is an error in OpenAI's shape with the
// given status and code ("" for null), and with one request id in all places.
func (a answer) requireError(t *testing.T, status int, code string) apiError {
	t.Helper()
	require.NoError(t, a.Err)
	require.Equal(t, status, a.Status, a.Body)
	require.Equal(t, "application/json", a.Header.Get("Content-Type"))
	e, id := parseError(t, a.Body)
	require.Equal(t, code, text(e.Code))
	require.Regexp(t, `^req_[0-9a-f-]{36}$`, id)
	require.Equal(t, []string{id}, a.Header.Values("X-Request-Id"))
	return e
}

func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// requireRow says what matters of a record.
func requireRow(t *testing.T, r usage.Record, attempt, upstreamStatus, status int, cause llm.Cause) {
	t.Helper()
	require.Equal(t, cause, r.ErrorCause)
	require.Equal(t, attempt, r.Attempt)
	require.Equal(t, upstreamStatus, r.UpstreamStatus)
	require.Equal(t, status, r.Status)
	require.Equal(t, cause == llm.CauseNone, r.Success)
	require.Equal(t, "hash-u1", r.UserHash)
	require.Equal(t, "hash-mail", r.UserEmailHash)
	require.Equal(t, "jti-1", r.TokenID)
	require.NotEmpty(t, r.RequestID)
	require.NotEmpty(t, r.PriceVersion)
}
