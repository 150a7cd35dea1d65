package llm

import (
	"log/slog"
	"net/http"
	"time"
)

// Cause is the one closed list of reasons why a call did not end well. HTTP
// bodies, metric labels, logs and usage rows all use these words.
type Cause string

// The causes. Each has one HTTP status ([Cause.Status]).
const (
	CauseNone Cause = ""

	// The caller's doing.
	CauseInvalidRequest   Cause = "invalid_request"    // malformed body, wrong type, unknown parameter
	CauseUnauthenticated  Cause = "unauthenticated"    // token missing, bad, expired or revoked
	CauseForbidden        Cause = "forbidden"          // token good, but not for this
	CauseModelNotFound    Cause = "model_not_found"    // no such specialist, alias or model
	CauseNotFound         Cause = "not_found"          // no such path or object
	CauseMethodNotAllowed Cause = "method_not_allowed" // path right, method wrong
	CauseTooLarge         Cause = "request_too_large"  // body over the limit
	CauseRateLimited      Cause = "rate_limited"       // one of our limits refused
	CauseClientGone       Cause = "client_gone"        // caller left before the answer was complete

	// The upstream's doing.
	CauseUpstreamRejected    Cause = "upstream_rejected"     // upstream calls the request bad (400, 404, 413, 422)
	CauseUpstreamAuth        Cause = "upstream_auth"         // upstream refuses our key (401, 402, 403)
	CauseUpstreamRateLimited Cause = "upstream_rate_limited" // upstream's 429
	CauseUpstreamError       Cause = "upstream_error"        // upstream's 5xx, or an error inside a 200 stream
	CauseUpstreamOverloaded  Cause = "upstream_overloaded"   // upstream's 503 or 529
	CauseUpstreamUnreachable Cause = "upstream_unreachable"  // no connection, or reset before the answer
	CauseUpstreamTimeout     Cause = "upstream_timeout"      // connect, first-byte, between-bytes or total timeout
	CauseUpstreamInvalid     Cause = "upstream_invalid"      // answer is not what the dialect says (HTML, bad JSON)
	CauseUpstreamCut         Cause = "upstream_cut"          // answer ended before its terminal event

	// Ours.
	CauseUnavailable Cause = "unavailable" // a dependency of ours (keys, limits, ledger) cannot answer
	CauseInternal    Cause = "internal"    // a bug of ours; the log has the details
	CauseInterrupted Cause = "interrupted" // the gateway's process died during the call; in rows only
)

// Causes lists every cause but [CauseNone], for metrics, docs and tests.
var Causes = []Cause{
	CauseInvalidRequest, CauseUnauthenticated, CauseForbidden, CauseModelNotFound, CauseNotFound,
	CauseMethodNotAllowed, CauseTooLarge, CauseRateLimited, CauseClientGone,
	CauseUpstreamRejected, CauseUpstreamAuth, CauseUpstreamRateLimited, CauseUpstreamError,
	CauseUpstreamOverloaded, CauseUpstreamUnreachable, CauseUpstreamTimeout, CauseUpstreamInvalid,
	CauseUpstreamCut, CauseUnavailable, CauseInternal, CauseInterrupted,
}

// StatusClientClosedRequest is nginx's status for a caller that left; it is
// written to rows and metrics only, never to a client.
const StatusClientClosedRequest = 499

