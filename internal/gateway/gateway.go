// Package gateway takes model calls and answers them: the Exchange. It knows
// nothing of Caddy; httptest alone can drive it.
//
// One call goes its way in seven steps, each in a file of that name or near:
// identify (who asks), peek (what for), resolve (which upstream), send, relay
// (the answer, as it comes), settle (one usage record per upstream attempt) and,
// where something fails, refuse (the error in the caller's dialect). Limits are
// checked before a call gets here.
package gateway

import (
	"cmp"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/financecommander/tollgate/internal/dialect"
	"github.com/financecommander/tollgate/internal/dialect/openaichat"
	"github.com/financecommander/tollgate/internal/dialect/openairesponses"
	"github.com/financecommander/tollgate/internal/identity"
	"github.com/financecommander/tollgate/internal/specialist"
	"github.com/financecommander/tollgate/internal/upstream"
	"github.com/financecommander/tollgate/internal/usage"
	"github.com/financecommander/tollgate/pricing"
)

// OnDisconnect says what becomes of an upstream call whose caller left.
type OnDisconnect string

// What to do when a caller leaves.
const (
	// Cancel stops the upstream at once; the rest of the usage is estimated.
	Cancel OnDisconnect = "cancel"
	// Drain reads on for a bounded time to learn the true usage.
	Drain OnDisconnect = "drain"
)

// The defaults of [Options].
const (
	// DefaultMaxBody is the largest request body: an agent's turn with a few
	// images has several MiB, and the largest provider takes 32 MiB.
	DefaultMaxBody = 32 << 20
	// DefaultDrainTimeout is how long a left call is read on.
	DefaultDrainTimeout = 30 * time.Second
	// DefaultPortalPing is what the portal's frontend expects.
	DefaultPortalPing = 15 * time.Second
	// maxAnswer bounds an unstreamed answer, which is held in memory whole.
	maxAnswer = 64 << 20
)

// Ledger is where usage records go.
type Ledger interface {
	// Admit refuses new calls while records could not be kept.
	Admit() error
	// Append keeps a record. It is durable against a crash of the process when
	// Append returns.
	Append(*usage.Record) error
	// Begin notes an attempt that is about to be sent: should the process die
	// before End, the next one keeps the record as it is now.
	Begin(*usage.Record) usage.Mark
	// End says that the attempt's record was appended.
	End(usage.Mark)
}

// Specialists finds specialists by id or alias.
type Specialists interface {
	Get(name string) (*specialist.Specialist, bool)
	List() []*specialist.Specialist
	// Loaded is false while those in the database are not known yet.
	Loaded() bool
}

// Options are what a Gateway is made of. Providers, Prices, Ledger and Logger
// are required.
type Options struct {
	Logger      *slog.Logger
	Providers   []*upstream.Provider
	Specialists Specialists       // nil: none
	Aliases     map[string]string // name → "provider/model" or a specialist's id
	Prices      *pricing.Table
	Ledger      Ledger
	// Caller gives a request's verified caller. Default: what
	// [identity.NewContext] put into its context.
	Caller func(*http.Request) (*identity.Principal, bool)
	// AllowAnonymous serves calls without a verified token. Default: refused.
	AllowAnonymous bool
	// MaxBody is the largest request body, in bytes. Default 32 MiB.
	MaxBody int64
	// OnDisconnect: default Cancel.
	OnDisconnect OnDisconnect
	// DrainTimeout bounds Drain. Default 30 s.
	DrainTimeout time.Duration
	// PortalPing is the silence after which a portal stream gets a comment, so
	// that nothing on its way takes it for dead. Default 15 s; negative: none.
	PortalPing time.Duration
	// PassthroughPing is the same for streams of other dialects, whose bytes are
	// the upstream's alone by default. Default: none.
	PassthroughPing time.Duration
	// ForwardHeaders are request headers to pass on to upstreams, besides the
	// dialects' own. Default: none.
	ForwardHeaders []string
}

// Gateway serves model calls. It is safe for concurrent use.
type Gateway struct {
	Options
	providers map[string]*upstream.Provider
	demo      *upstream.Provider // answers for everything when nothing else is configured
	forward   []string
	mux       *http.ServeMux
}

// New makes a Gateway.
func New(o Options) *Gateway {
	o.MaxBody = cmp.Or(o.MaxBody, DefaultMaxBody)
	o.OnDisconnect = cmp.Or(o.OnDisconnect, Cancel)
	o.DrainTimeout = cmp.Or(o.DrainTimeout, DefaultDrainTimeout)
	o.PortalPing = cmp.Or(o.PortalPing, DefaultPortalPing)
	if o.Caller == nil {
		o.Caller = func(r *http.Request) (*identity.Principal, bool) { return identity.FromContext(r.Context()) }
	}
	g := &Gateway{Options: o, providers: make(map[string]*upstream.Provider, len(o.Providers))}
	for _, p := range o.Providers {
		g.providers[p.Name] = p
	}
	if len(o.Providers) == 0 {
		g.demo = upstream.NewDemo()
		g.providers[upstream.DemoName] = g.demo
	}
	g.forward = append(g.forward, forwarded...)
	for _, name := range o.ForwardHeaders {
		g.forward = append(g.forward, http.CanonicalHeaderKey(name))
	}
	g.mux = g.routes()
	return g
}

// endpoints are the model-spending paths of clients' dialects.
var endpoints = []struct {
	path  string
	codec dialect.Codec
}{
	{"/v1/chat/completions", openaichat.Chat},
	{"/v1/completions", openaichat.Completions},
	{"/v1/embeddings", openaichat.Embeddings},
	{"/v1/responses", openairesponses.Codec{}},
}

// SpendingPaths are the paths whose calls cost money, for limits.
func SpendingPaths() []string {
	paths := make([]string, 0, len(endpoints)+2)
	for _, e := range endpoints {
		paths = append(paths, e.path)
	}
	return append(paths, "/chat/send", "/chat/send/", "/chat/stream", "/chat/stream/")
}

func (g *Gateway) routes() *http.ServeMux {
	mux := http.NewServeMux()
	for _, e := range endpoints {
		mux.HandleFunc("POST "+e.path, func(w http.ResponseWriter, r *http.Request) {
			g.serve(w, r, passthrough{e.codec})
		})
		mux.HandleFunc(e.path, g.wrongMethod("POST"))
	}
	for _, stream := range []bool{false, true} {
		path := map[bool]string{false: "/chat/send", true: "/chat/stream"}[stream]
		for _, p := range []string{path, path + "/{$}"} {
			mux.HandleFunc("POST "+p, func(w http.ResponseWriter, r *http.Request) {
				g.serve(w, r, portal{stream: stream})
			})
			mux.HandleFunc(p, g.wrongMethod("POST"))
		}
	}
	mux.HandleFunc("GET /v1/models", g.listModels)
	mux.HandleFunc("GET /v1/models/{id...}", g.getModel)
	mux.HandleFunc("/v1/models", g.wrongMethod("GET"))
	mux.HandleFunc("/v1/models/{id...}", g.wrongMethod("GET"))
	mux.HandleFunc("/v1/", g.unknownPath)
	return mux
}

// Serves says whether the request's path is one of the gateway's.
func (g *Gateway) Serves(r *http.Request) bool {
	switch r.URL.Path {
	case "/chat/send", "/chat/send/", "/chat/stream", "/chat/stream/":
		return true
	}
	return strings.HasPrefix(r.URL.Path, "/v1/")
}

// ServeHTTP implements http.Handler.
func (g *Gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) { g.mux.ServeHTTP(w, r) }
