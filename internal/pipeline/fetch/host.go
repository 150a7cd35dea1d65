package fetch

import (
	"fmt"
	"net/http"
	"net/netip"
	"net/textproto"
	"net/url"
	"strconv"
	"strings"
)

// rule is a [Host], read.
type rule struct {
	name    string // in lower case; an address as netip writes it
	below   bool   // name begins with a dot, and hosts that end so are meant
	port    string // "": the scheme's own
	headers http.Header
	private bool
	plain   bool
}

// newRule reads a host, or says what is wrong with it.
func newRule(h Host) (*rule, error) {
	name, port, ok := splitPort(strings.ToLower(h.Name))
	if !ok {
		return nil, fmt.Errorf("host %q: the port is no number from 1 to 65535", h.Name)
	}
	r := &rule{name: name, port: port, headers: http.Header{}, private: h.Private, plain: h.Plain}
	if below, ok := strings.CutPrefix(name, "*."); ok {
		r.name, r.below = "."+below, true
		name = below
	}
	address, isAddress := asAddress(name)
	switch {
	case isAddress && r.below, !isAddress && !isName(name):
		return nil, fmt.Errorf("host %q: it is to be a name as \"api.example.com\" or \"*.example.com\", or an IP address, with a port where needed", h.Name)
	case isAddress:
		r.name = address
	}
	for header, value := range h.Headers {
		switch {
		case !isToken(header) || hopByHop(header):
			return nil, fmt.Errorf("host %q: the header %q cannot be set", h.Name, header)
		case !isHeaderValue(value.Reveal()):
			return nil, fmt.Errorf("host %q: the value of the header %q has characters that headers cannot have", h.Name, header)
		}
		r.headers.Set(header, value.Reveal())
	}
	return r, nil
}

// splitPort splits a host, which may be an IPv6 address in brackets, from its port.
func splitPort(host string) (name, port string, ok bool) {
	if inside, ok := strings.CutPrefix(host, "["); ok {
		address, rest, closed := strings.Cut(inside, "]")
		if !closed || rest != "" && rest[0] != ':' || !strings.Contains(address, ":") {
			return "", "", false
		}
		port = strings.TrimPrefix(rest, ":")
		return address, port, rest == "" || isPort(port)
	}
	name, port, hasPort := strings.Cut(host, ":")
	return name, port, !hasPort || isPort(port)
}

func isPort(port string) bool {
	n, err := strconv.ParseUint(port, 10, 16)
	return err == nil && n > 0 && strconv.FormatUint(n, 10) == port
}

// asAddress gives an IP address as it is compared. Those with a zone are none.
func asAddress(name string) (string, bool) {
	a, err := netip.ParseAddr(name)
	if err != nil || a.Zone() != "" {
		return "", false
	}
	return a.Unmap().String(), true
}

// isName tells whether a host is a name of ASCII letters in lower case, digits and
// '-'. What looks like another name, in other letters or as a number that
// resolvers take for an address, is none.
func isName(name string) bool {
	labels := strings.Split(name, ".")
	for _, label := range labels {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for _, c := range []byte(label) {
			if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' {
				return false
			}
		}
	}
	last := labels[len(labels)-1]
	return len(name) <= 253 && (last[0] < '0' || last[0] > '9')
}

// fits tells whether a rule is for a host, as [rule.name] is written.
func (r *rule) fits(name string) bool {
	if r.below {
		return strings.HasSuffix(name, r.name) && len(name) > len(r.name)
	}
	return name == r.name
}

// ownPorts are the ports of the schemes.
var ownPorts = map[string]string{"https": "443", "http": "80"}

// takes tells whether a rule lets a scheme be asked at a port; "" is the scheme's own.
func (r *rule) takes(scheme, port string) bool {
	own := ownPorts[scheme]
	if own == "" || scheme == "http" && !r.plain {
		return false
	}
	wanted := r.port
	if wanted == "" {
		wanted = own
	}
	return port == wanted || port == "" && wanted == own
}

// find gives the rule for a host: one for it alone before one for many, and of
// those the closest.
func (c *Client) find(name string, takes func(*rule) bool) *rule {
	if address, ok := asAddress(name); ok {
		name = address
	} else if !isName(name) {
		return nil
	}
	var found *rule
	for _, r := range c.rules {
		if !r.fits(name) || !takes(r) {
			continue
		}
		if found == nil || found.below && (!r.below || len(r.name) > len(found.name)) {
			found = r
		}
	}
	return found
}

// rule gives the rule by which a URL may be asked; nil: by none.
func (c *Client) rule(u *url.URL) *rule {
	port := u.Port()
	if u.User != nil || u.Opaque != "" || port == "" && strings.HasSuffix(u.Host, ":") || port != "" && !isPort(port) {
		return nil
	}
	return c.find(strings.ToLower(u.Hostname()), func(r *rule) bool { return r.takes(u.Scheme, port) })
}

// notForDefinitions are headers that say how a request is carried, or on whose
// behalf: they are the client's own.
var notForDefinitions = map[string]bool{
	"Host": true, "Content-Length": true, "Transfer-Encoding": true, "Connection": true, "Keep-Alive": true, "Te": true,
	"Trailer": true, "Upgrade": true, "Expect": true, "Accept-Encoding": true, "Forwarded": true, "Via": true, "X-Real-Ip": true,
	"Http2-Settings": true, "Max-Forwards": true,
}

// hopByHop tells whether a header is one that nobody sets.
func hopByHop(header string) bool {
	header = textproto.CanonicalMIMEHeaderKey(header)
	return notForDefinitions[header] || strings.HasPrefix(header, "Proxy-") || strings.HasPrefix(header, "X-Forwarded-")
}

// isToken tells whether a text can be a header's name.
func isToken(name string) bool {
	for _, c := range []byte(name) {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && !strings.ContainsRune("!#$%&'*+-.^_`|~", rune(c)) {
			return false
		}
	}
	return name != "" && len(name) <= 100
}

// isHeaderValue tells whether a text can be a header's value: one line of it.
func isHeaderValue(value string) bool {
	for _, c := range []byte(value) {
		if c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}
