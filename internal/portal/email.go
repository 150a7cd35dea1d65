package portal

import (
	"regexp"
	"strings"
)

// An address is accepted in the form that all mail systems agree on: a dot-atom
// (RFC 5322, 3.2.3) and an ASCII domain name of at least two labels. Quoted local
// parts, comments, address literals and Unicode are refused, because each lets
// two programs read two different domains from one text.
var (
	localPart = regexp.MustCompile("^[a-z0-9!#$%&'*+/=?^_`{|}~-]+(\\.[a-z0-9!#$%&'*+/=?^_`{|}~-]+)*$")
	mailHost  = regexp.MustCompile(`^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)
)

const (
	maxAddress   = 254 // RFC 5321, 4.5.3.1.3, without its angle brackets
	maxLocalPart = 64  // RFC 5321, 4.5.3.1.1
)

// address is an e-mail address, trimmed and lower-cased, as identity hashes it.
type address struct{ local, domain string }

func (a address) String() string { return a.local + "@" + a.domain }

func parseAddress(text string) (address, bool) {
	// Only ASCII letters are folded: U+212A, the Kelvin sign, must not become a k.
	text = strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			return r + ('a' - 'A')
		}
		return r
	}, strings.TrimSpace(text))
	local, domain, _ := strings.Cut(text, "@")
	ok := len(text) <= maxAddress && len(local) <= maxLocalPart &&
		localPart.MatchString(local) && mailHost.MatchString(domain)
	return address{local, domain}, ok
}
