package e2e

import (
	"encoding/json"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/genai"

	"github.com/financecommander/tollgate/internal/upstreamtest/fakes"
)

// googleWithGo drives a provider with Google's client for Go. It has no runner of
// tools; its chats keep a conversation.
func googleWithGo(t *testing.T, one target) {
	t.Helper()
	client, err := genai.NewClient(t.Context(), &genai.ClientConfig{
		APIKey: one.Key, Backend: genai.BackendGeminiAPI, HTTPOptions: genai.HTTPOptions{BaseURL: one.URL + one.Gemini},
	})
	require.NoError(t, err)

	t.Run("generate", func(t *testing.T) {
		answer, err := client.Models.GenerateContent(t.Context(), one.Model, genai.Text("#cache\nsay: one two three"), nil)
		require.NoError(t, err)
		require.Equal(t, "one two three", answer.Text())
		require.Equal(t, genai.FinishReasonStop, answer.Candidates[0].FinishReason)
		require.EqualValues(t, fakes.InputTokens, answer.UsageMetadata.PromptTokenCount)
		require.EqualValues(t, fakes.CacheReadTokens, answer.UsageMetadata.CachedContentTokenCount)
		require.EqualValues(t, fakes.OutputTokens, answer.UsageMetadata.CandidatesTokenCount)
	})
	for _, streamed := range []bool{false, true} {
		name := "thinking over a tool loop in a chat"
		if streamed {
			name += ", streamed"
		}
		t.Run(name, func(t *testing.T) { googleLoop(t, one, client, streamed) })
	}
	t.Run("a chat keeps a turn with secret thoughts", func(t *testing.T) {
		chat, err := client.Chats.Create(t.Context(), one.Thinker, &genai.GenerateContentConfig{
			ThinkingConfig: &genai.ThinkingConfig{IncludeThoughts: true, ThinkingBudget: new(int32(1024))},
		}, nil)
		require.NoError(t, err)
		for _, text := range []string{"#redacted\nsay: hi", "say: there"} {
			_, err := chat.Send(t.Context(), genai.NewPartFromText(text))
			require.NoError(t, err)
		}
		// The client forgets a whole turn that has a part without text.
		require.Len(t, one.fake.LastDescription().Items, 3)
	})
	t.Run("image and schema", func(t *testing.T) {
		contents := []*genai.Content{genai.NewContentFromParts([]*genai.Part{
			genai.NewPartFromText("#json"), genai.NewPartFromBytes([]byte("\x89PNG\r\n\x1a\nrest"), "image/png"),
		}, genai.RoleUser)}
		answer, err := client.Models.GenerateContent(t.Context(), one.Model, contents, &genai.GenerateContentConfig{
			ResponseMIMEType: "application/json", ResponseJsonSchema: weatherSchema,
		})
		require.NoError(t, err)
		require.JSONEq(t, `{"city":"Paris"}`, answer.Text())
		require.Equal(t, "image/png", one.fake.LastDescription().Items[1].MIME)
	})
	t.Run("errors", func(t *testing.T) {
		for text, status := range map[string]int{"#error 400": 400, "#error 429": 429} {
			_, err := client.Models.GenerateContent(t.Context(), one.Model, genai.Text(text), nil)
			failed, ok := errors.AsType[genai.APIError](err)
			require.True(t, ok, "%v", err)
			require.Equal(t, status, failed.Code)
		}
		for _, fault := range []string{"#midstream-error", "#cut"} {
			var failed error
			for chunk, err := range client.Models.GenerateContentStream(t.Context(), one.Model, genai.Text(fault+"\nsay: one two three four"), nil) {
				if failed = err; err == nil && len(chunk.Candidates) > 0 {
					require.Empty(t, chunk.Candidates[0].FinishReason)
				}
			}
			require.Error(t, failed, fault)
		}
	})
	t.Run("count, models, embeddings", func(t *testing.T) {
		count, err := client.Models.CountTokens(t.Context(), one.Model, genai.Text("hello"), nil)
		require.NoError(t, err)
		require.Positive(t, count.TotalTokens)
		page, err := client.Models.List(t.Context(), nil)
		require.NoError(t, err)
		require.NotEmpty(t, page.Items)
		if one.Embedder == "" {
			return
		}
		answer, err := client.Models.EmbedContent(t.Context(), one.Embedder, []*genai.Content{
			genai.NewContentFromText("one", genai.RoleUser), genai.NewContentFromText("three", genai.RoleUser),
		}, nil)
		require.NoError(t, err)
		require.Equal(t, []float32{5, 0.5, -1}, answer.Embeddings[1].Values)
	})
}

func googleLoop(t *testing.T, one target, client *genai.Client, streamed bool) {
	t.Helper()
	chat, err := client.Chats.Create(t.Context(), one.Thinker, &genai.GenerateContentConfig{
		Tools: []*genai.Tool{{FunctionDeclarations: []*genai.FunctionDeclaration{
			{Name: "get_weather", ParametersJsonSchema: weatherSchema}, {Name: "get_time", ParametersJsonSchema: nothingSchema},
		}}},
		ThinkingConfig: &genai.ThinkingConfig{IncludeThoughts: true, ThinkingBudget: new(int32(1024))},
	}, nil)
	require.NoError(t, err)

	parts := []*genai.Part{genai.NewPartFromText(toolLoop)}
	for range 4 {
		var text, thoughts string
		var calls []*genai.FunctionCall
		read := func(answer *genai.GenerateContentResponse) {
			calls = append(calls, answer.FunctionCalls()...)
			for _, part := range answer.Candidates[0].Content.Parts {
				if part.Thought {
					thoughts += part.Text
				} else {
					text += part.Text
				}
			}
		}
		if streamed {
			for chunk, err := range chat.SendStream(t.Context(), parts...) {
				require.NoError(t, err)
				read(chunk)
			}
		} else {
			answer, err := chat.Send(t.Context(), parts...)
			require.NoError(t, err)
			read(answer)
		}
		if len(calls) == 0 {
			require.Equal(t, toolTale, text)
			require.Equal(t, lastThought, thoughts)
			return
		}
		parts = nil
		for _, call := range calls {
			args, err := json.Marshal(call.Args)
			require.NoError(t, err)
			part := genai.NewPartFromFunctionResponse(call.Name, map[string]any{"output": runTool(t, call.Name, string(args))})
			part.FunctionResponse.ID = call.ID
			parts = append(parts, part)
		}
	}
	t.Fatal("the model calls tools without end")
}
