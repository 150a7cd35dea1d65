package portal

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/gateway"
	"github.com/financecommander/tollgate/internal/identity"
	"github.com/financecommander/tollgate/internal/llm"
	"github.com/financecommander/tollgate/internal/upstreamtest"
)

func TestSocketChats(t *testing.T) {
	t.Parallel()
	c := newChat(t, nil)
	socket := c.open(t, "alice")
	socket.say(askHelper(`"q\u0031"`))
	first := socket.hear()
	require.Contains(t, first, `"id":"q\u0031"`, "as it was sent")
	require.JSONEq(t, `{"id":"q\u0031","content":"Hello","is_final":false,"input_tokens":0,"output_tokens":0,"model":"gpt-4o-mini","latency_ms":0,"cost_usd":0,"estimated_cost_usd":0}`, first)
	require.Contains(t, socket.hear(), `"content":", "`)
	require.Contains(t, socket.hear(), `"content":"world"`)
	final := socket.object()
	require.Equal(t, "q1", final["id"])
	require.Equal(t, true, final["is_final"])
	require.InDelta(t, 3, final["output_tokens"], 0)
	require.InDelta(t, 0.0000033, final["cost_usd"], 1e-12)
	require.NotContains(t, final, "error")
	require.NotContains(t, final, "rate_limit")

	socket.say(`{"type":"chat",` + askHelper("7.0")[1:])
	text, final := socket.answer()
	require.Equal(t, "Hello, world", text)
	require.InDelta(t, 7, final["id"], 0)
	socket.say(" ping\n")
	require.Equal(t, "pong", socket.hear())

	rows := c.ledger.wait(t, 2)
	require.Equal(t, "hash-alice", rows[0].UserHash)
	require.Equal(t, "alice", rows[0].TokenID)
	require.Equal(t, "portal_chat", rows[0].Dialect)
	require.True(t, rows[0].Success)
	require.True(t, rows[0].Stream)
	require.NoError(t, socket.Close(websocket.StatusNormalClosure, ""))
}

func TestSocketWithAttachments(t *testing.T) {
	t.Parallel()
	c := newChat(t, nil)
	socket := c.open(t, "alice")
	message := strings.Replace(askHelper("1"), `"attachments":[]`, `"attachments":[{"filename":"a.txt","content_type":"text/plain","data_base64":"`+strings.Repeat("eHh4", 1<<20)+`"}]`, 1)
	socket.say(message)
	text, _ := socket.answer()
	require.Equal(t, "Hello, world", text)
	require.Contains(t, string(c.server.Last().Body), "<document name=")

	socket.say(strings.Replace(message, "text/plain", "image/png", 1))
	_, final := socket.answer()
	require.InDelta(t, 422, final["status"], 0)
	require.Contains(t, final["details"], "attachments[0].content_type")
}

// What begins no call, and what the client hears of it.
func TestSocketErrors(t *testing.T) {
	t.Parallel()
	long := `"` + strings.Repeat("x", 65) + `"`
	tests := map[string]struct {
		message, id, text string
		status            int
	}{
		"no JSON":            {`hello`, "null", "a message must be one JSON object, or ping", 400},
		"two":                {`{} {}`, "null", "a message must be one JSON object, or ping", 400},
		"a list":             {`[]`, "null", "a message must be one JSON object, or ping", 400},
		"nothing":            {``, "null", "a message must be one JSON object, or ping", 400},
		"an unknown type":    {`{"type":"sing","id":1}`, "null", "type must be chat, cancel or auth", 422},
		"no id":              {`{"specialist_id":"helper","message":"hi"}`, "null", "id must be a number or a text of 1 to 64 characters", 422},
		"an empty id":        {askHelper(`""`), "null", "id must be a number or a text of 1 to 64 characters", 422},
		"a long id":          {askHelper(long), "null", "id must be a number or a text of 1 to 64 characters", 422},
		"an id of true":      {askHelper(`true`), "null", "id must be a number or a text of 1 to 64 characters", 422},
		"an id of null":      {askHelper(`null`), "null", "id must be a number or a text of 1 to 64 characters", 422},
		"an id of too much":  {askHelper(`1e999`), "null", "id must be a number or a text of 1 to 64 characters", 422},
		"no message":         {`{"id":"a","specialist_id":"helper"}`, `"a"`, "message is required", 422},
		"no such specialist": {`{"id":"a","specialist_id":"nobody","message":"hi"}`, `"a"`, "the model \"nobody\" does not exist or you may not use it; GET /v1/models lists what you may use", 404},
	}
	c := newChat(t, nil)
	socket := c.open(t, "alice")
	for name, tt := range tests {
		socket.say(tt.message)
		message := socket.hear()
		require.True(t, strings.HasPrefix(message, `{"id":`+tt.id+`,"status":`), "%s: %s", name, message)
		var v map[string]any
		require.NoError(t, json.Unmarshal([]byte(message), &v), message)
		require.Equal(t, tt.text, v["error"], name)
		require.Equal(t, tt.text, v["detail"], name)
		require.InDelta(t, tt.status, v["status"], 0, name)
		require.Equal(t, true, v["is_final"], name)
		require.Empty(t, v["content"], name)
		require.NotEmpty(t, v["request_id"], name)
		require.NotEmpty(t, v["details"], name)
	}
	socket.say(`{"type":"cancel","id":"nothing"}`)
	socket.say("ping")
	require.Equal(t, "pong", socket.hear(), "nothing is said of what has ended already")
}

