package revocation

import "time"

// Kind is what an entry's value names.
type Kind string

// The kinds of entries.
const (
	Token   Kind = "token"   // one token, by its id ("jti")
	Session Kind = "session" // all access tokens of a log-in, by its id ("sid")
	User    Kind = "user"    // all tokens of a user, by the user's hash
)

// Entry withdraws tokens that have not expired.
type Entry struct {
	Kind         Kind
	Value        string
	IssuedBefore time.Time // only tokens issued before this; zero: all
	ExpiresAt    time.Time // when nothing it concerns is good any more anyway
	Reason       string
}
