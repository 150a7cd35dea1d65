package gemini_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/dialect"
	"github.com/financecommander/tollgate/internal/dialect/gemini"
	"github.com/financecommander/tollgate/internal/llm"
	"github.com/financecommander/tollgate/internal/upstreamtest"
)

func TestRecordedEmbeddings(t *testing.T) {
	for _, c := range upstreamtest.Cases(t, upstreamtest.OfAPI("google.embed")) {
		t.Run(c.Name, func(t *testing.T) {
			codec := gemini.Embed{Model: c.Model, Batch: true}
			r, err := codec.DecodeEmbed(c.Request)
			require.NoError(t, err)
			u := &dialect.Unsaid{Source: codec, Target: dialect.Gemini}
			body, err := codec.EncodeEmbed(r, u)
			require.NoError(t, err)
			require.JSONEq(t, string(marshal(camel(unmarshal(t, c.Request), requestNames))), string(body))
			require.Equal(t, "batchEmbedContents", gemini.EmbedMethod(r))

			a, failed := codec.DecodeEmbedded(c.Body)
			require.Nil(t, failed)
			require.Len(t, a.Vectors, len(r.Inputs))
			require.JSONEq(t, string(c.Body), string(codec.AppendEmbedded(nil, a, r)))
			m := codec.NewMeter()
			m.Body(c.Body)
			require.True(t, m.Reading().Complete)
			require.Equal(t, llm.Usage{Input: 3, InputImage: 258}, m.Reading().Usage)
			require.Equal(t, a.Usage, m.Reading().Usage)

			// What is no text is refused where another format is to say it.
			err = (&dialect.Unsaid{Source: codec, Target: dialect.OpenAIEmbeddings}).Extra(r.Extra, "")
			var e *llm.Error
			require.ErrorAs(t, err, &e)
			require.Equal(t, "requests[0].content", e.Param)
		})
	}
}

func TestEmbed(t *testing.T) {
	one := gemini.Embed{Model: "gemini-embedding-001"}
	r, err := one.DecodeEmbed([]byte(`{"content":{"parts":[{"text":"a"}]},"task_type":"RETRIEVAL_QUERY","title":"t","outputDimensionality":8}`))
	require.NoError(t, err)
	require.Equal(t, &llm.EmbedRequest{Model: one.Model, Inputs: []string{"a"}, Task: "RETRIEVAL_QUERY", Title: "t", Dimensions: 8}, r)
	require.Equal(t, "embedContent", gemini.EmbedMethod(r))
	u := &dialect.Unsaid{Target: dialect.Gemini}
	body, err := one.EncodeEmbed(r, u)
	require.NoError(t, err)
	require.JSONEq(t, `{"model":"models/gemini-embedding-001","content":{"parts":[{"text":"a"}]},"taskType":"RETRIEVAL_QUERY","title":"t","outputDimensionality":8}`, string(body))

	// Another format's request for several goes to the call for many.
	r = &llm.EmbedRequest{Inputs: []string{"a", "b"}, Dimensions: 8, User: "u"}
	require.Equal(t, "batchEmbedContents", gemini.EmbedMethod(r))
	body, err = one.EncodeEmbed(r, u)
	require.NoError(t, err)
	require.JSONEq(t, `{"requests":[{"model":"models/gemini-embedding-001","content":{"parts":[{"text":"a"}]},"outputDimensionality":8},
		{"model":"models/gemini-embedding-001","content":{"parts":[{"text":"b"}]},"outputDimensionality":8}]}`, string(body))
	require.Equal(t, []string{"user"}, u.Dropped)

	a, failed := one.DecodeEmbedded([]byte(`{"embedding":{"values":[0.25,-1]}}`))
	require.Nil(t, failed)
	require.Equal(t, &llm.EmbedAnswer{Vectors: [][]float64{{0.25, -1}}}, a)
	require.JSONEq(t, `{"embedding":{"values":[0.25,-1]}}`, string(one.AppendEmbedded(nil, a, &llm.EmbedRequest{})))
	require.JSONEq(t, `{"embeddings":[{"values":[0.25,-1]}],"usageMetadata":{"promptTokenCount":5}}`,
		string(one.AppendEmbedded(nil, &llm.EmbedAnswer{Vectors: a.Vectors, Reported: true, Usage: llm.Usage{Input: 5}}, &llm.EmbedRequest{Batch: true})))
	_, failed = one.DecodeEmbedded([]byte(`{"error":{"code":429}}`))
	require.Equal(t, llm.CauseUpstreamRateLimited, failed.Cause)
	_, failed = one.DecodeEmbedded([]byte(`<html>`))
	require.Equal(t, llm.CauseUpstreamInvalid, failed.Cause)
}

