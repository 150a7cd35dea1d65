package upstreamtest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
)

// ChatModel is the model that [Chat] and [ChatEvents] say has answered.
const ChatModel = "test-model-1"

// DoneEvent ends a stream of chat completions.
const DoneEvent = "data: [DONE]\n\n"

// ErrorEvent is an error in the middle of a stream, with an organisation's id
// in it that no caller should see.
const ErrorEvent = `data: {"error":{"message":"The server had an error (org-secret123)","type":"server_error","param":null,"code":null}}` + "\n\n"

// promptTokens is what [Chat] and [ChatEvents] say a request costs.
const promptTokens = 10

// Chat answers chat completions with words, as a stream where the request asks
// for one. Usage, 10 tokens read and one generated a word, is in every answer
// that is no stream and in streams that ask for it.
func Chat(words ...string) Behaviour {
	return func(w http.ResponseWriter, r *http.Request) {
		var request struct {
			Stream        bool `json:"stream"`
			StreamOptions struct {
				IncludeUsage bool `json:"include_usage"`
			} `json:"stream_options"`
		}
		if err := json.NewDecoder(r.Body).Decode(&request); err != nil {
			JSON(http.StatusBadRequest, `{"error":{"message":"bad JSON","type":"invalid_request_error","param":null,"code":null}}`)(w, r)
			return
		}
		if request.Stream {
			stream(w, ChatEvents(request.StreamOptions.IncludeUsage, words...))
			return
		}
		JSON(http.StatusOK, ChatBody(words...))(w, r)
	}
}

// ChatBody is a chat completion that is no stream.
func ChatBody(words ...string) string {
	return fmt.Sprintf(`{"id":"chatcmpl-test","object":"chat.completion","created":1750000000,"model":%q,"choices":[{"index":0,`+
		`"message":{"role":"assistant","content":%s,"refusal":null},"logprobs":null,"finish_reason":"stop"}],"usage":%s}`,
		ChatModel, quote(strings.Join(words, "")), usage(len(words)))
}

// ChatEvents are the events of a streamed chat completion, [DONE] included: one
// with the role, one a word, one with the finish reason and, if asked, one with
// the usage.
func ChatEvents(withUsage bool, words ...string) []string {
	events := []string{chunk(`{"role":"assistant","content":"","refusal":null}`, "null", withUsage)}
	for _, word := range words {
		events = append(events, chunk(`{"content":`+quote(word)+`}`, "null", withUsage))
	}
	events = append(events, chunk(`{}`, `"stop"`, withUsage))
	if withUsage {
		events = append(events, event(`"choices":[],"usage":`+usage(len(words))))
	}
	return append(events, DoneEvent)
}

func chunk(delta, finish string, withUsage bool) string {
	members := `"choices":[{"index":0,"delta":` + delta + `,"logprobs":null,"finish_reason":` + finish + `}]`
	if withUsage {
		members += `,"usage":null`
	}
	return event(members)
}

func event(members string) string {
	return fmt.Sprintf("data: {\"id\":\"chatcmpl-test\",\"object\":\"chat.completion.chunk\",\"created\":1750000000,\"model\":%q,%s}\n\n", ChatModel, members)
}

func usage(words int) string {
	return fmt.Sprintf(`{"prompt_tokens":%d,"completion_tokens":%d,"total_tokens":%d,"prompt_tokens_details":{"cached_tokens":0},"completion_tokens_details":{"reasoning_tokens":0}}`,
		promptTokens, words, promptTokens+words)
}

func quote(text string) string {
	quoted, _ := json.Marshal(text) // strings always marshal
	return string(quoted)
}
