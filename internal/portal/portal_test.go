package portal

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/financecommander/tollgate/internal/identity"
	"github.com/financecommander/tollgate/internal/portal/apitest"
	"github.com/financecommander/tollgate/internal/secret"
	"github.com/financecommander/tollgate/internal/specialist"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	aliceHash = "a11ce00000000000000000000000000000000000000000000000000000000000"
	bobHash   = "b0b0000000000000000000000000000000000000000000000000000000000000"
)

var (
	alice = &identity.Principal{Subject: "alice", Name: "Alice", Issuer: "tollgate", UserHash: aliceHash, EmailHash: aliceHash}
	admin = &identity.Principal{Subject: "root", Name: "Root", Issuer: "tollgate", UserHash: bobHash, Roles: []string{"admin"}}
)

// newHandler makes a portal with everything in it, changed by edit.
func newHandler(t *testing.T, edit func(*Options)) *Handler {
	t.Helper()
	registry, err := specialist.NewRegistry(specialist.Options{Configured: specialist.Defaults()})
	require.NoError(t, err)
	db := newDatabase(t)
	o := Options{
		Version: "1.2.3",
		Checks: map[string]func(context.Context) error{
			"database": func(context.Context) error { return nil },
			"redis":    nil,
			"spool":    func(context.Context) error { return nil },
		},
		Specialists: registry,
		Usage:       newUsageFake(),
		Auth:        AuthOptions{Trusted: func() bool { return true }, Sessions: newSessions(t, db, nil), Audit: db},
	}
	if edit != nil {
		edit(&o)
	}
	h := New(o)
	underTest.Store(h, t)
	t.Cleanup(func() { underTest.Delete(h) })
	return h
}

// underTest has the test of each handler that newHandler made.
var underTest sync.Map

// checked is h with its answers held against the OpenAPI document.
func checked(h http.Handler) http.Handler {
	if t, ok := underTest.Load(h); ok {
		return apitest.Handler(t.(*testing.T), h)
	}
	return h
}

var testSecret = secret.New("a secret of at least thirty-two bytes, for tests")

// call sends a request from this machine, as p when p is not nil.
func call(h http.Handler, p *identity.Principal, method, target, body string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	r.RemoteAddr, r.Host = "127.0.0.1:5000", "localhost:8080"
	if p != nil {
		r = r.WithContext(identity.NewContext(r.Context(), p))
	}
	w := httptest.NewRecorder()
	checked(h).ServeHTTP(w, r)
	return w
}

// object reads an answer, which must be a JSON object with the wanted status.
func object(t *testing.T, w *httptest.ResponseRecorder, status int) map[string]any {
	t.Helper()
	require.Equal(t, status, w.Code, w.Body.String())
	require.Equal(t, "application/json", w.Header().Get("Content-Type"))
	require.Equal(t, "no-store", w.Header().Get("Cache-Control"))
	var v map[string]any
	require.NoError(t, json.Unmarshal(w.Body.Bytes(), &v), w.Body.String())
	return v
}

// requireProblem checks that an answer is an error in the portal's shape.
func requireProblem(t *testing.T, w *httptest.ResponseRecorder, status int) map[string]any {
	t.Helper()
	v := object(t, w, status)
	require.ElementsMatch(t, []string{"error", "detail", "details", "request_id"}, slices.Collect(maps.Keys(v)))
	require.NotEmpty(t, v["error"])
	require.Equal(t, v["error"], v["detail"])
	require.IsType(t, map[string]any{}, v["details"])
	require.Equal(t, w.Header().Get("X-Request-Id"), v["request_id"])
	require.Equal(t, status == http.StatusUnauthorized, w.Header().Get("WWW-Authenticate") == "Bearer")
	return v
}

// routes are all routes with an answer of 200 for an admin.
var routes = []struct{ method, path, body string }{
	{"GET", "/health", ""},
	{"POST", "/auth/login", `{"email":"alice@example.com"}`},
	{"GET", "/auth/providers", ""},
	{"GET", "/auth/me", ""},
	{"GET", "/auth/verify", ""},
	{"GET", "/auth/users", ""},
	{"GET", "/audit", ""},
	{"GET", "/specialists", ""},
	{"GET", "/specialists/code-reviewer", ""},
	{"GET", "/usage", ""},
	{"GET", "/usage/logs", ""},
	{"GET", "/usage/summary", ""},
	{"GET", "/usage/export", ""},
	{"GET", "/usage/pipelines", ""},
	{"GET", "/pipelines", ""},
	{"GET", "/api/v2/pipelines/list", ""},
	{"GET", "/docs", ""},
	{"GET", "/openapi.json", ""},
}

func TestEveryRouteWithAndWithoutSlash(t *testing.T) {
	t.Parallel()
	h := newHandler(t, nil)
	for _, route := range routes {
		for _, path := range []string{route.path, route.path + "/", route.path + "/?a=b"} {
			w := call(h, admin, route.method, path, route.body)
			require.Equal(t, 200, w.Code, "%s %s: %s", route.method, path, w.Body)
			require.True(t, h.Serves(httptest.NewRequest(route.method, path, nil)), path)
		}
	}
}

