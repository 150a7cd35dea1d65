package specialist

import (
	"net/netip"
	"net/url"
	"regexp"
	"strings"

	"github.com/financecommander/tollgate/internal/egress"
)

// numeric finds hosts whose last part is a number, which some resolvers take for
// an IPv4 address in another notation (0x7f.1, 2130706433).
var numeric = regexp.MustCompile(`(^|\.)(0x[0-9a-f]*|[0-9]+)$`)

// checkBaseURL keeps an admin from pointing the gateway at what only the gateway
// can reach. Prompts go to this address, so it must be https on a public host,
// unless the operator has configured a provider there.
func (e *Editor) checkBaseURL(text string) error {
	if text == "" {
		return nil
	}
	u, err := url.Parse(text)
	if err != nil {
		return fault("base_url", "must be an https URL")
	}
	for _, origin := range e.providers {
		if origin != "" && sameOrigin(u, origin) {
			return nil
		}
	}
	host := strings.ToLower(strings.TrimSuffix(u.Hostname(), "."))
	address, err := netip.ParseAddr(host)
	switch {
	case u.Scheme != "https":
		return fault("base_url", "must be an https URL, or at the address of a configured provider")
	case err == nil && egress.Public(address):
		return nil
	case err == nil, numeric.MatchString(host), !strings.Contains(host, "."), isInternal(host):
		return fault("base_url", "must name a public host, or the address of a configured provider")
	}
	return nil
}

// isInternal knows the top-level domains that are never public.
func isInternal(host string) bool {
	for _, suffix := range []string{".localhost", ".local", ".internal", ".intranet", ".lan", ".home.arpa", ".corp", ".home"} {
		if strings.HasSuffix(host, suffix) {
			return true
		}
	}
	return false
}

// sameOrigin compares scheme, host and port.
func sameOrigin(u *url.URL, origin string) bool {
	other, err := url.Parse(origin)
	return err == nil && u.Scheme == other.Scheme && strings.EqualFold(u.Hostname(), other.Hostname()) && port(u) == port(other)
}

func port(u *url.URL) string {
	if p := u.Port(); p != "" {
		return p
	}
	return map[string]string{"https": "443", "http": "80"}[u.Scheme]
}
