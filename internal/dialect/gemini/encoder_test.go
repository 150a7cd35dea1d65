package gemini_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/dialect"
	"github.com/financecommander/tollgate/internal/dialect/gemini"
	"github.com/financecommander/tollgate/internal/llm"
	"github.com/financecommander/tollgate/internal/upstreamtest"
)

// plainSeal seals by writing the text in hex.
type plainSeal struct{}

func (plainSeal) Seal(plain []byte) string {
	const digits = "0123456789abcdef"
	token := []byte(dialect.SealPrefix)
	for _, b := range plain {
		token = append(token, digits[b>>4], digits[b&15])
	}
	return string(token)
}

func (plainSeal) Open(token string) ([]byte, bool) {
	hex, ok := strings.CutPrefix(token, dialect.SealPrefix)
	if !ok || len(hex)%2 != 0 {
		return nil, false
	}
	plain := make([]byte, len(hex)/2)
	for i := range hex {
		n := strings.IndexByte("0123456789abcdef", hex[i])
		if n < 0 {
			return nil, false
		}
		plain[i/2] = plain[i/2]<<4 | byte(n)
	}
	return plain, true
}

func stream(e dialect.Encoder, events ...llm.Event) string {
	var out []byte
	for _, event := range events {
		out = e.AppendEvent(out, event)
	}
	return string(out)
}

func sealed() dialect.AnswerOptions {
	o := answerOptions()
	o.Seal, o.Stream, o.Model, o.RequestID = plainSeal{}, true, "asked-for", "req-1"
	return o
}

// The chunks of another format's answer: text as it comes, a call when it is
// whole, and at last why it stopped and what it cost.
func TestForeignStream(t *testing.T) {
	got := stream(gemini.Generate{}.NewEncoder(sealed()),
		llm.Started{ID: "id-1", Model: "claude", Created: 1750000000},
		llm.PartStart{Part: 0, Begin: &llm.Thinking{}}, llm.ThinkingDelta{Part: 0, Text: "hm"}, llm.PartEnd{Part: 0},
		llm.PartStart{Part: 1, Begin: &llm.Text{}}, llm.TextDelta{Part: 1, Text: "a\n\"b\""}, llm.TextDelta{Part: 1, Text: ""}, llm.PartEnd{Part: 1},
		llm.PartStart{Part: 2, Begin: &llm.ToolCall{ID: "c1", Name: "f"}}, llm.PartStart{Part: 3, Begin: &llm.ToolCall{ID: "c2", Name: "g"}},
		llm.ArgumentsDelta{Part: 2, JSON: `{"a"`}, llm.ArgumentsDelta{Part: 3, JSON: `{}`}, llm.ArgumentsDelta{Part: 2, JSON: `:1}`},
		llm.PartEnd{Part: 3}, llm.PartEnd{Part: 2},
		llm.PartStart{Part: 4, Begin: &llm.Refusal{}}, llm.TextDelta{Part: 4, Text: "no"}, llm.PartEnd{Part: 4},
		llm.PartStart{Part: 5, Begin: &llm.Media{MIME: "image/png", Data: "AAAA"}}, llm.PartEnd{Part: 5},
		llm.PartStart{Part: 6, Begin: &llm.NativePart{Native: llm.Native{Format: dialect.OpenAIResponses, JSON: []byte(`{}`)}}}, llm.PartEnd{Part: 6},
		llm.ChoiceEnd{Reason: llm.FinishToolCalls},
		llm.Finished{Reported: true, Usage: llm.Usage{Input: 5, CacheRead: 3, Output: 7, Reasoning: 2, InputImage: 4}})
	const rest = `"modelVersion":"claude","createTime":"2025-06-15T15:06:40Z","responseId":"id-1"`
	chunk := func(part string) string {
		return `data: {"candidates":[{"content":{"parts":[` + part + `],"role":"model"},"index":0}],` + rest + `}`
	}
	want := []string{
		chunk(`{"text":"hm","thought":true}`), chunk(`{"text":"a\n\"b\""}`),
		chunk(`{"functionCall":{"id":"c2","name":"g","args":{}}}`), chunk(`{"functionCall":{"id":"c1","name":"f","args":{"a":1}}}`),
		chunk(`{"text":"no"}`), chunk(`{"inlineData":{"mimeType":"image/png","data":"AAAA"}}`),
		`data: {"candidates":[{"content":{"parts":[{"text":""}],"role":"model"},"finishReason":"STOP","index":0}],
		"usageMetadata":{"promptTokenCount":12,"cachedContentTokenCount":3,"candidatesTokenCount":7,"thoughtsTokenCount":2,"totalTokenCount":21,
		"promptTokensDetails":[{"modality":"TEXT","tokenCount":8},{"modality":"IMAGE","tokenCount":4}]},` + rest + `}`,
	}
	chunks := strings.Split(strings.TrimSuffix(got, "\n\n"), "\n\n")
	require.Len(t, chunks, len(want))
	for i := range want {
		require.JSONEq(t, strings.TrimPrefix(want[i], "data: "), strings.TrimPrefix(chunks[i], "data: "))
		require.NotContains(t, strings.TrimPrefix(chunks[i], "data: "), "\n", "an event is one line")
	}
}

