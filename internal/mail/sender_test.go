package mail

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"mime/quotedprintable"
	"net"
	"net/mail"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/emersion/go-smtp"
	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/identity"
	"github.com/financecommander/tollgate/internal/secret"
)

func address(t *testing.T, text string) identity.Address {
	t.Helper()
	a, ok := identity.ParseAddress(text)
	require.True(t, ok)
	return a
}

// always composes the same message.
func always(m Message) Compose { return func(context.Context) (*Message, error) { return &m, nil } }

// logBuffer collects what is logged.
type logBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// newSender makes a sender for the server, started, with shorter pauses.
func newSender(t *testing.T, s *smtpServer, address string) (*Sender, *logBuffer) {
	t.Helper()
	log := &logBuffer{}
	sender, err := New(Options{
		URL: secret.New(address), From: "AI Portal <portal@example.com>", RootCAs: s.roots,
		Logger: slog.New(slog.NewTextHandler(log, nil)),
	})
	require.NoError(t, err)
	sender.pauses = []time.Duration{time.Millisecond, time.Millisecond, time.Millisecond}
	sender.drain = 5 * time.Second
	sender.Start(t.Context())
	t.Cleanup(sender.Stop)
	return sender, log
}

// at gives a server's URL, by the name that its certificate is for.
func (s *smtpServer) at(scheme, user, query string) string {
	_, port, _ := net.SplitHostPort(s.address)
	return scheme + "://" + user + "localhost:" + port + query
}

var login = testUser + ":" + url.QueryEscape(testPassword) + "@"

func requireMail(t *testing.T, d delivery) {
	t.Helper()
	require.Equal(t, "portal@example.com", d.From)
	require.Equal(t, "alice@example.org", d.To)
	m, err := mail.ReadMessage(strings.NewReader(d.Data))
	require.NoError(t, err)
	require.Equal(t, `"AI Portal" <portal@example.com>`, m.Header.Get("From"))
	require.Equal(t, "<alice@example.org>", m.Header.Get("To"))
	require.Equal(t, "Sign in", m.Header.Get("Subject"))
	require.Equal(t, "auto-generated", m.Header.Get("Auto-Submitted"))
	require.Regexp(t, `^<[A-Z2-7]+@example\.com>$`, m.Header.Get("Message-Id"))
	require.NotContains(t, d.Data, "User-Agent")
	body, err := io.ReadAll(quotedprintable.NewReader(m.Body))
	require.NoError(t, err)
	require.Contains(t, string(body), "https://ai.example.com/portal/?code=A&state=email:"+strings.Repeat("x", 300))
	require.Contains(t, string(body), "<b>hello</b>")
}

func sample(t *testing.T) Message {
	return Message{
		To: address(t, "Alice@example.org"), Subject: "Sign in",
		Text: "https://ai.example.com/portal/?code=A&state=email:" + strings.Repeat("x", 300), HTML: "<b>hello</b>",
	}
}

func TestDelivery(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		implicit bool
		scheme   string
		user     string
		query    string
		edit     func(*smtpServer, *smtp.Server)
	}{
		"STARTTLS":           {false, "smtp", login, "", nil},
		"TLS from the start": {true, "smtps", login, "", nil},
		"no TLS, to this machine": {false, "smtp", login, "?tls=none", func(_ *smtpServer, s *smtp.Server) {
			s.TLSConfig, s.AllowInsecureAuth = nil, true
		}},
		"no TLS and no password": {false, "smtp", "", "?tls=none", func(s *smtpServer, server *smtp.Server) {
			s.anonymous, server.TLSConfig = true, nil
		}},
		"STARTTLS without password": {false, "smtp", "", "", func(s *smtpServer, _ *smtp.Server) { s.anonymous = true }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := newServer(t, "localhost", tc.implicit, tc.edit)
			sender, log := newSender(t, server, server.at(tc.scheme, tc.user, tc.query))
			require.NoError(t, sender.Queue(always(sample(t))))
			sender.Stop()
			require.Len(t, server.deliveries(), 1, log)
			requireMail(t, server.deliveries()[0])
			require.Empty(t, log.String())
		})
	}
}

