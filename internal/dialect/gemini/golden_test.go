package gemini_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/dialect"
	"github.com/financecommander/tollgate/internal/dialect/gemini"
	"github.com/financecommander/tollgate/internal/llm"
	"github.com/financecommander/tollgate/internal/sse"
	"github.com/financecommander/tollgate/internal/upstreamtest"
)

func recorded(t testing.TB) []upstreamtest.Case {
	return upstreamtest.Cases(t, upstreamtest.OfAPI("google.generate"))
}

func codecOf(c upstreamtest.Case) gemini.Generate {
	return gemini.Generate{Model: c.Model, Streaming: c.Stream}
}

// encodeOptions are for a request that came in this format.
func encodeOptions() dialect.EncodeOptions {
	return dialect.EncodeOptions{Unsaid: &dialect.Unsaid{Source: gemini.Generate{}, Target: dialect.Gemini}}
}

func answerOptions() dialect.AnswerOptions {
	return dialect.AnswerOptions{Seal: dialect.NoSeal{}, Now: func() int64 { return 0 }}
}

// What a client sent is what is sent on.
func TestRecordedRequests(t *testing.T) {
	for _, c := range recorded(t) {
		if c.Request == nil {
			continue
		}
		t.Run(c.Name, func(t *testing.T) {
			g := codecOf(c)
			r, err := g.DecodeRequest(c.Request, dialect.DecodeOptions{Seal: dialect.NoSeal{}})
			require.NoError(t, err)
			require.Equal(t, c.Model, r.Model)
			require.Equal(t, c.Stream, r.Stream)
			o := encodeOptions()
			out, err := g.EncodeRequest(r, o)
			require.NoError(t, err)
			require.Empty(t, o.Unsaid.Dropped)
			require.Equal(t, plainRequest(t, c.Request), plainRequest(t, out))
		})
	}
}

// plainRequest is a body as Google reads it.
func plainRequest(t testing.TB, body []byte) any {
	t.Helper()
	var v map[string]any
	require.NoError(t, json.Unmarshal(body, &v))
	v = camel(v, requestNames).(map[string]any)
	// An empty object asks for nothing.
	if config, ok := v["generationConfig"].(map[string]any); ok && len(config) == 0 {
		delete(v, "generationConfig")
	}
	return v
}

// requestNames are the members that a recorded client wrote in snake case and
// this format has a word for; Google takes both.
var requestNames = map[string]string{
	"inline_data": "inlineData", "mime_type": "mimeType", "parameters_json_schema": "parametersJsonSchema",
}

func camel(v any, names map[string]string) any {
	switch v := v.(type) {
	case map[string]any:
		out := map[string]any{}
		for name, value := range v {
			if other, ok := names[name]; ok {
				name = other
			}
			out[name] = camel(value, names)
		}
		return out
	case []any:
		for i := range v {
			v[i] = camel(v[i], names)
		}
	}
	return v
}

// What an upstream answered is what the client gets.
func TestRecordedAnswers(t *testing.T) {
	for _, c := range recorded(t) {
		if c.Status != 200 {
			continue
		}
		t.Run(c.Name, func(t *testing.T) {
			g := codecOf(c)
			a, failed := decodeAnswer(t, c)
			if strings.Contains(c.Name, "mid-stream") {
				require.Equal(t, llm.CauseUpstreamOverloaded, failed.Cause)
				require.Equal(t, "Hello, wor", llm.TextOf(a.Choices[0].Parts))
				return
			}
			require.Nil(t, failed)
			var out []byte
			encoder := g.NewEncoder(answerOptions())
			if !c.Stream {
				out = encoder.AppendAnswer(nil, a)
				require.Equal(t, plainAnswer(t, c.Body), plainAnswer(t, out))
				return
			}
			for e := range a.Events {
				out = encoder.AppendEvent(out, e)
			}
			require.Equal(t, accumulate(t, c.Body), accumulate(t, out))
		})
	}
}

