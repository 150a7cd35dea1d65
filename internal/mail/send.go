package mail

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/textproto"
	"strings"

	gomail "github.com/wneessen/go-mail"
)

// failure is why a server did not take a message, in words without addresses:
// what servers say of a recipient mostly repeats it.
type failure struct {
	text      string
	permanent bool // trying again would not help
}

// Error implements error.
func (f *failure) Error() string { return f.text }

// send makes one attempt.
func (s *Sender) send(ctx context.Context, m *Message) error {
	message, err := s.message(m)
	if err != nil {
		return err
	}
	// The library forgets ctx once it is connected, and after some errors to close
	// the connection.
	cleanUp := func() {}
	client, err := s.client(func(dialing context.Context, network, address string) (net.Conn, error) {
		conn, err := s.dial(dialing, network, address)
		if err == nil {
			unwatch := context.AfterFunc(ctx, func() { _ = conn.Close() })
			cleanUp = func() { unwatch(); _ = conn.Close() }
		}
		return conn, err
	})
	if err != nil {
		return &failure{text: "the mail client cannot be made", permanent: true}
	}
	err = client.DialAndSendWithContext(ctx, message)
	cleanUp()
	if message.IsDelivered() {
		return nil // the message is theirs, whatever they say to our leaving
	}
	return classify(err)
}

// client is for one attempt; the library's clients are for one at a time.
func (s *Sender) client(dial gomail.DialContextFunc) (*gomail.Client, error) {
	options := []gomail.Option{
		gomail.WithPort(s.server.port),
		gomail.WithTimeout(attemptTimeout),
		gomail.WithDialContextFunc(dial),
		gomail.WithTLSConfig(s.tlsConfig()),
		gomail.WithTLSPolicy(gomail.TLSMandatory),
	}
	switch {
	case s.server.implicit:
		// dial has made the connection a TLS one; with this policy the library
		// looks whether it is, and asks for no second TLS in it.
		options = append(options, gomail.WithTLSPolicy(gomail.TLSOpportunistic))
	case s.server.plain:
		options = append(options, gomail.WithTLSPolicy(gomail.NoTLS))
	}
	if s.server.user != "" {
		mechanisms := []gomail.SMTPAuthType{gomail.SMTPAuthSCRAMSHA256, gomail.SMTPAuthPlain, gomail.SMTPAuthLogin, gomail.SMTPAuthCramMD5}
		if s.server.plain { // to this machine only, see readTLS
			mechanisms = []gomail.SMTPAuthType{gomail.SMTPAuthSCRAMSHA256, gomail.SMTPAuthPlainNoEnc, gomail.SMTPAuthLoginNoEnc}
		}
		options = append(options, gomail.WithOpportunisticSMTPAuth(mechanisms...),
			gomail.WithUsername(s.server.user), gomail.WithPassword(s.server.password.Reveal()))
	}
	return gomail.NewClient(s.server.host, options...)
}

func (s *Sender) tlsConfig() *tls.Config {
	return &tls.Config{ServerName: s.server.host, RootCAs: s.rootCAs, MinVersion: tls.VersionTLS12}
}

func (s *Sender) dial(ctx context.Context, network, address string) (net.Conn, error) {
	if s.server.implicit {
		return (&tls.Dialer{Config: s.tlsConfig()}).DialContext(ctx, network, address)
	}
	return new(net.Dialer).DialContext(ctx, network, address)
}

// message writes a mail out.
func (s *Sender) message(m *Message) (*gomail.Msg, error) {
	if m.To.Reveal() == "" || strings.ContainsFunc(m.Subject, isControl) {
		return nil, &failure{text: "the mail has no recipient or no usable subject", permanent: true}
	}
	message := gomail.NewMsg(gomail.WithNoDefaultUserAgent())
	message.FromMailAddress(s.from)
	if err := message.To(m.To.Reveal()); err != nil {
		return nil, &failure{text: "the recipient is no address", permanent: true}
	}
	message.Subject(m.Subject)
	message.SetDate()
	// By default an id tells the name of this machine.
	message.SetMessageIDWithValue(rand.Text() + s.from.Address[strings.LastIndexByte(s.from.Address, '@'):])
	message.SetGenHeader("Auto-Submitted", "auto-generated") // RFC 3834: no holiday replies, please
	message.SetBodyString(gomail.TypeTextPlain, m.Text)
	if m.HTML != "" {
		message.AddAlternativeString(gomail.TypeTextHTML, m.HTML)
	}
	return message, nil
}

// classify says whether to try again, and what may be logged.
func classify(err error) error {
	if err == nil {
		return nil
	}
	if refused, ok := errors.AsType[*gomail.SendError](err); ok {
		code := refused.ErrorCode()
		if code == 0 {
			return &failure{text: fmt.Sprintf("%s: no answer", refused.Reason)}
		}
		text := strings.TrimSpace(fmt.Sprintf("%s: the server answers %d %s", refused.Reason, code, refused.EnhancedStatusCode()))
		return &failure{text: text, permanent: code >= 500}
	}
	if refused, ok := errors.AsType[*textproto.Error](err); ok {
		return &failure{text: fmt.Sprintf("the server refuses the connection or the log-in with %d", refused.Code), permanent: refused.Code >= 500}
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return &failure{text: "the server's certificate is not good: " + err.Error(), permanent: true}
	}
	if _, ok := errors.AsType[net.Error](err); ok || errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) ||
		errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return &failure{text: "the server cannot be reached: " + err.Error()}
	}
	// No STARTTLS, no way to log in that we know, and the like: nothing of a
	// recipient yet.
	return &failure{text: err.Error(), permanent: true}
}
