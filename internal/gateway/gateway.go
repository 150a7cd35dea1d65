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
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/financecommander/tollgate/internal/dialect"
	"github.com/financecommander/tollgate/internal/identity"
	"github.com/financecommander/tollgate/internal/llm"
	"github.com/financecommander/tollgate/internal/metrics"
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
	// DefaultPing is what the portal's frontend expects.
	DefaultPing = 15 * time.Second
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
	// MaxChatBody is the same for the portal's chat, whose bodies have attachments.
	// Default: MaxBody where that is given, else 72 MiB.
	MaxChatBody int64
	// Room bounds what large bodies of the portal's chat take of the memory in all.
	// Default: a room of the gateway's own.
	Room *Room
	// OnDisconnect: default Cancel.
	OnDisconnect OnDisconnect
	// DrainTimeout bounds Drain. Default 30 s.
	DrainTimeout time.Duration
	// Ping is the silence after which a stream that the gateway writes itself (the
	// portal's, a translated one) gets what its dialect has for a ping, so that
	// nothing on its way takes it for dead. Default 15 s; negative: none.
	Ping time.Duration
	// PassthroughPing is the same for streams that pass through, whose bytes are
	// the upstream's alone by default. Default: none.
	PassthroughPing time.Duration
	// DropUnsupported leaves out what an upstream's format cannot say of a call,
	// and tells the caller so, instead of refusing the call. A caller chooses by
	// the header X-Tollgate-Unsupported. Default: refuse.
	DropUnsupported bool
	// Seal gives the sealer of a caller's provider state. nil: state of one
	// format is lost on clients of another.
	Seal func(owner string) dialect.Sealer
	// Responses keeps answers that callers of the Responses API want kept. nil:
	// they are not.
	Responses Responses
	// Answers follows the answers of the portal's chat. nil: nobody does.
	Answers Answers
	// Fetch gets media that an upstream takes only as content. nil: such calls
	// are refused.
	Fetch Fetch
	// Guarded carries calls to addresses that a specialist has of its own and that
	// are not its provider's, unless the specialist is the configuration's. nil:
	// the provider's transport does.
	Guarded http.RoundTripper
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
}

// New makes a Gateway.
func New(o Options) *Gateway {
	o.MaxChatBody = cmp.Or(o.MaxChatBody, o.MaxBody, DefaultMaxChatBody)
	if o.Room == nil {
		o.Room = NewRoom(0)
	}
	o.MaxBody = cmp.Or(o.MaxBody, DefaultMaxBody)
	o.OnDisconnect = cmp.Or(o.OnDisconnect, Cancel)
	o.DrainTimeout = cmp.Or(o.DrainTimeout, DefaultDrainTimeout)
	o.Ping = cmp.Or(o.Ping, DefaultPing)
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
	return g
}

// ServeHTTP implements http.Handler. Paths that are not the gateway's
// ([Gateway.Serves]) are answered with a 404.
func (g *Gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	e := locate(r)
	if !e.takes(r.Method) {
		g.wrongMethod(w, e)
		return
	}
	if p, ok := g.Caller(r); ok && e.operation != opUnknown {
		if err := refuseRole(p); err != nil {
			metrics.Refused(err.Status(), err.Cause)
			errorWriter(e.format).WriteError(w, err, newRequestID())
			return
		}
	}
	switch e.operation {
	case opCall:
		g.serve(w, r, faceOf(e))
	case opCount:
		g.count(w, r, e)
	case opListModels:
		g.listModels(w, r, e)
	case opGetModel:
		g.getModel(w, r, e)
	case opStored, opStoredItems:
		g.serveStored(w, r, e)
	default:
		errorWriter(e.format).WriteError(w, &llm.Error{Cause: llm.CauseNotFound, Message: "there is no such path"}, newRequestID())
	}
}

// refuseRole refuses those who may see usage and nothing else.
func refuseRole(p *identity.Principal) *llm.Error {
	if p == nil || p.Role() != identity.RoleViewer {
		return nil
	}
	return &llm.Error{
		Cause:   llm.CauseForbidden,
		Message: "your role is viewer, which sees the usage log and nothing else; ask an admin for another role",
	}
}

// wrongMethod answers a path that exists, asked with another method.
func (g *Gateway) wrongMethod(w http.ResponseWriter, e endpoint) {
	w.Header().Set("Allow", e.method)
	errorWriter(e.format).WriteError(w, &llm.Error{
		Cause: llm.CauseMethodNotAllowed, Message: fmt.Sprintf("this path takes %s only", e.method),
	}, newRequestID())
}
