package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"testing"

	"github.com/anthropics/anthropic-sdk-go"
	"github.com/anthropics/anthropic-sdk-go/option"
	"github.com/anthropics/anthropic-sdk-go/toolrunner"
	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/upstreamtest/fakes"
)

// anthropicWithGo drives a provider with Anthropic's client for Go.
func anthropicWithGo(t *testing.T, one target) {
	t.Helper()
	client := anthropic.NewClient(option.WithBaseURL(one.URL+one.Anthropic), option.WithAPIKey(one.Key), option.WithMaxRetries(0))
	ask := func(blocks ...anthropic.ContentBlockParamUnion) anthropic.MessageNewParams {
		return anthropic.MessageNewParams{Model: one.Model, MaxTokens: 2000, Messages: []anthropic.MessageParam{anthropic.NewUserMessage(blocks...)}}
	}
	say := func(text string) anthropic.MessageNewParams { return ask(anthropic.NewTextBlock(text)) }

	t.Run("message", func(t *testing.T) {
		answer, err := client.Messages.New(t.Context(), say("#cache\nsay: one two three"))
		require.NoError(t, err)
		require.Equal(t, "one two three", answer.Content[0].Text)
		require.Equal(t, anthropic.StopReasonEndTurn, answer.StopReason)
		require.EqualValues(t, fakes.CacheReadTokens, answer.Usage.CacheReadInputTokens)
		require.EqualValues(t, fakes.InputTokens, answer.Usage.InputTokens+answer.Usage.CacheReadInputTokens+answer.Usage.CacheCreationInputTokens)
		require.EqualValues(t, fakes.OutputTokens, answer.Usage.OutputTokens)
	})
	t.Run("thinking over a tool loop, streamed", func(t *testing.T) {
		params := say(toolLoop)
		params.Model, params.Thinking = one.Thinker, anthropic.ThinkingConfigParamOfEnabled(1024)
		params.Tools = []anthropic.ToolUnionParam{
			{OfTool: &anthropic.ToolParam{Name: "get_weather", InputSchema: anthropic.ToolInputSchemaParam{
				Properties: weatherSchema["properties"], Required: []string{"city"},
			}}},
			{OfTool: &anthropic.ToolParam{Name: "get_time", InputSchema: anthropic.ToolInputSchemaParam{Properties: map[string]any{}}}},
		}
		for range 4 {
			var answer anthropic.Message
			stream := client.Messages.NewStreaming(t.Context(), params)
			for stream.Next() {
				require.NoError(t, answer.Accumulate(stream.Current()))
			}
			require.NoError(t, stream.Err())
			params.Messages = append(params.Messages, answer.ToParam())
			if answer.StopReason != anthropic.StopReasonToolUse {
				require.Equal(t, lastThought, answer.Content[0].Thinking)
				require.Equal(t, toolTale, spoken(answer.Content))
				return
			}
			var results []anthropic.ContentBlockParamUnion
			for _, block := range answer.Content {
				if use, ok := block.AsAny().(anthropic.ToolUseBlock); ok {
					results = append(results, anthropic.NewToolResultBlock(use.ID, runTool(t, use.Name, string(use.Input)), false))
				}
			}
			params.Messages = append(params.Messages, anthropic.NewUserMessage(results...))
		}
		t.Fatal("the model calls tools without end")
	})
	t.Run("tool runner", func(t *testing.T) { anthropicRunner(t, one, client) })
	t.Run("image and schema", func(t *testing.T) {
		params := ask(anthropic.NewTextBlock("#json"), anthropic.NewImageBlockBase64("image/png", tinyPNG))
		params.OutputConfig = anthropic.OutputConfigParam{Format: anthropic.JSONOutputFormatParam{Schema: weatherSchema}}
		answer, err := client.Messages.New(t.Context(), params)
		require.NoError(t, err)
		require.JSONEq(t, `{"city":"Paris"}`, answer.Content[0].Text)
		require.Equal(t, "image/png", one.fake.LastDescription().Items[1].MIME)
	})
	t.Run("errors", func(t *testing.T) {
		for text, kind := range map[string]string{
			"#error 400": "invalid_request_error", "#error 429": "rate_limit_error", "#error 529": "overloaded_error",
		} {
			_, err := client.Messages.New(t.Context(), say(text))
			failed, ok := errors.AsType[*anthropic.Error](err)
			require.True(t, ok, "%v", err)
			require.EqualValues(t, kind, failed.Type())
		}
		for _, fault := range []string{"#midstream-error", "#cut"} {
			stream := client.Messages.NewStreaming(t.Context(), say(fault+"\nsay: one two three four"))
			for stream.Next() {
				require.NotEqual(t, "message_stop", stream.Current().Type)
			}
			require.Error(t, stream.Err(), fault)
		}
	})
	t.Run("count and models", func(t *testing.T) {
		count, err := client.Messages.CountTokens(t.Context(), anthropic.MessageCountTokensParams{Model: one.Model, Messages: say("hello").Messages})
		require.NoError(t, err)
		require.Positive(t, count.InputTokens)
		page, err := client.Models.List(t.Context(), anthropic.ModelListParams{})
		require.NoError(t, err)
		require.NotEmpty(t, page.Data)
	})
}

// spoken is the text of an answer.
func spoken(content []anthropic.ContentBlockUnion) string {
	var text string
	for _, block := range content {
		text += block.Text
	}
	return text
}

// anthropicRunner lets the client run the tools by itself.
func anthropicRunner(t *testing.T, one target, client anthropic.Client) {
	t.Helper()
	tool := func(name string, schema map[string]any) anthropic.BetaTool {
		text, err := json.Marshal(schema)
		require.NoError(t, err)
		made, err := toolrunner.NewBetaToolFromBytes(name, "A tool.", text,
			func(_ context.Context, input json.RawMessage) (anthropic.BetaToolResultBlockParamContentUnion, error) {
				return anthropic.BetaToolResultBlockParamContentUnion{
					OfText: &anthropic.BetaTextBlockParam{Text: runTool(t, name, string(input))},
				}, nil
			})
		require.NoError(t, err)
		return made
	}
	runner := client.Beta.Messages.NewToolRunner(
		[]anthropic.BetaTool{tool("get_weather", weatherSchema), tool("get_time", nothingSchema)},
		anthropic.BetaToolRunnerParams{BetaMessageNewParams: anthropic.BetaMessageNewParams{
			Model: one.Thinker, MaxTokens: 2000, Thinking: anthropic.BetaThinkingConfigParamOfEnabled(1024),
			Messages: []anthropic.BetaMessageParam{anthropic.NewBetaUserMessage(anthropic.NewBetaTextBlock(toolLoop))},
		}})
	last, err := runner.RunToCompletion(t.Context())
	require.NoError(t, err)
	var text string // a provider's state may follow it
	for _, block := range last.Content {
		text += block.Text
	}
	require.Equal(t, toolTale, text)
	require.EqualValues(t, fakes.OutputTokens+fakes.ReasoningTokens, last.Usage.OutputTokens)
}