func TestSocketUpstreamErrors(t *testing.T) {
	t.Parallel()
	heard := make(chan struct{})
	c := newChat(t, nil, upstreamtest.JSON(429, `{}`, "Retry-After", "7"), func(w http.ResponseWriter, r *http.Request) {
		upstreamtest.Stream(upstreamtest.ChatEvents(true, "Hel", "lo")[:2]...)(w, r)
		<-heard // and then it breaks off
	})
	socket := c.open(t, "alice")
	socket.say(askHelper("1"))
	v := socket.object()
	require.InDelta(t, 429, v["status"], 0)
	require.InDelta(t, 7, v["retry_after"], 0)
	socket.say(askHelper("2"))
	require.Equal(t, "Hel", socket.object()["content"])
	close(heard)
	_, final := socket.answer()
	require.NotEmpty(t, final["error"])
	require.NotContains(t, final, "status", "it had begun")
	c.ledger.wait(t, 2)
}

func TestSocketCancels(t *testing.T) {
	t.Parallel()
	c := newChat(t, nil, upstreamtest.Hang(upstreamtest.ChatEvents(true, "one ", "two")[:2]...), upstreamtest.Hang(), upstreamtest.Chat("ok"))
	socket := c.open(t, "alice")
	for i, begun := range []bool{true, false} {
		socket.say(askHelper(`"a"`))
		if begun {
			require.Equal(t, "one ", socket.object()["content"])
		} else {
			c.server.WaitRequests(t, i+1)
		}
		socket.say(`{"type":"cancel","id":"a"}`)
		require.JSONEq(t, `{"id":"a","content":"","is_final":true,"input_tokens":0,"output_tokens":0,"model":"","latency_ms":0,"cost_usd":0,"estimated_cost_usd":0,"error":"cancelled"}`, socket.hear())
		c.server.WaitCancelled(t, i+1)
		row := c.ledger.wait(t, i+1)[i]
		require.Equal(t, llm.CauseClientGone, row.ErrorCause)
		require.False(t, row.Success)
	}
	socket.say(askHelper(`"a"`))
	text, _ := socket.answer()
	require.Equal(t, "ok", text, "the id is free again, and nothing came after the end")
	c.ledger.wait(t, 3)
}

func TestSocketTwoAtOnce(t *testing.T) {
	t.Parallel()
	c := newChat(t, nil, upstreamtest.Hang(upstreamtest.ChatEvents(true, "first", "x")[:2]...), upstreamtest.Chat("sec", "ond"))
	socket := c.open(t, "alice")
	socket.say(askHelper(`1`))
	require.Equal(t, "first", socket.object()["content"])
	socket.say(askHelper(`"1"`))
	text, final := socket.answer()
	require.Equal(t, "second", text)
	require.Equal(t, "1", final["id"], "a text is no number")

	socket.say(askHelper(`1.0`))
	v := socket.object()
	require.Nil(t, v["id"])
	require.Equal(t, "id is that of a call that still runs", v["error"])
	require.NoError(t, socket.CloseNow())
	c.server.WaitCancelled(t, 1)
	rows := c.ledger.wait(t, 2)
	require.Equal(t, llm.CauseClientGone, rows[1].ErrorCause, "a socket that goes takes its calls along")
}

