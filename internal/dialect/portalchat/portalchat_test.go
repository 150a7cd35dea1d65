package portalchat_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/dialect/portalchat"
	"github.com/financecommander/tollgate/internal/llm"
	"github.com/financecommander/tollgate/pricing"
)

func TestDecodeRefuses(t *testing.T) {
	long := strings.Repeat("x", 65)
	tests := map[string]struct {
		body, param, message string
		status               int
	}{
		"empty":               {``, "", "the body must be one JSON object", 400},
		"half":                {`{"message":"h`, "", "the body must be one JSON object", 400},
		"two":                 {`{} {}`, "", "the body must be one JSON object", 400},
		"a text":              {`"hi"`, "", "the body must be one JSON object", 400},
		"no specialist":       {`{"message":"hi"}`, "specialist_id", "specialist_id is required", 422},
		"long specialist":     {`{"specialist_id":"` + long + `","message":"hi"}`, "specialist_id", "specialist_id must have at most 64 characters", 422},
		"specialist's type":   {`{"specialist_id":7,"message":"hi"}`, "specialist_id", "specialist_id has the wrong type", 422},
		"no message":          {`{"specialist_id":"a"}`, "message", "message is required", 422},
		"long message":        {`{"specialist_id":"a","message":"` + strings.Repeat("é", 50_001) + `"}`, "message", "message has 50001 characters; at most 50000 are allowed", 422},
		"history's type":      {`{"specialist_id":"a","message":"b","conversation_history":"x"}`, "conversation_history", "conversation_history has the wrong type", 422},
		"content's type":      {`{"specialist_id":"a","message":"b","conversation_history":[{"role":"user","content":"x"},{"role":"user","content":[]}]}`, "conversation_history[1].content", "conversation_history[1].content has the wrong type", 422},
		"role":                {`{"specialist_id":"a","message":"b","conversation_history":[{"role":"robot","content":"x"}]}`, "conversation_history[0].role", "role must be user, assistant or system", 422},
		"too many attachment": {`{"specialist_id":"a","message":"b","attachments":[{},{},{},{},{},{}]}`, "attachments", "attachments has 6 items; at most 5 are allowed", 422},
		"attachment's type":   {`{"specialist_id":"a","message":"b","attachments":[{},"x"]}`, "attachments[1]", "attachments[1] has the wrong type", 422},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := portalchat.Decode([]byte(tt.body))
			e, ok := errors.AsType[*llm.Error](err)
			require.True(t, ok, "%v", err)
			require.Equal(t, llm.CauseInvalidRequest, e.Cause)
			require.Equal(t, tt.param, e.Param)
			require.Equal(t, tt.message, e.Message)
			require.Equal(t, tt.status, e.Status())
		})
	}
}

func TestLLM(t *testing.T) {
	text := llm.TextMessage
	tests := map[string]struct {
		body string
		want []llm.Message
	}{
		"alone": {`{"specialist_id":"a","message":"hi"}`, []llm.Message{text(llm.RoleUser, "hi")}},
		"nulls": {`{"specialist_id":"a","message":"hi","conversation_history":null,"attachments":null}`, []llm.Message{text(llm.RoleUser, "hi")}},
		"the largest": {
			`{"specialist_id":"` + strings.Repeat("a", 64) + `","message":"` + strings.Repeat("é", 50_000) + `"}`,
			[]llm.Message{text(llm.RoleUser, strings.Repeat("é", 50_000))},
		},
		"more than we know": {`{"specialist_id":"a","message":"hi","temperature":"hot","model":7,"x":{}}`, []llm.Message{text(llm.RoleUser, "hi")}},
		"a history": {`{"specialist_id":"a","message":"c","conversation_history":[{"role":"user","content":"a","id":7},{"role":"assistant","content":"b"}]}`, []llm.Message{
			text(llm.RoleUser, "a"), text(llm.RoleAssistant, "b"), text(llm.RoleUser, "c"),
		}},
		"empty turns": {`{"specialist_id":"a","message":"c","conversation_history":[{"role":"user","content":"a"},{"role":"assistant","content":""},{"role":"user"},{"role":"system","content":" "}]}`, []llm.Message{
			text(llm.RoleUser, "a"), text(llm.RoleUser, "c"),
		}},
		"system turns join": {`{"specialist_id":"a","message":"c","conversation_history":[{"role":"user","content":"a"},{"role":"system","content":"s1"},{"role":"system","content":"s2"}]}`, []llm.Message{
			text(llm.RoleSystem, "s1\n\ns2"), text(llm.RoleUser, "a"), text(llm.RoleUser, "c"),
		}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			r, err := portalchat.Decode([]byte(tt.body))
			require.NoError(t, err)
			got := r.LLM(true)
			require.True(t, got.Stream)
			require.Equal(t, r.SpecialistID, got.Model)
			require.Empty(t, cmp.Diff(tt.want, got.Messages, cmpopts.IgnoreFields(llm.Common{}, "Pos")))
		})
	}
}

var outcome = portalchat.Outcome{
	SpecialistID: "a", SpecialistName: "Ä \"b\"", Provider: "openai", Model: "gpt-4o",
	InputTokens: 1000, OutputTokens: 500, Cost: 7500 * (pricing.Dollar / 1_000_000), Latency: 320*time.Millisecond + 600*time.Microsecond,
}

