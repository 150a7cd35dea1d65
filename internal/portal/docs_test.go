package portal

import (
	"crypto/tls"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/gateway"
	"github.com/financecommander/tollgate/internal/portal/apitest"
)

// TestDocumentHasEveryRoute: what is served is described, and nothing else.
func TestDocumentHasEveryRoute(t *testing.T) {
	t.Parallel()
	document, err := apitest.Document()
	require.NoError(t, err)
	var described []string
	for path, item := range document.Paths.Map() {
		for method := range item.Operations() {
			described = append(described, method+" "+path)
		}
	}
	served := append(New(Options{}).Routes(), gateway.Routes...)
	slices.Sort(served)
	slices.Sort(described)
	require.Equal(t, slices.Compact(served), described)
}

func TestOpenAPI(t *testing.T) {
	t.Parallel()
	answer := object(t, call(newHandler(t, nil), nil, "GET", "/openapi.json", ""), 200)
	require.Equal(t, "3.0.3", answer["openapi"])
	require.Equal(t, "1.2.3", answer["info"].(map[string]any)["version"])
}

// TestDocsPage: the page works with and without a slash, everything on it comes
// from here, and its policy allows just what is on it.
func TestDocsPage(t *testing.T) {
	t.Parallel()
	h := newHandler(t, nil)
	page := call(h, nil, "GET", "/docs", "")
	require.Equal(t, 200, page.Code)
	require.Equal(t, "text/html; charset=utf-8", page.Header().Get("Content-Type"))
	require.Equal(t, page.Body.String(), call(h, nil, "GET", "/docs/", "").Body.String())

	links := regexp.MustCompile(`(?:src|href)="([^"]+)"`).FindAllStringSubmatch(page.Body.String(), -1)
	require.GreaterOrEqual(t, len(links), 4)
	for _, link := range links {
		require.True(t, strings.HasPrefix(link[1], "/docs/"), link[1])
		file := call(h, nil, "GET", link[1], "")
		require.Equal(t, 200, file.Code, link[1])
		require.NotEmpty(t, file.Body.Bytes())
		require.NotEqual(t, "no-store", file.Header().Get("Cache-Control"))
		require.Equal(t, "nosniff", file.Header().Get("X-Content-Type-Options"))
	}
	require.NotRegexp(t, `(?:src|href)="(https?:)?//`, page.Body.String())
	require.NotRegexp(t, `\son[a-z]+=`, page.Body.String(), "no hash covers an inline handler")

	policy := page.Header().Get("Content-Security-Policy")
	require.Contains(t, policy, "default-src 'none'; script-src 'self' 'sha256-")
	require.Equal(t, strings.Count(page.Body.String(), "<script>"), strings.Count(policy, "'sha256-"))
	require.NotContains(t, strings.Split(policy, "style-src")[0], "unsafe")
}

func TestSecurityHeaders(t *testing.T) {
	t.Parallel()
	h := newHandler(t, nil)
	want := map[string]string{
		"Cache-Control":                "no-store",
		"Content-Security-Policy":      "default-src 'none'; frame-ancestors 'none'",
		"Cross-Origin-Resource-Policy": "same-origin",
		"Referrer-Policy":              "no-referrer",
		"X-Content-Type-Options":       "nosniff",
		"X-Frame-Options":              "DENY",
		"Strict-Transport-Security":    "",
	}
	for _, path := range []string{"/health", "/auth/me", "/nowhere", "/usage/logs?limit=0", "/openapi.json"} {
		answer := call(h, nil, "GET", path, "")
		for name, value := range want {
			require.Equal(t, value, answer.Header().Get(name), "%s %s", path, name)
		}
	}
	r := httptest.NewRequest("GET", "/health", nil)
	r.TLS = &tls.ConnectionState{}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	require.Equal(t, "max-age=31536000", w.Header().Get("Strict-Transport-Security"))

	// A page that CORS allows reads answers in spite of the policy on embedding.
	r = httptest.NewRequest("GET", "/health", nil)
	r.Header.Set("Origin", "https://portal.example.com")
	w = httptest.NewRecorder()
	CORS([]string{"https://portal.example.com"}, h).ServeHTTP(w, r)
	require.Equal(t, "https://portal.example.com", w.Header().Get("Access-Control-Allow-Origin"))
	require.True(t, json.Valid(w.Body.Bytes()))
	require.Equal(t, http.StatusOK, w.Code)
}
