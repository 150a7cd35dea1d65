package gateway_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/gateway"
	"github.com/financecommander/tollgate/internal/llm"
	"github.com/financecommander/tollgate/internal/upstream"
	"github.com/financecommander/tollgate/internal/upstreamtest"
)

const askHelper = `{"specialist_id":"helper","message":"hi","conversation_history":[],"attachments":[]}`

var latency = regexp.MustCompile(`"latency_ms":\d+`)

// timeless takes the one number out of an answer that no test can know.
func timeless(body string) string { return latency.ReplaceAllString(body, `"latency_ms":0`) }

func portalChunk(content string) string {
	return `event: message` + "\n" + `data: {"content":"` + content + `","is_final":false,"input_tokens":0,"output_tokens":0,"model":"gpt-4o-mini","latency_ms":0,"cost_usd":0,"estimated_cost_usd":0}` + "\n\n"
}

// Ten tokens read and three written of gpt-4o-mini.
const portalFinal = "event: message\n" + `data: {"content":"","is_final":true,"input_tokens":10,"output_tokens":3,"model":"gpt-4o-mini","latency_ms":0,"cost_usd":0.0000033,"estimated_cost_usd":0.0000033}` + "\n\n"

func setupPortal(t *testing.T, behaviour ...upstreamtest.Behaviour) (*fixture, *upstreamtest.Upstream) {
	server := upstreamtest.New(t, behaviour...)
	return setup(t, withSpecialists, provider(t, "openai", server.URL(), upstream.Timeouts{})), server
}

func TestPortalSend(t *testing.T) {
	for _, path := range []string{"/chat/send", "/chat/send/"} {
		f, _ := setupPortal(t)
		a := f.post(path, askHelper)
		require.Equal(t, http.StatusOK, a.Status)
		require.Equal(t, "application/json", a.Header.Get("Content-Type"))
		//nolint:testifylint // the bytes count, not what they mean: the frontend's contract
		require.Equal(t, `{"content":"Hello, world","specialist_id":"helper","specialist_name":"Helper","provider":"openai","model":"gpt-4o-mini",`+
			`"input_tokens":10,"output_tokens":3,"cost_usd":0.0000033,"estimated_cost_usd":0.0000033,"latency_ms":0}`, timeless(a.Body))
		row := f.ledger.one(t)
		requireRow(t, row, 1, 200, 200, llm.CauseNone)
		require.Equal(t, "portal_chat", row.Dialect)
		require.Equal(t, "Helper", row.SpecialistName)
		require.False(t, row.Stream)
	}
}

func TestPortalStream(t *testing.T) {
	for _, path := range []string{"/chat/stream", "/chat/stream/"} {
		f, _ := setupPortal(t)
		a := f.post(path, askHelper)
		require.Equal(t, http.StatusOK, a.Status)
		require.Equal(t, "text/event-stream", a.Header.Get("Content-Type"))
		require.Equal(t, portalChunk("Hello")+portalChunk(", ")+portalChunk("world")+portalFinal, timeless(a.Body))
		row := f.ledger.one(t)
		requireRow(t, row, 1, 200, 200, llm.CauseNone)
		require.Equal(t, llm.UsageProvider, row.UsageSource)
		require.True(t, row.Stream)
	}
}

// The upstream may not do as it was asked about streaming; the portal's caller
// does not notice.
func TestPortalOtherWayAround(t *testing.T) {
	chat := []string{"Hello", ", ", "world"}
	f, _ := setupPortal(t, upstreamtest.JSON(200, upstreamtest.ChatBody(chat...)))
	require.Equal(t, portalChunk("Hello, world")+portalFinal, timeless(f.post("/chat/stream", askHelper).Body))

	f, _ = setupPortal(t, upstreamtest.Stream(upstreamtest.ChatEvents(true, chat...)...))
	a := f.post("/chat/send", askHelper)
	require.Equal(t, "application/json", a.Header.Get("Content-Type"))
	require.Contains(t, a.Body, `{"content":"Hello, world","specialist_id":"helper",`)
	require.Contains(t, a.Body, `"output_tokens":3,`)

	f, _ = setupPortal(t, upstreamtest.Stream(upstreamtest.ChatEvents(true, chat...)[:3]...))
	a = f.post("/chat/send", askHelper)
	require.Equal(t, http.StatusBadGateway, a.Status)
}

