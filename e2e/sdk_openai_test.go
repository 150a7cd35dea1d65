package e2e

import (
	"encoding/json"
	"errors"
	"testing"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
	"github.com/openai/openai-go/v3/packages/param"
	"github.com/openai/openai-go/v3/responses"
	"github.com/openai/openai-go/v3/shared"
	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/upstreamtest/fakes"
)

// What the SDK tests ask of the fakes' model, and what it says at the end.
const (
	toolLoop = "#tools get_weather {\"city\":\"Paris\"} | get_weather {\"city\":\"Rome\"}\n#tool get_time"
	toolTale = "get_weather: sunny in Paris; get_weather: sunny in Rome; get_time: 12:00"
	// lastThought is what the model thinks before its last answer.
	lastThought = "Step 3: let me think it over."
	tinyPNG     = "iVBORw0KGgpyZXN0" // its first bytes, which is all that the fakes look at
)

var weatherSchema = map[string]any{
	"type": "object", "properties": map[string]any{"city": map[string]any{"type": "string"}},
	"required": []string{"city"}, "additionalProperties": false,
}

var nothingSchema = map[string]any{"type": "object", "properties": map[string]any{}, "additionalProperties": false}

// runTool is what both tools of the loop do.
func runTool(t *testing.T, name, arguments string) string {
	t.Helper()
	if name == "get_time" {
		return "12:00"
	}
	var args struct{ City string }
	require.NoError(t, json.Unmarshal([]byte(arguments), &args))
	return "sunny in " + args.City
}

// openAIWithGo drives a provider with OpenAI's client for Go.
func openAIWithGo(t *testing.T, one target) {
	t.Helper()
	client := openai.NewClient(option.WithBaseURL(one.URL+one.OpenAI), option.WithAPIKey(one.Key), option.WithMaxRetries(0))
	ask := func(model, text string) openai.ChatCompletionNewParams {
		return openai.ChatCompletionNewParams{Model: model, Messages: []openai.ChatCompletionMessageParamUnion{openai.UserMessage(text)}}
	}
	tools := []openai.ChatCompletionToolUnionParam{
		openai.ChatCompletionFunctionTool(shared.FunctionDefinitionParam{Name: "get_weather", Parameters: weatherSchema, Strict: openai.Bool(true)}),
		openai.ChatCompletionFunctionTool(shared.FunctionDefinitionParam{Name: "get_time", Parameters: nothingSchema}),
	}

	t.Run("chat", func(t *testing.T) {
		answer, err := client.Chat.Completions.New(t.Context(), ask(one.Model, "#cache\nsay: one two three"))
		require.NoError(t, err)
		require.Equal(t, "one two three", answer.Choices[0].Message.Content)
		require.EqualValues(t, fakes.InputTokens, answer.Usage.PromptTokens)
		require.EqualValues(t, fakes.CacheReadTokens, answer.Usage.PromptTokensDetails.CachedTokens)
		require.EqualValues(t, fakes.OutputTokens, answer.Usage.CompletionTokens)
	})
	t.Run("thinking over a tool loop", func(t *testing.T) {
		params := ask(one.Thinker, toolLoop)
		params.Tools, params.ReasoningEffort = tools, shared.ReasoningEffortLow
		for range 4 {
			answer, err := client.Chat.Completions.New(t.Context(), params)
			require.NoError(t, err)
			// The client sends back what its type knows, which is no thoughts.
			message := answer.Choices[0].Message
			params.Messages = append(params.Messages, message.ToParam())
			if len(message.ToolCalls) == 0 {
				require.Equal(t, toolTale, message.Content)
				require.EqualValues(t, fakes.ReasoningTokens, answer.Usage.CompletionTokensDetails.ReasoningTokens)
				return
			}
			for _, call := range message.ToolCalls {
				params.Messages = append(params.Messages, openai.ToolMessage(runTool(t, call.Function.Name, call.Function.Arguments), call.ID))
			}
		}
		t.Fatal("the model calls tools without end")
	})
	t.Run("stream", func(t *testing.T) {
		params := ask(one.Thinker, toolLoop)
		params.Tools, params.StreamOptions.IncludeUsage = tools, openai.Bool(true)
		stream := client.Chat.Completions.NewStreaming(t.Context(), params)
		var all openai.ChatCompletionAccumulator
		for stream.Next() {
			require.True(t, all.AddChunk(stream.Current()))
		}
		require.NoError(t, stream.Err())
		require.Equal(t, "tool_calls", all.Choices[0].FinishReason)
		require.Len(t, all.Choices[0].Message.ToolCalls, 2)
		require.JSONEq(t, `{"city":"Rome"}`, all.Choices[0].Message.ToolCalls[1].Function.Arguments)
		require.EqualValues(t, fakes.InputTokens, all.Usage.PromptTokens)
	})
	t.Run("image and schema", func(t *testing.T) {
		params := ask(one.Model, "")
		params.Messages = []openai.ChatCompletionMessageParamUnion{openai.UserMessage([]openai.ChatCompletionContentPartUnionParam{
			openai.TextContentPart("#describe"),
			openai.ImageContentPart(openai.ChatCompletionContentPartImageImageURLParam{URL: "data:image/png;base64," + tinyPNG}),
		})}
		params.ResponseFormat.OfJSONSchema = &shared.ResponseFormatJSONSchemaParam{
			JSONSchema: shared.ResponseFormatJSONSchemaJSONSchemaParam{Name: "city", Strict: openai.Bool(true), Schema: weatherSchema},
		}
		_, err := client.Chat.Completions.New(t.Context(), params)
		require.NoError(t, err)
		seen := one.fake.LastDescription()
		require.Equal(t, "image/png", seen.Items[1].MIME)
		require.Equal(t, "schema", seen.Output.Kind)
	})
	t.Run("errors", func(t *testing.T) {
		for text, status := range map[string]int{"#error 400": 400, "#error 429": 429} {
			_, err := client.Chat.Completions.New(t.Context(), ask(one.Model, text))
			failed, ok := errors.AsType[*openai.Error](err)
			require.True(t, ok, "%v", err)
			require.Equal(t, status, failed.StatusCode)
		}
		for _, fault := range []string{"#midstream-error", "#cut"} {
			stream := client.Chat.Completions.NewStreaming(t.Context(), ask(one.Model, fault+"\nsay: one two three four"))
			for stream.Next() {
				require.Empty(t, stream.Current().Choices[0].FinishReason)
			}
			require.Error(t, stream.Err(), fault)
		}
	})
	t.Run("models and embeddings", func(t *testing.T) {
		page, err := client.Models.List(t.Context())
		require.NoError(t, err)
		found, err := client.Models.Get(t.Context(), page.Data[0].ID)
		require.NoError(t, err)
		require.Equal(t, page.Data[0].ID, found.ID)
		if one.Embedder == "" {
			return
		}
		answer, err := client.Embeddings.New(t.Context(), openai.EmbeddingNewParams{
			Model: one.Embedder, Input: openai.EmbeddingNewParamsInputUnion{OfArrayOfStrings: []string{"one", "three"}},
		})
		require.NoError(t, err)
		require.Equal(t, []float64{5, 0.5, -1}, answer.Data[1].Embedding)
	})
	if !one.Direct || one.Kind == fakes.OpenAI {
		t.Run("Responses", func(t *testing.T) { responsesWithGo(t, one, client) })
	}
}

