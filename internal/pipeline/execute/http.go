package execute

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/financecommander/tollgate/internal/llm"
	"github.com/financecommander/tollgate/internal/pipeline/expr"
	"github.com/financecommander/tollgate/internal/pipeline/fetch"
)

// fetch does an http step.
func (t *task) fetch(ctx context.Context) (product, *failure) {
	request, f := t.request(ctx)
	if f != nil {
		return product{}, f
	}
	var response *fetch.Response
	f = t.persist(ctx, func(ctx context.Context, _ *spender) *failure {
		var err error
		if response, err = t.o.Fetch.Do(ctx, request); err == nil {
			return nil
		}
		if known, ok := errors.AsType[*llm.Error](err); ok {
			return failureOf(known)
		}
		return failuref("its request failed") // an error of no kind may say anything
	})
	if f != nil {
		return product{}, f
	}
	body := strings.ToValidUTF8(string(response.Body), "\uFFFD")
	if t.step.HTTPRequest.Pick == nil {
		return product{text: body}, nil
	}
	scope := t.scope
	scope.Response = map[string]any{
		"status":  response.Status,
		"headers": headersOf(response.Header),
		"body":    body,
		"json":    decode(body),
	}
	value, err := t.step.HTTPRequest.Pick.Value(ctx, &scope)
	if err != nil {
		return product{}, broken(ctx, "pick", err)
	}
	return productOf(value), nil
}

// headersOf gives headers by their names in small letters.
func headersOf(h http.Header) map[string]any {
	headers := make(map[string]any, len(h))
	for name, values := range h {
		headers[strings.ToLower(name)] = strings.Join(values, ", ")
	}
	return headers
}

// request makes the request of the step's templates.
func (t *task) request(ctx context.Context) (fetch.Request, *failure) {
	from := t.step.HTTPRequest
	r := fetch.Request{Method: from.Method, Header: make(http.Header, len(from.Headers))}
	address, f := t.fill(ctx, "URL", from.URL)
	if f != nil {
		return r, f
	}
	u, err := url.Parse(address)
	if err != nil || !strings.EqualFold(u.Host, from.Host) || u.User != nil {
		return r, failuref("its URL is no longer one of %s once it is filled in", from.Host)
	}
	query := make(url.Values, len(from.Query))
	for name, template := range from.Query {
		value, f := t.fill(ctx, fmt.Sprintf("query parameter %q", name), template)
		if f != nil {
			return r, f
		}
		query.Set(name, value)
	}
	u.RawQuery = strings.Trim(u.RawQuery+"&"+query.Encode(), "&")
	for name, template := range from.Headers {
		value, f := t.fill(ctx, fmt.Sprintf("header %q", name), template)
		if f != nil {
			return r, f
		}
		if strings.ContainsAny(value, "\r\n\x00") {
			return r, failuref("its header %q would have several lines", name)
		}
		r.Header.Set(name, value)
	}
	r.URL = u
	r.Body, f = t.fill(ctx, "body", from.Body)
	return r, f
}

// fill executes a template; nil is an empty one.
func (t *task) fill(ctx context.Context, what string, template *expr.Template) (string, *failure) {
	if template == nil {
		return "", nil
	}
	text, err := template.Execute(ctx, &t.scope)
	if err != nil {
		return "", broken(ctx, what, err)
	}
	return text, nil
}