func TestSocketRunsEightCalls(t *testing.T) {
	t.Parallel()
	spent := 0
	c := newChat(t, func(o *ChatOptions) {
		o.Spend = func(http.Header, *http.Request, *identity.Principal) *llm.Error { spent++; return nil }
	}, upstreamtest.Hang(upstreamtest.ChatEvents(true, "one ", "two")[:2]...))
	socket := c.open(t, "alice")
	for i := range 8 {
		socket.say(askHelper(fmt.Sprint(i)))
		require.Equal(t, "one ", socket.object()["content"])
	}
	socket.say(askHelper("8"))
	v := socket.object()
	require.InDelta(t, 8, v["id"], 0)
	require.InDelta(t, 429, v["status"], 0)
	require.InDelta(t, 1, v["retry_after"], 0)
	require.Equal(t, 8, spent, "what is refused takes nothing")
	socket.say(`{"type":"cancel","id":3}`)
	require.Equal(t, "cancelled", socket.object()["error"])
	require.Eventually(t, func() bool {
		socket.say(askHelper("8"))
		return socket.object()["content"] == "one "
	}, 5*time.Second, 10*time.Millisecond)
	_ = socket.CloseNow()
	c.ledger.wait(t, 9)
}

func TestSocketIsLimited(t *testing.T) {
	t.Parallel()
	left := 1
	c := newChat(t, func(o *ChatOptions) {
		o.Spend = func(h http.Header, r *http.Request, p *identity.Principal) *llm.Error {
			require.Equal(t, "hash-alice", p.UserHash)
			require.Equal(t, "/chat/stream", r.URL.Path)
			require.NotEmpty(t, r.RemoteAddr)
			h.Set("X-RateLimit-Limit", "60")
			h.Set("X-RateLimit-Reset", "33")
			if left == 0 {
				h.Set("X-RateLimit-Remaining", "0")
				return &llm.Error{Cause: llm.CauseRateLimited, Message: "too many; try again in 33 seconds", RetryAfter: 33 * time.Second}
			}
			left--
			h.Set("X-RateLimit-Remaining", "soon") // no number, so it is not passed on
			return nil
		}
	})
	socket := c.open(t, "alice")
	socket.say(askHelper("1"))
	_, final := socket.answer()
	require.Equal(t, map[string]any{"limit": 60.0, "reset": 33.0}, final["rate_limit"])
	socket.say(askHelper("2"))
	_, final = socket.answer()
	require.InDelta(t, 429, final["status"], 0)
	require.InDelta(t, 33, final["retry_after"], 0)
	require.Equal(t, map[string]any{"limit": 60.0, "remaining": 0.0, "reset": 33.0}, final["rate_limit"])
	require.Equal(t, "too many; try again in 33 seconds", final["error"])
	c.ledger.wait(t, 1)
}

func TestSocketTakesTextOnly(t *testing.T) {
	t.Parallel()
	c := newChat(t, nil)
	socket := c.open(t, "alice")
	require.NoError(t, socket.Write(t.Context(), websocket.MessageBinary, []byte("ping")))
	code, _ := socket.closed()
	require.Equal(t, websocket.StatusUnsupportedData, code)
}

