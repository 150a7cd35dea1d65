package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
	"github.com/openai/openai-go/v3/shared"
	"github.com/stretchr/testify/require"
)

// TestOpenAIGo drives the gateway with the official Go client.
func TestOpenAIGo(t *testing.T) {
	t.Parallel()
	upstream := newFakeOpenAI(t)
	g := startGateway(t, map[string]string{
		"OPENAI_API_KEY": upstreamKey, "OPENAI_BASE_URL": upstream.URL + "/v1", "RATE_LIMIT": "1000/s",
	})
	client := newClient(g.URL, g.Token)
	rows := 0 // in the usage log so far

	ask := func(model, text string) openai.ChatCompletionNewParams {
		return openai.ChatCompletionNewParams{
			Model:    model,
			Messages: []openai.ChatCompletionMessageParamUnion{openai.UserMessage(text)},
		}
	}

	t.Run("chat", func(t *testing.T) {
		answer, err := client.Chat.Completions.New(t.Context(), ask("gpt-4o", "hello "+promptMarker))
		require.NoError(t, err)
		require.Equal(t, "Hello from gpt-4o", answer.Choices[0].Message.Content)
		require.EqualValues(t, completionTokens, answer.Usage.CompletionTokens)
		rows++
		require.Equal(t, usageRow{
			ID: g.waitRows(t, rows)[0].ID, SpecialistID: g.rows(t)[0].SpecialistID, Provider: "openai", Model: "gpt-4o",
			InputTokens: promptTokens, OutputTokens: completionTokens, CostUSD: "0.0075", Success: true,
		}, g.rows(t)[0])
	})
	t.Run("provider and model", func(t *testing.T) {
		answer, err := client.Chat.Completions.New(t.Context(), ask("openai/gpt-4o-mini", "hello"))
		require.NoError(t, err)
		require.Equal(t, "Hello from gpt-4o-mini", answer.Choices[0].Message.Content)
		rows++
	})
	t.Run("specialist", func(t *testing.T) {
		answer, err := client.Chat.Completions.New(t.Context(), ask("financial-analyst", "hello"))
		require.NoError(t, err)
		require.Equal(t, "Hello from gpt-4o", answer.Choices[0].Message.Content)
		sent := upstream.lastChat()
		require.Len(t, sent.Messages, 2)
		require.Equal(t, "system", sent.Messages[0].Role)
		require.Contains(t, sent.Messages[0].Content, "senior financial analyst")
		require.InDelta(t, 0.3, *sent.Temperature, 0)
		rows++
		require.Equal(t, "financial-analyst", g.waitRows(t, rows)[0].SpecialistID)
	})
	t.Run("stream", func(t *testing.T) {
		for _, wanted := range []bool{false, true} {
			params := ask("gpt-4o", "hello")
			if wanted {
				params.StreamOptions.IncludeUsage = openai.Bool(true)
			}
			stream := client.Chat.Completions.NewStreaming(t.Context(), params)
			var all openai.ChatCompletionAccumulator
			usageChunks := 0
			for stream.Next() {
				chunk := stream.Current()
				require.True(t, all.AddChunk(chunk))
				if len(chunk.Choices) == 0 {
					usageChunks++
				}
			}
			require.NoError(t, stream.Err())
			require.Equal(t, "Hello from gpt-4o", all.Choices[0].Message.Content)
			require.Equal(t, "stop", all.Choices[0].FinishReason)
			require.True(t, upstream.lastChat().StreamOptions.IncludeUsage, "the gateway always asks for usage")
			require.Equal(t, wanted, usageChunks == 1, "and shows it to those who asked")
			rows++
			row := g.waitRows(t, rows)[0]
			require.True(t, row.Success)
			require.EqualValues(t, promptTokens, row.InputTokens)
			require.EqualValues(t, completionTokens, row.OutputTokens)
		}
	})
	t.Run("tools", func(t *testing.T) {
		params := ask("gpt-4o", "weather in Paris?")
		params.Tools = []openai.ChatCompletionToolUnionParam{openai.ChatCompletionFunctionTool(shared.FunctionDefinitionParam{
			Name: "get_weather",
			Parameters: shared.FunctionParameters{
				"type": "object", "properties": map[string]any{"city": map[string]any{"type": "string"}}, "required": []string{"city"},
			},
		})}
		answer, err := client.Chat.Completions.New(t.Context(), params)
		require.NoError(t, err)
		require.Equal(t, "tool_calls", answer.Choices[0].FinishReason)
		call := answer.Choices[0].Message.ToolCalls[0]
		require.Equal(t, "get_weather", call.Function.Name)
		require.JSONEq(t, `{"city":"Paris"}`, call.Function.Arguments)

		params.Messages = append(params.Messages, answer.Choices[0].Message.ToParam(), openai.ToolMessage("sunny", call.ID))
		answer, err = client.Chat.Completions.New(t.Context(), params)
		require.NoError(t, err)
		require.Equal(t, "The tool said: sunny", answer.Choices[0].Message.Content)

		stream := client.Chat.Completions.NewStreaming(t.Context(), openai.ChatCompletionNewParams{
			Model: params.Model, Messages: params.Messages[:1], Tools: params.Tools,
		})
		var all openai.ChatCompletionAccumulator
		for stream.Next() {
			require.True(t, all.AddChunk(stream.Current()))
		}
		require.NoError(t, stream.Err())
		require.JSONEq(t, `{"city":"Paris"}`, all.Choices[0].Message.ToolCalls[0].Function.Arguments)
		rows += 3
	})
	t.Run("JSON schema", func(t *testing.T) {
		params := ask("gpt-4o", "which city?")
		params.ResponseFormat.OfJSONSchema = &shared.ResponseFormatJSONSchemaParam{
			JSONSchema: shared.ResponseFormatJSONSchemaJSONSchemaParam{
				Name: "city", Strict: openai.Bool(true),
				Schema: map[string]any{"type": "object", "properties": map[string]any{"city": map[string]any{"type": "string"}}},
			},
		}
		answer, err := client.Chat.Completions.New(t.Context(), params)
		require.NoError(t, err)
		var city struct{ City string }
		require.NoError(t, json.Unmarshal([]byte(answer.Choices[0].Message.Content), &city))
		require.Equal(t, "Paris", city.City)
		rows++
	})
	t.Run("embeddings", func(t *testing.T) {
		answer, err := client.Embeddings.New(t.Context(), openai.EmbeddingNewParams{
			Model: "text-embedding-3-small",
			Input: openai.EmbeddingNewParamsInputUnion{OfArrayOfStrings: []string{"one", "three"}},
		})
		require.NoError(t, err)
		require.Equal(t, []float64{5, 0.5, -1}, answer.Data[1].Embedding)
		rows++
		row := g.waitRows(t, rows)[0]
		require.EqualValues(t, 8, row.InputTokens)
		require.Zero(t, row.OutputTokens)
	})
	t.Run("models", func(t *testing.T) {
		pages := client.Models.ListAutoPaging(t.Context())
		var ids []string
		for pages.Next() {
			ids = append(ids, pages.Current().ID)
		}
		require.NoError(t, pages.Err())
		require.Contains(t, ids, "financial-analyst")
		require.True(t, slices.ContainsFunc(ids, func(id string) bool { return id == "gpt-4o" || id == "openai/gpt-4o" }), ids)
	})

	t.Run("authentication error", func(t *testing.T) {
		stranger := newClient(g.URL, "sk-no-token-of-ours")
		_, err := stranger.Chat.Completions.New(t.Context(), ask("gpt-4o", "hello"))
		problem := requireAPIError(t, err, http.StatusUnauthorized)
		require.Equal(t, "invalid_api_key", problem.Code)
	})
	t.Run("not found", func(t *testing.T) {
		_, err := client.Chat.Completions.New(t.Context(), ask("no-such-model", "hello"))
		problem := requireAPIError(t, err, http.StatusNotFound)
		require.Equal(t, "model_not_found", problem.Code)
	})
	t.Run("bad request of ours", func(t *testing.T) {
		_, err := client.Chat.Completions.New(t.Context(), openai.ChatCompletionNewParams{Model: "gpt-4o"},
			option.WithJSONDel("messages"))
		problem := requireAPIError(t, err, http.StatusBadRequest)
		require.Equal(t, "messages", problem.Param)
	})
	t.Run("bad request of the upstream", func(t *testing.T) {
		_, err := client.Chat.Completions.New(t.Context(), ask("gpt-4o", "refuse this"))
		problem := requireAPIError(t, err, http.StatusBadRequest)
		require.Equal(t, "temperature", problem.Param)
		require.Equal(t, "unsupported_value", problem.Code)
	})
	t.Run("rate limit of the upstream", func(t *testing.T) {
		_, err := client.Chat.Completions.New(t.Context(), ask("gpt-4o", "busy"))
		problem := requireAPIError(t, err, http.StatusTooManyRequests)
		require.NotContains(t, problem.Message, "org-secret")
		require.NotEmpty(t, problem.Response.Header.Get("Retry-After"))
	})
	t.Run("abort in mid-stream", func(t *testing.T) {
		ctx, leave := context.WithCancel(t.Context())
		stream := client.Chat.Completions.NewStreaming(ctx, ask("gpt-4o-mini", "stall"))
		require.True(t, stream.Next(), stream.Err())
		before := time.Now()
		leave()
		requireLeft(t, upstream, before)
		require.NoError(t, stream.Close())
	})
	t.Run("every call has its row and the log is quiet", func(t *testing.T) {
		requireAbortRecorded(t, g)
		g.requireQuietLog(t)
	})
}

