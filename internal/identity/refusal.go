package identity

import "github.com/financecommander/tollgate/internal/llm"

// What the bearer of a bad token is told. The text ends up before a person (a
// stream's 401 is shown, not retried), so it says what to do; what exactly was
// wrong goes to the log.
const (
	messageMissing   = `no token was given: sign in, or send yours in the header "Authorization: Bearer <token>"`
	messageMalformed = "the token is damaged or is not a JSON Web Token: please sign in again"
	messageTooLong   = "the token is too long to be one of ours: please sign in again"
	messageIssuer    = "the token was issued by someone who is not accepted here: please sign in again"
	messageSignature = "the token's signature is not valid: please sign in again"
	messageExpired   = "your token has expired: please try again, and sign in if that does not help"
	messageNotYet    = "the token is not valid yet: please try again in a moment"
	messageAudience  = "the token was issued for another service: please sign in here"
	messageClaims    = "the token does not say what it must to be used here: please sign in again"
	messageRevoked   = "your token has been withdrawn: please try again, and sign in if that does not help"
	messageDomain    = "addresses of your domain may no longer sign in here: please ask your administrator"
	messageOutage    = "tokens cannot be checked at the moment: please try again in a few seconds"
)

// refuse is the error for a token that is not good: 401.
func refuse(message string, err error) error {
	return &llm.Error{Cause: llm.CauseUnauthenticated, Message: message, Err: err}
}

// outage is the error for a token nobody can judge now: 503, since a 401 would
// make clients log their user out.
func outage(err error) error {
	return &llm.Error{Cause: llm.CauseUnavailable, Message: messageOutage, RetryAfter: minFetchGap, Err: err}
}