// Who does not read holds up nobody but themselves, and not for long.
func TestSocketThatDoesNotRead(t *testing.T) {
	t.Parallel()
	word := strings.Repeat("x", 64<<10)
	var words []string
	for range 400 { // far more than all buffers on the way hold
		words = append(words, word)
	}
	c := newChat(t, nil, upstreamtest.Stream(upstreamtest.ChatEvents(true, words...)...), upstreamtest.Chat("ok"))
	require.Equal(t, 10*time.Second, c.sockets.writeTimeout)
	c.sockets.writeTimeout = time.Second
	var dialer net.Dialer
	conn, _, err := websocket.Dial(t.Context(), c.url, &websocket.DialOptions{HTTPClient: &http.Client{Transport: &http.Transport{
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
	slow := &client{t, conn}
	slow.say(`{"type":"auth","token":"slow"}`)
	slow.hear()
	slow.say(askHelper("1"))
	c.server.WaitRequests(t, 1)
	other := c.open(t, "alice")
	other.say(askHelper("1"))
	text, _ := other.answer()
	require.Equal(t, "ok", text)
	require.Eventually(t, func() bool { return c.sockets.Len() == 1 }, 30*time.Second, 20*time.Millisecond)
	causes := map[llm.Cause]int{}
	for _, row := range c.ledger.wait(t, 2) {
		causes[row.ErrorCause]++
	}
	require.Equal(t, map[llm.Cause]int{llm.CauseNone: 1, llm.CauseClientGone: 1}, causes)
}

func TestSocketThousandMessages(t *testing.T) {
	t.Parallel()
	c := newChat(t, nil)
	socket := c.open(t, "alice")
	const all, atOnce = 1000, 8
	sent, texts := 0, map[string]string{}
	for ; sent < atOnce; sent++ {
		socket.say(askHelper(fmt.Sprint(sent)))
	}
	for finished := 0; finished < all; {
		v := socket.object()
		id := fmt.Sprint(v["id"])
		require.NotContains(t, v, "error", v)
		texts[id] += v["content"].(string)
		if v["is_final"] == true {
			finished++
			if sent < all {
				socket.say(askHelper(fmt.Sprint(sent)))
				sent++
			}
		}
	}
	require.Len(t, texts, all)
	for id, text := range texts {
		require.Equal(t, "Hello, world", text, id)
	}
	ids := map[string]bool{}
	for _, row := range c.ledger.wait(t, all) {
		require.True(t, row.Success)
		ids[row.ID.String()] = true
	}
	require.Len(t, ids, all)
}

// What large messages take of the memory is bounded; the socket goes on.
func TestSocketRoom(t *testing.T) {
	t.Parallel()
	c := newChat(t, func(o *ChatOptions) { o.Room = gateway.NewRoom(2 << 20) })
	socket := c.open(t, "alice")
	for range 2 {
		socket.say(`{"id":1,"message":"` + strings.Repeat("x", 4<<20) + `"}`)
		v := socket.object()
		require.Nil(t, v["id"])
		require.InDelta(t, 503, v["status"], 0)
		socket.say(strings.Replace(askHelper("2"), `"attachments":[]`, `"x":"`+strings.Repeat("y", 2<<20)+`"`, 1))
		text, _ := socket.answer()
		require.Equal(t, "Hello, world", text)
	}
}

func TestPanicInACallEndsThatCallOnly(t *testing.T) {
	t.Parallel()
	c := newChat(t, func(o *ChatOptions) {
		inner := o.Chat
		o.Chat = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.ContentLength%2 == 0 {
				panic("a bug")
			}
			inner.ServeHTTP(w, r)
		})
	})
	socket := c.open(t, "alice")
	for _, id := range []string{"1", "12"} {
		socket.say(askHelper(id))
		_, final := socket.answer()
		if len(askHelper(id))%2 == 0 {
			require.Equal(t, "the answer broke off", final["error"])
		}
	}
}

// No message breaks a socket's reader, and none that is taken for an id is
// anything else.
func FuzzSocketMessage(f *testing.F) {
	f.Add([]byte(askHelper(`"a"`)))
	f.Add([]byte(`{"type":"cancel","id":1e3}`))
	f.Add([]byte(`{"id":"\ud800","token":"x"}`))
	f.Fuzz(func(t *testing.T, message []byte) {
		m, ok := readSocketMessage(message)
		if !ok {
			return
		}
		key, ok := idKey(m.ID)
		if !ok {
			return
		}
		require.NotEmpty(t, key)
		c := &socketCall{id: m.ID}
		tagged := c.tagged([]byte(cancelled), nil)
		var v map[string]any
		require.NoError(t, json.Unmarshal(tagged, &v), string(tagged))
		require.Contains(t, []string{"string", "float64"}, fmt.Sprintf("%T", v["id"]))
	})
}
