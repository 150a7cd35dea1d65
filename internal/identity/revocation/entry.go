package revocation

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/financecommander/tollgate/internal/identity"
)

// Kind is what a revocation names.
type Kind string

// The kinds.
const (
	Token   Kind = "token"   // one token, by its id
	Session Kind = "session" // all tokens of a log-in
	User    Kind = "user"    // all tokens of a person, by user hash
)

// Entry is one revocation.
type Entry struct {
	Kind  Kind   `json:"kind"`
	Value string `json:"value"`

	// IssuedBefore spares tokens that were issued later. Tokens say when they
	// were issued in whole seconds, rounded down, so what is issued later within
	// the same second is refused too. Zero: no token is spared, ever.
	//
	// Mind that the clocks of two replicas differ: this alone does not stop a
	// token that a replica with a fast clock gave out just before.
	IssuedBefore time.Time `json:"issued_before,omitzero"`

	// ExpiresAt is when the last token that it concerns has expired.
	ExpiresAt time.Time `json:"expires_at"`

	// Reason is for people who look at the table.
	Reason string `json:"reason,omitempty"`
}

const (
	maxValue  = 128
	maxReason = 200

	// grace is how long an entry is kept beyond its end: a token is good for the
	// leeway longer than it says, and clocks differ.
	grace = identity.MaxLeeway + 5*time.Minute
)

// forever is what a zero IssuedBefore is stored as: later than any token.
var forever = time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC)

// canonical is a value as it is stored and looked up: the value itself, or its
// hash where a database could not take it. An issuer may put anything into the
// id of a token.
func canonical(value string) string {
	if len(value) <= maxValue && strings.IndexByte(value, 0) < 0 && utf8.ValidString(value) {
		return value
	}
	sum := sha256.Sum256([]byte(value))
	return "sha256:" + hex.EncodeToString(sum[:])
}

// normalize checks an entry and brings it into the form that is stored.
func (e Entry) normalize() (Entry, error) {
	switch {
	case e.Kind != Token && e.Kind != Session && e.Kind != User:
		return e, fmt.Errorf("a revocation of an unknown kind %.20q", e.Kind)
	case e.Value == "":
		return e, errors.New("a revocation that names nothing")
	case e.ExpiresAt.IsZero():
		return e, errors.New("a revocation without end")
	}
	e.Value = canonical(e.Value)
	e.IssuedBefore, e.ExpiresAt = bounded(e.IssuedBefore), bounded(e.ExpiresAt)
	if e.IssuedBefore.Equal(forever) {
		e.IssuedBefore = time.Time{}
	}
	e.Reason = strings.ReplaceAll(strings.ToValidUTF8(e.Reason, ""), "\x00", "")
	if len(e.Reason) > maxReason {
		e.Reason = strings.ToValidUTF8(e.Reason[:maxReason], "")
	}
	return e, nil
}

// bounded is a time as the databases keep it: microseconds, UTC, four digits of
// a year. It rounds up, away from sparing a token.
func bounded(t time.Time) time.Time {
	switch {
	case t.IsZero():
		return t
	case t.After(forever):
		return forever
	}
	return t.UTC().Add(time.Microsecond - 1).Truncate(time.Microsecond)
}

// normalizeAll gives one entry for each thing named, sorted, so that two writers
// of the same ones do not wait for each other in a circle.
func normalizeAll(entries []Entry) ([]Entry, error) {
	byKey := make(map[key]Entry, len(entries))
	for _, e := range entries {
		e, err := e.normalize()
		if err != nil {
			return nil, err
		}
		if other, twice := byKey[e.key()]; twice {
			e = e.merge(other)
		}
		byKey[e.key()] = e
	}
	return slices.SortedFunc(maps.Values(byKey), func(a, b Entry) int {
		return strings.Compare(string(a.Kind)+a.Value, string(b.Kind)+b.Value)
	}), nil
}

// merge keeps of two entries for the same thing what revokes more.
func (e Entry) merge(other Entry) Entry {
	m := e.mark().merge(other.mark())
	return m.entry(e.key(), e.Reason)
}

// key is what an entry is found by.
type key struct {
	kind  Kind
	value string
}

// mark is what is remembered of an entry, in microseconds since 1970.
type mark struct{ before, expires int64 }

func (e Entry) key() key { return key{e.Kind, e.Value} }

func (e Entry) mark() mark {
	before := e.IssuedBefore
	if before.IsZero() {
		before = forever
	}
	return mark{before.UnixMicro(), e.ExpiresAt.UnixMicro()}
}

func (m mark) merge(other mark) mark {
	return mark{max(m.before, other.before), max(m.expires, other.expires)}
}

func (m mark) entry(k key, reason string) Entry {
	e := Entry{Kind: k.kind, Value: k.value, ExpiresAt: time.UnixMicro(m.expires).UTC(), Reason: reason}
	if m.before < forever.UnixMicro() {
		e.IssuedBefore = time.UnixMicro(m.before).UTC()
	}
	return e
}