func TestSeveralCandidates(t *testing.T) {
	got := stream(gemini.Generate{}.NewEncoder(sealed()),
		llm.PartStart{Part: 0, Begin: &llm.Text{}}, llm.PartStart{Part: 1, Choice: 1, Begin: &llm.Text{}},
		llm.TextDelta{Part: 1, Text: "one"}, llm.TextDelta{Part: 0, Text: "zero"},
		llm.ChoiceEnd{Choice: 1, Reason: llm.FinishLength}, llm.ChoiceEnd{Reason: llm.FinishStop}, llm.Finished{})
	require.Equal(t, `data: {"candidates":[{"content":{"parts":[{"text":"one"}],"role":"model"},"index":1}],"modelVersion":"asked-for"}

data: {"candidates":[{"content":{"parts":[{"text":"zero"}],"role":"model"},"index":0}],"modelVersion":"asked-for"}

data: {"candidates":[{"content":{"role":"model","parts":[{"text":""}]},"finishReason":"MAX_TOKENS","index":1},{"content":{"role":"model","parts":[{"text":""}]},"finishReason":"STOP","index":0}],"modelVersion":"asked-for"}

`, got)
}

// A stream that breaks off ends with an error, which the SDKs raise.
func TestBrokenStream(t *testing.T) {
	e := gemini.Generate{}.NewEncoder(sealed())
	got := stream(e, llm.PartStart{Begin: &llm.Text{}}, llm.TextDelta{Text: "a"}, llm.Failed{Err: &llm.Error{Cause: llm.CauseUpstreamOverloaded, Message: "busy"}})
	require.True(t, strings.HasSuffix(got, `data: {"error":{"code":503,"message":"busy","status":"UNAVAILABLE","details":[{"@type":"type.googleapis.com/google.rpc.RequestInfo","requestId":"req-1"}]}}`+"\n\n"))
	require.NotContains(t, got, "finishReason")
	require.Nil(t, e.Ping(), "Google's SDK for Go fails on comments")
}

