package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/upstreamtest"
)

// chunk is an object of a WebSocket's; a nil field was missing.
type chunk struct {
	Type, ID     string
	Content      *string
	IsFinal      *bool    `json:"is_final"`
	InputTokens  *int64   `json:"input_tokens"`
	OutputTokens *int64   `json:"output_tokens"`
	Model        *string  `json:"model"`
	LatencyMS    *int64   `json:"latency_ms"`
	Cost         *float64 `json:"cost_usd"`
	Estimated    *float64 `json:"estimated_cost_usd"`
	Error        string
	Status       int
}

// socket is an open WebSocket.
type socket struct {
	t    *testing.T
	conn *websocket.Conn
}

// open opens a WebSocket and says a first message.
func (g *gateway) open(t *testing.T, first string) *socket {
	t.Helper()
	conn, _, err := websocket.Dial(t.Context(), "ws"+strings.TrimPrefix(g.URL, "http")+"/chat/ws", nil)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.CloseNow() })
	s := &socket{t, conn}
	s.say(first)
	return s
}

// talk opens a WebSocket that knows whose it is.
func (g *gateway) talk(t *testing.T, token string) *socket {
	t.Helper()
	s := g.open(t, authMessage(token))
	require.Equal(t, "ready", s.next().Type)
	return s
}

func authMessage(token string) string { return fmt.Sprintf(`{"type":"auth","token":%q}`, token) }

func (s *socket) say(text string) {
	s.t.Helper()
	require.NoError(s.t, s.conn.Write(s.t.Context(), websocket.MessageText, []byte(text)))
}

func (s *socket) ask(id, question string) {
	s.t.Helper()
	s.say(fmt.Sprintf(`{"id":%q,"specialist_id":"legal-quick","message":%q,"conversation_history":[]}`, id, question))
}

func (s *socket) read() (string, error) {
	ctx, cancel := context.WithTimeout(s.t.Context(), 10*time.Second)
	defer cancel()
	_, message, err := s.conn.Read(ctx)
	return string(message), err
}

// next gives the next object.
func (s *socket) next() (c chunk) {
	s.t.Helper()
	message, err := s.read()
	require.NoError(s.t, err)
	require.NoError(s.t, json.Unmarshal([]byte(message), &c), message)
	if c.Type == "" {
		for _, field := range []any{c.Content, c.IsFinal, c.InputTokens, c.OutputTokens, c.Model, c.LatencyMS, c.Cost, c.Estimated} {
			require.NotNil(s.t, field, message)
		}
	}
	return c
}

// finals reads until so many calls have ended, and gives their texts and ends.
func (s *socket) finals(n int) (texts map[string]string, ends map[string]chunk) {
	s.t.Helper()
	texts, ends = map[string]string{}, map[string]chunk{}
	for len(ends) < n {
		c := s.next()
		require.NotContains(s.t, ends, c.ID, "nothing comes after the final chunk")
		texts[c.ID] += *c.Content
		if *c.IsFinal {
			ends[c.ID] = c
		}
	}
	return texts, ends
}

// closed reads to the end and gives how the gateway closed.
func (s *socket) closed() websocket.StatusCode {
	s.t.Helper()
	for {
		if _, err := s.read(); err != nil {
			return websocket.CloseStatus(err)
		}
	}
}

// words is what the upstream of manners answers.
func words(count int, label string) string {
	all := make([]string, count)
	for i := range all {
		all[i] = fmt.Sprint(label, i+1)
	}
	return strings.Join(all, " ")
}