// TestOpenAIGoRetriesOurRateLimit uses up a limit and lets the client's own
// retry wait for the next token.
func TestOpenAIGoRetriesOurRateLimit(t *testing.T) {
	t.Parallel()
	upstream := newFakeOpenAI(t)
	g := startGateway(t, map[string]string{
		"OPENAI_API_KEY": upstreamKey, "OPENAI_BASE_URL": upstream.URL + "/v1", "RATE_LIMIT": "1/s",
	})
	params := openai.ChatCompletionNewParams{
		Model: "gpt-4o", Messages: []openai.ChatCompletionMessageParamUnion{openai.UserMessage("hello")},
	}
	impatient := newClient(g.URL, g.Token)
	var err error
	for range 5 { // the first pass may come late into its second
		if _, err = impatient.Chat.Completions.New(t.Context(), params); err != nil {
			break
		}
	}
	problem := requireAPIError(t, err, http.StatusTooManyRequests)
	require.Equal(t, "rate_limit_exceeded", problem.Code)
	require.Equal(t, "1", problem.Response.Header.Get("Retry-After"))
	require.Equal(t, "0", problem.Response.Header.Get("X-RateLimit-Remaining"))

	patient := openai.NewClient(option.WithBaseURL(g.URL+"/v1"), option.WithAPIKey(g.Token), option.WithMaxRetries(3))
	answer, err := patient.Chat.Completions.New(t.Context(), params)
	require.NoError(t, err)
	require.Equal(t, "Hello from gpt-4o", answer.Choices[0].Message.Content)
}