// State of another provider's model comes back from a client that sends back
// what it got, in one piece or in the stream's.
func TestSealedState(t *testing.T) {
	opaque := func(value string) *llm.Opaque {
		return &llm.Opaque{Format: dialect.AnthropicMessages, Model: "claude", Value: value}
	}
	want := []llm.Part{
		&llm.Thinking{Text: "hm, well", Common: llm.Common{Opaque: opaque("s1")}},
		&llm.Thinking{Redacted: true, Common: llm.Common{Opaque: opaque("s2")}},
		&llm.Text{Text: "Let me see."},
		&llm.ToolCall{ID: "toolu_1", Name: "f", Arguments: `{"a":1}`, Common: llm.Common{Opaque: opaque("s3")}},
	}
	a := &llm.Answer{Choices: []llm.Choice{{Parts: want, Reason: llm.FinishToolCalls}}}
	var contents []any
	for _, e := range events(t, []byte(func() string {
		return stream(gemini.Generate{}.NewEncoder(sealed()),
			llm.PartStart{Part: 0, Begin: &llm.Thinking{}}, llm.ThinkingDelta{Part: 0, Text: "hm, "}, llm.ThinkingDelta{Part: 0, Text: "well"}, llm.PartEnd{Part: 0, Opaque: opaque("s1")},
			llm.PartStart{Part: 1, Begin: want[1]}, llm.PartEnd{Part: 1},
			llm.PartStart{Part: 2, Begin: &llm.Text{}}, llm.TextDelta{Part: 2, Text: "Let me "}, llm.TextDelta{Part: 2, Text: "see."}, llm.PartEnd{Part: 2},
			llm.PartStart{Part: 3, Begin: &llm.ToolCall{ID: "toolu_1", Name: "f", Common: llm.Common{Opaque: opaque("s3")}}}, llm.ArgumentsDelta{Part: 3, JSON: `{"a":1}`}, llm.PartEnd{Part: 3},
			llm.ChoiceEnd{Reason: llm.FinishToolCalls}, llm.Finished{})
	}())) {
		contents = append(contents, contentOf(t, e.Data))
	}
	whole := contentOf(t, gemini.Generate{}.NewEncoder(sealed()).AppendAnswer(nil, a))
	for name, back := range map[string][]any{"whole": {whole}, "streamed": contents, "streamed, without empty parts": withText(contents)} {
		t.Run(name, func(t *testing.T) {
			body, err := json.Marshal(map[string]any{"contents": append([]any{map[string]any{"parts": map[string]any{"text": "x"}}}, back...)})
			require.NoError(t, err)
			require.True(t, dialect.Sealed(body, dialect.Gemini))
			r, err := gemini.Generate{}.DecodeRequest(body, dialect.DecodeOptions{Seal: plainSeal{}})
			require.NoError(t, err)
			require.Len(t, r.Messages, 2)
			got := r.Messages[1].Parts
			require.Len(t, got, len(want))
			for i, p := range got {
				p.Base().Pos = llm.Pos{}
				require.Equal(t, want[i], p)
			}
			// A token that does not open is no state at all.
			r, err = gemini.Generate{}.DecodeRequest(body, dialect.DecodeOptions{Seal: dialect.NoSeal{}})
			require.NoError(t, err)
			for _, p := range r.Messages[1].Parts {
				require.Nil(t, p.Base().Opaque)
			}
		})
	}
}

func contentOf(t *testing.T, body []byte) any {
	t.Helper()
	var v struct{ Candidates []struct{ Content any } }
	require.NoError(t, json.Unmarshal(body, &v))
	return v.Candidates[0].Content
}

// The format's own state is as the provider said it, and knows its model.
func TestOwnState(t *testing.T) {
	a, failed := gemini.Generate{}.DecodeAnswer([]byte(`{"candidates":[{"content":{"parts":[{"text":"a","thoughtSignature":"c2ln"},
		{"functionCall":{"name":"f"},"thoughtSignature":"c2lnMg=="},{"functionCall":{"name":"f"}}]},"finishReason":"STOP"}],"responseId":"r-1"}`), dialect.UpstreamOptions{Model: "gemini-9"})
	require.Nil(t, failed)
	parts := a.Choices[0].Parts
	require.True(t, parts[0].Base().Opaque.From(dialect.Gemini, "gemini-9"))
	require.Equal(t, "c2lnMg==", parts[1].Base().Opaque.Value)
	require.Nil(t, parts[2].Base().Opaque)
	first, second := parts[1].(*llm.ToolCall), parts[2].(*llm.ToolCall)
	require.NotEqual(t, first.ID, second.ID)
	require.Equal(t, "{}", first.Arguments)
	require.Regexp(t, `^[a-zA-Z0-9_-]{1,40}$`, first.ID)
	body := gemini.Generate{}.NewEncoder(answerOptions()).AppendAnswer(nil, a)
	require.Contains(t, string(body), `{"functionCall":{"name":"f","args":{}},"thoughtSignature":"c2lnMg=="}`)
}