// What the upstream is sent: the specialist's prompt, the history's system
// items as one, and the turns that are not empty.
func TestPortalRequest(t *testing.T) {
	f, server := setupPortal(t)
	a := f.post("/chat/send", `{"specialist_id":"old-helper","message":"And <now>? \u00fc","conversation_history":[
		{"role":"system","content":"Use metres."},{"role":"user","content":"Hi"},{"role":"assistant","content":""},
		{"role":"assistant","content":"  \n"},{"role":"system","content":"Be brief."},{"role":"assistant","content":"Yes?"}]}`)
	require.Equal(t, http.StatusOK, a.Status)
	require.JSONEq(t, `{"model":"gpt-4o-mini","messages":[{"role":"system","content":"Help."},{"role":"system","content":"Use metres.\n\nBe brief."},
		{"role":"user","content":"Hi"},{"role":"assistant","content":"Yes?"},{"role":"user","content":"And <now>? ü"}]}`, string(server.Last().Body))
	require.Contains(t, a.Body, `"specialist_id":"helper"`)
}

// portalError is the portal's error shape.
func portalError(t *testing.T, a answer) (text, requestID string) {
	t.Helper()
	require.Equal(t, "application/json", a.Header.Get("Content-Type"))
	var body struct {
		Error     string `json:"error"`
		Detail    string `json:"detail"`
		Details   map[string]any
		RequestID string `json:"request_id"`
	}
	require.NoError(t, json.Unmarshal([]byte(a.Body), &body), a.Body)
	require.NotEmpty(t, body.Error)
	require.Equal(t, body.Error, body.Detail)
	require.NotNil(t, body.Details)
	require.Equal(t, a.Header.Get("X-Request-Id"), body.RequestID)
	return body.Error, body.RequestID
}

// Before the first byte an error is an HTTP status with a JSON body, for both
// ways to ask.
func TestPortalErrors(t *testing.T) {
	history := func(n int, item string) string {
		return `{"specialist_id":"helper","message":"hi","conversation_history":[` + strings.TrimSuffix(strings.Repeat(item+",", n), ",") + `]}`
	}
	tests := map[string]struct {
		token, body string
		behaviour   upstreamtest.Behaviour
		status      int
		attempt     int
	}{
		"no JSON":               {body: "x", status: 400},
		"an array":              {body: "[]", status: 400},
		"no specialist":         {body: `{"message":"hi"}`, status: 422},
		"specialist too long":   {body: `{"specialist_id":"` + strings.Repeat("x", 65) + `","message":"hi"}`, status: 422},
		"no message":            {body: `{"specialist_id":"helper"}`, status: 422},
		"message is blank":      {body: `{"specialist_id":"helper","message":" \n"}`, status: 422},
		"message is a number":   {body: `{"specialist_id":"helper","message":7}`, status: 422},
		"message too long":      {body: `{"specialist_id":"helper","message":"` + strings.Repeat("ü", 50_001) + `"}`, status: 422},
		"history too long":      {body: history(101, `{"role":"user","content":"x"}`), status: 422},
		"a role unknown":        {body: history(1, `{"role":"tool","content":"x"}`), status: 422},
		"attachments":           {body: `{"specialist_id":"helper","message":"hi","attachments":[{}]}`, status: 422},
		"specialist not there":  {body: `{"specialist_id":"nobody","message":"hi"}`, status: 404},
		"specialist not for":    {token: "only:other", body: askHelper, status: 403},
		"key refused upstream":  {body: askHelper, behaviour: upstreamtest.JSON(401, `{}`), status: 502, attempt: 1},
		"upstream fails":        {body: askHelper, behaviour: upstreamtest.HTML(500), status: 502, attempt: 1},
		"upstream's limit":      {body: askHelper, behaviour: upstreamtest.JSON(429, `{}`), status: 429, attempt: 1},
		"upstream says no":      {body: askHelper, behaviour: upstreamtest.JSON(400, `{"error":{"message":"too long"}}`), status: 400, attempt: 1},
		"error as first event":  {body: askHelper, behaviour: upstreamtest.Stream(upstreamtest.ErrorEvent), status: 502, attempt: 1},
		"error after the role":  {body: askHelper, behaviour: upstreamtest.Stream(events[0], upstreamtest.ErrorEvent), status: 502, attempt: 1},
		"cut before a word":     {body: askHelper, behaviour: upstreamtest.Stream(events[0]), status: 502, attempt: 1},
		"error after a thought": {body: askHelper, behaviour: upstreamtest.Stream(thought, upstreamtest.ErrorEvent), status: 502, attempt: 1},
	}
	for name, tt := range tests {
		for _, path := range []string{"/chat/send", "/chat/stream/"} {
			t.Run(name+path, func(t *testing.T) {
				f, _ := setupPortal(t, tt.behaviour)
				token := callerKey
				if tt.token != "" {
					token = tt.token
				}
				a := f.post(path, tt.body, "Authorization", "Bearer "+token)
				require.Equal(t, tt.status, a.Status, a.Body)
				_, id := portalError(t, a)
				row := f.ledger.one(t)
				require.Equal(t, id, row.RequestID)
				require.Equal(t, tt.attempt, row.Attempt)
				require.Equal(t, tt.status, row.Status, "the row says what the caller got")
				require.False(t, row.Success)
			})
		}
	}
	f, _ := setupPortal(t)
	a := f.post("/chat/send", askHelper, "Authorization", "")
	require.Equal(t, http.StatusUnauthorized, a.Status)
	require.Equal(t, "Bearer", a.Header.Get("Www-Authenticate"))
	portalError(t, a)
	a = f.do(http.MethodGet, "/chat/stream", "")
	require.Equal(t, http.StatusMethodNotAllowed, a.Status)
	require.Equal(t, "POST", a.Header.Get("Allow"))
	portalError(t, a)
	require.Empty(t, f.ledger.all())
}

