// Package portal is the REST API of the web frontend: sign-in, specialists, the
// usage log and the gateway's health. Chat calls are package gateway's.
//
// Every path works with and without a trailing slash, without a redirect, which
// would lose a POST's body. Every answer is a JSON object; errors have the shape
// {"error","detail","details","request_id"}.
//
// The package authenticates nobody: it reads the principal that whoever stands
// before it put into the request's context (see [identity.FromContext]).
package portal

import (
	"cmp"
	"context"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/financecommander/tollgate/internal/conversation"
	"github.com/financecommander/tollgate/internal/dialect/portalchat"
	"github.com/financecommander/tollgate/internal/identity"
	"github.com/financecommander/tollgate/internal/llm"
	"github.com/financecommander/tollgate/internal/specialist"
)

// maxBody bounds the bodies this package reads itself, but for imports and chat.
const maxBody = 1 << 20

// Specialists answers which specialists there are.
type Specialists interface {
	Get(idOrAlias string) (*specialist.Specialist, bool)
	List() []*specialist.Specialist
}

// Options are what the API is made of. A part that is nil is turned off: its
// routes exist and say so.
type Options struct {
	// App and Version are what /health says; App is "Tollgate" by default.
	App, Version string
	// Checks are the dependencies that /health reports, by name ("database",
	// "redis", "spool"). A nil check means that it is not configured.
	Checks map[string]func(context.Context) error

	Auth        AuthOptions
	Specialists Specialists
	Editor      *specialist.Editor // changes them; nil: they are read-only
	Usage       UsageLog           // the database
	MaxExport   int                // rows of the usage log in one export; 0: DefaultMaxExport

	Conversations *conversation.Service // nil: none are kept
	Chat          ChatOptions
	Pipelines     PipelineOptions

	// Logger gets what callers are not told; nil: silent.
	Logger *slog.Logger
}

// Handler serves the API.
type Handler struct {
	o      Options
	mux    *http.ServeMux
	routes []string
	health health
}

// New returns the API. It does no I/O.
func New(o Options) *Handler {
	o.App = cmp.Or(o.App, "Tollgate")
	o.MaxExport = cmp.Or(o.MaxExport, DefaultMaxExport)
	o.Logger = cmp.Or(o.Logger, slog.New(slog.DiscardHandler))
	h := &Handler{o: o, mux: http.NewServeMux(), health: health{checks: o.Checks}}
	h.handle("/health", methods{http.MethodGet: h.getHealth})
	h.authRoutes()
	h.loginRoutes()
	h.specialistRoutes()
	h.chatRoutes()
	h.conversationRoutes()
	h.usageRoutes()
	h.pipelineRoutes()
	h.pipelineDefinitionRoutes()
	h.docsRoutes()
	return h
}

// Routes lists what is served, as "METHOD /path", sorted.
func (h *Handler) Routes() []string { return slices.Sorted(slices.Values(h.routes)) }

// Serves tells whether the request's path is one of the API's, so that a server
// with more to serve knows what to pass on.
func (h *Handler) Serves(r *http.Request) bool {
	bare, ok := withoutTrailingSlash(r)
	if !ok {
		return false
	}
	_, pattern := h.mux.Handler(bare)
	return pattern != ""
}

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	secure(w.Header(), r)
	bare, ok := withoutTrailingSlash(r)
	if !ok {
		h.fail(w, notFound())
		return
	}
	if _, pattern := h.mux.Handler(bare); pattern == "" || !isText(r.URL.Path) {
		h.fail(w, notFound())
		return
	}
	for _, values := range r.URL.Query() {
		if !isText(strings.Join(values, "")) {
			h.fail(w, unprocessable("query", "must be valid UTF-8 without NUL characters"))
			return
		}
	}
	h.mux.ServeHTTP(w, bare)
}

// isText tells whether a text can be looked for in any database: PostgreSQL takes
// neither NUL nor what is not UTF-8, and would seem to be away.
func isText(text string) bool { return utf8.ValidString(text) && !strings.Contains(text, "\x00") }

// secure sets what keeps browsers from doing anything with an answer but hand it
// to the page that asked for it. Cross-Origin-Resource-Policy concerns pages of
// other origins that embed an answer; those that [CORS] allows read it all the
// same (Fetch standard, section 3.7).
func secure(header http.Header, r *http.Request) {
	header.Set("Cache-Control", "no-store") // answers differ by caller and some hold personal data
	header.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	header.Set("Cross-Origin-Resource-Policy", "same-origin")
	header.Set("Referrer-Policy", "no-referrer") // links of the log-in have codes in them
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("X-Frame-Options", "DENY")
	if r.TLS != nil {
		header.Set("Strict-Transport-Security", "max-age=31536000")
	}
}

