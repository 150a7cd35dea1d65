package identity

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/golang-jwt/jwt/v5"
)

// principal reads the caller out of verified claims.
func (i *issuer) principal(claims jwt.MapClaims, hasher Hasher) (*Principal, error) {
	for path, want := range i.config.Require {
		if value, _ := find(claims, path); !says(value, want) {
			return nil, fmt.Errorf("the required claim %q is missing or different", path)
		}
	}
	r := claimReader{claims: claims}
	p := &Principal{
		Subject:     r.text(i.config.Claims.Subject),
		Name:        r.text(i.config.Claims.Name),
		Roles:       r.list(i.config.Claims.Roles),
		Specialists: r.list(i.config.Claims.Specialists),
		Issuer:      i.config.Name,
		TokenID:     r.text("jti"),
		IssuedAt:    r.date("iat"),
		ExpiresAt:   r.date("exp"),
		private:     &private{email: r.email(i.config.Claims.Email), claims: claims},
	}
	i.readOwn(p, &r)
	if r.err == nil && (strings.TrimSpace(p.Subject) == "" || strings.ContainsFunc(p.Subject, unicode.IsControl)) {
		r.err = fmt.Errorf("the claim %q names nobody", i.config.Claims.Subject)
	}
	if r.err != nil {
		return nil, r.err
	}
	p.UserHash = hasher.hashSubject(i.config.Issuer, p.Subject)
	if p.Kind == KindAPI {
		p.UserHash = p.Subject // of whoever made it, perhaps with another issuer's token
	}
	if p.private.email != "" {
		p.EmailHash = hasher.HashEmail(p.private.email)
		p.UserHash = p.EmailHash
	}
	i.applyRules(p, claims)
	i.applyPeople(p, claims)
	if p.Kind == KindAPI {
		p.Roles = slices.DeleteFunc(p.Roles, func(role string) bool { return role == RoleAdmin })
	}
	return p, i.checkDomain(p)
}

// readOwn reads what only the gateway's own tokens may say of themselves, and
// refuses tokens that are not for access at all although their signature is good.
func (i *issuer) readOwn(p *Principal, r *claimReader) {
	for _, claim := range []string{"type", "typ", "token_type", "token_use"} {
		for _, purpose := range notForAccess {
			if text, _ := r.claims[claim].(string); strings.EqualFold(text, purpose) {
				r.refuse(fmt.Errorf("the claim %q says that the token is not for access", claim))
			}
		}
	}
	switch {
	case i.config.Own:
		p.Kind, p.Session, p.Rate, p.UserRate = Kind(r.text("kind")), r.text("sid"), r.text("rate"), r.text("user_rate")
		if p.Kind != KindAccess && p.Kind != KindAPI {
			r.refuse(fmt.Errorf("a token of the kind %.20q is not for access", p.Kind))
		}
	case i.config.Issuer == "" && r.text("kind") != "":
		// An API token whose "iss" was left out would come out as more than it is.
		r.refuse(errors.New("a token without an issuer cannot be of a kind"))
	}
}

// notForAccess are values by which issuers that sign all their tokens with one
// key mark those that are kept for something else.
var notForAccess = []string{"refresh", "refresh_token", "offline", "logout", "reset", "state"}

// checkDomain refuses people of domains that are no longer allowed, if it was we
// who let them in.
func (i *issuer) checkDomain(p *Principal) error {
	if i.config.Domains.IsZero() || p.Session == "" && p.Kind != KindAPI {
		return nil
	}
	if p.Kind == KindAPI && p.Email() == "" {
		return nil // made by somebody whom another issuer names without an address
	}
	address, ok := ParseAddress(p.Email())
	if !ok || !i.config.Domains.Allow(address.Domain()) {
		return refuse(messageDomain, errors.New("the address is not of an allowed domain"))
	}
	return nil
}

// claimReader reads claims of a known type. An absent claim and null are zero; a
// claim of another type is an error, kept for the end: it might have been a
// restriction, so it is not passed over.
type claimReader struct {
	claims jwt.MapClaims
	err    error
}

func (r *claimReader) fail(path string) {
	r.refuse(fmt.Errorf("the claim %q has the wrong type", path))
}

func (r *claimReader) refuse(err error) {
	if r.err == nil {
		r.err = err
	}
}

