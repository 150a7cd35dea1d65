package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/portal/apitest"
)

// answer is a whole HTTP answer.
type answer struct {
	Status int
	Header http.Header
	Body   string
}

// get decodes a JSON answer's member by its dotted path, "" if there is none.
func (a answer) get(path string) string {
	var at any
	if json.Unmarshal([]byte(a.Body), &at) != nil {
		return ""
	}
	for name := range strings.SplitSeq(path, ".") {
		object, _ := at.(map[string]any)
		at = object[name]
	}
	if at == nil {
		return ""
	}
	return fmt.Sprint(at)
}

// do makes a call. The token may be empty; headers are names and values in turn.
func (g *gateway) do(method, path, token, body string, headers ...string) answer {
	g.t.Helper()
	a, err := g.try(method, path, token, body, headers...)
	require.NoError(g.t, err)
	return a
}

// newClient gives a client that makes a connection per call, so that no call
// depends on when a server closes idle ones, and follows no redirect. It
// connects to the socket, if one is given, and else as usual.
func newClient(socket string) *http.Client {
	transport := &http.Transport{DisableKeepAlives: true}
	if socket != "" {
		transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		}
	}
	return &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// checked holds all that is said to and by the gateway's API against its OpenAPI
// document.
func (g *gateway) checked() {
	bare := g.client.Transport
	api := apitest.Transport(g.t, bare)
	g.client.Transport = roundTrip(func(r *http.Request) (*http.Response, error) {
		for _, other := range []string{"/portal", "/assets/", "/images/", "/favicon.ico", "/metrics", "/config/", "/llm/"} {
			if strings.HasPrefix(r.URL.Path, other) {
				return bare.RoundTrip(r)
			}
		}
		return api.RoundTrip(r)
	})
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// listenOnSocket makes the gateway listen on a Unix socket.
func (g *gateway) listenOnSocket() {
	g.t.Helper()
	dir, err := os.MkdirTemp("", "tollgate") // t.TempDir() is too long for a socket's name
	require.NoError(g.t, err)
	g.t.Cleanup(func() { os.RemoveAll(dir) })
	socket := filepath.Join(dir, "socket")
	g.setenv("LISTEN=unix/" + socket)
	g.client, g.bind = newClient(socket), "unix/"+socket
	g.checked()
	g.URL = "http://localhost"
}

// try makes a call, again if the connection ends without an answer, as SDKs do.
func (g *gateway) try(method, path, token, body string, headers ...string) (a answer, err error) {
	for i := range 8 {
		if a, err = g.once(g.request(method, path, token, body, headers...)); err == nil || a.Status != 0 {
			return a, err
		}
		g.again.Add(1)
		time.Sleep(5 * time.Millisecond << i)
	}
	return a, err
}

func (g *gateway) once(request *http.Request) (answer, error) {
	client := g.client
	if !strings.HasPrefix(request.URL.String(), g.URL) {
		client = newClient("") // the admin endpoint is never on the site's socket
	}
	resp, err := client.Do(request)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, resp.Header, string(text)}, err
}

func (g *gateway) request(method, path, token, body string, headers ...string) *http.Request {
	g.t.Helper()
	url := g.URL + path
	if strings.HasPrefix(path, "http") {
		url = path
	}
	request, err := http.NewRequestWithContext(g.t.Context(), method, url, strings.NewReader(body))
	require.NoError(g.t, err)
	if body != "" {
		request.Header.Set("Content-Type", "application/json")
	}
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	for i := 0; i < len(headers); i += 2 {
		request.Header.Set(headers[i], headers[i+1])
	}
	return request
}

// login signs in by e-mail and gives the token.
func (g *gateway) login(email string) string {
	g.t.Helper()
	a := g.do("POST", "/auth/login", "", `{"email":"`+email+`"}`)
	require.Equal(g.t, 200, a.Status, a.Body)
	return a.get("access_token")
}

// chat is a body for /v1/chat/completions.
func chat(model string, stream bool) string {
	return fmt.Sprintf(`{"model":%q,"stream":%t,"messages":[{"role":"user","content":"Hello!"}]}`, model, stream)
}

// ask makes an OpenAI chat call.
func (g *gateway) ask(token, model string, stream bool) answer {
	g.t.Helper()
	return g.do("POST", "/v1/chat/completions", token, chat(model, stream))
}

// row is what the tests look at in a row of the usage log.
type row struct {
	ID, Provider, Model string
	SpecialistID        string `json:"specialist_id"`
	InputTokens         int64  `json:"input_tokens"`
	OutputTokens        int64  `json:"output_tokens"`
	Success             bool
}

// rows waits until the caller's usage log holds n rows, or more, and gives them.
func (g *gateway) rows(token string, n int) (rows []row) {
	g.t.Helper()
	g.eventually(strconv.Itoa(n)+" rows in the usage log", func() bool {
		rows = g.allRows(token)
		return len(rows) >= n
	})
	return rows
}

// allRows gives what the caller's usage log holds now, page by page.
func (g *gateway) allRows(token string) (rows []row) {
	g.t.Helper()
	before := ""
	for {
		a := g.do("GET", "/usage/logs?limit=200&before="+before, token, "")
		var page struct {
			Logs []row
			Next string
		}
		require.NoError(g.t, json.Unmarshal([]byte(a.Body), &page), a.Body)
		rows = append(rows, page.Logs...)
		if before = page.Next; before == "" {
			return rows
		}
	}
}
