package gateway

import (
	"net/http"
	"strings"

	"github.com/financecommander/tollgate/internal/dialect"
)

// operation is what a path of a client's dialect is for.
type operation int

const (
	opNone        operation = iota // not a path of ours
	opUnknown                      // below one of our prefixes, but nothing is there
	opCall                         // a model call: it spends
	opCount                        // count a request's tokens
	opListModels                   // list the models
	opGetModel                     // describe one
	opStored                       // an answer kept for later (Responses)
	opStoredItems                  // its input
)

// endpoint is what a request's path asks for.
type endpoint struct {
	operation
	format dialect.Name // the caller's dialect, also for errors
	method string       // the only method taken; "" for several
	// What Gemini's paths, and the portal's, say of a call.
	model  string
	stream bool
	direct bool // a model itself is asked for, not a specialist
	batch  bool // embeddings for many
	array  bool // the stream is wanted as a JSON array
	id     string
}

// takes says whether the endpoint takes a method.
func (e endpoint) takes(method string) bool {
	return e.method == "" || e.method == method || e.method == http.MethodGet && method == http.MethodHead
}

// prefixes stand in front of each dialect's own paths, so that an SDK's base URL
// may name its dialect. What stands behind one is in that dialect.
var prefixes = []struct {
	path   string
	format dialect.Name
}{
	{"/openai/", dialect.OpenAIChat}, {"/anthropic/", dialect.AnthropicMessages}, {"/gemini/", dialect.Gemini},
}

// locate reads a request's path. It is the one place that knows them: what it
// says decides on limits, on errors' form and on who answers.
func locate(r *http.Request) endpoint {
	path := r.URL.Path
	if e, ok := portalPath(path); ok {
		return e
	}
	for _, prefix := range prefixes {
		if strings.HasPrefix(path, prefix.path) {
			return under(prefix.format, path[len(prefix.path)-1:], r)
		}
	}
	switch {
	case strings.HasPrefix(path, "/v1beta/"):
		return under(dialect.Gemini, path, r)
	case strings.HasPrefix(path, "/v1/"):
		return under("", path, r)
	default:
		return endpoint{}
	}
}

func portalPath(path string) (endpoint, bool) {
	switch strings.TrimSuffix(path, "/") {
	case "/chat/send":
		return endpoint{operation: opCall, format: dialect.PortalChat, method: http.MethodPost}, true
	case "/chat/stream":
		return endpoint{operation: opCall, format: dialect.PortalChat, method: http.MethodPost, stream: true}, true
	case "/chat/direct/stream":
		return endpoint{operation: opCall, format: dialect.PortalChat, method: http.MethodPost, stream: true, direct: true}, true
	}
	return endpoint{}, false
}

// under reads a path in the dialect that its prefix named; "" for none. Base
// URLs are given with the version and without it, and SDKs that add their own
// make two of them.
func under(format dialect.Name, path string, r *http.Request) endpoint {
	for _, twice := range []string{"/v1/v1/", "/v1beta/v1beta/"} {
		if strings.HasPrefix(path, twice) {
			path = path[len(twice)/2:]
		}
	}
	if format == dialect.OpenAIChat && !strings.HasPrefix(path, "/v1/") {
		path = "/v1" + path
	}
	if rest, ok := strings.CutPrefix(path, "/v1beta/"); ok {
		return geminiPath(rest, r)
	}
	rest, ok := strings.CutPrefix(path, "/v1/")
	if !ok {
		return endpoint{operation: opUnknown, format: orOpenAI(format)}
	}
	if format == dialect.Gemini || r.Method == http.MethodPost && strings.HasPrefix(rest, "models/") {
		return geminiPath(rest, r)
	}
	return versionOne(format, rest, r)
}