// What must not be sent: over a connection that anybody may read, or to a server
// that is not the one meant.
func TestRefusedConnections(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		certificate string
		scheme      string
		implicit    bool
		edit        func(*smtpServer, *smtp.Server)
		because     string
	}{
		"certificate of another":            {"elsewhere.test", "smtp", false, nil, "certificate"},
		"certificate of another, smtps":     {"elsewhere.test", "smtps", true, nil, "certificate"},
		"unknown authority":                 {"localhost", "smtp", false, func(s *smtpServer, _ *smtp.Server) { s.roots = nil }, "certificate"},
		"no STARTTLS":                       {"localhost", "smtp", false, func(_ *smtpServer, s *smtp.Server) { s.TLSConfig, s.AllowInsecureAuth = nil, true }, "STARTTLS"},
		"a log-in that fails":               {"localhost", "smtp", false, func(*smtpServer, *smtp.Server) {}, "535"},
		"an old version of TLS, and no new": {"localhost", "smtp", false, func(_ *smtpServer, s *smtp.Server) { s.TLSConfig.MaxVersion = 0x0302 }, "version"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := newServer(t, tc.certificate, tc.implicit, tc.edit)
			user := login
			if tc.because == "535" {
				user = testUser + ":wrong@"
			}
			sender, log := newSender(t, server, server.at(tc.scheme, user, ""))
			require.NoError(t, sender.Queue(always(sample(t))))
			require.Eventually(t, func() bool { return strings.Contains(log.String(), tc.because) }, 10*time.Second, time.Millisecond, log)
			sender.Stop()
			require.Empty(t, server.deliveries())
			require.NotContains(t, log.String(), "example.org")
			require.NotContains(t, log.String(), "wrong")
		})
	}
}

func TestTemporaryRefusalsAreTriedAgain(t *testing.T) {
	t.Parallel()
	server := newServer(t, "localhost", false, func(s *smtpServer, _ *smtp.Server) {
		s.onRcpt = func(attempt int) error {
			if attempt < 3 {
				return refusal(450, "alice@example.org")
			}
			return nil
		}
	})
	sender, log := newSender(t, server, server.at("smtp", login, ""))
	composed := 0
	require.NoError(t, sender.Queue(func(context.Context) (*Message, error) {
		composed++
		if composed == 1 {
			return nil, errTest // like one of the server, and composed again
		}
		m := sample(t)
		return &m, nil
	}))
	require.Eventually(t, func() bool { return len(server.deliveries()) == 1 }, 10*time.Second, time.Millisecond, log)
	requireMail(t, server.deliveries()[0])
	sender.Stop()
	require.Equal(t, 2, composed, "what was composed is sent again, not composed again")
	require.Contains(t, log.String(), "450 4.2.1")
	require.Contains(t, log.String(), errTest.Error())
	require.NotContains(t, log.String(), "alice")
}

func TestRefusalsEnd(t *testing.T) {
	t.Parallel()
	for code, tries := range map[int]int{550: 1, 451: 4} {
		server := newServer(t, "localhost", false, func(s *smtpServer, _ *smtp.Server) {
			s.onRcpt = func(int) error { return refusal(code, "alice@example.org") }
		})
		sender, log := newSender(t, server, server.at("smtp", login, ""))
		require.NoError(t, sender.Queue(always(sample(t))))
		require.Eventually(t, func() bool { return strings.Contains(log.String(), "level=ERROR") }, 10*time.Second, time.Millisecond, log)
		sender.Stop()
		require.Equal(t, tries, server.tries())
		require.NotContains(t, log.String(), "alice")
	}
}

// A server that takes the connection and says nothing more does not hold up the
// end of the gateway.
func TestStopCutsAServerThatHangs(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer listener.Close()
	accepted := make(chan net.Conn, 1)
	go func() {
		if conn, err := listener.Accept(); err == nil {
			accepted <- conn
		}
	}()
	sender, log := newSender(t, &smtpServer{}, "smtp://"+listener.Addr().String()+"?tls=none")
	require.NoError(t, sender.Queue(always(sample(t))))
	conn := <-accepted
	defer conn.Close()
	sender.drain = 10 * time.Millisecond
	begin := time.Now()
	sender.Stop()
	sender.Stop()
	require.Less(t, time.Since(begin), 5*time.Second)
	require.Contains(t, log.String(), "given up")
	require.ErrorIs(t, sender.Queue(always(sample(t))), ErrStopped)
}

func TestNothingToSend(t *testing.T) {
	t.Parallel()
	server := newServer(t, "localhost", false, nil)
	sender, log := newSender(t, server, server.at("smtp", login, ""))
	require.NoError(t, sender.Queue(func(context.Context) (*Message, error) { return nil, nil }))
	sender.Stop()
	require.Empty(t, server.deliveries())
	require.Empty(t, log.String())
}

