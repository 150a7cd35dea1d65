package gateway

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/dialect"
	"github.com/financecommander/tollgate/internal/dialect/openaichat"
	"github.com/financecommander/tollgate/internal/identity"
	"github.com/financecommander/tollgate/internal/llm"
	"github.com/financecommander/tollgate/internal/secret"
	"github.com/financecommander/tollgate/internal/specialist"
	"github.com/financecommander/tollgate/internal/sse"
	"github.com/financecommander/tollgate/internal/upstream"
	"github.com/financecommander/tollgate/internal/upstreamtest"
	"github.com/financecommander/tollgate/internal/usage"
	"github.com/financecommander/tollgate/pricing"
)

// brokenCodec makes meters that panic where told.
type brokenCodec struct {
	dialect.Codec
	event, body, reading bool
}

func (c brokenCodec) Read(body []byte) (dialect.Call, error) { return c.Codec.Read(body) }

func (c brokenCodec) NewMeter() dialect.Meter {
	return &brokenMeter{Meter: c.Codec.NewMeter(), codec: c}
}

type brokenMeter struct {
	dialect.Meter
	codec  brokenCodec
	events int
}

func (m *brokenMeter) Event(e sse.Event) dialect.Mark {
	if m.events++; m.codec.event && m.events == 3 {
		panic("the third event")
	}
	return m.Meter.Event(e)
}

func (m *brokenMeter) Body(body []byte) {
	if m.codec.body {
		panic("a body")
	}
	m.Meter.Body(body)
}

func (m *brokenMeter) Reading() dialect.Reading {
	if m.codec.reading {
		panic("a reading")
	}
	return m.Meter.Reading()
}

type brokenSpecialists struct{}

func (brokenSpecialists) Get(string) (*specialist.Specialist, bool) { panic("specialists") }
func (brokenSpecialists) Loaded() bool                              { return true }
func (brokenSpecialists) List() []*specialist.Specialist            { panic("specialists") }

// brokenLedger keeps records, after it has panicked or failed as told.
type brokenLedger struct {
	panics bool
	err    error

	mu      sync.Mutex // guards records
	records []usage.Record
	open    int // attempts that have begun and not ended
}

func (l *brokenLedger) Admit() error { return nil }

func (l *brokenLedger) Begin(*usage.Record) usage.Mark {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open++
	return 1
}

func (l *brokenLedger) End(usage.Mark) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open--
}

func (l *brokenLedger) Append(r *usage.Record) error {
	if l.panics {
		panic("ledger")
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err == nil {
		l.records = append(l.records, *r)
	}
	return l.err
}

// A panic costs the call it happens in, and neither its record nor the process.
func TestPanics(t *testing.T) {
	const whole = `{"model":"openai/gpt-4o-mini","messages":[]}`
	const streamed = `{"model":"openai/gpt-4o-mini","messages":[],"stream":true}`
	behaviour := upstreamtest.Chat("a", "b", "c", "d")
	tests := map[string]struct {
		codec       brokenCodec
		specialists Specialists
		body        string
		attempt     int
		cut         bool // in mid-stream: the connection breaks
	}{
		"reading a body":               {codec: brokenCodec{body: true}, body: whole, attempt: 1},
		"reading an event":             {codec: brokenCodec{event: true}, body: streamed, attempt: 1, cut: true},
		"counting":                     {codec: brokenCodec{reading: true}, body: whole, attempt: 1},
		"counting a stream":            {codec: brokenCodec{reading: true}, body: streamed, attempt: 1, cut: true},
		"before an upstream was asked": {specialists: brokenSpecialists{}, body: whole},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			server := upstreamtest.New(t, behaviour)
			if tt.cut { // so that something has been sent when it happens
				server.Script(func(w http.ResponseWriter, r *http.Request) {
					upstreamtest.Stream(": opening\n\n")(w, r)
					_, _ = io.WriteString(w, strings.Join(upstreamtest.ChatEvents(true, "a", "b"), ""))
				})
			}
			ledger := &brokenLedger{}
			g := gatewayFor(t, server.URL(), ledger, slog.New(slog.DiscardHandler))
			g.Specialists = tt.specialists
			tt.codec.Codec = openaichat.Chat
			front := frontFor(t, g, client{Codec: tt.codec, own: []dialect.Name{tt.codec.Name()}})

			resp, err := http.Post(front, "application/json", strings.NewReader(tt.body))
			require.NoError(t, err)
			defer resp.Body.Close()
			text, err := io.ReadAll(resp.Body)
			if tt.cut && resp.StatusCode == http.StatusOK {
				require.Error(t, err, "a cut must look like one")
				require.NotContains(t, string(text), "[DONE]")
			} else {
				require.NoError(t, err)
				require.Equal(t, http.StatusInternalServerError, resp.StatusCode)
				require.Contains(t, string(text), `"code":"internal"`)
				require.NotContains(t, string(text), "panic")
			}
			ledger.mu.Lock()
			defer ledger.mu.Unlock()
			require.Len(t, ledger.records, 1)
			require.Zero(t, ledger.open)
			row := ledger.records[0]
			require.Equal(t, tt.attempt, row.Attempt)
			require.Equal(t, llm.CauseInternal, row.ErrorCause)
			require.False(t, row.Success)
			require.Equal(t, "hash-u1", row.UserHash)
		})
	}
}

