package identity

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
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

// Address is an e-mail address, trimmed and lower-cased, as [Hasher] hashes it.
// Printing one shows its domain only.
type Address struct{ local, domain string }

// ParseAddress reads an address that somebody typed or an issuer stated.
func ParseAddress(text string) (Address, bool) {
	text = trimLower(text)
	local, domain, _ := strings.Cut(text, "@")
	if len(text) > maxAddress || len(local) > maxLocalPart || !localPart.MatchString(local) || !mailHost.MatchString(domain) {
		return Address{}, false
	}
	return Address{local, domain}, true
}

// trimLower folds ASCII letters only: U+212A, the Kelvin sign, must not become a k.
func trimLower(text string) string {
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			return r + ('a' - 'A')
		}
		return r
	}, strings.TrimSpace(text))
}

// Reveal gives the address itself, for a mail to it or a token of its owner.
// Never log or store it.
func (a Address) Reveal() string {
	if a == (Address{}) {
		return ""
	}
	return a.local + "@" + a.domain
}

// Local is the part before the @, to greet its owner by.
func (a Address) Local() string { return a.local }

// Domain is the part after the @.
func (a Address) Domain() string { return a.domain }

// String implements [fmt.Stringer] without personal data.
func (a Address) String() string { return "…@" + a.domain }

// Format implements [fmt.Formatter]: every verb prints [Address.String].
func (a Address) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(a.String())) }

// Domains are the mail domains whose people may sign in. None: all may.
type Domains struct {
	exact []string
	under []string // ".example.com", of "*.example.com"
}

// ParseDomains reads a list of domains. One allows just itself; "*.example.com"
// allows the domains below it, and not itself.
func ParseDomains(list []string) (Domains, error) {
	var d Domains
	for _, item := range list {
		name := trimLower(item)
		below, wild := strings.CutPrefix(name, "*")
		host := name
		if wild {
			host = strings.TrimPrefix(below, ".")
		}
		switch {
		case wild && !strings.HasPrefix(below, "."), !mailHost.MatchString(host):
			return Domains{}, fmt.Errorf("allowed domain %q is not a domain such as example.com or *.example.com", item)
		case wild:
			d.under = append(d.under, below)
		default:
			d.exact = append(d.exact, host)
		}
	}
	return d, nil
}

// IsZero tells whether no domain was listed, so that all are allowed.
func (d Domains) IsZero() bool { return len(d.exact) == 0 && len(d.under) == 0 }

// Allow tells whether people with addresses of this domain may sign in.
func (d Domains) Allow(domain string) bool {
	if d.IsZero() || slices.Contains(d.exact, domain) {
		return true
	}
	return slices.ContainsFunc(d.under, func(suffix string) bool {
		return len(domain) > len(suffix) && strings.HasSuffix(domain, suffix)
	})
}

// String lists the domains, for people who may not sign in.
func (d Domains) String() string {
	names := slices.Clone(d.exact)
	for _, suffix := range d.under {
		names = append(names, "*"+suffix)
	}
	return strings.Join(names, ", ")
}

// ErrBlocked says that a user was blocked by an admin.
var ErrBlocked = errors.New("the user is blocked")
