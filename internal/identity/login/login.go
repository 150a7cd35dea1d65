// Package login holds the ways in which people prove who they are: one-time codes
// by mail, and OpenID Connect. It ends where a log-in begins, with a
// [session.Person].
//
// Replicas share nothing but the database: whatever one began, another can end.
// What a log-in under way must remember is sealed into what its browser or its
// mail carries.
package login

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"time"

	"github.com/financecommander/tollgate/internal/database"
	"github.com/financecommander/tollgate/internal/llm"
)

// Lifetime is how long a code is good for, and how long a visit to a provider may
// take.
const Lifetime = 10 * time.Minute

// maxState bounds what a caller may send as a state, and what is in it.
const maxState = 4 << 10

// Store is the database's table of codes.
type Store interface {
	InsertLoginCode(ctx context.Context, c database.LoginCode) error
	TryLoginCode(ctx context.Context, id string, most int, now time.Time) (*database.LoginCode, error)
	TryNewestLoginCode(ctx context.Context, emailHash string, most int, now time.Time) (*database.LoginCode, error)
	UseLoginCode(ctx context.Context, id string, now time.Time) error
	DeleteExpiredLoginCodes(ctx context.Context, now time.Time, limit int) (deleted int64, err error)
}

var _ Store = (*database.DB)(nil)

// Failed is the answer to a proof that is none. It is the same whatever is wrong,
// also for people who are blocked: a stranger learns nothing from it.
func Failed(err error) error {
	return &llm.Error{
		Cause: llm.CauseForbidden, Err: err,
		Message: "signing in did not work: the code is wrong, was used already, or is older than 10 minutes; start again",
	}
}

// unavailable is the answer when we cannot tell.
func unavailable(err error) error {
	return &llm.Error{
		Cause: llm.CauseUnavailable, Err: err, RetryAfter: retryAfter,
		Message: "signing in is not possible right now; try again in a few seconds",
	}
}

const retryAfter = 5 * time.Second

// rowID names what a log-in carries in the table of codes, where nobody who reads
// it can use it.
func rowID(kind, secret string) string {
	sum := sha256.Sum256([]byte(kind + "\x00" + secret))
	return hex.EncodeToString(sum[:])
}

// encoding has one text only for each content.
var encoding = base64.RawURLEncoding.Strict()
