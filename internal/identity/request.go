package identity

import (
	"iter"
	"net/http"
	"net/url"
	"strings"

	"github.com/financecommander/tollgate/internal/llm"
)

// keyParameter is the query parameter Google's clients put their key in.
const keyParameter = "key"

// tokenHeaders are the headers that can hold a token, as every SDK has its own.
var tokenHeaders = []string{"Authorization", "X-Api-Key", "X-Goog-Api-Key"}

// TokenFromRequest finds the caller's token, wherever the caller's SDK puts its
// key: "Authorization: Bearer" (RFC 6750; other schemes are not ours and count
// as no token), "x-api-key" (Anthropic), "x-goog-api-key" or "?key=" (Google).
// It gives "" when there is none, and an [*llm.Error] when there are several
// that differ, since a proxy in front may have checked another one than we do.
func TokenFromRequest(r *http.Request) (string, error) {
	var token string
	for _, candidate := range candidates(r) {
		switch {
		case candidate == "":
		case token == "":
			token = candidate
		case token != candidate:
			return "", &llm.Error{
				Cause:   llm.CauseUnauthenticated,
				Message: "the request carries more than one token, and they differ: send one, in the Authorization header, x-api-key, x-goog-api-key or ?key=",
			}
		}
	}
	return token, nil
}

func candidates(r *http.Request) []string {
	var found []string
	for _, name := range tokenHeaders {
		for _, value := range r.Header[name] {
			if name == "Authorization" {
				value = bearer(value)
			}
			found = append(found, strings.TrimSpace(value))
		}
	}
	for pair := range queryPairs(r.URL.RawQuery) {
		if name, value, _ := strings.Cut(pair.text, "="); unescape(name) == keyParameter {
			found = append(found, strings.TrimSpace(unescape(value)))
		}
	}
	return found
}

// bearer gives the token of an Authorization header, "" for other schemes. The
// scheme's case does not matter (RFC 9110, 11.1).
func bearer(value string) string {
	scheme, token, _ := strings.Cut(strings.TrimSpace(value), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return token
}

// Strip removes every token from the request, so that none is logged or
// forwarded: the headers whatever they hold, and the "key" parameter from the
// URL and the request URI. All other bytes of the query stay as they are.
func Strip(r *http.Request) {
	for _, name := range tokenHeaders {
		delete(r.Header, name)
	}
	if stripped, changed := stripKey(r.URL.RawQuery); changed {
		r.URL.RawQuery = stripped
		r.URL.ForceQuery = false
	}
	if path, query, ok := strings.Cut(r.RequestURI, "?"); ok {
		if stripped, changed := stripKey(query); changed {
			r.RequestURI = path
			if stripped != "" {
				r.RequestURI += "?" + stripped
			}
		}
	}
	delete(r.Form, keyParameter)
}

// stripKey removes the key parameters from a raw query, each with the separator
// before it.
func stripKey(query string) (stripped string, changed bool) {
	var kept strings.Builder
	first := true
	for pair := range queryPairs(query) {
		if name, _, _ := strings.Cut(pair.text, "="); unescape(name) == keyParameter {
			changed = true
			continue
		}
		if !first {
			kept.WriteString(pair.separator)
		}
		kept.WriteString(pair.text)
		first = false
	}
	if !changed {
		return query, false
	}
	return kept.String(), true
}

// queryPair is one name=value of a raw query, still escaped, and the separator
// before it.
type queryPair struct{ separator, text string }

// queryPairs cuts a raw query at "&" and also at ";", which Go refuses but some
// servers behind us take as a separator, and would find a token after.
func queryPairs(query string) iter.Seq[queryPair] {
	return func(yield func(queryPair) bool) {
		separator := ""
		for {
			end := strings.IndexAny(query, "&;")
			if end < 0 {
				yield(queryPair{separator, query})
				return
			}
			if !yield(queryPair{separator, query[:end]}) {
				return
			}
			separator, query = query[end:end+1], query[end+1:]
		}
	}
}

// unescape decodes a part of a query; what cannot be decoded is taken literally.
func unescape(text string) string {
	if decoded, err := url.QueryUnescape(text); err == nil {
		return decoded
	}
	return text
}
