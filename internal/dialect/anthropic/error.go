package anthropic

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/financecommander/tollgate/internal/dialect/wire"
	"github.com/financecommander/tollgate/internal/jsonedit"
	"github.com/financecommander/tollgate/internal/llm"
)

// Error implements [dialect.Codec]. Of what the provider said, a caller sees
// only what is about the caller's own request, with secrets taken out.
func (c Codec) Error(status int, header http.Header, body []byte) *llm.Error {
	d := readDetail(body)
	e := d.error(status)
	e.RetryAfter = wire.RetryAfter(header)
	return e
}

// insideError reads an error that came inside a 200 answer.
func insideError(data []byte) *llm.Error {
	d := readDetail(data)
	return d.error(d.impliedStatus())
}

// detail is an error answer's content.
type detail struct{ message, typ string }

// readDetail finds the error in a body: {"type":"error","error":{"type",
// "message"}}, or Google's {"error":{"status","message"}} where Vertex AI itself
// answers. Anything else gives an empty detail.
func readDetail(body []byte) (d detail) {
	s := jsonedit.NewScanner(body)
	for name := range s.Members {
		if string(name) != "error" {
			continue
		}
		if s.Kind() != jsonedit.KindObject {
			set(&d.message, &s)
			continue
		}
		for inner := range s.Members {
			switch string(inner) {
			case "type", "status":
				set(&d.typ, &s)
			case "message":
				set(&d.message, &s)
			}
		}
	}
	if s.End() != nil {
		return detail{}
	}
	return d
}

func set(field *string, s *jsonedit.Scanner) {
	if text := s.Text(nil); len(text) > 0 {
		*field = string(text)
	}
}

// error says the detail to a caller.
func (d *detail) error(status int) *llm.Error {
	e := &llm.Error{
		Cause: d.cause(status),
		Err:   fmt.Errorf("upstream status %d, type %q", status, wire.Word(d.typ)),
	}
	if e.Cause != llm.CauseUpstreamRejected {
		e.Message = wire.UpstreamMessages[e.Cause]
		return e
	}
	e.HTTPStatus, e.Type = status, wire.Word(d.typ)
	if strings.Contains(d.message, "prompt is too long") {
		e.Code = "context_length_exceeded"
	}
	if e.Message = wire.Scrub(d.message, wire.MaxMessage); e.Message == "" {
		e.Message = fmt.Sprintf("the upstream provider rejected the request with status %d and did not say why", status)
	}
	return e
}

// cause is the status's, but for trouble with the gateway's own key or account
// that is called a bad request.
func (d *detail) cause(status int) llm.Cause {
	cause := llm.CauseOfStatus(status)
	if cause != llm.CauseUpstreamRejected {
		return cause
	}
	message := strings.ToLower(d.message)
	for _, ours := range [...]string{"credit balance is too low", "api-key", "api key", "usage limits"} {
		if strings.Contains(message, ours) {
			return llm.CauseUpstreamAuth
		}
	}
	if d.typ == "billing_error" || d.typ == "authentication_error" || d.typ == "permission_error" {
		return llm.CauseUpstreamAuth
	}
	return cause
}

// impliedStatus is the HTTP status an error would have had outside a stream.
// Source: https://docs.anthropic.com/en/api/errors.
func (d *detail) impliedStatus() int {
	switch d.typ {
	case "invalid_request_error":
		return http.StatusBadRequest
	case "authentication_error":
		return http.StatusUnauthorized
	case "billing_error":
		return http.StatusPaymentRequired
	case "permission_error":
		return http.StatusForbidden
	case "not_found_error":
		return http.StatusNotFound
	case "request_too_large":
		return http.StatusRequestEntityTooLarge
	case "rate_limit_error":
		return http.StatusTooManyRequests
	case "timeout_error":
		return http.StatusGatewayTimeout
	case "overloaded_error":
		return statusOverloaded
	default:
		return http.StatusInternalServerError
	}
}

// statusOverloaded is Anthropic's own status.
const statusOverloaded = 529
