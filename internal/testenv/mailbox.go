package testenv

import (
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net"
	"net/mail"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
)

// A Mailbox is a mail server of the test's own that takes mail for everybody.
type Mailbox struct {
	user, password string
	address        string

	mu       sync.Mutex          // guards what follows
	messages map[string][]string // plain text by recipient, oldest first
	arrived  chan struct{}       // closed at the next one
	refusal  string
}

// Mail starts a mail server that wants its clients to log in, without TLS.
func Mail(t testing.TB, user, password string) *Mailbox {
	t.Helper()
	m := &Mailbox{user: user, password: password, messages: map[string][]string{}, arrived: make(chan struct{})}
	server := smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) { return &mailSession{box: m}, nil }))
	server.Domain, server.AllowInsecureAuth = "mail.test", true
	server.ReadTimeout, server.WriteTimeout = 10*time.Second, 10*time.Second
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require(t, err)
	m.address = listener.Addr().String()
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.Serve(listener) })
	t.Cleanup(func() {
		_ = server.Close()
		serving.Wait()
	})
	return m
}

// URL is the server's address with user and password, as the gateway takes it.
func (m *Mailbox) URL() string {
	return "smtp://" + url.UserPassword(m.user, m.password).String() + "@" + m.address + "?tls=none"
}

// Refuse makes the server refuse recipients with a text, "" for no longer.
func (m *Mailbox) Refuse(text string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.refusal = text
}

// To gives the texts of the mails that came for a recipient, oldest first.
func (m *Mailbox) To(recipient string) []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]string(nil), m.messages[recipient]...)
}

// WaitTo waits for the nth mail to a recipient, counted from 1, and gives its
// text.
func (m *Mailbox) WaitTo(t testing.TB, recipient string, n int) string {
	t.Helper()
	timeout := time.After(15 * time.Second)
	for {
		m.mu.Lock()
		texts, arrived := m.messages[recipient], m.arrived
		m.mu.Unlock()
		if len(texts) >= n {
			return texts[n-1]
		}
		select {
		case <-arrived:
		case <-timeout:
			t.Fatalf("mail %d did not come within 15 s", n)
		}
	}
}

// mailSession is one client's.
type mailSession struct {
	box      *Mailbox
	loggedIn bool
	to       []string
}

var _ smtp.AuthSession = (*mailSession)(nil)

// AuthMechanisms implements smtp.AuthSession.
func (*mailSession) AuthMechanisms() []string { return []string{sasl.Plain} }

// Auth implements smtp.AuthSession.
func (s *mailSession) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, user, password string) error {
		if user != s.box.user || password != s.box.password {
			return smtp.ErrAuthFailed
		}
		s.loggedIn = true
		return nil
	}), nil
}

// Mail implements smtp.Session.
func (s *mailSession) Mail(string, *smtp.MailOptions) error {
	if !s.loggedIn {
		return smtp.ErrAuthRequired
	}
	return nil
}

// Rcpt implements smtp.Session.
func (s *mailSession) Rcpt(to string, _ *smtp.RcptOptions) error {
	s.box.mu.Lock()
	defer s.box.mu.Unlock()
	if s.box.refusal != "" {
		return &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 1, 1}, Message: s.box.refusal}
	}
	s.to = append(s.to, to)
	return nil
}

// Data implements smtp.Session.
func (s *mailSession) Data(r io.Reader) error {
	text, err := plainText(r)
	if err != nil {
		return err
	}
	s.box.mu.Lock()
	defer s.box.mu.Unlock()
	for _, to := range s.to {
		s.box.messages[to] = append(s.box.messages[to], text)
	}
	close(s.box.arrived)
	s.box.arrived = make(chan struct{})
	return nil
}

// Reset implements smtp.Session.
func (s *mailSession) Reset() { s.to = nil }

// Logout implements smtp.Session.
func (*mailSession) Logout() error { return nil }

// plainText gives a mail's plain text: its body, or the first part of that type.
func plainText(r io.Reader) (string, error) {
	message, err := mail.ReadMessage(r)
	if err != nil {
		return "", err
	}
	kind, params, err := mime.ParseMediaType(message.Header.Get("Content-Type"))
	if err != nil {
		return "", err
	}
	body, encoding := message.Body, message.Header.Get("Content-Transfer-Encoding")
	if strings.HasPrefix(kind, "multipart/") {
		parts := multipart.NewReader(message.Body, params["boundary"])
		for kind != "text/plain" {
			part, err := parts.NextRawPart()
			if err != nil {
				return "", err
			}
			if kind, _, err = mime.ParseMediaType(part.Header.Get("Content-Type")); err != nil {
				return "", err
			}
			body, encoding = part, part.Header.Get("Content-Transfer-Encoding")
		}
	}
	if strings.EqualFold(encoding, "quoted-printable") {
		body = quotedprintable.NewReader(body)
	}
	text, err := io.ReadAll(body)
	return string(text), err
}
