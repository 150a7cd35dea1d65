package portal

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/gateway"
	"github.com/financecommander/tollgate/internal/identity"
	"github.com/financecommander/tollgate/internal/llm"
	"github.com/financecommander/tollgate/internal/portal/apitest"
)

// A socket that is there from the first moment, one that comes in the middle, one
// that comes after the end, and one on another replica all see the same.
func TestRunSocketSeesEverything(t *testing.T) {
	t.Parallel()
	db := newDatabase(t)
	p, elsewhere := newPipelines(t, db, nil), newPipelines(t, db, nil)
	goOn := make(chan struct{})
	p.script(func(_ context.Context, c gateway.Call) *llm.Error {
		c.Text("one <")
		<-goOn
		c.Text("two>\u2028")
		return nil
	})
	id := p.start(t, "review", "What of <this>?")
	first := p.attach(t, id, "alice")
	first.until("agent_token")
	late, foreign := p.attach(t, id, "alice"), elsewhere.attach(t, id, "admin")
	late.until("agent_token")
	foreign.until("agent_token")
	close(goOn)
	p.ended(t, id)
	sockets := []*follower{first, late, foreign, p.attach(t, id, "alice"), elsewhere.attach(t, id, "alice")}
	for _, socket := range sockets {
		require.Equal(t, websocket.StatusNormalClosure, socket.rest())
		require.Equal(t, first.raw, socket.raw)
	}

	events := first.seen
	require.Equal(t, "pipeline_start", events[0].Type)
	require.Equal(t, []string{"first", "second", "joined"}, events[0].Data.Agents)
	kinds := map[string]int{}
	for i, e := range events {
		kinds[e.Type]++
		require.Equal(t, id, e.PipelineID)
		require.Contains(t, first.raw[i], `Z","data":{`, "in UTC")
	}
	delete(kinds, "agent_token")
	require.Equal(t, map[string]int{"pipeline_start": 1, "agent_start": 3, "agent_complete": 3, "complete": 1}, kinds)
	last := events[len(events)-1]
	require.Equal(t, "complete", last.Type)
	require.Equal(t, "one <two>\u2028 | one <two>\u2028", last.Data.Output)
	require.Equal(t, map[string]string{"first": "one <two>\u2028", "second": "one <two>\u2028"}, first.outputs())
	for _, e := range events {
		if out, ok := first.outputs()[e.Data.Agent]; ok && e.Type == "agent_complete" {
			require.Equal(t, out, e.Data.Output)
		}
	}
}

// A replica that comes after the one which ran the run shows it all the same.
func TestRunSocketAfterARestart(t *testing.T) {
	t.Parallel()
	db := newDatabase(t)
	before := newPipelines(t, db, nil)
	id := before.start(t, "ask", "?")
	socket := before.attach(t, id, "alice")
	require.Equal(t, websocket.StatusNormalClosure, socket.rest())
	require.NoError(t, before.runs.Drain(t.Context()))
	before.runs.Stop()
	after := newPipelines(t, db, nil).attach(t, id, "alice")
	require.Equal(t, websocket.StatusNormalClosure, after.rest())
	require.Equal(t, socket.raw, after.raw)
}

// Who may not see a run is told nothing of it.
func TestRunSocketRefuses(t *testing.T) {
	t.Parallel()
	p := newPipelines(t, newDatabase(t), nil)
	id := p.start(t, "ask", "?")
	p.ended(t, id)
	for _, who := range []struct {
		id, token string
		code      websocket.StatusCode
	}{
		{id, "bob", closeNoRun},
		{uuid.NewString(), "alice", closeNoRun},
		{"x", "alice", closeNoRun},
		{id, "bad", websocket.StatusPolicyViolation},
		{uuid.NewString(), "bad", websocket.StatusPolicyViolation},
	} {
		socket := p.attach(t, who.id, who.token)
		require.Equal(t, who.code, socket.rest(), who)
		require.Empty(t, socket.raw)
	}
	for _, first := range []string{"ping", `{"type":"auth"}`, `{"token":"alice"}`, `[]`, ``} {
		socket := (&chat{url: p.url + id}).dial(t)
		socket.say(first)
		code, _ := socket.closed()
		require.Equal(t, websocket.StatusPolicyViolation, code, first)
	}
	require.Equal(t, websocket.StatusNormalClosure, p.attach(t, id, "admin").rest())
	require.Eventually(t, func() bool { return p.sockets.Len() == 0 }, waiting, tick)
}