// versionOne reads what stands behind /v1/: OpenAI's and Anthropic's paths.
func versionOne(format dialect.Name, path string, r *http.Request) endpoint {
	post := func(op operation, f dialect.Name) endpoint {
		return endpoint{operation: op, format: f, method: http.MethodPost}
	}
	switch path {
	case "chat/completions":
		return post(opCall, dialect.OpenAIChat)
	case "completions":
		return post(opCall, dialect.OpenAICompletions)
	case "embeddings":
		return post(opCall, dialect.OpenAIEmbeddings)
	case "responses":
		return post(opCall, dialect.OpenAIResponses)
	case "responses/input_tokens":
		return post(opCount, dialect.OpenAICount)
	case "messages":
		return post(opCall, dialect.AnthropicMessages)
	case "messages/count_tokens":
		return post(opCount, dialect.AnthropicCount)
	}
	if format == "" && r.Header.Get("Anthropic-Version") != "" {
		format = dialect.AnthropicMessages
	}
	format = orOpenAI(format)
	if path == "models" {
		return endpoint{operation: opListModels, format: format, method: http.MethodGet}
	}
	if id, ok := strings.CutPrefix(path, "models/"); ok && id != "" {
		return endpoint{operation: opGetModel, format: format, method: http.MethodGet, id: id}
	}
	if id, ok := strings.CutPrefix(path, "responses/"); ok && id != "" {
		if id, ok := strings.CutSuffix(id, "/input_items"); ok && !strings.Contains(id, "/") {
			return endpoint{operation: opStoredItems, format: dialect.OpenAIResponses, method: http.MethodGet, id: id}
		}
		if !strings.Contains(id, "/") {
			return endpoint{operation: opStored, format: dialect.OpenAIResponses, id: id}
		}
	}
	return endpoint{operation: opUnknown, format: format}
}

// geminiPath reads what stands behind /v1beta/ (or /v1/ in a Gemini client):
// `models/<model>:method`, `models/<provider>/<model>:method`, and, as some
// clients send a name with a slash, `<provider>/<model>:method`.
func geminiPath(path string, r *http.Request) endpoint {
	e := endpoint{format: dialect.Gemini, operation: opUnknown}
	name, method, called := cutLast(path, ":")
	name = strings.TrimPrefix(name, "models/")
	if !called || r.Method == http.MethodGet {
		switch {
		case path == "models" || path == "models/":
			return endpoint{operation: opListModels, format: dialect.Gemini, method: http.MethodGet}
		case strings.HasPrefix(path, "models/"):
			return endpoint{operation: opGetModel, format: dialect.Gemini, method: http.MethodGet, id: strings.TrimPrefix(path, "models/")}
		}
		return e
	}
	e.method, e.model = http.MethodPost, name
	switch method {
	case "generateContent":
		e.operation = opCall
	case "streamGenerateContent":
		e.operation, e.stream = opCall, true
		e.array = r.URL.Query().Get("alt") != "sse"
	case "countTokens":
		e.operation, e.format = opCount, dialect.GeminiCount
	case "embedContent":
		e.operation, e.format = opCall, dialect.GeminiEmbeddings
	case "batchEmbedContents":
		e.operation, e.format, e.batch = opCall, dialect.GeminiEmbeddings, true
	}
	return e
}

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}

func orOpenAI(format dialect.Name) dialect.Name {
	if format == "" {
		return dialect.OpenAIChat
	}
	return format
}

// Serves says whether the request's path is one of the gateway's.
func (g *Gateway) Serves(r *http.Request) bool { return locate(r).operation != opNone }

// Spends says whether a request is a model call, which costs money and is
// limited as such.
func Spends(r *http.Request) bool {
	return r.Method == http.MethodPost && locate(r).operation == opCall
}

// Paths are the paths that the gateway answers, as Caddy's path matcher takes
// them, but for the portal's.
var Paths = []string{"/v1/*", "/v1beta/*", "/openai/*", "/anthropic/*", "/gemini/*"}

// Routes are the gateway's routes, for the documentation: each dialect's own
// paths without the prefixes.
var Routes = []string{
	"POST /v1/chat/completions",
	"POST /v1/completions",
	"POST /v1/embeddings",
	"POST /v1/responses",
	"GET /v1/responses/{id}",
	"DELETE /v1/responses/{id}",
	"GET /v1/responses/{id}/input_items",
	"POST /v1/responses/input_tokens",
	"POST /v1/messages",
	"POST /v1/messages/count_tokens",
	"POST /v1beta/models/{model}:generateContent",
	"POST /v1beta/models/{model}:streamGenerateContent",
	"POST /v1beta/models/{model}:countTokens",
	"POST /v1beta/models/{model}:embedContent",
	"POST /v1beta/models/{model}:batchEmbedContents",
	"GET /v1/models",
	"GET /v1/models/{id}",
	"GET /v1beta/models",
	"GET /v1beta/models/{id}",
	"POST /chat/send",
	"POST /chat/stream",
	"POST /chat/direct/stream",
}
