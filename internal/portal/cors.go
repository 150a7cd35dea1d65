package portal

import (
	"net/http"
	"slices"
	"strings"
)

// exposedHeaders are those that a page of another origin may read.
const exposedHeaders = "X-RateLimit-Limit, X-RateLimit-Remaining, X-RateLimit-Reset, Retry-After, X-Request-Id, X-Tollgate-Demo"

// CORS lets browser pages of the given origins ("https://portal.example.com",
// or "*" for all) call next (Fetch standard, section 3.3). It answers preflights
// itself, so nothing behind it limits, logs or counts them. Without origins it is next
// itself: only pages of the gateway's own origin may call it then.
func CORS(origins []string, next http.Handler) http.Handler {
	if len(origins) == 0 {
		return next
	}
	allowed := make([]string, len(origins))
	for i, origin := range origins {
		allowed[i] = strings.ToLower(strings.TrimSuffix(strings.TrimSpace(origin), "/"))
	}
	anyone := slices.Contains(allowed, "*")
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		header := w.Header()
		header.Add("Vary", "Origin")
		origin := r.Header.Get("Origin")
		ok := origin != "" && (anyone || slices.Contains(allowed, origin))
		if ok {
			header.Set("Access-Control-Allow-Origin", origin)
			header.Set("Access-Control-Expose-Headers", exposedHeaders)
		}
		if !isPreflight(r) {
			next.ServeHTTP(w, r)
			return
		}
		if ok {
			header.Set("Access-Control-Allow-Methods", "GET, HEAD, POST, PUT, DELETE")
			// Every SDK adds headers of its own; none of ours decides anything by
			// being hard to send, so all that are asked for are allowed.
			header.Add("Vary", "Access-Control-Request-Headers")
			if asked := r.Header.Get("Access-Control-Request-Headers"); asked != "" {
				header.Set("Access-Control-Allow-Headers", asked)
			}
			header.Set("Access-Control-Max-Age", "600")
		}
		w.WriteHeader(http.StatusNoContent)
	})
}

func isPreflight(r *http.Request) bool {
	return r.Method == http.MethodOptions && r.Header.Get("Origin") != "" &&
		r.Header.Get("Access-Control-Request-Method") != ""
}
