package apitest

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/stretchr/testify/require"
)

// TestDocument checks the document against the standard and against what this
// project wants of each operation beyond it.
func TestDocument(t *testing.T) {
	t.Parallel()
	document, err := Document()
	require.NoError(t, err)
	require.Equal(t, "test", document.Info.Version)
	tags := map[string]bool{}
	for _, tag := range document.Tags {
		tags[tag.Name] = true
	}
	ids := map[string]string{}
	for path, item := range document.Paths.Map() {
		require.False(t, strings.HasSuffix(path, "/"), path)
		for method, operation := range item.Operations() {
			name := method + " " + path
			require.NotEmpty(t, operation.Summary, name)
			require.False(t, strings.HasSuffix(operation.Summary, "."), name)
			require.Empty(t, ids[operation.OperationID], "%s has the operationId of %s", name, ids[operation.OperationID])
			ids[operation.OperationID] = name
			require.NotEmpty(t, operation.Tags, name)
			for _, tag := range operation.Tags {
				require.True(t, tags[tag], "%s: tag %s is not described", name, tag)
			}
			require.NotNil(t, operation.Responses.Default(), name)
			checkStatuses(t, name, operation)
		}
	}
}

func checkStatuses(t *testing.T, name string, operation *openapi3.Operation) {
	t.Helper()
	anybody := operation.Security != nil && len(*operation.Security) == 0
	if !anybody {
		require.NotNil(t, operation.Responses.Status(401), name)
	}
	if operation.RequestBody != nil {
		require.NotNil(t, operation.Responses.Status(400), name)
		require.NotNil(t, operation.Responses.Status(422), name)
	}
	if strings.Contains(name, "{") {
		require.NotNil(t, operation.Responses.Status(404), name)
	}
}

// failures is a test that only notes that it failed.
type failures struct {
	testing.TB
	said []string
}

func (f *failures) Helper() {}

func (f *failures) Errorf(format string, args ...any) {
	f.said = append(f.said, fmt.Sprintf(format, args...))
}