// Sources are told with the place in the text that they are for, which Google
// counts in bytes.
func TestCitations(t *testing.T) {
	a, failed := gemini.Generate{}.DecodeAnswer([]byte(`{"candidates":[{"content":{"parts":[{"text":"Größe: 5 m."}]},"finishReason":"STOP","groundingMetadata":
		{"groundingChunks":[{"web":{"uri":"https://a.example","title":"A"}}],"groundingSupports":[{"segment":{"startIndex":9,"endIndex":12,"text":"5 m"},"groundingChunkIndices":[0,7]}]}}]}`), dialect.UpstreamOptions{})
	require.Nil(t, failed)
	cite := llm.Citation{URL: "https://a.example", Title: "A", Quote: "5 m", Start: 7, End: 10}
	require.Equal(t, []llm.Citation{cite}, a.Choices[0].Parts[0].(*llm.Text).Citations)

	a.Choices[0].Extra = llm.Extra{} // as if another format had said it
	for _, out := range [][]byte{
		gemini.Generate{}.NewEncoder(answerOptions()).AppendAnswer(nil, a),
		[]byte(stream(gemini.Generate{}.NewEncoder(answerOptions()), collect(a)...)),
	} {
		require.Contains(t, string(out), `"groundingMetadata":{"groundingChunks":[{"web":{"uri":"https://a.example","title":"A"}}],"groundingSupports":[{"segment":{"startIndex":9,"endIndex":12,"text":"5 m"},"groundingChunkIndices":[0]}]}`)
	}
}

func collect(a *llm.Answer) (all []llm.Event) {
	for e := range a.Events {
		all = append(all, e)
	}
	return all
}

// A stream without events is an array of the chunks, an error its last element.
func TestArrayFramer(t *testing.T) {
	for _, c := range recorded(t) {
		if !c.Stream {
			continue
		}
		var want []any
		for _, e := range events(t, c.Body) {
			if e.Data != nil {
				want = append(want, unmarshal(t, e.Data))
			}
		}
		for _, split := range upstreamtest.Splits {
			var f gemini.ArrayFramer
			var out []byte
			for _, piece := range split.Pieces(c.Body) {
				var err error
				out, err = f.Append(out, piece)
				require.NoError(t, err)
			}
			require.Equal(t, want, unmarshal(t, f.Close(out)), "%s %s", c.Name, split.Name)
		}
	}
	var f gemini.ArrayFramer
	require.Equal(t, "[]\n", string(f.Close(nil)))
	f = gemini.ArrayFramer{}
	out, err := f.Append(nil, []byte("data: {\"a\":1}\n\n: ping\n\ndata: {broken\n\ndata: {\"error\":{}}\n\n"))
	require.NoError(t, err)
	require.Equal(t, "[{\"a\":1},\n{\"error\":{}}]\n", string(f.Close(out))) //nolint:testifylint // byte for byte
}

// withText are the contents that chats of Google's SDK for Go keep of a stream:
// those whose parts say something.
func withText(contents []any) (kept []any) {
	for _, c := range contents {
		text, _ := json.Marshal(c)
		if !strings.Contains(string(text), `"text":""`) {
			kept = append(kept, c)
		}
	}
	return kept
}

// Thinking without text goes with the text after it: a client that meets an empty
// part may forget the turn.
func TestSilentThinking(t *testing.T) {
	secret := &llm.Thinking{Redacted: true, Common: llm.Common{Opaque: &llm.Opaque{Format: dialect.AnthropicMessages, Model: "claude", Value: "s"}}}
	a := &llm.Answer{Choices: []llm.Choice{{Parts: []llm.Part{secret, &llm.Text{Text: "hi"}}, Reason: llm.FinishStop}}}
	content := contentOf(t, gemini.Generate{}.NewEncoder(sealed()).AppendAnswer(nil, a))
	text, err := json.Marshal(content)
	require.NoError(t, err)
	require.NotContains(t, string(text), `"text":""`)
	r, err := gemini.Generate{}.DecodeRequest([]byte(`{"contents":[{"parts":[{"text":"x"}]},`+string(text)+`]}`), dialect.DecodeOptions{Seal: plainSeal{}})
	require.NoError(t, err)
	require.Len(t, r.Messages[1].Parts, 2)
	thought, ok := r.Messages[1].Parts[0].(*llm.Thinking)
	require.True(t, ok)
	require.True(t, thought.Redacted)
	require.Equal(t, secret.Opaque, thought.Opaque)
	require.Equal(t, "hi", llm.TextOf(r.Messages[1].Parts[1:]))
	require.Nil(t, r.Messages[1].Parts[1].Base().Opaque)
}
