package openaichat_test

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/dialect"
	"github.com/financecommander/tollgate/internal/dialect/openaichat"
	"github.com/financecommander/tollgate/internal/llm"
	"github.com/financecommander/tollgate/internal/upstreamtest"
)

func TestTranslatedEmbeddings(t *testing.T) {
	for _, c := range upstreamtest.Cases(t, upstreamtest.OfAPI("openai.embeddings")) {
		t.Run(c.Name, func(t *testing.T) {
			r, err := openaichat.Embeddings.DecodeEmbed(c.Request)
			if c.Name == "openai/openai.embeddings/error-400-dimensions" {
				require.Error(t, err)
				return
			}
			require.NoError(t, err)
			u := &dialect.Unsaid{Target: dialect.OpenAIEmbeddings}
			request, err := openaichat.Embeddings.EncodeEmbed(r, u)
			require.NoError(t, err)
			require.JSONEq(t, string(c.Request), string(request))
			if c.Status != 200 {
				return
			}
			a, failed := openaichat.Embeddings.DecodeEmbedded(c.Body)
			require.Nil(t, failed)
			require.Equal(t, c.Usage.Input, a.Usage.InputTotal())
			require.True(t, a.Reported)
			require.Len(t, a.Vectors, len(r.Inputs))
			if r.Dimensions > 0 {
				require.Len(t, a.Vectors[0], int(r.Dimensions))
			}
			got := openaichat.Embeddings.AppendEmbedded(nil, a, r)
			require.Equal(t, withoutNulls(object(t, c.Body)), withoutNulls(object(t, got)))
		})
	}
}

func TestBadEmbeddings(t *testing.T) {
	for body, param := range map[string]string{
		`{"input":"a"}`:                                          "model",
		`{"model":"m"}`:                                          "input",
		`{"model":"m","input":[]}`:                               "input",
		`{"model":"m","input":{}}`:                               "input",
		`{"model":"m","input":[1,2]}`:                            "input[0]",
		`{"model":"m","input":["a",[1]]}`:                        "input[1]",
		`{"model":"m","input":"a","dimensions":-1}`:              "dimensions",
		`{"model":"m","input":"a","encoding_format":"hex"}`:      "encoding_format",
		`{"model":"m","input":"a","user":1}`:                     "user",
		`{"model":"m","input":"a","input":"b"}`:                  "input",
		`{"model":"m","input":"a","x":{"y":1,"y":2}}`:            "x.y",
		`{"model":"m","input":"a"`:                               "",
		`{"model":"m","input":"a","encoding_format":"b\u0061d"}`: "encoding_format",
	} {
		_, err := openaichat.Embeddings.DecodeEmbed([]byte(body))
		e, ok := errors.AsType[*llm.Error](err)
		require.True(t, ok, body)
		require.Equal(t, llm.CauseInvalidRequest, e.Cause)
		require.Equal(t, param, e.Param, body)
	}
	for _, body := range []string{
		`x`, `{}`, `{"data":[]}`, `{"data":[{"embedding":"???"}]}`, `{"data":[{"embedding":"YWI="}]}`, `{"data":[{"embedding":["a"]}]}`,
		`{"data":[{"index":1,"embedding":[1]}]}`, `{"data":[{"index":0,"embedding":[1]},{"index":0,"embedding":[1]}]}`, `{"data":[{"index":0}]}`,
	} {
		_, failed := openaichat.Embeddings.DecodeEmbedded([]byte(body))
		require.NotNil(t, failed, body)
		require.Equal(t, llm.CauseUpstreamInvalid, failed.Cause)
	}
}

func TestForeignEmbeddings(t *testing.T) {
	r := &llm.EmbedRequest{Model: "m", Inputs: []string{"a"}, Task: "RETRIEVAL_QUERY", Title: "t"}
	u := &dialect.Unsaid{Target: dialect.OpenAIEmbeddings, Drop: true}
	body, err := openaichat.Embeddings.EncodeEmbed(r, u)
	require.NoError(t, err)
	require.JSONEq(t, `{"model":"m","input":"a"}`, string(body))
	require.Equal(t, []string{"task_type", "title"}, u.Dropped)
	_, err = openaichat.Embeddings.EncodeEmbed(r, &dialect.Unsaid{Target: dialect.OpenAIEmbeddings})
	require.ErrorContains(t, err, "task_type")

	a := &llm.EmbedAnswer{Vectors: [][]float64{{0.5, -1}, {2, 0}}, Usage: llm.Usage{Input: 3}}
	require.JSONEq(t, `{"object":"list","model":"m","data":[{"object":"embedding","index":0,"embedding":[0.5,-1]},{"object":"embedding","index":1,"embedding":[2,0]}],"usage":{"prompt_tokens":3,"total_tokens":3}}`,
		string(openaichat.Embeddings.AppendEmbedded(nil, a, &llm.EmbedRequest{Model: "m"})))
	encoded := openaichat.Embeddings.AppendEmbedded(nil, a, &llm.EmbedRequest{Model: "m", Base64: true})
	again, failed := openaichat.Embeddings.DecodeEmbedded(encoded)
	require.Nil(t, failed)
	require.Equal(t, a.Vectors, again.Vectors)
}