func TestAnswers(t *testing.T) {
	require.Equal(t, "event: message\n"+
		`data: {"content":"h\"\n\u2028é","is_final":false,"input_tokens":0,"output_tokens":0,"model":"gpt-4o","latency_ms":0,"cost_usd":0,"estimated_cost_usd":0}`+"\n\n",
		strings.ReplaceAll(string(portalchat.AppendChunk(nil, "h\"\n\u2028é", "gpt-4o")), "\u2028", `\u2028`))
	require.Equal(t, "event: message\n"+
		`data: {"content":"","is_final":true,"input_tokens":1000,"output_tokens":500,"model":"gpt-4o","latency_ms":321,"cost_usd":0.0075,"estimated_cost_usd":0.0075}`+"\n\n",
		string(portalchat.AppendFinal(nil, outcome)))
	//nolint:testifylint // the bytes count, not what they mean: the frontend's contract
	require.Equal(t, `{"content":"hi","specialist_id":"a","specialist_name":"Ä \"b\"","provider":"openai","model":"gpt-4o","input_tokens":1000,"output_tokens":500,"cost_usd":0.0075,"estimated_cost_usd":0.0075,"latency_ms":321}`,
		string(portalchat.AppendAnswer(nil, "hi", outcome)))

	failed := outcome
	failed.Err = &llm.Error{Cause: llm.CauseUpstreamCut, Message: "it broke off", Err: errors.New("secret")}
	final := string(portalchat.AppendFinal([]byte("before"), failed))
	require.True(t, strings.HasPrefix(final, "beforeevent: message\n"))
	require.Contains(t, final, `"content":"\n\n[The answer broke off: it broke off]","is_final":true`)
	require.Contains(t, final, `"error":"it broke off"}`)
	require.NotContains(t, final, "secret")
}

func TestWriteError(t *testing.T) {
	tests := map[string]struct {
		err    llm.Error
		status int
		header http.Header
		body   string
	}{
		"a field": {
			llm.Error{Cause: llm.CauseInvalidRequest, Param: "message", Message: "message is required"},
			422, nil,
			`{"error":"message is required","detail":"message is required","details":{"cause":"invalid_request","message":"message is required"},"request_id":"req_1"}`,
		},
		"a token": {
			llm.Error{Cause: llm.CauseUnauthenticated, Message: "no valid token"},
			401,
			http.Header{"Www-Authenticate": {"Bearer"}},
			`{"error":"no valid token","detail":"no valid token","details":{"cause":"unauthenticated"},"request_id":"req_1"}`,
		},
		"a limit": {
			llm.Error{Cause: llm.CauseRateLimited, Message: "try again in 2 seconds", RetryAfter: 1100 * time.Millisecond},
			429,
			http.Header{"Retry-After": {"2"}},
			`{"error":"try again in 2 seconds","detail":"try again in 2 seconds","details":{"cause":"rate_limited"},"request_id":"req_1"}`,
		},
		"the upstream's key": {
			llm.Error{Cause: llm.CauseUpstreamAuth, Err: errors.New("secret")},
			502, nil,
			`{"error":"Bad Gateway","detail":"Bad Gateway","details":{"cause":"upstream_auth"},"request_id":"req_1"}`,
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			w := httptest.NewRecorder()
			portalchat.WriteError(w, &tt.err, "req_1")
			require.Equal(t, tt.status, w.Code)
			require.JSONEq(t, tt.body, w.Body.String())
			require.Equal(t, "req_1", w.Header().Get("X-Request-Id"))
			require.Equal(t, "application/json", w.Header().Get("Content-Type"))
			for name, values := range tt.header {
				require.Equal(t, values, w.Header()[name])
			}
			require.Len(t, tt.header, len(w.Header())-4, "%v", w.Header())
		})
	}
}

// No body breaks the decoder, and what it takes keeps the bounds.
func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"specialist_id":"a","message":"b","conversation_history":[{"role":"user","content":"x"}],"attachments":[]}`))
	f.Add([]byte(`{"specialist_id":"a","message":"\xff\ud800"}`))
	f.Add([]byte(`{"conversation_history":[{"role":7}]}`))
	f.Add([]byte(`{"specialist_id":"a","message":"b","attachments":[{"filename":"a\n.md","content_type":"text/markdown","data_base64":"IyBIaQ==","size_bytes":4}]}`))
	f.Add([]byte(`{"specialist_id":"a","message":"b","attachments":[{"content_type":"image/gif","data_base64":"R0lGODlhAQ=="}]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		r, err := portalchat.Decode(body)
		if err != nil {
			e, ok := errors.AsType[*llm.Error](err)
			require.True(t, ok)
			require.NotEmpty(t, e.Message)
			return
		}
		messages := r.LLM(false).Messages
		require.NotEmpty(t, messages)
		require.LessOrEqual(t, len(messages), 102)
		question := messages[len(messages)-1]
		require.Equal(t, llm.RoleUser, question.Role)
		require.Len(t, question.Parts, len(r.Attachments)+1)
		event := portalchat.AppendChunk(nil, r.Message, r.SpecialistID)
		data, ok := strings.CutPrefix(string(event), "event: message\ndata: ")
		require.True(t, ok)
		require.True(t, json.Valid([]byte(data)))
		require.Equal(t, 1, strings.Count(data, "\n\n"), "one event")
	})
}