func decodeAnswer(t testing.TB, c upstreamtest.Case) (*llm.Answer, *llm.Error) {
	t.Helper()
	o := dialect.UpstreamOptions{Model: c.Model}
	if !c.Stream {
		return codecOf(c).DecodeAnswer(c.Body, o)
	}
	return dialect.Collect(codecOf(c).NewDecoder(o), events(t, c.Body))
}

func events(t testing.TB, stream []byte) (all []sse.Event) {
	t.Helper()
	var s sse.Scanner
	_, err := s.Write(stream)
	require.NoError(t, err)
	for e, ok := s.Next(); ok; e, ok = s.Next() {
		all = append(all, e)
	}
	return all
}

// plainAnswer is a whole answer with what means the same made the same.
func plainAnswer(t testing.TB, body []byte) map[string]any {
	t.Helper()
	var v map[string]any
	require.NoError(t, json.Unmarshal(body, &v))
	if usage, ok := v["usageMetadata"].(map[string]any); ok {
		for name, n := range usage {
			if n == 0.0 { // a count of zero is as good as none
				delete(usage, name)
			}
		}
	}
	candidates, _ := v["candidates"].([]any)
	for _, c := range candidates {
		c := c.(map[string]any)
		if c["index"] == nil {
			c["index"] = 0.0
		}
		// A candidate without content has no parts, and its role is the model's.
		content, _ := c["content"].(map[string]any)
		if content == nil {
			content = map[string]any{}
		}
		content["role"] = "model"
		parts, _ := content["parts"].([]any)
		content["parts"] = joinParts(parts)
		c["content"] = content
	}
	return v
}

// What no recording has is kept as well.
func TestWholeVocabulary(t *testing.T) {
	const body = `{"contents":[
		{"role":"user","parts":[{"text":"look"},{"inlineData":{"mimeType":"video/mp4","data":"AAAA","displayName":"clip"},"videoMetadata":{"fps":2}},
			{"fileData":{"mimeType":"application/pdf","fileUri":"https://generativelanguage.googleapis.com/v1beta/files/x"}},
			{"fileData":{"fileUri":"https://www.youtube.com/watch?v=1"},"mediaResolution":{"level":"MEDIA_RESOLUTION_LOW"}},
			{"inlineData":{"mimeType":"audio/wav","data":"AAAA"}}],"partMetadata":{"a":1}},
		{"role":"model","parts":[{"text":"hm","thought":true,"thoughtSignature":"c2ln"},{"executableCode":{"language":"PYTHON","code":"1"},"thoughtSignature":"c2ln"},
			{"codeExecutionResult":{"outcome":"OUTCOME_OK","output":"1"}},{"toolCall":{"id":"1","toolType":"X"}},{"toolResponse":{"id":"1"}},
			{"functionCall":{"id":"a","name":"f","args":{"x":[1,2.50,"\u00fc"]},"willContinue":false}},{"functionCall":{"name":"g"}}]},
		{"role":"function","parts":[{"functionResponse":{"id":"a","name":"f","response":{"output":"ok"},"parts":[{"inlineData":{"mimeType":"image/png","data":"AAAA"}}],"scheduling":"SILENT"}},
			{"functionResponse":{"name":"g","response":{"error":{"code":1}}}}]},
		{"parts":[{"text":"and now?"}]}],
		"systemInstruction":{"role":"user","parts":[{"text":"Be brief."},{"text":"Be kind."}]},
		"tools":[{"functionDeclarations":[{"name":"f","description":"","parameters":{"type":"OBJECT","properties":{"x":{"type":"ARRAY","items":{"type":"NUMBER"},"nullable":true}}},"response":{"type":"STRING"},"behavior":"BLOCKING"},
			{"name":"g","description":"G","parametersJsonSchema":{"type":"object"},"responseJsonSchema":{"type":"string"}}]},
			{"googleSearch":{"timeRangeFilter":{}},"codeExecution":{}},{"urlContext":{}}],
		"toolConfig":{"functionCallingConfig":{"mode":"VALIDATED","allowedFunctionNames":["f"],"streamFunctionCallArguments":true},"retrievalConfig":{"languageCode":"de"},"includeServerSideToolInvocations":true},
		"generationConfig":{"temperature":0.2,"topP":0.9,"topK":40,"candidateCount":1,"maxOutputTokens":100,"stopSequences":["END"],"seed":-3,"presencePenalty":0.1,"frequencyPenalty":-0.1,
			"responseLogprobs":true,"logprobs":3,"responseMimeType":"application/json","responseJsonSchema":{"type":"object"},"responseModalities":["TEXT","IMAGE"],
			"thinkingConfig":{"includeThoughts":true,"thinkingBudget":0,"x":1},"speechConfig":{"voiceConfig":{}},"mediaResolution":"MEDIA_RESOLUTION_LOW","enableEnhancedCivicAnswers":true},
		"safetySettings":[{"category":"HARM_CATEGORY_HARASSMENT","threshold":"BLOCK_NONE"}],"cachedContent":"cachedContents/x","labels":{"team":"a"},"serviceTier":"flex","store":false}`
	g := gemini.Generate{Model: "gemini-2.5-flash"}
	r, err := g.DecodeRequest([]byte(body), dialect.DecodeOptions{Seal: dialect.NoSeal{}})
	require.NoError(t, err)
	out, err := g.EncodeRequest(r, encodeOptions())
	require.NoError(t, err)
	require.JSONEq(t, body, string(out))
}