func newClient(url, key string) openai.Client {
	return openai.NewClient(option.WithBaseURL(url+"/v1"), option.WithAPIKey(key), option.WithMaxRetries(0))
}

func requireAPIError(t *testing.T, err error, status int) *openai.Error {
	t.Helper()
	problem, ok := errors.AsType[*openai.Error](err)
	require.True(t, ok, "%v", err)
	require.Equal(t, status, problem.StatusCode, problem.Message)
	require.NotEmpty(t, problem.Message)
	require.NotEmpty(t, problem.Response.Header.Get("X-Request-Id"))
	return problem
}

// leftWithin is how soon the upstream must know that the caller left. The
// promise is 50 ms; the rest is for a busy machine.
const leftWithin = 500 * time.Millisecond

func requireLeft(t *testing.T, upstream *fakeOpenAI, before time.Time) {
	t.Helper()
	select {
	case at := <-upstream.left:
		require.Less(t, at.Sub(before), leftWithin)
	case <-time.After(5 * time.Second):
		t.Fatal("the upstream was not told that the caller left")
	}
}

// requireAbortRecorded waits for the row of the call that was left, the only
// unfinished one of its model.
func requireAbortRecorded(t *testing.T, g *gateway) {
	t.Helper()
	require.Eventually(t, func() bool {
		row := g.rows(t)[0]
		return !row.Success && row.Model == "gpt-4o-mini" && row.OutputTokens < completionTokens
	}, 5*time.Second, 20*time.Millisecond)
}