func TestEmbedPatch(t *testing.T) {
	k, err := gemini.Embed{Model: "a", Batch: true}.Read([]byte(`{"requests": [ {"model":"models/a","content":{"parts":[{"text":"x"}]}}, {"content":{"parts":[{"text":"y"}]}} ]}`))
	require.NoError(t, err)
	body, err := k.Patch(dialect.Edits{Model: "b"})
	require.NoError(t, err)
	require.JSONEq(t, `{"requests":[{"model":"models/b","content":{"parts":[{"text":"x"}]}},{"content":{"parts":[{"text":"y"}]},"model":"models/b"}]}`, string(body))
	require.Equal(t, "x\ny\n", string(k.AppendText(nil, 100)))
	_, err = k.Patch(dialect.Edits{SystemPrompt: "x"})
	require.Error(t, err)
	k, err = gemini.Embed{Model: "a"}.Read([]byte(`{"content":{"parts":[{"text":"x"}]}}`))
	require.NoError(t, err)
	body, err = k.Patch(dialect.Edits{Model: "b"})
	require.NoError(t, err)
	require.JSONEq(t, `{"content":{"parts":[{"text":"x"}]}}`, string(body))
}

func TestBadEmbeds(t *testing.T) {
	for _, tc := range []struct {
		body, param string
		batch       bool
	}{
		{`{}`, "content", false},
		{`{"content":{}}`, "content.parts", false},
		{`{"content":[]}`, "content", false},
		{`{"content":{"parts":[{"text":1}]}}`, "content.parts[0].text", false},
		{`{"content":{"parts":[{"text":"a"}]},"outputDimensionality":"x"}`, "outputDimensionality", false},
		{`{}`, "requests", true},
		{`{"requests":[]}`, "requests", true},
		{`{"requests":[{}]}`, "requests[0].content", true},
		{`{"requests":[{"content":{"parts":[{"text":"a"}]}},{"content":{"parts":[{"text":"a"}]},"taskType":"X"}]}`, "requests[1].taskType", true},
	} {
		_, err := gemini.Embed{Batch: tc.batch}.DecodeEmbed([]byte(tc.body))
		var e *llm.Error
		require.ErrorAs(t, err, &e, tc.body)
		require.Equal(t, tc.param, e.Param, tc.body)
	}
}

