package mail

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"math/big"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	testUser     = "portal"
	testPassword = "p@ss/word"
)

// smtpServer is a mail server on this machine.
type smtpServer struct {
	address string
	roots   *x509.CertPool

	// onRcpt answers RCPT; nil: all are taken.
	onRcpt func(attempt int) error
	// anonymous lets everybody send.
	anonymous bool

	mu       sync.Mutex // guards what follows
	attempts int
	got      []delivery
}

type delivery struct{ From, To, Data string }

// newServer starts a server whose certificate is for the given name. implicit is
// TLS from the first byte; else it offers STARTTLS.
func newServer(t *testing.T, name string, implicit bool, edit func(*smtpServer, *smtp.Server)) *smtpServer {
	t.Helper()
	s := &smtpServer{}
	certificate := s.certificate(t, name)
	server := smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) { return &session{server: s}, nil }))
	server.Domain = "mail.test"
	server.ReadTimeout, server.WriteTimeout = 5*time.Second, 5*time.Second
	server.TLSConfig = &tls.Config{Certificates: []tls.Certificate{certificate}}
	server.ErrorLog = silent{}
	if edit != nil {
		edit(s, server)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	s.address = listener.Addr().String()
	if implicit {
		listener = tls.NewListener(listener, server.TLSConfig)
	}
	var wg sync.WaitGroup
	wg.Go(func() { _ = server.Serve(listener) })
	t.Cleanup(func() {
		_ = server.Close()
		wg.Wait()
	})
	return s
}

type silent struct{}

func (silent) Printf(string, ...any) {}
func (silent) Println(...any)        {}

func (s *smtpServer) certificate(t *testing.T, name string) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	require.NoError(t, err)
	parsed, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	s.roots = x509.NewCertPool()
	s.roots.AddCert(parsed)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func (s *smtpServer) deliveries() []delivery {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]delivery{}, s.got...)
}

func (s *smtpServer) tries() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.attempts
}

// session is one client's.
type session struct {
	server   *smtpServer
	loggedIn bool
	mail     delivery
}

func (*session) AuthMechanisms() []string { return []string{sasl.Plain} }

func (s *session) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, user, password string) error {
		if user != testUser || password != testPassword {
			return smtp.ErrAuthFailed
		}
		s.loggedIn = true
		return nil
	}), nil
}

func (s *session) Mail(from string, _ *smtp.MailOptions) error {
	if !s.loggedIn && !s.server.anonymous {
		return smtp.ErrAuthRequired
	}
	s.mail.From = from
	return nil
}

func (s *session) Rcpt(to string, _ *smtp.RcptOptions) error {
	s.server.mu.Lock()
	defer s.server.mu.Unlock()
	s.server.attempts++
	s.mail.To = to
	if s.server.onRcpt != nil {
		return s.server.onRcpt(s.server.attempts)
	}
	return nil
}

func (s *session) Data(r io.Reader) error {
	data, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	s.server.mu.Lock()
	defer s.server.mu.Unlock()
	s.mail.Data = string(data)
	s.server.got = append(s.server.got, s.mail)
	return nil
}

func (*session) Reset()        {}
func (*session) Logout() error { return nil }

// refusal is a server's answer that repeats the recipient, as most do.
func refusal(code int, to string) error {
	return &smtp.SMTPError{Code: code, EnhancedCode: smtp.EnhancedCode{code / 100, 2, 1}, Message: "<" + to + "> not now"}
}

var errTest = errors.New("the database is down")
