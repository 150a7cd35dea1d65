package mail

import (
	"errors"
	"net"
	"net/mail"
	"net/url"
	"strconv"
	"strings"

	"github.com/financecommander/tollgate/internal/identity"
	"github.com/financecommander/tollgate/internal/secret"
)

// server is the mail server that takes our mail, read from its URL.
type server struct {
	host     string
	port     int
	implicit bool // TLS from the first byte (RFC 8314), instead of STARTTLS
	plain    bool // no TLS at all
	user     string
	password secret.Secret
}

// The ports of submission (RFC 6409, RFC 8314).
const (
	portStartTLS = 587
	portImplicit = 465
)

// parseServer reads the server's URL. Errors do not repeat it, since it may have
// a password in it.
func parseServer(raw string) (server, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return server{}, errors.New("the mail server's address is not a URL; write smtp://user:password@host:587, " +
			"with special characters of the password as %XX")
	}
	s := server{host: u.Hostname(), user: u.User.Username()}
	switch u.Scheme {
	case "smtp":
		s.port = portStartTLS
	case "smtps":
		s.port, s.implicit = portImplicit, true
	default:
		return server{}, errors.New("the mail server's address must begin with smtp:// or smtps://")
	}
	if port := u.Port(); port != "" {
		s.port, _ = strconv.Atoi(port) // 0 is refused below
	}
	if s.host == "" || s.port < 1 || s.port > 65535 || u.Path != "" && u.Path != "/" || u.Fragment != "" {
		return server{}, errors.New("the mail server's address must be a host and a port, such as smtp://host:587")
	}
	if password, ok := u.User.Password(); ok {
		s.password = secret.New(password)
	}
	return s, s.readTLS(u.Query())
}

// readTLS reads the one parameter there is: tls=none.
func (s *server) readTLS(query url.Values) error {
	for name := range query {
		if name != "tls" {
			return errors.New("the mail server's address can have the parameter tls=none, and no other")
		}
	}
	switch tls := query.Get("tls"); {
	case tls == "none" && s.implicit:
		return errors.New("the mail server's address says smtps, and no TLS")
	case tls == "none" && s.user != "" && !isLoopback(s.host):
		return errors.New("the mail server's password would go over the network unencrypted; remove tls=none, or the password")
	case tls == "none":
		s.plain = true
	case query.Has("tls"):
		return errors.New("the parameter tls of the mail server's address can be none; by default TLS is required")
	}
	return nil
}

func isLoopback(host string) bool { return host == "localhost" || net.ParseIP(host).IsLoopback() }

// parseFrom reads the sender's address, with or without a name.
func parseFrom(text string) (*mail.Address, error) {
	from, err := mail.ParseAddress(text)
	if err == nil {
		if _, ok := identity.ParseAddress(from.Address); !ok || strings.ContainsFunc(from.Name, isControl) {
			err = errors.New("unusable")
		}
	}
	if err != nil {
		return nil, errors.New("the sender of mails must be an address such as portal@example.com or AI Portal <portal@example.com>")
	}
	return from, nil
}

// isControl knows what could begin another header line, and what else no header
// has.
func isControl(r rune) bool { return r < ' ' || r == 0x7f }