// Status is the HTTP status a caller gets for the cause. A problem with an
// upstream's key is 502, never 401: 401 would make clients log their user out.
func (c Cause) Status() int {
	switch c {
	case CauseNone:
		return http.StatusOK
	case CauseInvalidRequest, CauseUpstreamRejected:
		return http.StatusBadRequest
	case CauseUnauthenticated:
		return http.StatusUnauthorized
	case CauseForbidden:
		return http.StatusForbidden
	case CauseModelNotFound, CauseNotFound:
		return http.StatusNotFound
	case CauseMethodNotAllowed:
		return http.StatusMethodNotAllowed
	case CauseTooLarge:
		return http.StatusRequestEntityTooLarge
	case CauseRateLimited, CauseUpstreamRateLimited:
		return http.StatusTooManyRequests
	case CauseClientGone:
		return StatusClientClosedRequest
	case CauseUpstreamOverloaded, CauseUnavailable:
		return http.StatusServiceUnavailable
	case CauseUpstreamTimeout:
		return http.StatusGatewayTimeout
	case CauseUpstreamAuth, CauseUpstreamError, CauseUpstreamUnreachable, CauseUpstreamInvalid, CauseUpstreamCut, CauseInterrupted:
		return http.StatusBadGateway
	default:
		return http.StatusInternalServerError
	}
}

// Retryable says whether another key or target may answer where this one did
// not, so that the gateway tries it while nothing has reached the client.
func (c Cause) Retryable() bool {
	switch c {
	case CauseUpstreamAuth, CauseUpstreamRateLimited, CauseUpstreamError, CauseUpstreamOverloaded,
		CauseUpstreamUnreachable, CauseUpstreamTimeout, CauseUpstreamInvalid, CauseUpstreamCut:
		return true
	default:
		return false
	}
}

// CauseOfStatus classifies an upstream's HTTP status.
func CauseOfStatus(status int) Cause {
	switch status {
	case http.StatusUnauthorized, http.StatusPaymentRequired, http.StatusForbidden:
		return CauseUpstreamAuth
	case http.StatusTooManyRequests:
		return CauseUpstreamRateLimited
	case http.StatusRequestTimeout, http.StatusGatewayTimeout:
		return CauseUpstreamTimeout
	case http.StatusServiceUnavailable, 529: // 529 is Anthropic's "overloaded"
		return CauseUpstreamOverloaded
	}
	switch {
	case status >= 200 && status < 300:
		return CauseNone
	case status >= 400 && status < 500:
		return CauseUpstreamRejected
	default:
		return CauseUpstreamError
	}
}

// Error is an error a caller may see. Message is written for the caller and
// holds no upstream internals; Err, which is never sent, says more to the log.
type Error struct {
	Cause      Cause
	HTTPStatus int            // overrides Cause.Status when not 0, e.g. an upstream's 404 or 422
	Message    string         // for the caller: what is wrong and what to do
	Code       string         // the dialect's error code, when one is known ("context_length_exceeded")
	Type       string         // the dialect's error type, when an upstream named one
	Param      string         // the field at fault, as a path ("messages[3].role")
	Details    map[string]any // further facts for the caller, in dialects that have a place for them
	RetryAfter time.Duration  // when to try again; 0: not known
	Err        error          // what happened underneath; for the log only
}

// Error implements error.
func (e *Error) Error() string {
	text := string(e.Cause) + ": " + e.Message
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return text
}

// LogValue implements [slog.LogValuer]. Messages stay out of logs, since those
// of providers may quote a prompt, and so does what is wrong with a caller's
// request.
func (e *Error) LogValue() slog.Value {
	attrs := []slog.Attr{slog.String("cause", string(e.Cause))}
	for _, a := range []struct{ name, value string }{{"type", e.Type}, {"code", e.Code}, {"param", e.Param}} {
		if a.value != "" {
			attrs = append(attrs, slog.String(a.name, a.value))
		}
	}
	if e.Err != nil && e.Cause != CauseInvalidRequest && e.Cause != CauseUpstreamRejected {
		attrs = append(attrs, slog.String("because", e.Err.Error()))
	}
	return slog.GroupValue(attrs...)
}

// Unwrap gives what happened underneath.
func (e *Error) Unwrap() error { return e.Err }

// Status is the HTTP status to answer with.
func (e *Error) Status() int {
	if e.HTTPStatus != 0 {
		return e.HTTPStatus
	}
	return e.Cause.Status()
}