func TestWebSocket(t *testing.T) {
	t.Parallel()
	upstream := upstreamtest.New(t, manners)
	g := startGateway(t, map[string]string{"OPENAI_API_KEY": upstreamKey, "OPENAI_BASE_URL": upstream.URL() + "/v1", "RATE_LIMIT": "12/h"})
	signIn := func(name string) (access string) {
		_, _, body := g.do(t, "POST", "/auth/login", "", `{"email":"`+name+`@example.com"}`)
		var login struct {
			Token string `json:"access_token"`
		}
		require.NoError(t, json.Unmarshal([]byte(body), &login))
		return login.Token
	}

	t.Run("several answers at once", func(t *testing.T) {
		g := *g
		g.Token = signIn("several")
		s := g.talk(t, g.Token)
		s.ask("a", "slow 8 a")
		s.ask("b", "slow 4 b")
		s.say("ping")
		message, err := s.read()
		require.NoError(t, err)
		require.Equal(t, "pong", message)
		texts, ends := s.finals(2)
		require.Equal(t, map[string]string{"a": words(8, "a"), "b": words(4, "b")}, texts)
		for id, output := range map[string]int64{"a": 8, "b": 4} {
			require.Empty(t, ends[id].Error)
			require.Equal(t, []int64{10, output}, []int64{*ends[id].InputTokens, *ends[id].OutputTokens})
			require.Positive(t, *ends[id].Cost)
		}
		for _, row := range g.waitRows(t, 2) {
			require.True(t, row.Success)
			require.Equal(t, "legal-quick", row.SpecialistID)
		}
	})
	t.Run("one is cancelled, the other goes on", func(t *testing.T) {
		g := *g
		g.Token = signIn("cancel")
		s := g.talk(t, g.Token)
		s.ask("gone", "slow 200 gone")
		require.Equal(t, "gone", s.next().ID)
		s.ask("on", "slow 6 on")
		s.say(`{"type":"cancel","id":"gone"}`)
		texts, ends := s.finals(2)
		require.Equal(t, "cancelled", ends["gone"].Error)
		require.NotContains(t, texts["gone"], "gone20")
		require.Equal(t, words(6, "on"), texts["on"])
		success := map[bool]int{}
		for _, row := range g.waitRows(t, 2) {
			success[row.Success]++
		}
		require.Equal(t, map[bool]int{true: 1, false: 1}, success)
	})
	t.Run("who leaves ends the call", func(t *testing.T) {
		g := *g
		g.Token = signIn("leave")
		s := g.talk(t, g.Token)
		s.ask("x", "slow 200 x")
		require.Equal(t, "x", s.next().ID)
		require.NoError(t, s.conn.CloseNow())
		require.False(t, g.waitRows(t, 1)[0].Success)
	})
	t.Run("a log-out ends what was open", func(t *testing.T) {
		g := *g
		g.Token = signIn("out")
		s := g.talk(t, g.Token)
		s.ask("a", "instant 2 a")
		s.finals(1)
		status, _, body := g.do(t, "POST", "/auth/logout", g.Token, "{}")
		require.Equal(t, http.StatusOK, status, body)
		s.ask("b", "instant 2 b")
		require.Equal(t, websocket.StatusPolicyViolation, s.closed())
	})
	t.Run("limits count and say so", func(t *testing.T) {
		s := g.talk(t, signIn("limits"))
		for range 12 {
			s.ask("a", "instant 1 a")
			s.finals(1)
		}
		s.ask("a", "instant 1 a")
		c := s.next()
		require.Equal(t, http.StatusTooManyRequests, c.Status)
		require.Contains(t, c.Error, "try again in")
	})
	t.Run("strangers are sent away", func(t *testing.T) {
		for name, first := range map[string]string{
			"bad token": authMessage("not.a.token"), "no JSON": "hello", "no token": `{"type":"auth"}`, "question first": `{"id":"a","message":"instant 1 a"}`,
		} {
			require.Equal(t, websocket.StatusPolicyViolation, g.open(t, first).closed(), name)
		}
		_, response, err := websocket.Dial(t.Context(), "ws"+strings.TrimPrefix(g.URL, "http")+"/chat/ws",
			&websocket.DialOptions{HTTPHeader: http.Header{"Origin": {"https://elsewhere.example"}}})
		require.Error(t, err)
		require.Equal(t, http.StatusForbidden, response.StatusCode)
		status, _, _ := g.do(t, "GET", "/chat/ws", "", "")
		require.Equal(t, http.StatusUpgradeRequired, status)
	})
	t.Run("mistakes are told and forgiven", func(t *testing.T) {
		s := g.talk(t, signIn("mistakes"))
		for _, mistake := range []string{`{"id":"a"}`, `[1]`, `{"id":"a","specialist_id":"nobody","message":"x"}`, `{"type":"sing"}`, `{"id":{},"message":"x"}`} {
			s.say(mistake)
			c := s.next()
			require.True(t, *c.IsFinal, mistake)
			require.GreaterOrEqual(t, c.Status, 400, mistake)
			require.NotEmpty(t, c.Error, mistake)
		}
		s.ask("a", "instant 2 a")
		texts, _ := s.finals(1)
		require.Equal(t, "a1 a2", texts["a"])
	})
	g.requireQuietLog(t)
}