func TestQueueIsBoundedAndDrained(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		sender, err := New(Options{URL: secret.New("smtp://mail.test"), From: "a@example.com"})
		require.NoError(t, err)
		require.ErrorIs(t, sender.Queue(always(Message{})), ErrStopped, "before the start")
		sender.Start(t.Context())
		sender.Start(t.Context())
		release, ran := make(chan struct{}), 0
		var mu sync.Mutex
		compose := func(context.Context) (*Message, error) {
			<-release
			mu.Lock()
			defer mu.Unlock()
			ran++
			return nil, nil
		}
		for range maxPending {
			require.NoError(t, sender.Queue(compose))
		}
		require.ErrorIs(t, sender.Queue(compose), ErrFull)
		close(release)
		sender.Stop()
		require.Equal(t, maxPending, ran)
	})
}

// Pauses grow, hold no worker, and are cut short by Stop: each waiting message
// gets one last attempt.
func TestPauses(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		sender, err := New(Options{URL: secret.New("smtp://mail.test"), From: "a@example.com"})
		require.NoError(t, err)
		sender.Start(t.Context())
		begin := time.Now()
		var (
			mu sync.Mutex
			at []time.Duration
		)
		failing := func(context.Context) (*Message, error) {
			mu.Lock()
			defer mu.Unlock()
			at = append(at, time.Since(begin))
			return nil, errTest
		}
		require.NoError(t, sender.Queue(failing))
		time.Sleep(time.Hour)
		synctest.Wait()
		require.Equal(t, []time.Duration{0, 2 * time.Second, 12 * time.Second, 42 * time.Second, 102 * time.Second, 222 * time.Second}, at)

		at, begin = nil, time.Now()
		for range 3 * workers {
			require.NoError(t, sender.Queue(failing))
		}
		time.Sleep(time.Second)
		synctest.Wait()
		require.Len(t, at, 3*workers, "no worker waits")
		sender.Stop()
		require.Len(t, at, 6*workers)
		require.Less(t, time.Since(begin), 2*time.Second)
	})
}

func TestOptions(t *testing.T) {
	t.Parallel()
	for address, ok := range map[string]bool{
		"smtp://mail.test":                         true,
		"smtp://user:p%40ss@mail.test:2525":        true,
		"smtps://user:pass@mail.test/":             true,
		"smtp://mail.test?tls=none":                true,
		"smtp://user:pass@127.0.0.1?tls=none":      true,
		"smtp://user:pass@[::1]:25?tls=none":       true,
		"smtp://user:hunter2@mail.test?tls=none":   false,
		"smtps://mail.test?tls=none":               false,
		"smtp://mail.test?tls=maybe":               false,
		"smtp://mail.test?insecure=1":              false,
		"smtp://mail.test:0":                       false,
		"smtp://mail.test:hunter2":                 false,
		"smtp://mail.test/hunter2":                 false,
		"smtp://":                                  false,
		"http://mail.test":                         false,
		"mail.test:587":                            false,
		"smtp://user:hunter2%@mail.test":           false,
		"":                                         false,
		"smtp://user:hunter2@mail.test:99999":      false,
		"smtp://user:hunter2@mail.test#x":          false,
		"smtp://user:hunter2@mail.test?tls=none&x": false,
	} {
		_, err := New(Options{URL: secret.New(address), From: "a@example.com"})
		require.Equal(t, ok, err == nil, "%s: %v", address, err)
		if err != nil {
			require.NotContains(t, err.Error(), "hunter2")
		}
	}
	for from, ok := range map[string]bool{
		"a@example.com":                        true,
		"AI Portal <a@example.com>":            true,
		`"Portal, the" <a@example.com>`:        true,
		"Portál <a@example.com>":               true,
		"":                                     false,
		"example.com":                          false,
		"a@example.com, b@example.com":         false,
		"a@example.com\r\nBcc: b@example.com":  false,
		"\"A\r\nBcc: b\" <a@example.com>":      false,
		"=?utf-8?q?A=0D=0AB?= <a@example.com>": false,
		"\"a b\"@example.com":                  false,
		"Portal <a@localhost>":                 false,
	} {
		_, err := New(Options{URL: secret.New("smtp://mail.test"), From: from})
		require.Equal(t, ok, err == nil, "%q: %v", from, err)
	}
}

func TestNoHeaderIsInjected(t *testing.T) {
	t.Parallel()
	sender, err := New(Options{URL: secret.New("smtp://mail.test"), From: "a@example.com"})
	require.NoError(t, err)
	for _, m := range []Message{
		{To: address(t, "a@example.com"), Subject: "x\r\nBcc: b@example.com"},
		{To: address(t, "a@example.com"), Subject: "x\nBcc: b@example.com"},
		{Subject: "to nobody"},
	} {
		_, err := sender.message(&m)
		require.Error(t, err)
	}
}
