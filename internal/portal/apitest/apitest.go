// Package apitest holds what tests see on the wire against the OpenAPI document:
// each request that was taken, and every answer by its status. It is for tests
// alone.
//
// Answers may have no member that the document does not name, unless it says
// additionalProperties; requests may, as the server passes over such members.
package apitest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"mime"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"

	"github.com/financecommander/tollgate/internal/portal/openapi"
	"github.com/financecommander/tollgate/internal/sse"
)

// Document loads the OpenAPI document and checks that it is a valid one.
func Document() (*openapi3.T, error) {
	text, err := openapi.JSON("test")
	if err != nil {
		return nil, err
	}
	document, err := openapi3.NewLoader().LoadFromData(text)
	if err != nil {
		return nil, fmt.Errorf("load the OpenAPI document: %w", err)
	}
	if err := document.Validate(context.Background()); err != nil {
		return nil, fmt.Errorf("validate the OpenAPI document: %w", err)
	}
	return document, nil
}

// checker has the document twice: as it is, for requests, and closed, for answers.
type checker struct{ open, closed *openapi3.T }

var load = sync.OnceValues(func() (*checker, error) {
	openapi3filter.RegisterBodyDecoder("text/yaml", openapi3filter.YamlBodyDecoder)
	open, err := Document()
	if err != nil {
		return nil, err
	}
	closed, err := Document()
	if err != nil {
		return nil, err
	}
	for _, schema := range closed.Components.Schemas {
		closeSchema(schema)
	}
	for _, response := range closed.Components.Responses {
		closeContent(response.Value.Content)
	}
	for _, path := range closed.Paths.Map() {
		for _, operation := range path.Operations() {
			for _, response := range operation.Responses.Map() {
				closeContent(response.Value.Content)
			}
		}
	}
	return &checker{open: open, closed: closed}, nil
})

func closeContent(content openapi3.Content) {
	for _, media := range content {
		closeSchema(media.Schema)
	}
}

// closeSchema forbids unnamed members where the document says nothing of them.
// Schemas of parts (allOf) stay open: no part knows what the others name.
func closeSchema(ref *openapi3.SchemaRef) {
	if ref == nil || ref.Value == nil {
		return
	}
	s := ref.Value
	if len(s.AllOf) > 0 {
		return
	}
	open := s.AdditionalProperties.Has != nil || s.AdditionalProperties.Schema != nil
	if len(s.Properties) > 0 && !open {
		s.AdditionalProperties.Has = new(false)
	}
	if ref.Ref != "" {
		return // walked where it is defined
	}
	for _, property := range s.Properties {
		closeSchema(property)
	}
	closeSchema(s.Items)
	closeSchema(s.AdditionalProperties.Schema)
	for _, choice := range slices.Concat(s.OneOf, s.AnyOf) {
		closeSchema(choice)
	}
}

// exchange is a request and its answer, complete.
type exchange struct {
	request     *http.Request
	requestBody []byte
	status      int
	header      http.Header
	body        []byte
	cut         bool // the body is not whole: it is too long, or the stream was left
}

// report checks an exchange and fails the test over what is wrong with it.
func report(t testing.TB, e *exchange) {
	t.Helper()
	c, err := load()
	if err == nil {
		err = c.check(e)
	}
	if err != nil {
		t.Errorf("%s %s answered %d: %v\n%.2000s", e.request.Method, e.request.URL.Path, e.status, err, e.body)
	}
}

// explicit are the statuses that an operation names when it can answer them; all
// others but successes may be its default.
var explicit = []int{
	http.StatusSwitchingProtocols, http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound,
	http.StatusConflict, http.StatusUnprocessableEntity, http.StatusTooManyRequests,
}

