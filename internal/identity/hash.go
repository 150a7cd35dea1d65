package identity

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"unicode"

	"github.com/financecommander/tollgate/internal/secret"
)

// Hasher turns personal identifiers into the 64 hex characters that stand for
// them everywhere outside this package: SHA-256, or, when Pepper is set, keyed
// HMAC-SHA-256, which nobody can guess back without the pepper. Changing the
// pepper gives every user a new name, so choose it once.
type Hasher struct {
	Pepper secret.Secret
}

// HashEmail hashes an address, trimmed and lower-cased.
func (h Hasher) HashEmail(address string) string { return h.sum(normalizeEmail(address)) }

// HashEmail hashes an address as a [Hasher] without a pepper does.
func HashEmail(address string) string { return Hasher{}.HashEmail(address) }

// hashSubject hashes the name of a caller without an address. No address holds a
// NUL, so the two kinds of hash never meet.
func (h Hasher) hashSubject(issuer, subject string) string { return h.sum(issuer + "\x00" + subject) }

func (h Hasher) sum(text string) string {
	if h.Pepper.IsZero() {
		sum := sha256.Sum256([]byte(text))
		return hex.EncodeToString(sum[:])
	}
	mac := hmac.New(sha256.New, []byte(h.Pepper.Reveal()))
	mac.Write([]byte(text))
	return hex.EncodeToString(mac.Sum(nil))
}

func normalizeEmail(address string) string {
	return strings.Map(lower, strings.TrimSpace(address))
}

// lower folds case, but nothing into ASCII from outside it: U+212A, the Kelvin
// sign, lower-cases to "k", and would make two people's addresses one.
func lower(r rune) rune {
	if folded := unicode.ToLower(r); folded > unicode.MaxASCII || r <= unicode.MaxASCII {
		return folded
	}
	return r
}