func TestHeadIsAGetWithoutBody(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(newHandler(t, nil))
	defer server.Close()
	for _, path := range []string{"/health", "/health/"} {
		response, err := server.Client().Head(server.URL + path)
		require.NoError(t, err)
		body, err := io.ReadAll(response.Body)
		require.NoError(t, err)
		require.NoError(t, response.Body.Close())
		require.Equal(t, 200, response.StatusCode)
		require.Empty(t, body)
	}
	response, err := server.Client().Head(server.URL + "/auth/login")
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	require.Equal(t, 405, response.StatusCode)
	require.Equal(t, "POST", response.Header.Get("Allow"))
}

func TestWrongMethodIs405(t *testing.T) {
	t.Parallel()
	h := newHandler(t, nil)
	for _, route := range routes {
		for _, method := range []string{"PATCH", "OPTIONS", "TRACE"} { // which no route takes
			for _, path := range []string{route.path, route.path + "/"} {
				w := call(h, admin, method, path, "")
				requireProblem(t, w, 405)
				allow := strings.Split(w.Header().Get("Allow"), ", ")
				require.Contains(t, allow, route.method)
				require.NotContains(t, allow, method)
				require.Equal(t, slices.Contains(allow, "GET"), slices.Contains(allow, "HEAD"))
			}
		}
	}
}

func TestUnknownPathIs404(t *testing.T) {
	t.Parallel()
	h := newHandler(t, nil)
	for _, path := range []string{
		"/", "//", "/auth", "/auth/", "/health/x", "/Health", "/health//", "//health",
		"/auth/./me", "/auth/../health", "/auth//me", "/specialists/a/b", "/specialists//", "/specialists/..",
		"/specialists/%2e%2e/x", "/v1/models", "/usage/x", "/docs/nothing.js", "/docs/swagger-ui.css.gz", "/docs/x/y", "/pipelines/x", "/health/..", "/%2e%2e/health",
	} {
		r := httptest.NewRequest("GET", "http://localhost"+path, nil)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		require.NotContains(t, w.Header(), "Location", path)
		requireProblem(t, w, 404)
		require.False(t, h.Serves(r), path)
	}
	r := httptest.NewRequest("OPTIONS", "*", nil)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	requireProblem(t, w, 404)
}

func TestAnonymousIs401(t *testing.T) {
	t.Parallel()
	h := newHandler(t, nil)
	for _, path := range []string{"/auth/me", "/auth/verify/", "/auth/tokens", "/auth/users/", "/audit", "/specialists/", "/specialists/code-reviewer", "/usage/logs"} {
		requireProblem(t, call(h, nil, "GET", path, ""), 401)
	}
}

func TestRequestIDOfAnEarlierLayerIsKept(t *testing.T) {
	t.Parallel()
	h := newHandler(t, nil)
	w := httptest.NewRecorder()
	w.Header().Set("X-Request-Id", "req_7")
	h.ServeHTTP(w, httptest.NewRequest("GET", "/nowhere", nil))
	require.Equal(t, "req_7", requireProblem(t, w, 404)["request_id"])

	first := requireProblem(t, call(h, nil, "GET", "/nowhere", ""), 404)["request_id"]
	second := requireProblem(t, call(h, nil, "GET", "/nowhere", ""), 404)["request_id"]
	require.NotEqual(t, first, second)
}

func TestHealth(t *testing.T) {
	t.Parallel()
	require.Equal(t, map[string]any{
		"status": "healthy", "app": "Tollgate", "version": "1.2.3", "database": "ok", "redis": "off", "spool": "ok",
	}, object(t, call(newHandler(t, nil), nil, "GET", "/health", ""), 200))

	h := newHandler(t, func(o *Options) {
		o.Checks["database"] = func(context.Context) error { return errors.New("dial postgres://user:password@db") }
	})
	w := call(h, nil, "GET", "/health", "")
	require.Equal(t, map[string]any{
		"status": "degraded", "app": "Tollgate", "version": "1.2.3", "database": "down", "redis": "off", "spool": "ok",
	}, object(t, w, 200))
}

func TestHealthChecksRunRarelyAndOutliveTheirCaller(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		runs := 0
		h := newHandler(t, func(o *Options) {
			o.Checks = map[string]func(context.Context) error{"database": func(ctx context.Context) error {
				runs++
				_, bounded := ctx.Deadline()
				assert.True(t, bounded)
				return ctx.Err()
			}}
		})
		gone, leave := context.WithCancel(t.Context())
		leave()
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", "/health", nil).WithContext(gone))
		require.Equal(t, "ok", object(t, w, 200)["database"])
		for range 50 {
			call(h, nil, "GET", "/health", "")
		}
		time.Sleep(healthMaxAge - 1)
		call(h, nil, "GET", "/health", "")
		require.Equal(t, 1, runs)
		time.Sleep(time.Nanosecond)
		call(h, nil, "GET", "/health", "")
		require.Equal(t, 2, runs)
	})
}
