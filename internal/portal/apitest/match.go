package apitest

import (
	"net/url"
	"regexp"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
)

// match finds the path of the document that a request's path is: the one with the
// fewest parameters in it.
func match(document *openapi3.T, escaped string) (path string, params map[string]string, ok bool) {
	asked := canonical(escaped)
	for _, template := range document.Paths.InMatchingOrder() {
		if found, is := fits(template, asked); is && (!ok || len(found) < len(params)) {
			path, params, ok = template, found, true
		}
	}
	return path, params, ok
}

// canonical gives the path in the form that the document has: without a trailing
// slash, without the prefix that names a dialect, and the version in it once.
func canonical(path string) string {
	path = strings.TrimSuffix(path, "/")
	for _, prefix := range []string{"/openai", "/anthropic", "/gemini"} {
		rest, ok := strings.CutPrefix(path, prefix+"/")
		if !ok {
			continue
		}
		path = "/" + rest
		if prefix == "/openai" && !strings.HasPrefix(path, "/v1/") {
			path = "/v1" + path
		}
	}
	for _, version := range []string{"/v1", "/v1beta"} {
		if strings.HasPrefix(path, version+version+"/") {
			path = path[len(version):]
		}
	}
	// Gemini's calls, whose version may be 1 and whose model may go without "models/".
	name, called := strings.CutPrefix(path, "/v1/models/")
	if !called {
		name, called = strings.CutPrefix(path, "/v1beta/")
		name = strings.TrimPrefix(name, "models/")
	}
	if called && strings.Contains(name, ":") {
		path = "/v1beta/models/" + name
	}
	return path
}

var parameter = regexp.MustCompile(`\\\{([a-z_]+)\\\}`)

// fits reads the parameters of a path, if it is the template's. Names of models
// may have slashes in them.
func fits(template, path string) (map[string]string, bool) {
	value := "([^/]+)"
	if strings.HasPrefix(template, "/v1") {
		value = "(.+)"
	}
	quoted := regexp.QuoteMeta(template)
	found := regexp.MustCompile("^" + parameter.ReplaceAllString(quoted, value) + "$").FindStringSubmatch(path)
	if found == nil {
		return nil, false
	}
	params := make(map[string]string)
	for i, name := range parameter.FindAllStringSubmatch(quoted, -1) {
		text, err := url.PathUnescape(found[i+1])
		if err != nil {
			return nil, false
		}
		params[name[1]] = text
	}
	return params, true
}