func TestRunSocketHandshake(t *testing.T) {
	t.Parallel()
	p := newPipelines(t, newDatabase(t), func(o *Options) { o.Chat.Origins = []string{"https://portal.example.com"} })
	id := p.start(t, "ask", "?")
	w := call(p.Handler, nil, "GET", "/api/v2/pipelines/ws/"+id, "")
	requireProblem(t, w, http.StatusUpgradeRequired)
	requireProblem(t, call(p.Handler, nil, "POST", "/api/v2/pipelines/ws/"+id, ""), http.StatusMethodNotAllowed)
	for origin, allowed := range map[string]bool{
		"https://portal.example.com": true, "http://" + strings.Split(p.url, "/")[2]: true, "https://evil.example": false, "null": false,
	} {
		conn, response, err := websocket.Dial(t.Context(), p.url+id+"/", &websocket.DialOptions{
			HTTPHeader: http.Header{"Origin": {origin}}, HTTPClient: &http.Client{Transport: apitest.Transport(t, nil)},
		})
		if allowed {
			require.NoError(t, err, origin)
			require.NoError(t, conn.CloseNow())
			continue
		}
		require.Error(t, err, origin)
		require.Equal(t, http.StatusForbidden, response.StatusCode, origin)
		require.NoError(t, response.Body.Close())
	}
	p.ended(t, id)
}

func TestRunSocketSaysNothing(t *testing.T) {
	t.Parallel()
	p := newPipelines(t, newDatabase(t), nil)
	p.sockets.authTimeout = 200 * time.Millisecond
	code, reason := (&chat{url: p.url + uuid.NewString()}).dial(t).closed()
	require.Equal(t, websocket.StatusPolicyViolation, code)
	require.Equal(t, "no token was sent in time", reason)
}

// A client may ask whether the socket lives; all else that it says is passed over.
func TestRunSocketPing(t *testing.T) {
	t.Parallel()
	p := newPipelines(t, newDatabase(t), nil)
	p.script(untilDone)
	id := p.start(t, "ask", "?")
	socket := p.attach(t, id, "alice")
	socket.until("agent_token")
	socket.say("hello")
	socket.say(`{"type":"cancel"}`)
	socket.say("ping")
	require.Equal(t, "pong", socket.hear())
	require.NoError(t, socket.Write(t.Context(), websocket.MessageBinary, []byte("ping")))
	require.Equal(t, websocket.StatusUnsupportedData, socket.rest())

	large := p.attach(t, id, "alice")
	large.until("agent_token")
	large.say(strings.Repeat("x", 40_000))
	require.Equal(t, websocket.StatusMessageTooBig, large.rest())
	object(t, call(p.Handler, alice, "POST", "/api/v2/pipelines/runs/"+id+"/cancel", ""), 200)
}

// A token that is revoked in the middle of a run ends its sockets, not the run.
func TestRunSocketTokenRevoked(t *testing.T) {
	t.Parallel()
	p := newPipelines(t, newDatabase(t), nil)
	require.Equal(t, 5*time.Second, p.sockets.verifyEvery)
	p.sockets.verifyEvery = 20 * time.Millisecond
	goOn := make(chan struct{})
	p.script(func(_ context.Context, c gateway.Call) *llm.Error {
		c.Text("one")
		<-goOn
		return nil
	})
	id := p.start(t, "ask", "?")
	socket := p.attach(t, id, "alice")
	socket.until("agent_token")
	p.revoked.Store(true)
	require.Equal(t, websocket.StatusPolicyViolation, socket.rest())
	close(goOn)
	require.Equal(t, "completed", p.ended(t, id)["status"])
}

// Who is no admin any more does not go on to follow another's run.
func TestRunSocketOfFormerAdmin(t *testing.T) {
	t.Parallel()
	var former atomic.Bool
	p := newPipelines(t, newDatabase(t), func(o *Options) {
		verify := o.Chat.Verify
		o.Chat.Verify = func(ctx context.Context, token string) (*identity.Principal, error) {
			who, err := verify(ctx, token)
			if err != nil || token != "admin" || !former.Load() {
				return who, err
			}
			reduced := *who
			reduced.Roles = nil
			return &reduced, nil
		}
	})
	p.sockets.verifyEvery = 20 * time.Millisecond
	goOn := make(chan struct{})
	p.script(func(_ context.Context, c gateway.Call) *llm.Error {
		c.Text("one")
		<-goOn
		return nil
	})
	id := p.start(t, "ask", "?")
	socket, own := p.attach(t, id, "admin"), p.attach(t, id, "alice")
	socket.until("agent_token")
	former.Store(true)
	require.Equal(t, websocket.StatusPolicyViolation, socket.rest())
	close(goOn)
	require.Equal(t, websocket.StatusNormalClosure, own.rest())
}