// A ledger that fails, or panics, costs the caller nothing, and the record goes
// to the log whole.
func TestRecordGoesToTheLog(t *testing.T) {
	for name, ledger := range map[string]*brokenLedger{"error": {err: errors.New("disk full")}, "panic": {panics: true}} {
		t.Run(name, func(t *testing.T) {
			server := upstreamtest.New(t)
			var log bytes.Buffer
			g := gatewayFor(t, server.URL(), ledger, slog.New(slog.NewJSONHandler(&log, nil)))
			front := frontFor(t, g, newClient(openaichat.Chat))
			resp, err := http.Post(front, "application/json", strings.NewReader(`{"model":"openai/gpt-4o-mini","messages":[]}`))
			require.NoError(t, err)
			defer resp.Body.Close()
			text, err := io.ReadAll(resp.Body)
			require.NoError(t, err)
			require.Equal(t, upstreamtest.ChatBody("Hello", ", ", "world"), string(text))

			var line struct{ Record string }
			require.NoError(t, json.Unmarshal(log.Bytes(), &line), log.String())
			var record usage.Record
			require.NoError(t, json.Unmarshal([]byte(line.Record), &record), line.Record)
			require.EqualValues(t, 10, record.InputTokens)
			require.EqualValues(t, 3, record.OutputTokens)
			require.Equal(t, resp.Header.Get("X-Request-Id"), record.RequestID)
			require.Positive(t, record.Cost)
		})
	}
}

func gatewayFor(t testing.TB, url string, ledger Ledger, logger *slog.Logger) *Gateway {
	t.Helper()
	transport := &http.Transport{DisableCompression: true}
	t.Cleanup(transport.CloseIdleConnections)
	p, err := upstream.New(upstream.Config{Name: "openai", BaseURL: url, Keys: []secret.Secret{secret.New("k")}, Transport: transport})
	require.NoError(t, err)
	return New(Options{Logger: logger, Providers: []*upstream.Provider{p}, Prices: pricing.Embedded(), Ledger: ledger})
}

// frontFor serves one face of a gateway to a known caller.
func frontFor(t *testing.T, g *Gateway, f face) string {
	t.Helper()
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p := &identity.Principal{UserHash: "hash-u1"}
		g.serve(w, r.WithContext(identity.NewContext(r.Context(), p)), f)
	}))
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	server.Start()
	t.Cleanup(server.Close)
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	return server.URL
}
