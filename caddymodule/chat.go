package caddymodule

import (
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/financecommander/tollgate/internal/identity"
	"github.com/financecommander/tollgate/internal/llm"
	"github.com/financecommander/tollgate/internal/portal"
)

// sockets are the chat's open WebSockets. A reload leaves them as they are.
var sockets = portal.NewSockets()

// liveGrace is how long the process waits at exit for calls over WebSockets and
// for runs of pipelines, which Caddy's own grace period does not know of: as long
// as the longest attempt takes by default.
const liveGrace = 30 * time.Minute

// endLiveWork ends the WebSockets when the process ends, once their calls have,
// and waits for the runs of pipelines.
func endLiveWork(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), liveGrace)
	defer cancel()
	var runs sync.WaitGroup
	runs.Go(func() { runServices.drain(ctx) })
	sockets.Close()
	_ = sockets.Wait(ctx) // what is left is cut with the process; the ledger has its notes
	runs.Wait()
}

// chat is what the portal's WebSocket and its triage are made of.
func (e *engine) chat(origins []string) portal.ChatOptions {
	g := e.newGateway(false)
	return portal.ChatOptions{
		Chat: g, Models: g.DirectModels, Verify: e.verifier.Verify, Spend: spend,
		Origins: origins, Sockets: sockets, Room: g.Room, TriageModel: e.app.TriageModel,
	}
}

// spend takes a call that no request of its own brought from its caller's limits:
// those that a [RateLimit] with PerCall before this handler left for it.
func spend(header http.Header, r *http.Request, p *identity.Principal) *llm.Error {
	take, ok := caddyhttp.GetVar(r.Context(), spendVar).(spender)
	if !ok {
		return nil
	}
	return take(r, p, header)
}