// TestWhatIsNoticed sends good and bad exchanges through both wrappers.
func TestWhatIsNoticed(t *testing.T) {
	t.Parallel()
	const (
		object  = "application/json"
		stream  = "text/event-stream"
		problem = `{"error":"e","detail":"e","details":{"cause":"x"},"request_id":"r"}`
		chunk   = `{"content":"a","is_final":false,"input_tokens":0,"output_tokens":0,"model":"m","latency_ms":0,"cost_usd":0,"estimated_cost_usd":0}`
	)
	for name, tc := range map[string]struct {
		method, path, body string
		status             int
		kind, answer       string
		wrong              string // part of what is said; empty: nothing is wrong
	}{
		"good":                 {"GET", "/health", "", 200, object, `{"status":"healthy","app":"a","version":"1","redis":"off"}`, ""},
		"trailing slash":       {"GET", "/health/", "", 200, object, `{"status":"healthy","app":"a","version":"1"}`, ""},
		"wrong value":          {"GET", "/health", "", 200, object, `{"status":"fine","app":"a","version":"1"}`, "status"},
		"member missing":       {"GET", "/auth/verify", "", 200, object, `{}`, "user"},
		"member too many":      {"GET", "/auth/verify", "", 200, object, `{"user":{"any":1},"secret":1}`, "secret"},
		"wrong type of body":   {"GET", "/auth/verify", "", 200, "text/plain", `{"user":{}}`, "text/plain"},
		"no JSON":              {"GET", "/auth/verify", "", 200, object, `{"user":`, "decode"},
		"null where allowed":   {"GET", "/usage/logs", "", 200, object, `{"logs":[],"next":null}`, ""},
		"null where forbidden": {"GET", "/usage/logs", "", 200, object, `{"logs":null,"next":null}`, "logs"},
		"error":                {"GET", "/auth/me", "", 401, object, problem, ""},
		"error in wrong shape": {"GET", "/auth/me", "", 401, object, `{"error":"e"}`, "detail"},
		"status not listed":    {"GET", "/auth/me", "", 409, object, problem, "status"},
		"success not listed":   {"GET", "/auth/me", "", 204, "", "", "status"},
		"any other failure":    {"GET", "/auth/me", "", 503, object, problem, ""},
		"unknown path":         {"GET", "/nowhere", "", 200, object, `{}`, "path"},
		"unknown path is 404":  {"GET", "/nowhere", "", 404, object, problem, ""},
		"unknown method":       {"PATCH", "/auth/me", "", 200, object, `{}`, "method"},
		"method is 405":        {"PATCH", "/auth/me", "", 405, object, problem, ""},
		"bad query is taken":   {"GET", "/usage/logs?limit=0", "", 200, object, `{"logs":[],"next":null}`, "limit"},
		"bad query is refused": {"GET", "/usage/logs?limit=0", "", 422, object, problem, ""},
		"bad body is taken":    {"POST", "/auth/refresh", `{"token":1}`, 200, object, `{"access_token":"a","refresh_token":"r","token_type":"bearer","expires_in":1,"email":"e"}`, "refresh_token"},
		"more in the body":     {"POST", "/auth/refresh", `{"refresh_token":"1","x":1}`, 200, object, `{"access_token":"a","refresh_token":"r","token_type":"bearer","expires_in":1,"email":"e"}`, ""},
		"fixed before wild":    {"GET", "/auth/me/", "", 200, object, `{"auth_url":"x"}`, "id"},
		"stream":               {"POST", "/chat/stream", `{"specialist_id":"s","message":"m"}`, 200, stream, ": ping\n\nevent: message\ndata: " + chunk + "\n\n", ""},
		"bad event":            {"POST", "/chat/stream", `{"specialist_id":"s","message":"m"}`, 200, stream, "data: {\"content\":\"a\"}\n\n", "is_final"},
		"half an event":        {"POST", "/chat/stream", `{"specialist_id":"s","message":"m"}`, 200, stream, "data: " + chunk, "within"},
		"stream of another":    {"POST", "/v1/chat/completions", `{"model":"m","messages":[]}`, 200, stream, "data: {\"x\":1}\n\ndata: [DONE]\n\n", ""},
		"dialect's prefix":     {"POST", "/openai/chat/completions", `{"model":"m","messages":[]}`, 200, object, `{}`, ""},
		"model with a slash":   {"POST", "/gemini/v1beta/models/openai/gpt-4o:generateContent", `{}`, 200, object, `{}`, ""},
		"model without models": {"POST", "/v1beta/openai/gpt-4o:generateContent", `{}`, 200, object, `{}`, ""},
		"Gemini's version one": {"POST", "/v1/models/openai/gpt-4o:countTokens", `{}`, 200, object, `{}`, ""},
		"last blank line":      {"POST", "/v1/chat/completions", `{"model":"m","messages":[]}`, 200, stream, "data: {}\n\ndata: [DONE]\n", ""},
		"array of events":      {"POST", "/v1beta/models/m:streamGenerateContent", `{}`, 200, object, `[{}]`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			next := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body)
				if tc.kind != "" {
					w.Header().Set("Content-Type", tc.kind)
				}
				w.WriteHeader(tc.status)
				_, _ = io.WriteString(w, tc.answer)
			})
			var inside, outside failures
			Handler(&inside, next).ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(tc.method, tc.path, strings.NewReader(tc.body)))

			server := httptest.NewServer(next)
			defer server.Close()
			request, err := http.NewRequestWithContext(t.Context(), tc.method, server.URL+tc.path, strings.NewReader(tc.body))
			require.NoError(t, err)
			response, err := Transport(&outside, server.Client().Transport).RoundTrip(request)
			require.NoError(t, err)
			_, err = io.ReadAll(response.Body)
			require.NoError(t, err)
			require.NoError(t, response.Body.Close())

			for _, f := range []*failures{&inside, &outside} {
				if tc.wrong == "" {
					require.Empty(t, f.said)
					continue
				}
				require.Len(t, f.said, 1)
				require.Contains(t, f.said[0], tc.wrong)
			}
		})
	}
}

// A body that nobody read to its end is checked all the same.
func TestTransportReadsOn(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"status":"fine"}`)
	}))
	defer server.Close()
	var f failures
	client := http.Client{Transport: Transport(&f, server.Client().Transport)}
	response, err := client.Get(server.URL + "/health")
	require.NoError(t, err)
	require.Empty(t, f.said)
	require.NoError(t, response.Body.Close())
	require.Len(t, f.said, 1)
}
