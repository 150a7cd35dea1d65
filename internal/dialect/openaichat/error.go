package openaichat

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/financecommander/tollgate/internal/dialect/wire"
	"github.com/financecommander/tollgate/internal/jsonedit"
	"github.com/financecommander/tollgate/internal/llm"
)

// Errors reads and writes errors in OpenAI's shape, which all its endpoints
// share.
type Errors struct{}

// Error implements [dialect.Codec]. Of what the provider said, a caller sees
// only what is about the caller's own request, with secrets taken out.
func (Errors) Error(status int, header http.Header, body []byte) *llm.Error {
	d := readDetail(body)
	e := d.error(status)
	e.RetryAfter = wire.RetryAfter(header)
	return e
}

// InsideError reads an error that came inside a 200 answer: the data of an
// event, a body, or the error object in it.
func InsideError(data []byte) *llm.Error {
	d := readDetail(data)
	return d.error(d.impliedStatus())
}

// detail is an error answer's content, in whatever shape it came.
type detail struct {
	message, typ, code, param string
	status                    int64 // an HTTP status, where the body names one
}

// error says the detail to a caller.
func (d *detail) error(status int) *llm.Error {
	e := &llm.Error{
		Cause: d.cause(status),
		Err:   fmt.Errorf("upstream status %d, type %q, code %q", status, wire.Word(d.typ), wire.Word(d.code)),
	}
	if e.Cause != llm.CauseUpstreamRejected {
		e.Message = wire.UpstreamMessages[e.Cause]
		return e
	}
	e.HTTPStatus = status
	e.Type, e.Code, e.Param = wire.Word(d.typ), wire.Word(d.code), wire.Scrub(d.param, wire.MaxWord)
	if e.Message = wire.Scrub(d.message, wire.MaxMessage); e.Message == "" {
		e.Message = fmt.Sprintf("the upstream provider rejected the request with status %d and did not say why", status)
	}
	return e
}

// cause is the status's, but for trouble with the gateway's own key or account,
// which some providers call a bad request or a rate limit.
func (d *detail) cause(status int) llm.Cause {
	cause := llm.CauseOfStatus(status)
	switch cause {
	case llm.CauseUpstreamRateLimited:
		if d.typ == "insufficient_quota" || d.code == "insufficient_quota" {
			return llm.CauseUpstreamAuth
		}
	case llm.CauseUpstreamRejected:
		if d.code == "invalid_api_key" || strings.Contains(strings.ToLower(d.message), "api key") {
			return llm.CauseUpstreamAuth
		}
	default: // the status tells it
	}
	return cause
}

// impliedStatus is the HTTP status an error would have had outside a stream.
func (d *detail) impliedStatus() int {
	if d.status >= 400 && d.status < 600 {
		return int(d.status)
	}
	for _, name := range []string{d.code, d.typ} {
		switch name {
		case "invalid_request_error", "context_length_exceeded", "tool_use_failed", "content_filter":
			return http.StatusBadRequest
		case "rate_limit_exceeded", "rate_limit_error", "insufficient_quota", "tokens", "requests":
			return http.StatusTooManyRequests
		case "authentication_error", "permission_error", "invalid_api_key":
			return http.StatusUnauthorized
		case "overloaded_error", "service_unavailable":
			return http.StatusServiceUnavailable
		case "timeout", "timeout_error":
			return http.StatusGatewayTimeout
		}
	}
	return http.StatusInternalServerError
}

// readDetail finds the error in a body. The shapes met:
//
//	{"error":{"message","type","code","param"}}          OpenAI and most others
//	{"error":{"code":429,"message","metadata":{"raw"}}}   OpenRouter
//	[{"error":{"code":400,"message","status"}}]           Gemini's compatible endpoint
//	{"object":"error","message","type","code"}            Mistral, vLLM
//	{"detail":"…"}, {"detail":[{"loc":[…],"msg"}]}        Mistral, FastAPI servers
//	{"error":"…"}, {"code":"…","error":"…"}               Ollama, xAI
//
// Anything else, such as HTML, gives an empty detail.
func readDetail(body []byte) detail {
	var d detail
	s := jsonedit.NewScanner(body)
	if s.Kind() == jsonedit.KindArray {
		for range s.Elements {
			d.object(&s)
		}
	} else {
		d.object(&s)
	}
	if s.End() != nil {
		return detail{}
	}
	return d
}

// object reads the object that holds the error, or the error itself.
func (d *detail) object(s *jsonedit.Scanner) {
	for name := range s.Members {
		switch string(name) {
		case "error":
			if s.Kind() == jsonedit.KindObject {
				d.object(s)
			} else {
				set(&d.message, s)
			}
		case "message", "msg":
			set(&d.message, s)
		case "type":
			set(&d.typ, s)
		case "code":
			d.readCode(s)
		case "param":
			set(&d.param, s)
		case "status", "status_code":
			d.readStatus(s)
		case "detail":
			d.readDetail(s)
		case "metadata":
			d.metadata(s)
		}
	}
}

// readCode takes a name, or a number that is an HTTP status.
func (d *detail) readCode(s *jsonedit.Scanner) {
	if s.Kind() == jsonedit.KindNumber {
		d.status, _ = s.Int()
		return
	}
	set(&d.code, s)
}

// readStatus takes a number, or Gemini's name, which says best what happened.
func (d *detail) readStatus(s *jsonedit.Scanner) {
	if s.Kind() == jsonedit.KindString {
		set(&d.code, s)
		return
	}
	if status, ok := s.Int(); ok {
		d.status = status
	}
}

// readDetail takes a text, or FastAPI's list of what is wrong where.
func (d *detail) readDetail(s *jsonedit.Scanner) {
	if s.Kind() != jsonedit.KindArray {
		set(&d.message, s)
		return
	}
	for range s.Elements {
		var message string
		var path []string
		for name := range s.Members {
			switch string(name) {
			case "msg":
				set(&message, s)
			case "loc":
				for range s.Elements {
					path = append(path, strings.Trim(string(s.Skip()), `"`))
				}
			}
		}
		if d.message == "" {
			d.message, d.param = message, strings.TrimPrefix(strings.Join(path, "."), "body.")
		}
	}
}

// metadata takes what OpenRouter's own upstream said, often another error body.
func (d *detail) metadata(s *jsonedit.Scanner) {
	for name := range s.Members {
		if string(name) != "raw" {
			continue
		}
		raw := s.Text(nil)
		inner := readDetail(raw)
		switch {
		case inner.message != "":
			d.message = inner.message
		case len(raw) > 0 && raw[0] != '{' && raw[0] != '[' && raw[0] != '<':
			d.message = string(raw)
		}
	}
}

func set(field *string, s *jsonedit.Scanner) {
	if text := s.Text(nil); len(text) > 0 {
		*field = string(text)
	}
}
