package wire

import (
	"errors"
	"strings"

	"github.com/financecommander/tollgate/internal/jsonedit"
	"github.com/financecommander/tollgate/internal/llm"
)

// RequestError turns an error of package jsonedit into one for the caller; an
// *llm.Error stays as it is.
func RequestError(err error) *llm.Error {
	if e, ok := errors.AsType[*llm.Error](err); ok {
		return e
	}
	e := &llm.Error{Cause: llm.CauseInvalidRequest}
	if wrong, ok := errors.AsType[*jsonedit.TypeError](err); ok {
		e.Message, e.Param = wrong.Error(), wrong.Name
		return e
	}
	e.Message = "the request body must be one JSON object: " + err.Error()
	return e
}

// Missing is the error for a member that a request must have and has not.
func Missing(name string) *llm.Error {
	return &llm.Error{Cause: llm.CauseInvalidRequest, Param: name, Message: name + " is required"}
}

// NotUnderstood is the error for an answer that is not of the format.
func NotUnderstood() *llm.Error {
	return &llm.Error{Cause: llm.CauseUpstreamInvalid, Message: "the upstream provider's answer could not be understood"}
}

// UpstreamMessages tell of troubles that are not the caller's.
var UpstreamMessages = map[llm.Cause]string{
	llm.CauseUpstreamAuth:        "the upstream provider refused the gateway's credentials; the gateway's operator must see to it",
	llm.CauseUpstreamRateLimited: "the upstream provider is rate limiting the gateway; try again later",
	llm.CauseUpstreamTimeout:     "the upstream provider took too long",
	llm.CauseUpstreamOverloaded:  "the upstream provider is overloaded; try again later",
	llm.CauseUpstreamError:       "the upstream provider failed to answer; try again later",
}

// Invalid is the error for what is wrong at a path of a client's body.
func Invalid(path, message string) *llm.Error {
	return &llm.Error{Cause: llm.CauseInvalidRequest, Param: path, Message: path + " " + message}
}

// MemberPath turns a JSON pointer into the path a person would write.
func MemberPath(pointer string) string {
	var path strings.Builder
	for token := range strings.SplitSeq(strings.TrimPrefix(pointer, "/"), "/") {
		switch {
		case token != "" && strings.Trim(token, "0123456789") == "":
			path.WriteString("[" + token + "]")
		case path.Len() > 0:
			path.WriteString("." + token)
		default:
			path.WriteString(token)
		}
	}
	return path.String()
}