func (c *checker) check(e *exchange) error {
	path, params, ok := match(c.open, e.request.URL.EscapedPath())
	if !ok {
		if e.status >= 300 || strings.HasPrefix(e.request.URL.Path, "/docs/") { // the page's own files
			return nil
		}
		return fmt.Errorf("the document does not know the path")
	}
	method := e.request.Method
	if method == http.MethodHead {
		method = http.MethodGet
	}
	operation := c.open.Paths.Value(path).GetOperation(method)
	if operation == nil {
		if e.status >= 400 || method == http.MethodOptions {
			return nil
		}
		return fmt.Errorf("the document does not know the method")
	}
	success := e.status >= 200 && e.status < 300
	if (success || slices.Contains(explicit, e.status)) && operation.Responses.Status(e.status) == nil {
		return fmt.Errorf("the operation does not have the status")
	}
	input := &openapi3filter.RequestValidationInput{
		Request: e.request, PathParams: params,
		Route:   &routers.Route{Spec: c.open, Path: path, PathItem: c.open.Paths.Value(path), Method: method, Operation: operation},
		Options: &openapi3filter.Options{AuthenticationFunc: openapi3filter.NoopAuthenticationFunc, SkipSettingDefaults: true},
	}
	if success {
		if err := checkRequest(e, input); err != nil {
			return err
		}
	}
	return c.checkAnswer(e, input)
}

func checkRequest(e *exchange, input *openapi3filter.RequestValidationInput) error {
	request := e.request.Clone(context.Background())
	request.Body, request.ContentLength = http.NoBody, int64(len(e.requestBody))
	if len(e.requestBody) > 0 {
		request.Body = readCloser{bytes.NewReader(e.requestBody)}
		if request.Header.Get("Content-Type") == "" {
			request.Header.Set("Content-Type", "application/json")
		}
	}
	input.Request = request
	return openapi3filter.ValidateRequest(context.Background(), input)
}

func (c *checker) checkAnswer(e *exchange, input *openapi3filter.RequestValidationInput) error {
	input.Request = e.request
	closed := *input.Route
	closed.Spec, closed.PathItem = c.closed, c.closed.Paths.Value(input.Route.Path)
	closed.Operation = closed.PathItem.GetOperation(input.Route.Method)
	input.Route = &closed

	kind, _, _ := mime.ParseMediaType(e.header.Get("Content-Type"))
	stream := kind == "text/event-stream"
	answer := &openapi3filter.ResponseValidationInput{
		RequestValidationInput: input, Status: e.status, Header: e.header,
		Options: &openapi3filter.Options{
			IncludeResponseStatus: true,
			// What is no JSON is known by its type alone.
			ExcludeResponseBody: e.cut || stream || kind != "application/json",
		},
	}
	if err := openapi3filter.ValidateResponse(context.Background(), answer.SetBodyBytes(e.body)); err != nil {
		return err
	}
	response := closed.Operation.Responses.Status(e.status)
	if response == nil {
		response = closed.Operation.Responses.Default()
	}
	if e.request.Method == http.MethodHead || len(response.Value.Content) == 0 {
		return nil
	}
	media := response.Value.Content.Get(e.header.Get("Content-Type"))
	if media == nil {
		return fmt.Errorf("the operation does not answer %q", e.header.Get("Content-Type"))
	}
	if stream {
		return checkStream(e, media.Schema)
	}
	return nil
}

// checkStream checks that each event's data is what the schema says.
func checkStream(e *exchange, schema *openapi3.SchemaRef) error {
	var scanner sse.Scanner
	if _, err := scanner.Write(e.body); err != nil {
		return err
	}
	for {
		event, ok := scanner.Next()
		if !ok {
			break
		}
		if len(event.Data) == 0 || string(event.Data) == "[DONE]" {
			continue
		}
		var value any
		if err := json.Unmarshal(event.Data, &value); err != nil {
			return fmt.Errorf("an event's data is not JSON: %w: %s", err, event.Data)
		}
		if err := schema.Value.VisitJSON(value, openapi3.VisitAsResponse()); err != nil {
			return fmt.Errorf("an event does not fit: %w: %s", err, event.Data)
		}
	}
	rest := strings.TrimSpace(string(scanner.Rest()))
	if e.cut || rest == "" || rest == "data: [DONE]" || strings.HasPrefix(rest, ":") {
		return nil // a last blank line, or half a comment, that an upstream left out is nobody's loss
	}
	return fmt.Errorf("the stream ends within an event: %s", rest)
}
