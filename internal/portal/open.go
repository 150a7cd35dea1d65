package portal

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/financecommander/tollgate/internal/identity/login"
)

// Paths are those that the API answers, as Caddy's path matcher takes them: what
// [Open] does not tell of needs an access token.
var Paths = []string{
	"/auth/*", "/audit", "/audit/*", "/specialists", "/specialists/*", "/conversations", "/conversations/*",
	"/chat/*", "/usage", "/usage/*", "/pipelines", "/pipelines/*", "/api/v2/*",
}

// SignsIn tells whether a request is one by which somebody without a token signs
// in: those have a small bucket of their own.
func SignsIn(r *http.Request) bool {
	path, ok := segments(r)
	if !ok || len(path) < 2 || path[0] != "auth" {
		return false
	}
	name := path[1]
	isProvider := name == login.EmailName || !slices.Contains(login.Reserved, name)
	switch r.Method {
	case http.MethodPost:
		return len(path) == 2 && name == "login" || len(path) == 3 && path[2] == "callback" && isProvider
	case http.MethodGet, http.MethodHead:
		return len(path) == 2 && isProvider
	}
	return false
}

// Open tells whether a request takes no access token: it is for anybody, or has a
// proof of its own in it.
func Open(r *http.Request) bool {
	if SignsIn(r) {
		return true
	}
	path, ok := segments(r)
	if !ok {
		return false
	}
	switch whole := strings.Join(path, "/"); {
	case whole == "auth/refresh", whole == "auth/logout":
		return r.Method == http.MethodPost
	case whole == "health", whole == "openapi.json", path[0] == "docs":
		return true
	case whole == "auth/providers", // a page that shows them signs nobody in yet
		whole == "api/v2/pipelines/schema": // editors complete against it
		return r.Method == http.MethodGet || r.Method == http.MethodHead
	case whole == "chat/ws", len(path) == 5 && path[4] != "" && strings.Join(path[:4], "/") == "api/v2/pipelines/ws": // the first message has the token
		return r.Method == http.MethodGet
	}
	return false
}

// Spends tells whether a request makes model calls, by starting a run or going on
// with one: it takes one from what its caller may spend.
func Spends(r *http.Request) bool {
	path, ok := segments(r)
	if !ok || r.Method != http.MethodPost || len(path) < 4 || strings.Join(path[:3], "/") != "api/v2/pipelines" {
		return false
	}
	return len(path) == 4 && path[3] == "run" || len(path) == 6 && path[3] == "runs" && path[5] == "resume"
}

// segments are the parts of a request's path, decoded one by one as http.ServeMux
// does. It refuses the same paths as [Handler.ServeHTTP].
func segments(r *http.Request) ([]string, bool) {
	bare, ok := withoutTrailingSlash(r)
	if !ok {
		return nil, false
	}
	path := strings.Split(strings.TrimPrefix(bare.URL.EscapedPath(), "/"), "/")
	for i, segment := range path {
		decoded, err := url.PathUnescape(segment)
		if err != nil || strings.Contains(decoded, "/") {
			return nil, false
		}
		path[i] = decoded
	}
	return path, true
}