const thought = `data: {"model":"m","choices":[{"index":0,"delta":{"reasoning_content":"Hm."},"finish_reason":null}]}` + "\n\n"

// After the first byte a failure is told by the final chunk, which always comes.
func TestPortalFailsInMidStream(t *testing.T) {
	for name, behaviour := range map[string]upstreamtest.Behaviour{
		"error": slowEnd(upstreamtest.ErrorEvent), "cut": slowEnd(), "half a chunk": slowEnd(events[5][:40]),
	} {
		t.Run(name, func(t *testing.T) {
			f, _ := setupPortal(t, behaviour)
			a := f.post("/chat/stream", askHelper)
			require.NoError(t, a.Err)
			require.Equal(t, http.StatusOK, a.Status)
			passed, last := cutLast(timeless(a.Body))
			require.Equal(t, portalChunk("one ")+portalChunk("two ")+portalChunk("three ")+portalChunk("four "), passed)

			var final map[string]any
			require.NoError(t, json.Unmarshal([]byte(strings.TrimPrefix(last, "event: message\ndata: ")), &final), last)
			require.Equal(t, true, final["is_final"])
			require.NotEmpty(t, final["error"])
			require.Contains(t, final["content"], final["error"])
			for _, field := range []string{"input_tokens", "output_tokens", "model", "latency_ms", "cost_usd", "estimated_cost_usd"} {
				require.Contains(t, final, field)
			}
			row := f.ledger.one(t)
			require.False(t, row.Success)
			require.Equal(t, http.StatusOK, row.Status)
			require.InDelta(t, final["output_tokens"], row.OutputTokens, 0)
			require.Positive(t, row.OutputTokens)
		})
	}
}

// slowEnd sends four words and, when they have gone through, what follows.
func slowEnd(texts ...string) upstreamtest.Behaviour {
	return func(w http.ResponseWriter, r *http.Request) {
		upstreamtest.Stream(begun...)(w, r)
		pause()
		upstreamtest.Stream(texts...)(headerless{w}, r)
	}
}

// Bytes after the last whole event are not the portal's business; nor are the
// upstream's own comments.
func TestPortalSaysNothingOfTheUpstreams(t *testing.T) {
	texts := []string{": PROCESSING\n\n", thought, fmt.Sprintf("data: %s\n\n", `{"choices":[{"index":0,"delta":{"content":"a\"\n\u00e4"},"finish_reason":"stop"}]}`), "data: {\"x\":1}"}
	f, _ := setupPortal(t, upstreamtest.Stream(texts...))
	a := f.post("/chat/stream", askHelper)
	body, found := strings.CutPrefix(timeless(a.Body), portalChunk(`a\"\nä`)+"event: message\ndata: ")
	require.True(t, found, a.Body)
	var final map[string]any
	require.NoError(t, json.Unmarshal([]byte(body), &final), body)
	require.Equal(t, true, final["is_final"])
	require.NotContains(t, final, "error")
}

// The demo provider answers for every specialist where there is no other.
func TestPortalDemo(t *testing.T) {
	f := setup(t, func(o *gateway.Options) { withSpecialists(o) })
	a := f.post("/chat/stream", askHelper)
	require.Equal(t, "1", a.Header.Get("X-Tollgate-Demo"))
	_, last := cutLast(a.Body)
	require.Contains(t, last, `"is_final":true`)
	row := f.ledger.one(t)
	require.Equal(t, "demo", row.Provider)
	require.Zero(t, row.Cost)
	require.True(t, row.Priced)
	require.Positive(t, row.OutputTokens)
	require.Equal(t, llm.UsageProvider, row.UsageSource)
}