func TestWholeAnswer(t *testing.T) {
	const body = `{"candidates":[{"index":0,"content":{"role":"model","parts":[{"text":"hm","thought":true},{"text":"a","partMetadata":{"x":1}},{"text":"b","thoughtSignature":"c2ln"},
		{"executableCode":{"language":"PYTHON","code":"1"}},{"functionCall":{"id":"a","name":"f","args":{"x":1}},"thoughtSignature":"c2ln"},
		{"inlineData":{"mimeType":"image/png","data":"AAAA"}},{"fileData":{"mimeType":"image/png","fileUri":"gs://b/x"}}]},
		"finishReason":"RECITATION","finishMessage":"why","safetyRatings":[{"category":"X"}],"citationMetadata":{"citations":[{"startIndex":0,"endIndex":1,"uri":"https://a.example","license":"MIT"}]},
		"tokenCount":5,"avgLogprobs":-0.5,"logprobsResult":{"chosenCandidates":[{"token":"a","tokenId":1,"logProbability":-0.25}],"topCandidates":[{"candidates":[{"token":"b","logProbability":-1}]}],"logProbabilitySum":-0.25},
		"urlContextMetadata":{"urlMetadata":[]},"continuationToken":"x"},
		{"index":1,"content":{"role":"model","parts":[{"text":"other"}]},"finishReason":"MAX_TOKENS"}],
		"promptFeedback":{"safetyRatings":[]},"usageMetadata":{"promptTokenCount":10,"candidatesTokenCount":3,"totalTokenCount":99,"toolUsePromptTokenCount":2,"serviceTier":"priority"},
		"modelVersion":"gemini-9","createTime":"2026-07-22T23:37:37.029264Z","responseId":"r","modelStatus":{"modelStage":"STABLE"}}`
	a, failed := gemini.Generate{}.DecodeAnswer([]byte(body), dialect.UpstreamOptions{Model: "gemini-9"})
	require.Nil(t, failed)
	require.JSONEq(t, body, string(gemini.Generate{}.NewEncoder(answerOptions()).AppendAnswer(nil, a)))
	require.Equal(t, int64(1784763457), a.Created)
	blocked := `{"promptFeedback":{"blockReason":"SAFETY"},"usageMetadata":{"promptTokenCount":4,"candidatesTokenCount":0,"totalTokenCount":4},"modelVersion":"m"}`
	a, failed = gemini.Generate{}.DecodeAnswer([]byte(blocked), dialect.UpstreamOptions{})
	require.Nil(t, failed)
	require.Equal(t, llm.FinishFilter, a.Choices[0].Reason)
	require.JSONEq(t, blocked, string(gemini.Generate{}.NewEncoder(answerOptions()).AppendAnswer(nil, a)))
}