// Who does not read is cut off, and neither the run nor others wait for them.
func TestRunSocketThatDoesNotRead(t *testing.T) {
	t.Parallel()
	p := newPipelines(t, newDatabase(t), nil)
	p.sockets.writeTimeout = 2 * time.Second
	goOn := make(chan struct{})
	p.script(func(_ context.Context, c gateway.Call) *llm.Error {
		<-goOn
		for range floodOutput >> 16 {
			c.Text(strings.Repeat("x", 1<<16))
		}
		return nil
	})
	id := p.start(t, "flood", "?")
	var dialer net.Dialer
	conn, _, err := websocket.Dial(t.Context(), p.url+id, &websocket.DialOptions{HTTPClient: &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := dialer.DialContext(ctx, network, address)
			if tcp, ok := conn.(*net.TCPConn); ok {
				err = errors.Join(err, tcp.SetReadBuffer(4<<10))
			}
			return conn, err
		},
	}}})
	require.NoError(t, err)
	defer conn.CloseNow() //nolint:errcheck // it is cut already
	slow := &follower{client: &client{t, conn}}
	slow.say(`{"type":"auth","token":"alice"}`)
	slow.until("agent_start")
	other := p.attach(t, id, "alice")
	other.until("agent_start")
	close(goOn)
	require.Equal(t, websocket.StatusNormalClosure, other.rest())
	require.Len(t, other.outputs(), floodSteps)
	for step, output := range other.outputs() {
		require.Len(t, output, floodOutput, step)
	}
	require.Equal(t, "completed", p.ended(t, id)["status"])
	require.Eventually(t, func() bool { return p.sockets.Len() == 0 }, waiting, tick)
}

// A socket that is torn off leaves the run as it is, and another one sees it all.
func TestRunSocketCut(t *testing.T) {
	t.Parallel()
	p := newPipelines(t, newDatabase(t), nil)
	goOn := make(chan struct{})
	p.script(func(_ context.Context, c gateway.Call) *llm.Error {
		c.Text("one")
		<-goOn
		c.Text(" two")
		return nil
	})
	id := p.start(t, "ask", "?")
	socket := p.attach(t, id, "alice")
	socket.until("agent_token")
	require.NoError(t, socket.CloseNow())
	require.Eventually(t, func() bool { return p.sockets.Len() == 0 }, waiting, tick)
	close(goOn)
	again := p.attach(t, id, "alice")
	require.Equal(t, websocket.StatusNormalClosure, again.rest())
	require.Equal(t, "one two", again.outputs()["only"])
}

// At the server's end the sockets of its own runs hear their last event; others
// are told to go elsewhere at once.
func TestRunSocketsAtTheEnd(t *testing.T) {
	t.Parallel()
	db := newDatabase(t)
	p, other := newPipelines(t, db, nil), newPipelines(t, db, nil)
	goOn := make(chan struct{})
	script := func(_ context.Context, c gateway.Call) *llm.Error {
		c.Text("one")
		<-goOn
		return nil
	}
	p.script(script)
	other.script(script)
	mine, elsewhere := p.start(t, "ask", "?"), other.start(t, "ask", "?")
	own, foreign := p.attach(t, mine, "alice"), p.attach(t, elsewhere, "alice")
	own.until("agent_token")
	foreign.until("agent_token")
	p.sockets.Close()
	require.Equal(t, websocket.StatusGoingAway, foreign.rest())
	_, response, err := websocket.Dial(t.Context(), p.url+mine, nil)
	require.Error(t, err)
	require.Equal(t, http.StatusServiceUnavailable, response.StatusCode)
	require.NoError(t, response.Body.Close())
	close(goOn)
	require.Equal(t, websocket.StatusNormalClosure, own.rest())
	require.Equal(t, "complete", own.seen[len(own.seen)-1].Type)
	require.NoError(t, p.sockets.Wait(t.Context()))
	other.ended(t, elsewhere)
}

// While the database is away a run that is nowhere in memory cannot be shown.
func TestRunSocketOutage(t *testing.T) {
	t.Parallel()
	db := newDatabase(t)
	p := newPipelines(t, db, nil)
	id := p.start(t, "ask", "?")
	p.ended(t, id)
	require.NoError(t, db.Close())
	require.Equal(t, websocket.StatusTryAgainLater, p.attach(t, uuid.NewString(), "alice").rest())
}

// Sockets of chats and of runs are counted together.
func TestRunSocketsOfOneUserAreBounded(t *testing.T) {
	t.Parallel()
	p := newPipelines(t, newDatabase(t), nil)
	p.script(untilDone)
	id := p.start(t, "ask", "?")
	for range maxSocketsOfUser {
		p.attach(t, id, "alice").until("agent_token")
	}
	require.Equal(t, websocket.StatusTryAgainLater, p.attach(t, id, "alice").rest())
	p.attach(t, id, "admin").until("agent_token")
	object(t, call(p.Handler, alice, "POST", "/api/v2/pipelines/runs/"+id+"/cancel", ""), 200)
}