// handlerFunc answers a request or says why not.
type handlerFunc func(http.ResponseWriter, *http.Request) error

// methods are what one path can do. GET includes HEAD.
type methods map[string]handlerFunc

// handle registers a path: its methods, and a 405 for all others.
func (h *Handler) handle(path string, m methods) { h.handleAs(path, path, m) }

// handleAs registers a path by a pattern that takes more than the path does; with
// no path, what the pattern takes is not listed as a route.
func (h *Handler) handleAs(path, pattern string, m methods) {
	var allow []string
	for method := range m {
		if path != "" {
			h.routes = append(h.routes, method+" "+path)
		}
		allow = append(allow, method)
		if method == http.MethodGet {
			allow = append(allow, http.MethodHead)
		}
	}
	slices.Sort(allow)
	h.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		serve, ok := m[r.Method]
		if r.Method == http.MethodHead {
			serve, ok = m[http.MethodGet]
		}
		if !ok {
			w.Header().Set("Allow", strings.Join(allow, ", "))
			h.fail(w, &llm.Error{
				Cause:   llm.CauseMethodNotAllowed,
				Message: "this path does not take the method; it takes " + strings.Join(allow, ", "),
			})
			return
		}
		if err := serve(w, r); err != nil {
			h.fail(w, err)
		}
	})
}

// withoutTrailingSlash gives the request with its path in the one form that is
// registered. It refuses what http.ServeMux would answer by a redirect: empty
// and dot segments.
func withoutTrailingSlash(r *http.Request) (*http.Request, bool) {
	escaped := r.URL.EscapedPath()
	path := strings.TrimSuffix(escaped, "/")
	if !strings.HasPrefix(path, "/") {
		return nil, false
	}
	for segment := range strings.SplitSeq(path[1:], "/") {
		if segment == "" || segment == "." || segment == ".." {
			return nil, false
		}
	}
	if path == escaped { // a slash that is escaped is part of a name
		return r, true
	}
	bare, address := *r, *r.URL
	address.Path = strings.TrimSuffix(r.URL.Path, "/")
	address.RawPath = strings.TrimSuffix(r.URL.RawPath, "/")
	bare.URL = &address
	return &bare, true
}

// callerFunc answers a known caller's request.
type callerFunc func(http.ResponseWriter, *http.Request, *identity.Principal) error

// authenticated passes on requests whose caller is known.
func authenticated(serve callerFunc) handlerFunc {
	return func(w http.ResponseWriter, r *http.Request) error {
		p, ok := identity.FromContext(r.Context())
		if !ok {
			return &llm.Error{
				Cause:   llm.CauseUnauthenticated,
				Message: "no valid access token was sent; sign in and try again",
			}
		}
		return serve(w, r, p)
	}
}

// forUsers passes on requests of people who work with models: not of viewers,
// who see usage and nothing else.
func forUsers(serve callerFunc) handlerFunc {
	return authenticated(func(w http.ResponseWriter, r *http.Request, p *identity.Principal) error {
		if p.Role() == identity.RoleViewer {
			return forbidden("your role is viewer, which sees the usage log and nothing else")
		}
		return serve(w, r, p)
	})
}

// forAdmins passes on requests of admins.
func forAdmins(serve callerFunc) handlerFunc {
	return authenticated(func(w http.ResponseWriter, r *http.Request, p *identity.Principal) error {
		if p.Role() != identity.RoleAdmin {
			return forbidden("only admins may do this")
		}
		return serve(w, r, p)
	})
}

// fail answers with an error. What is not meant for callers goes to the log,
// under the request id that the caller is told.
func (h *Handler) fail(w http.ResponseWriter, err error) {
	id := requestID(w)
	problem := asProblem(err)
	if problem.Status() >= http.StatusInternalServerError {
		h.o.Logger.Error("portal request failed", slog.String("request_id", id), slog.Any("error", err))
	}
	portalchat.WriteError(w, problem, id)
}

// requestIDHeader carries the request's id to the caller.
const requestIDHeader = "X-Request-Id"

// requestID is the id that a layer before us gave the request, or a new one.
func requestID(w http.ResponseWriter) string {
	id := w.Header().Get(requestIDHeader)
	if id == "" {
		id = "req_" + uuid.Must(uuid.NewV7()).String()
		w.Header().Set(requestIDHeader, id)
	}
	return id
}
