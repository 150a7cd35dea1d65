package execute

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/pipeline/fetch"
)

// serve starts a service that http steps may ask, and gives its host.
func serve(t *testing.T, handler http.HandlerFunc) (host string, client *fetch.Client) {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	host = strings.TrimPrefix(server.URL, "http://")
	client, err := fetch.New(fetch.Options{Hosts: []fetch.Host{{Name: host, Private: true, Plain: true}}})
	require.NoError(t, err)
	return host, client
}

// echo answers with what it was asked.
func echo(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	w.Header().Set("X-Kind", "echo")
	w.Header().Set("Content-Type", "application/json")
	_, _ = io.WriteString(w, compact(map[string]any{
		"method": r.Method, "path": r.URL.EscapedPath(), "q": r.URL.Query()["q"], "fixed": r.URL.Query().Get("fixed"),
		"header": r.Header.Get("X-Asked"), "body": string(body),
	}))
}

func runHTTP(t *testing.T, client *fetch.Client, text, answer string) ran {
	t.Helper()
	f := &fake{reply: byStep(map[string]func(context.Context, int) reply{"a": always(says(answer))})}
	return runOf(t.Context(), t, Options{Models: f, Fetch: client}, Run{Plan: planOf(t, text), Query: "why?"})
}

func TestHTTP(t *testing.T) {
	host, client := serve(t, echo)
	r := runHTTP(t, client, `
steps:
  - name: a
    ask: x
  - name: get
    depends_on: [a]
    http:
      url: "http://`+host+`/v1/things?fixed=1"
      query: {q: "{{ .steps.a.output }}"}
      headers: {X-Asked: "{{ .query }}"}
      pick: '{"status": response.status == 200, "kind": response.headers["x-kind"], "got": response.json, "long": response.body.size() > 10}'
`, "a b&q=c#d")
	require.Equal(t, Completed, r.Status, r.Message)
	require.JSONEq(t, `{"status":true,"kind":"echo","long":true,"got":{
		"method":"GET","path":"/v1/things","q":["a b&q=c#d"],"fixed":"1","header":"why?","body":""}}`, r.Output)
	require.Equal(t, []string{"start get", "complete get"}, r.short()[3:])
}

func TestHTTPBody(t *testing.T) {
	host, client := serve(t, echo)
	r := runHTTP(t, client, `
steps:
  - name: post
    http: {url: "http://`+host+`/", body: "<{{ .query }}>", pick: response.json.method + " " + response.json.body}
`, "")
	require.Equal(t, "POST <why?>", r.Output, r.Message)
}

// Without a pick the output is the body, and an item of a map a text.
func TestHTTPItems(t *testing.T) {
	host, client := serve(t, func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.URL.Path) })
	r := runHTTP(t, client, `
steps:
  - name: all
    map: {over: "[1, 2]"}
    http: {url: "http://`+host+`/{{ .item }}"}
`, "")
	require.Equal(t, `["/1","/2"]`, r.Output, r.Message)
}

func TestHTTPTriesAgain(t *testing.T) {
	var asked atomic.Int32
	host, client := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		if asked.Add(1) < 3 {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		_, _ = io.WriteString(w, "there")
	})
	text := func(retries string) string {
		return `
steps:
  - name: get
    retries: ` + retries + `
    backoff: 1ms
    http: {url: "http://` + host + `/"}
`
	}
	r := runHTTP(t, client, text("0"), "")
	require.Equal(t, CodeStep, r.Code)
	r = runHTTP(t, client, text("2"), "")
	require.Equal(t, "there", r.Output, r.Message)
	require.Len(t, r.short(), 3, "one retry is told")
}

// What an output says cannot choose the host, nor add a header.
func TestHTTPInjection(t *testing.T) {
	var asked atomic.Int32
	host, client := serve(t, func(http.ResponseWriter, *http.Request) { asked.Add(1) })
	r := runHTTP(t, client, `
steps:
  - name: a
    ask: x
  - name: get
    depends_on: [a]
    http: {url: "http://`+host+`/", headers: {X-Asked: "{{ .steps.a.output }}"}}
`, "x\r\nAuthorization: secret")
	require.Equal(t, CodeStep, r.Code)
	require.Equal(t, `step "get" failed: its header "X-Asked" would have several lines`, r.Message)
	require.Zero(t, asked.Load())
}

func TestNoHTTP(t *testing.T) {
	r := runHTTP(t, nil, `
steps:
  - name: get
    retries: 0
    http: {url: "https://api.example.com/"}
`, "")
	require.Equal(t, CodeStep, r.Code)
}

func TestHTTPCountsAsCall(t *testing.T) {
	host, client := serve(t, echo)
	r := runHTTP(t, client, `
limits: {calls: 1}
steps:
  - name: get
    map: {over: "[1, 2]", parallel: 1}
    http: {url: "http://`+host+`/"}
`, "")
	require.Equal(t, CodeCalls, r.Code)
}
