package wire

import (
	"net/http"
	"strconv"
	"time"

	"github.com/financecommander/tollgate/internal/llm"
)

// SetRetryAfter says in whole seconds, rounded up, when to try again (RFC 9110,
// section 10.2.3), if that is known.
func SetRetryAfter(h http.Header, err *llm.Error) {
	if err.RetryAfter > 0 {
		h.Set("Retry-After", strconv.FormatInt(int64((err.RetryAfter+time.Second-1)/time.Second), 10))
	}
}

// SetRetry is SetRetryAfter for the SDKs of OpenAI and Anthropic, which read
// milliseconds as well and let themselves be told that a retry is in vain.
func SetRetry(h http.Header, err *llm.Error) {
	SetRetryAfter(h, err)
	if err.RetryAfter > 0 {
		h.Set("Retry-After-Ms", strconv.FormatInt(err.RetryAfter.Milliseconds(), 10))
	}
	if hopeless(err) {
		h.Set("X-Should-Retry", "false")
	}
}

// hopeless says that a client's automatic retry cannot help. These SDKs retry
// 429 and 5xx by themselves unless X-Should-Retry tells them not to, and they do
// not wait for longer than a minute.
func hopeless(err *llm.Error) bool {
	return err.Cause == llm.CauseUpstreamAuth || err.RetryAfter > time.Minute
}