func (r *claimReader) text(path string) string {
	value, _ := find(r.claims, path)
	text, ok := value.(string)
	if !ok && value != nil {
		r.fail(path)
	}
	return text
}

// list reads an array of texts, or one text with spaces between the items, as
// OAuth writes scopes (RFC 6749, 3.3). The result is nil only if the claim is
// absent.
func (r *claimReader) list(path string) []string {
	value, _ := find(r.claims, path)
	items := []string{}
	switch value := value.(type) {
	case nil:
		return nil
	case string:
		return append(items, strings.Fields(value)...)
	case []any:
		for _, item := range value {
			text, ok := item.(string)
			if !ok {
				r.fail(path)
			}
			items = append(items, text)
		}
	default:
		r.fail(path)
	}
	return items
}

// email reads an address, "" unless it can be one and its issuer stands by it.
func (r *claimReader) email(path string) string {
	address := normalizeEmail(r.text(path))
	name, domain, _ := strings.Cut(address, "@")
	if name == "" || domain == "" || strings.ContainsFunc(address, notInAddress) {
		return ""
	}
	if verified, stated := r.claims["email_verified"]; stated && verified != nil && !says(verified, "true") {
		return ""
	}
	return address
}

func notInAddress(c rune) bool { return unicode.IsSpace(c) || unicode.IsControl(c) }

// date reads a NumericDate (RFC 7519, 2) that [checkDates] has accepted.
func (r *claimReader) date(name string) time.Time {
	number, ok := r.claims[name].(json.Number)
	if !ok {
		return time.Time{}
	}
	seconds, _ := number.Float64()
	return time.Unix(int64(seconds), 0).UTC()
}

// checkDates refuses dates that are not numbers, or lie outside 1970 to 9999:
// beyond that the conversion to a [time.Time] overflows and can come out in the
// future.
func checkDates(claims jwt.MapClaims) error {
	const year10000 = 253402300800
	for _, name := range []string{"exp", "nbf", "iat"} {
		value, stated := claims[name]
		if !stated {
			continue
		}
		number, ok := value.(json.Number)
		if !ok {
			return fmt.Errorf("the claim %q is not a number", name)
		}
		seconds, err := number.Float64()
		if err != nil || math.IsNaN(seconds) || seconds < 0 || seconds >= year10000 {
			return fmt.Errorf("the claim %q is not a date", name)
		}
	}
	return nil
}

// ClaimSays tells whether the claim at a dotted path is the text, or a list that
// contains it. Claims are read with [json.Decoder.UseNumber].
func ClaimSays(claims map[string]any, path, text string) bool {
	value, _ := find(claims, path)
	return says(value, text)
}

// find follows a dotted path. A claim whose own name has dots in it is found at
// every level before the dots are taken as steps.
func find(claims map[string]any, path string) (any, bool) {
	if value, ok := claims[path]; ok {
		return value, true
	}
	for i, c := range path {
		if c != '.' {
			continue
		}
		if inner, ok := claims[path[:i]].(map[string]any); ok {
			if value, ok := find(inner, path[i+1:]); ok {
				return value, true
			}
		}
	}
	return nil, false
}

// says tells whether a claim is the text, or a list that contains it.
func says(value any, text string) bool {
	switch value := value.(type) {
	case string:
		return value == text
	case json.Number:
		return value.String() == text
	case bool:
		return text == fmt.Sprint(value)
	case []any:
		for _, item := range value {
			if _, nested := item.([]any); !nested && says(item, text) {
				return true
			}
		}
	}
	return false
}

// refusalOf chooses the message for what [jwt.Validator] found. When several
// things are wrong, the one that trying again cannot mend comes first.
func refusalOf(err error) error {
	for _, known := range []struct {
		err     error
		message string
	}{
		{jwt.ErrTokenInvalidAudience, messageAudience},
		{jwt.ErrTokenRequiredClaimMissing, messageClaims},
		{jwt.ErrTokenExpired, messageExpired},
		{jwt.ErrTokenNotValidYet, messageNotYet},
		{jwt.ErrTokenUsedBeforeIssued, messageNotYet},
	} {
		if errors.Is(err, known.err) {
			return refuse(known.message, err)
		}
	}
	return refuse(messageClaims, err)
}
