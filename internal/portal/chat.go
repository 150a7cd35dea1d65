package portal

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"strings"

	"github.com/financecommander/tollgate/internal/gateway"
	"github.com/financecommander/tollgate/internal/identity"
	"github.com/financecommander/tollgate/internal/llm"
)

// ChatOptions are what chat is made of, beside the paths that package gateway
// serves itself.
type ChatOptions struct {
	// Chat answers model calls: package gateway's handler, or one around it. The
	// calls of sockets and of triage go to it with the caller in their context
	// ([identity.FromContext]). Those of one socket run at the same time and share
	// the other values of its context, so it must not change them.
	// nil: there are no sockets, and triage goes by keywords.
	Chat http.Handler
	// Models lists what a caller may chat with directly; nil: the list is off.
	Models func(*identity.Principal) []gateway.DirectProvider
	// Verify checks the token that a socket sends; nil: there are no sockets.
	Verify func(ctx context.Context, token string) (*identity.Principal, error)
	// Spend takes a call from the caller's limits: one of a socket, or one that
	// triage makes. It may set the limits' headers (X-RateLimit-…) in h. The request
	// is the socket's or triage's own. nil: nothing is limited.
	Spend func(h http.Header, r *http.Request, p *identity.Principal) *llm.Error
	// Origins are those whose pages may open sockets, beside the gateway's own;
	// "*" for all. The same as [CORS]'s.
	Origins []string
	// Sockets holds the open sockets, across configurations; nil: one of its own.
	Sockets *Sockets
	// Room bounds what large messages take of the memory; the same as the gateway's.
	// nil: one of its own.
	Room *gateway.Room
	// TriageModel is the specialist or model that recommends specialists; "":
	// keywords do.
	TriageModel string
}

func (h *Handler) chatRoutes() {
	o := &h.o.Chat
	if o.Sockets == nil {
		o.Sockets = NewSockets()
	}
	if o.Room == nil {
		o.Room = gateway.NewRoom(0)
	}
	h.handle("/chat/direct/models", methods{http.MethodGet: forUsers(h.directModels)})
	h.handle("/chat/triage", methods{http.MethodPost: forUsers(h.triage)})
	h.handle("/chat/ws", methods{http.MethodGet: h.chatSocket})
}

// directModels lists what the caller may chat with directly.
func (h *Handler) directModels(w http.ResponseWriter, _ *http.Request, p *identity.Principal) error {
	if h.o.Chat.Models == nil {
		return &llm.Error{Cause: llm.CauseNotFound, Message: "chat is turned off on this gateway"}
	}
	return writeJSON(w, map[string]any{"providers": h.o.Chat.Models(p)})
}

// callRequest is a model call of a caller's as a request that no connection
// brought. It has nothing of the request it was made in but its address.
func callRequest(ctx context.Context, from *http.Request, p *identity.Principal, path string, body *heldBody) *http.Request {
	r := &http.Request{
		Method: http.MethodPost, URL: &url.URL{Path: path}, RequestURI: path,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{"Content-Type": {"application/json"}},
		Body:   body, ContentLength: int64(body.Len()),
		Host: from.Host, RemoteAddr: from.RemoteAddr, TLS: from.TLS,
	}
	return r.WithContext(identity.NewContext(ctx, p))
}

// heldBody is a body in memory, which is let go once it is read: whoever reads it
// has it then.
type heldBody struct {
	bytes.Reader
	share *gateway.Share // nil: it takes no room
}

func newHeldBody(content []byte, share *gateway.Share) *heldBody {
	b := &heldBody{share: share}
	b.Reset(content)
	return b
}

// Read implements io.Reader.
func (b *heldBody) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if b.Len() == 0 {
		_ = b.Close()
	}
	return n, err
}

// Close implements io.Closer.
func (b *heldBody) Close() error {
	b.Reset(nil)
	b.share.Release()
	return nil
}

// serveCall has a call answered. The gateway ends calls whose caller is gone by a
// panic that an HTTP server takes; here nobody else would.
func (h *Handler) serveCall(w http.ResponseWriter, r *http.Request) {
	defer func() {
		p := recover()
		if err, ok := p.(error); p == nil || ok && errors.Is(err, http.ErrAbortHandler) {
			return
		}
		h.o.Logger.ErrorContext(r.Context(), "panic in a call", slog.String("path", r.URL.Path))
	}()
	h.o.Chat.Chat.ServeHTTP(w, r)
}

// allowedOrigin says whether the page that opens a socket may: one of the
// gateway's own host, or of an origin that is configured. Programs name none.
func allowedOrigin(r *http.Request, origins []string) bool {
	origin := r.Header.Get("Origin")
	if origin == "" {
		return true
	}
	if u, err := url.Parse(origin); err == nil && u.Host != "" && strings.EqualFold(u.Host, r.Host) {
		return true
	}
	for _, allowed := range origins {
		allowed = strings.TrimSuffix(strings.TrimSpace(allowed), "/")
		if allowed == "*" || strings.EqualFold(allowed, origin) {
			return true
		}
	}
	return false
}