// responsesWithGo drives a provider through the Responses API.
func responsesWithGo(t *testing.T, one target, client openai.Client) {
	t.Helper()
	tools := []responses.ToolUnionParam{
		responses.ToolParamOfFunction("get_weather", weatherSchema, true),
		responses.ToolParamOfFunction("get_time", nothingSchema, true),
	}
	input := responses.ResponseInputParam{responses.ResponseInputItemParamOfMessage(toolLoop, responses.EasyInputMessageRoleUser)}
	for range 4 {
		params := responses.ResponseNewParams{
			Model: one.Thinker, Input: responses.ResponseNewParamsInputUnion{OfInputItemList: input}, Tools: tools, Store: param.NewOpt(false),
			Include:   []responses.ResponseIncludable{responses.ResponseIncludableReasoningEncryptedContent},
			Reasoning: shared.ReasoningParam{Effort: shared.ReasoningEffortLow, Summary: shared.ReasoningSummaryAuto},
		}
		stream := client.Responses.NewStreaming(t.Context(), params)
		var answer responses.Response
		next := int64(0)
		for stream.Next() {
			require.Equal(t, next, stream.Current().SequenceNumber)
			next++
			if done, ok := stream.Current().AsAny().(responses.ResponseCompletedEvent); ok {
				answer = done.Response
			}
		}
		require.NoError(t, stream.Err())
		calls := 0
		for _, item := range answer.Output {
			switch item := item.AsAny().(type) {
			case responses.ResponseReasoningItem:
				input = append(input, responses.ResponseInputItemUnionParam{OfReasoning: new(item.ToParam())})
			case responses.ResponseFunctionToolCall:
				calls++
				input = append(input, responses.ResponseInputItemUnionParam{OfFunctionCall: new(item.ToParam())})
			}
		}
		if calls == 0 {
			require.Equal(t, toolTale, answer.OutputText())
			require.EqualValues(t, fakes.ReasoningTokens, answer.Usage.OutputTokensDetails.ReasoningTokens)
			return
		}
		for _, item := range answer.Output {
			if call, ok := item.AsAny().(responses.ResponseFunctionToolCall); ok {
				output := responses.ResponseInputItemParamOfFunctionCallOutput(runTool(t, call.Name, call.Arguments))
				output.OfFunctionCallOutput.CallID = param.NewOpt(call.CallID)
				input = append(input, output)
			}
		}
	}
	t.Fatal("the model calls tools without end")
}
