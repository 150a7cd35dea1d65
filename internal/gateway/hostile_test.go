package gateway_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Whatever a body holds, it is the caller's fault or nobody's: never a 5xx of
// ours, and never a word upstream that is not a well-formed call.
func TestHostileBodies(t *testing.T) {
	f := newFamily(t, nil)
	deep := strings.Repeat("[", 600) + strings.Repeat("]", 600)
	values := []string{
		`null`, `true`, `0`, `-1`, `1e400`, `""`, `"x"`, `[]`, `{}`, `[null]`, `[[]]`, `[{}]`, `[1]`, deep, `{"a":1,"a":2}`, `"\ud800"`, "\"\xff\"",
		`[{"role":"user"}]`, `[{"role":5,"content":"x"}]`, `[{"role":"robot","content":"x"}]`, `[{"role":"user","content":5}]`,
		`[{"role":"user","content":[{"type":"x"}]}]`, `[{"role":"user","content":[{"type":"text","text":{}}]}]`,
		`[{"role":"tool","tool_call_id":"nobody","content":"x"}]`, `[{"role":"user","content":[{"type":"tool_result","tool_use_id":"nobody"}]}]`,
		`[{"role":"user","parts":[{"functionResponse":{"name":"nobody","response":{}}}]}]`,
		`[{"role":"user","content":[{"type":"image_url","image_url":{"url":"data:image/png;base64,***"}}]}]`,
		`[{"role":"user","content":[{"type":"image","source":{"type":"base64","media_type":"image/png","data":"***"}}]}]`,
		`[{"role":"user","parts":[{"inlineData":{"mimeType":"image/png","data":"***"}}]}]`,
		`[{"type":"function_call_output","call_id":"nobody","output":"x"}]`, `[{"type":"message","role":"user","content":[{"type":"input_image","image_url":"data:x"}]}]`,
		`[{"role":"assistant","content":null,"tool_calls":[{"id":"a__tgs1_AAAA","type":"function","function":{"name":"f","arguments":"{"}}]}]`,
		`[{"role":"assistant","content":[{"type":"thinking","thinking":"x","signature":"tgs1_AAAA"}]},{"role":"user","content":"x"}]`,
	}
	for path, body := range map[string]struct{ before, member string }{
		"/v1/chat/completions": {`{"model":"anthropic/claude-sonnet-4-5"`, "messages"},
		"/v1/responses":        {`{"model":"anthropic/claude-sonnet-4-5"`, "input"},
		"/v1/messages":         {`{"model":"gemini/gemini-2.5-flash","max_tokens":9`, "messages"},
		"/v1beta/models/openai/gpt-4o:generateContent": {`{"x":null`, "contents"},
		"/v1/messages/count_tokens":                    {`{"model":"gemini/gemini-2.5-flash"`, "messages"},
		"/v1/embeddings":                               {`{"model":"gemini/gemini-embedding-001"`, "input"},
	} {
		for _, value := range values {
			for _, b := range []string{
				body.before + `,"` + body.member + `":` + value + `}`,
				body.before + `,"` + body.member + `":[{"role":"user","content":"x","parts":[{"text":"x"}]}],"tools":` + value + `}`,
				body.before + `,"` + body.member + `":[{"role":"user","content":"x","parts":[{"text":"x"}]}],"system":` + value + `}`,
				value,
			} {
				a := f.post(path, b)
				require.Less(t, a.Status, http.StatusInternalServerError, "%s %.200s: %s", path, b, a.Body)
				if a.Status != http.StatusOK {
					require.Contains(t, a.Body, `"error"`, path)
				}
			}
		}
	}
	require.NotContains(t, f.logs.String(), "panic")
	for _, fake := range []interface{ Problems() []string }{f.openai, f.anthropic, f.gemini} {
		for _, problem := range fake.Problems() {
			require.NotContains(t, problem, "JSON", "the gateway wrote it")
		}
	}
}
