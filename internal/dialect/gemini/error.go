package gemini

import (
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/financecommander/tollgate/internal/dialect/wire"
	"github.com/financecommander/tollgate/internal/jsonedit"
	"github.com/financecommander/tollgate/internal/llm"
)

// Errors reads and writes errors in the shape that all of Google's APIs share.
// Source: https://cloud.google.com/apis/design/errors.
type Errors struct{}

// Error implements [dialect.Codec]. Of what the provider said, a caller sees
// only what is about the caller's own request, with secrets taken out.
func (Errors) Error(status int, header http.Header, body []byte) *llm.Error {
	d := readDetail(body)
	e := d.error(status)
	if after := wire.RetryAfter(header); after > 0 {
		e.RetryAfter = after
	}
	return e
}

// insideError reads an error that came inside a 200 answer.
func insideError(data []byte) *llm.Error {
	d := readDetail(data)
	return d.error(d.impliedStatus())
}

// detail is an error answer's content.
type detail struct {
	message, status string
	code            int64
	reasons, fields []string // of its details
	retry           time.Duration
}

func (d *detail) error(status int) *llm.Error {
	e := &llm.Error{
		Cause: d.cause(status), RetryAfter: d.retry,
		Err: fmt.Errorf("upstream status %d, %q, reasons %q", status, wire.Word(d.status), d.words()),
	}
	if e.Cause != llm.CauseUpstreamRejected {
		e.Message = wire.UpstreamMessages[e.Cause]
		return e
	}
	e.HTTPStatus = status
	if len(d.fields) > 0 {
		e.Param = wire.Scrub(d.fields[0], wire.MaxWord)
	}
	if strings.Contains(d.message, "token count") && strings.Contains(d.message, "exceeds the maximum") {
		e.Code = "context_length_exceeded" // OpenAI's word, which programs look for
	}
	if e.Message = wire.Scrub(d.message, wire.MaxMessage); e.Message == "" {
		e.Message = fmt.Sprintf("the upstream provider rejected the request with status %d and did not say why", status)
	}
	return e
}

func (d *detail) words() []string {
	words := make([]string, len(d.reasons))
	for i, r := range d.reasons {
		words[i] = wire.Word(r)
	}
	return words
}

// cause is the status's, but for trouble with the gateway's own key or account,
// which Google calls a bad request.
func (d *detail) cause(status int) llm.Cause {
	cause := llm.CauseOfStatus(status)
	if cause != llm.CauseUpstreamRejected {
		return cause
	}
	for _, reason := range d.reasons {
		if strings.HasPrefix(reason, "API_KEY_") || reason == "SERVICE_DISABLED" || reason == "BILLING_DISABLED" {
			return llm.CauseUpstreamAuth
		}
	}
	switch {
	case strings.Contains(strings.ToLower(d.message), "api key"), d.status == "FAILED_PRECONDITION":
		return llm.CauseUpstreamAuth
	}
	return cause
}

// impliedStatus is the HTTP status an error would have had outside a stream.
func (d *detail) impliedStatus() int {
	if d.code >= 400 && d.code < 600 {
		return int(d.code)
	}
	switch d.status {
	case "INVALID_ARGUMENT", "FAILED_PRECONDITION", "OUT_OF_RANGE":
		return http.StatusBadRequest
	case "UNAUTHENTICATED":
		return http.StatusUnauthorized
	case "PERMISSION_DENIED":
		return http.StatusForbidden
	case "NOT_FOUND":
		return http.StatusNotFound
	case "RESOURCE_EXHAUSTED":
		return http.StatusTooManyRequests
	case "UNAVAILABLE":
		return http.StatusServiceUnavailable
	case "DEADLINE_EXCEEDED":
		return http.StatusGatewayTimeout
	}
	return http.StatusInternalServerError
}

// readDetail finds the error in a body:
//
//	{"error":{"code":400,"message":"…","status":"INVALID_ARGUMENT","details":[{"@type":"…","reason":"…"}]}}
//
// or in an array of such, as streams without events have it. Anything else, such
// as HTML, gives an empty detail.
func readDetail(body []byte) detail {
	var d detail
	s := jsonedit.NewScanner(body)
	each(&s, func() {
		for name := range s.Members {
			if string(name) == "error" {
				d.object(&s)
			}
		}
	})
	if s.End() != nil {
		return detail{}
	}
	return d
}

func (d *detail) object(s *jsonedit.Scanner) {
	for name := range s.Members {
		switch string(name) {
		case "message":
			d.message = string(s.Text(nil))
		case "status":
			d.status = string(s.Text(nil))
		case "code":
			d.code, _ = s.Int()
		case "details":
			for range s.Elements {
				d.readDetails(s)
			}
		}
	}
}

// readDetails takes what it knows of the kinds of google.rpc.
func (d *detail) readDetails(s *jsonedit.Scanner) {
	for name := range s.Members {
		switch string(name) {
		case "reason":
			d.reasons = append(d.reasons, string(s.Text(nil)))
		case "retryDelay": // "48s", "0.5s"
			delay, err := time.ParseDuration(string(s.Text(nil)))
			if err == nil && delay > 0 {
				d.retry = min(delay, 24*time.Hour)
			}
		case "fieldViolations":
			for range s.Elements {
				for inner := range s.Members {
					if string(inner) == "field" {
						d.fields = append(d.fields, string(s.Text(nil)))
					}
				}
			}
		}
	}
}
