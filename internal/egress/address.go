package egress

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"net/url"
	"strings"
	"syscall"
)

// maxURL is longer than any URL that is meant well.
const maxURL = 8 << 10

// notPublic are the blocks of IPv4 that lead somewhere special, and of IPv6's
// global unicast space those that do.
// https://www.iana.org/assignments/iana-ipv4-special-registry
// https://www.iana.org/assignments/iana-ipv6-special-registry
var notPublic = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"),        // this network
	netip.MustParsePrefix("10.0.0.0/8"),       // private
	netip.MustParsePrefix("100.64.0.0/10"),    // carriers' NAT
	netip.MustParsePrefix("127.0.0.0/8"),      // loopback
	netip.MustParsePrefix("168.63.129.16/32"), // Azure's platform, at every virtual machine
	netip.MustParsePrefix("169.254.0.0/16"),   // link-local, clouds' metadata
	netip.MustParsePrefix("172.16.0.0/12"),    // private
	netip.MustParsePrefix("192.0.0.0/24"),     // protocol assignments
	netip.MustParsePrefix("192.0.2.0/24"),     // documentation
	netip.MustParsePrefix("192.88.99.0/24"),   // 6to4 relays
	netip.MustParsePrefix("192.168.0.0/16"),   // private
	netip.MustParsePrefix("198.18.0.0/15"),    // benchmarks
	netip.MustParsePrefix("198.51.100.0/24"),  // documentation
	netip.MustParsePrefix("203.0.113.0/24"),   // documentation
	netip.MustParsePrefix("224.0.0.0/4"),      // multicast
	netip.MustParsePrefix("240.0.0.0/4"),      // reserved, broadcast

	netip.MustParsePrefix("2001::/23"),     // protocol assignments, Teredo
	netip.MustParsePrefix("2001:db8::/32"), // documentation
	netip.MustParsePrefix("2002::/16"),     // 6to4: an IPv4 address inside
	netip.MustParsePrefix("3fff::/20"),     // documentation
}

// global is all of IPv6 that can be public. Outside are loopback, private and
// link-local addresses, multicast, and IPv4 addresses mapped or translated
// (64:ff9b::/96).
var global = netip.MustParsePrefix("2000::/3")

// Public says whether an address is one that anybody on the Internet can ask.
// IPv4 addresses in the clothes of IPv6 are not.
func Public(a netip.Addr) bool {
	if !a.IsValid() || a.Zone() != "" || a.Is6() && !global.Contains(a) {
		return false
	}
	for _, block := range notPublic {
		if block.Contains(a) {
			return false
		}
	}
	return true
}

// lookUp gives a host's addresses.
func (c *Client) lookUp(ctx context.Context, host string) ([]netip.Addr, error) {
	if a, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{a}, nil
	}
	return c.policy.resolve(ctx, host)
}

// resolve asks the system's resolver, which gives IPv4 addresses as IPv6's at
// times.
func resolve(ctx context.Context, host string) ([]netip.Addr, error) {
	addresses, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	for i, a := range addresses {
		addresses[i] = a.Unmap()
	}
	return addresses, err
}

// ErrNotPublic is why a connection was refused here, before it was tried.
var ErrNotPublic = errors.New("no public address")

// control checks the address of a socket before it connects: the last moment,
// and the one that cannot be got around.
func (c *Client) control(_ context.Context, _, address string, _ syscall.RawConn) error {
	a, err := netip.ParseAddrPort(address)
	if err != nil {
		return err
	}
	if !c.policy.public(a.Addr()) {
		return ErrNotPublic
	}
	return nil
}

// badURL is what is said of a URL that is not fit to be fetched.
const badURL = "it is no https URL of a public host, at the usual port and without a user"

// check says whether a URL may be fetched, as far as itself shows.
func (c *Client) check(rawURL string) (*url.URL, error) {
	if len(rawURL) > maxURL {
		return nil, &Error{Message: badURL}
	}
	u, err := url.Parse(rawURL)
	if err != nil {
		return nil, &Error{Message: badURL, Err: err}
	}
	host := strings.ToLower(strings.TrimSuffix(u.Hostname(), "."))
	switch {
	case u.Scheme != "https" && (u.Scheme != "http" || !c.o.AllowHTTP),
		u.User != nil, u.Opaque != "", host == "", !c.policy.port(u.Scheme, u.Port()):
		return nil, &Error{Message: badURL}
	case !c.allowed(host):
		return nil, &Error{Message: "its host is not among those that are fetched from"}
	}
	if a, err := netip.ParseAddr(host); err == nil && !c.policy.public(a) {
		return nil, &Error{Message: badURL}
	}
	return u, nil
}

func isUsualPort(scheme, port string) bool {
	return port == "" || port == map[string]string{"https": "443", "http": "80"}[scheme]
}

// allowed says whether a host is among those configured.
func (c *Client) allowed(host string) bool {
	for _, pattern := range c.o.Hosts {
		pattern = strings.ToLower(pattern)
		if below, ok := strings.CutPrefix(pattern, "*"); ok && strings.HasPrefix(below, ".") && strings.HasSuffix(host, below) {
			return true
		}
		if host == pattern {
			return true
		}
	}
	return len(c.o.Hosts) == 0
}
