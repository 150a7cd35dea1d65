package fetch

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/financecommander/tollgate/internal/egress"
	"github.com/financecommander/tollgate/internal/llm"
)

// transportError says why there was no answer. Of the errors underneath only those
// are kept, for logs, that tell nothing of what was asked or answered.
func transportError(ctx, bounded context.Context, host string, err error) *llm.Error {
	told := &llm.Error{Cause: llm.CauseUpstreamUnreachable, Message: host + " cannot be reached"}
	if late := ended(ctx, bounded, host); late != nil {
		return late
	}
	if errors.Is(err, egress.ErrNotPublic) {
		return forbidden("%s has no public address, and is none that may be in the operator's own network", host)
	}
	if e, ok := errors.AsType[*net.OpError](err); ok {
		told.Err = e
	} else if e, ok := errors.AsType[*net.DNSError](err); ok {
		told.Err = e
	} else if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		told.Message = host + " cannot prove its name"
	}
	return told
}

// readError says why an answer is not whole.
func readError(ctx, bounded context.Context, host string) *llm.Error {
	if late := ended(ctx, bounded, host); late != nil {
		return late
	}
	return &llm.Error{Cause: llm.CauseUpstreamCut, Message: host + " broke off"}
}

// ended is the error of a request whose time is over, or that nobody wants
// any more.
func ended(ctx, bounded context.Context, host string) *llm.Error {
	switch {
	case bounded.Err() == nil:
		return nil
	case ctx.Err() != nil && !errors.Is(ctx.Err(), context.DeadlineExceeded):
		return &llm.Error{Cause: llm.CauseClientGone, Message: "the request was cancelled", Err: context.Cause(ctx)}
	}
	return &llm.Error{Cause: llm.CauseUpstreamTimeout, Message: host + " takes too long", Err: context.Cause(bounded)}
}

// statusError is the error of an answer that is none to work with.
func statusError(host string, r *http.Response) *llm.Error {
	status := r.StatusCode
	told := &llm.Error{Cause: llm.CauseUpstreamRejected, Message: fmt.Sprintf("%s answers with status %d", host, status)}
	switch {
	case status >= 500, status == http.StatusRequestTimeout, status == http.StatusTooManyRequests:
		told.Cause = llm.CauseOfStatus(status)
		told.RetryAfter = retryAfter(r.Header.Get("Retry-After"), time.Now())
	case status >= 300 && status < 400:
		told.Message = fmt.Sprintf("%s answers with a redirect (status %d), which pipelines do not follow", host, status)
	case status >= 200 && status < 300:
		return encodingError(host, r)
	}
	return told
}

func encodingError(host string, r *http.Response) *llm.Error {
	if encoding := r.Header.Get("Content-Encoding"); encoding != "" && encoding != "identity" {
		return &llm.Error{Cause: llm.CauseUpstreamRejected, Message: host + " answers with compressed content, though asked not to"}
	}
	return nil
}

// maxRetryAfter is as long as it makes sense to wait within a run.
const maxRetryAfter = time.Hour

// retryAfter reads the header of that name: seconds, or a date.
func retryAfter(value string, now time.Time) time.Duration {
	wait := time.Duration(0)
	if seconds, err := strconv.ParseUint(value, 10, 31); err == nil {
		wait = time.Duration(seconds) * time.Second
	} else if at, err := http.ParseTime(value); err == nil {
		wait = at.Sub(now)
	}
	return max(0, min(wait, maxRetryAfter))
}