func TestCount(t *testing.T) {
	codec := gemini.Count{Model: "gemini-2.5-flash"}
	seal := dialect.DecodeOptions{Seal: dialect.NoSeal{}}
	own := dialect.EncodeOptions{Unsaid: &dialect.Unsaid{Source: codec, Target: dialect.GeminiCount}}
	for _, body := range []string{
		`{` + hello + `}`,
		`{"generateContentRequest":{"model":"models/gemini-2.5-flash",` + hello + `,"systemInstruction":{"parts":[{"text":"s"}]},"tools":[{"googleSearch":{}}]}}`,
	} {
		r, err := codec.DecodeCount([]byte(body), seal)
		require.NoError(t, err)
		require.Equal(t, codec.Model, r.Model)
		out, err := codec.EncodeCount(r, own)
		require.NoError(t, err)
		require.JSONEq(t, body, string(out))
	}
	vertex := `{` + hello + `,"systemInstruction":{"parts":[{"text":"s"}]},"generationConfig":{"temperature":1}}`
	r, err := codec.DecodeCount([]byte(vertex), seal)
	require.NoError(t, err)
	own.Vertex = true
	out, err := codec.EncodeCount(r, own)
	require.NoError(t, err)
	require.JSONEq(t, vertex, string(out))

	for body, param := range map[string]string{
		`{}`: "contents", `{"generateContentRequest":[]}`: "generateContentRequest",
		`{"generateContentRequest":{"model":"x"}}`:                                      "generateContentRequest.contents",
		`{"generateContentRequest":{"contents":[{"parts":[{"text":1}]}]}}`:              "generateContentRequest.contents[0].parts[0].text",
		`{"generate_content_request":{"contents":[{"role":"x","parts":[]}],"model":1}}`: "generate_content_request.contents[0].role",
	} {
		_, err := codec.DecodeCount([]byte(body), seal)
		var e *llm.Error
		require.ErrorAs(t, err, &e, body)
		require.Equal(t, param, e.Param, body)
	}
	tokens, ok := codec.DecodeCounted([]byte(`{"totalTokens":31,"promptTokensDetails":[{"modality":"TEXT","tokenCount":31}]}`))
	require.True(t, ok)
	require.EqualValues(t, 31, tokens)
	for _, bad := range []string{`{}`, `[]`, `{"totalTokens":"x"}`, `{"totalTokens":1`, `{"totalTokens":-1}`} {
		_, ok = codec.DecodeCounted([]byte(bad))
		require.False(t, ok, bad)
	}
	require.Equal(t, `{"totalTokens":31}`, string(codec.AppendCounted(nil, 31)))
}

func TestRecordedCounts(t *testing.T) {
	for _, c := range upstreamtest.Cases(t, upstreamtest.OfAPI("google.count_tokens")) {
		codec := gemini.Count{Model: c.Model}
		r, err := codec.DecodeCount(c.Request, dialect.DecodeOptions{Seal: dialect.NoSeal{}})
		require.NoError(t, err)
		out, err := codec.EncodeCount(r, dialect.EncodeOptions{Unsaid: &dialect.Unsaid{Source: codec, Target: dialect.Gemini}})
		require.NoError(t, err)
		require.JSONEq(t, string(c.Request), string(out))
	}
}

func TestCountPatch(t *testing.T) {
	codec := gemini.Count{Model: "alias"}
	for _, tc := range []struct {
		body, want string
		edits      dialect.Edits
	}{
		{`{ ` + hello + `}`, `{ ` + hello + `}`, dialect.Edits{Model: "m", MaxTokens: 5}},
		{`{` + hello + `}`, `{"generateContentRequest":{` + hello + `,"systemInstruction":{"parts":[{"text":"s"}]},"model":"models/m"}}`, dialect.Edits{Model: "m", SystemPrompt: "s"}},
		{
			`{"generateContentRequest":{"model":"models/alias",` + hello + `}}`,
			`{"generateContentRequest":{"model":"models/m",` + hello + `,"systemInstruction":{"parts":[{"text":"s"}]}}}`,
			dialect.Edits{Model: "m", SystemPrompt: "s"},
		},
	} {
		k, err := codec.Read([]byte(tc.body))
		require.NoError(t, err)
		require.Equal(t, "alias", k.Model())
		require.False(t, k.Stream())
		require.Equal(t, "hello\n", string(k.AppendText(nil, 100)))
		body, err := k.Patch(tc.edits)
		require.NoError(t, err)
		require.Equal(t, tc.want, string(body))
	}
	_, err := codec.Read([]byte(`{"generateContentRequest":{}}`))
	var e *llm.Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, "generateContentRequest.contents", e.Param)
}
