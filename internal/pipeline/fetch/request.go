package fetch

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/textproto"
	"net/url"
	"slices"
	"strings"

	"github.com/financecommander/tollgate/internal/llm"
)

var methods = []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete}

// prepare makes the request, and gives the rule by which it may be made.
func (c *Client) prepare(r Request) (*http.Request, *rule, *llm.Error) {
	switch {
	case c == nil:
		return nil, nil, forbidden("no host may be asked by pipelines")
	case r.URL == nil || len(r.URL.String()) > maxURL:
		return nil, nil, invalid("the URL is empty or longer than %d bytes", maxURL)
	case slices.ContainsFunc(strings.FieldsFunc(r.URL.Path, isSlash), isDots):
		return nil, nil, invalid("the URL's path has a part that is only dots")
	case len(r.Body) > MaxBody:
		return nil, nil, invalid("the body is longer than %d bytes", MaxBody)
	case !slices.Contains(methods, r.Method):
		return nil, nil, invalid("the method is none of %s", strings.Join(methods, ", "))
	}
	found := c.rule(r.URL)
	if found == nil {
		return nil, nil, forbidden("%s is none that pipelines may ask, by this scheme and at this port", display(r.URL))
	}
	u := *r.URL
	u.Host, u.Fragment, u.RawFragment = strings.ToLower(u.Host), "", ""
	request, err := http.NewRequest(r.Method, u.String(), strings.NewReader(r.Body)) //nolint:noctx // Do gives it one
	if err != nil || request.URL.Host != u.Host || request.URL.Scheme != u.Scheme {
		return nil, nil, invalid("the URL cannot be asked")
	}
	if refused := found.setHeaders(request, r); refused != nil {
		return nil, nil, refused
	}
	return request, found, nil
}

// A value that was filled in is not to lead out of the path that it was put into.
func isDots(part string) bool { return part == "." || part == ".." }

func isSlash(r rune) bool { return r == '/' || r == '\\' }

// setHeaders sets the definition's headers, and then the operator's, which win.
func (r *rule) setHeaders(request *http.Request, asked Request) *llm.Error {
	request.Header.Set("User-Agent", "Tollgate")
	if asked.Body != "" {
		request.Header.Set("Content-Type", contentType(asked.Body))
	}
	total := 0
	for name, values := range asked.Header {
		canonical := textproto.CanonicalMIMEHeaderKey(name)
		switch {
		case !isToken(name):
			return invalid("a header's name has characters that headers cannot have")
		case hopByHop(name):
			return invalid("the header %s is not a pipeline's to set", canonical)
		}
		request.Header.Del(canonical)
		for _, value := range values {
			if !isHeaderValue(value) {
				return invalid("the value of the header %s has characters that headers cannot have, such as a new line", canonical)
			}
			total += len(name) + len(value)
			request.Header.Add(canonical, value)
		}
	}
	if total > maxRequestHeader {
		return invalid("the headers are longer than %d bytes", maxRequestHeader)
	}
	request.Header.Set("Accept-Encoding", "identity")
	maps.Copy(request.Header, r.headers)
	return nil
}

func contentType(body string) string {
	if json.Valid([]byte(body)) {
		return "application/json"
	}
	return "text/plain; charset=utf-8"
}

// display is how errors name a host. One that is none is not shown: it may be
// anything.
func display(u *url.URL) string {
	name := strings.ToLower(u.Hostname())
	if _, ok := asAddress(name); !ok && !isName(name) {
		return "the host"
	}
	if strings.Contains(name, ":") {
		name = "[" + name + "]"
	}
	if port := u.Port(); isPort(port) {
		return name + ":" + port
	}
	return name
}

func invalid(format string, args ...any) *llm.Error {
	return &llm.Error{Cause: llm.CauseInvalidRequest, Message: fmt.Sprintf(format, args...)}
}

func forbidden(format string, args ...any) *llm.Error {
	return &llm.Error{Cause: llm.CauseForbidden, Message: fmt.Sprintf(format, args...)}
}
