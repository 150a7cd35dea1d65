package portal

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestCORS(t *testing.T) {
	t.Parallel()
	const page = "https://portal.example.com"
	next := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) })
	ask := func(origins []string, method string, header ...string) *http.Response {
		r := httptest.NewRequest(method, "/chat/send", nil)
		for i := 0; i < len(header); i += 2 {
			r.Header.Set(header[i], header[i+1])
		}
		w := httptest.NewRecorder()
		CORS(origins, next).ServeHTTP(w, r)
		return w.Result()
	}
	preflight := []string{
		"Origin", page, "Access-Control-Request-Method", "POST",
		"Access-Control-Request-Headers", "authorization,content-type,x-stainless-lang",
	}

	t.Run("preflight", func(t *testing.T) {
		response := ask([]string{"https://other.example", " " + page + "/"}, "OPTIONS", preflight...)
		require.Equal(t, 204, response.StatusCode)
		require.Equal(t, page, response.Header.Get("Access-Control-Allow-Origin"))
		require.Contains(t, response.Header.Get("Access-Control-Allow-Methods"), "DELETE")
		require.Equal(t, "authorization,content-type,x-stainless-lang", response.Header.Get("Access-Control-Allow-Headers"))
		require.ElementsMatch(t, []string{"Origin", "Access-Control-Request-Headers"}, response.Header.Values("Vary"))
		require.Empty(t, response.Header.Get("Access-Control-Allow-Credentials"))
	})
	t.Run("call", func(t *testing.T) {
		response := ask([]string{page}, "POST", "Origin", page)
		require.Equal(t, http.StatusTeapot, response.StatusCode)
		require.Equal(t, page, response.Header.Get("Access-Control-Allow-Origin"))
		for _, name := range []string{"X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset", "Retry-After"} {
			require.Contains(t, response.Header.Get("Access-Control-Expose-Headers"), name)
		}
	})
	t.Run("anyone", func(t *testing.T) {
		require.Equal(t, page, ask([]string{"*"}, "OPTIONS", preflight...).Header.Get("Access-Control-Allow-Origin"))
	})
	t.Run("strangers", func(t *testing.T) {
		for _, origin := range []string{
			"https://evil.example", "http://portal.example.com", page + ":8443", page + ".evil.example",
			"https://sub.portal.example.com", "null", "https://PORTAL.example.com", "",
		} {
			response := ask([]string{page}, "OPTIONS", "Origin", origin, "Access-Control-Request-Method", "POST")
			require.Empty(t, response.Header.Get("Access-Control-Allow-Origin"), origin)
			response = ask([]string{page}, "GET", "Origin", origin)
			require.Equal(t, http.StatusTeapot, response.StatusCode)
			require.Empty(t, response.Header.Get("Access-Control-Allow-Origin"), origin)
			require.Equal(t, "Origin", response.Header.Get("Vary"), "caches must keep the origins apart")
		}
	})
	t.Run("a plain OPTIONS is no preflight", func(t *testing.T) {
		require.Equal(t, http.StatusTeapot, ask([]string{page}, "OPTIONS", "Origin", page).StatusCode)
	})
	t.Run("off", func(t *testing.T) {
		response := ask(nil, "OPTIONS", preflight...)
		require.Equal(t, http.StatusTeapot, response.StatusCode)
		require.Empty(t, response.Header.Get("Access-Control-Allow-Origin"))
	})
}
