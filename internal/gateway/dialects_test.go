package gateway_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/dialect"
	"github.com/financecommander/tollgate/internal/gateway"
	"github.com/financecommander/tollgate/internal/llm"
	"github.com/financecommander/tollgate/internal/secret"
	"github.com/financecommander/tollgate/internal/specialist"
	"github.com/financecommander/tollgate/internal/upstream"
	"github.com/financecommander/tollgate/internal/upstreamtest"
	"github.com/financecommander/tollgate/internal/upstreamtest/fakes"
)

// family is a gateway before one fake provider of each kind.
type family struct {
	*fixture
	openai, xai, anthropic, gemini *fakes.Server
	providers                      []*upstream.Provider
}

func newFamily(t *testing.T, configure func(*gateway.Options)) *family {
	t.Helper()
	f := &family{
		openai: fakes.New(t, fakes.OpenAI), xai: fakes.New(t, fakes.OpenAIChat),
		anthropic: fakes.New(t, fakes.Anthropic), gemini: fakes.New(t, fakes.Gemini),
	}
	for name, fake := range map[string]*fakes.Server{"openai": f.openai, "xai": f.xai, "anthropic": f.anthropic, "gemini": f.gemini} {
		config := upstream.Config{Name: name, BaseURL: fake.BaseURL(), Keys: []secret.Secret{secret.New(fakes.Key)}}
		if fake.Kind() == fakes.OpenAIChat {
			config.Formats = []dialect.Name{dialect.OpenAIChat}
		}
		f.providers = append(f.providers, configured(t, config))
	}
	f.fixture = setup(t, configure, f.providers...)
	return f
}

// Each dialect's paths work with every base URL that its SDKs may be given.
func TestBaseURLs(t *testing.T) {
	f := newFamily(t, nil)
	for path, body := range map[string]string{
		"/v1/chat/completions":                                `{"model":"anthropic/claude-sonnet-4-5","messages":[{"role":"user","content":"say: hi"}]}`,
		"/openai/v1/chat/completions":                         `{"model":"anthropic/claude-sonnet-4-5","messages":[{"role":"user","content":"say: hi"}]}`,
		"/openai/chat/completions":                            `{"model":"anthropic/claude-sonnet-4-5","messages":[{"role":"user","content":"say: hi"}]}`,
		"/v1/responses":                                       `{"model":"gemini/gemini-2.5-flash","input":"say: hi"}`,
		"/anthropic/v1/messages":                              `{"model":"openai/gpt-4o","max_tokens":9,"messages":[{"role":"user","content":"say: hi"}]}`,
		"/v1/v1/messages":                                     `{"model":"openai/gpt-4o","max_tokens":9,"messages":[{"role":"user","content":"say: hi"}]}`,
		"/v1beta/models/openai/gpt-4o:generateContent":        `{"contents":[{"parts":[{"text":"say: hi"}]}]}`,
		"/v1beta/openai/gpt-4o:generateContent":               `{"contents":[{"parts":[{"text":"say: hi"}]}]}`,
		"/gemini/v1beta/models/openai/gpt-4o:generateContent": `{"contents":[{"parts":[{"text":"say: hi"}]}]}`,
		"/v1/models/openai%2Fgpt-4o:generateContent":          `{"contents":[{"parts":[{"text":"say: hi"}]}]}`,
	} {
		a := f.post(path, body, "Anthropic-Version", "2023-06-01")
		require.Equal(t, http.StatusOK, a.Status, "%s: %s", path, a.Body)
		require.Contains(t, a.Body, `"hi"`, path)
		require.Equal(t, "application/json", a.Header.Get("Content-Type"))
	}
}

// A Gemini client that does not ask for events gets its stream as a JSON array,
// be it passed through or translated.
func TestGeminiArrayStream(t *testing.T) {
	f := newFamily(t, nil)
	for _, model := range []string{"gemini/gemini-2.5-flash", "anthropic/claude-sonnet-4-5"} {
		a := f.post("/v1beta/models/"+model+":streamGenerateContent", `{"contents":[{"parts":[{"text":"say: one two three"}]}]}`)
		require.Equal(t, http.StatusOK, a.Status, a.Body)
		require.Equal(t, "application/json", a.Header.Get("Content-Type"))
		var chunks []struct {
			Candidates []struct {
				Content      struct{ Parts []struct{ Text string } }
				FinishReason string
			}
		}
		require.NoError(t, json.Unmarshal([]byte(a.Body), &chunks), a.Body)
		said, finish := "", ""
		for _, c := range chunks {
			for _, candidate := range c.Candidates {
				for _, p := range candidate.Content.Parts {
					said += p.Text
				}
				finish += candidate.FinishReason
			}
		}
		require.Equal(t, "one two three", said)
		require.Contains(t, finish, "STOP")

		a = f.post("/v1beta/models/"+model+":streamGenerateContent", `{"contents":[{"parts":[{"text":"#slow 10ms\n#midstream-error"}]}]}`)
		var elements []map[string]json.RawMessage
		require.NoError(t, json.Unmarshal([]byte(a.Body), &elements), a.Body)
		require.Contains(t, elements[len(elements)-1], "error", a.Body)
	}
}

// Tokens are counted by the provider that can, and estimated for the others.
func TestCountTokens(t *testing.T) {
	f := newFamily(t, nil)
	for model, source := range map[string]string{
		"anthropic/claude-sonnet-4-5": "provider", "gemini/gemini-2.5-flash": "provider", "openai/gpt-4o": "provider", "xai/grok-4": "estimated",
	} {
		for path, body := range map[string]string{
			"/v1/messages/count_tokens":                `{"model":"` + model + `","messages":[{"role":"user","content":"How many tokens are these?"}]}`,
			"/v1/responses/input_tokens":               `{"model":"` + model + `","input":"How many tokens are these?"}`,
			"/v1beta/models/" + model + ":countTokens": `{"contents":[{"parts":[{"text":"How many tokens are these?"}]}]}`,
		} {
			a := f.post(path, body)
			require.Equal(t, http.StatusOK, a.Status, "%s: %s", path, a.Body)
			require.Equal(t, source, a.Header.Get("X-Tollgate-Usage-Source"), "%s of %s", path, model)
			var counted struct {
				InputTokens int64 `json:"input_tokens"`
				TotalTokens int64 `json:"totalTokens"`
			}
			require.NoError(t, json.Unmarshal([]byte(a.Body), &counted))
			n := counted.InputTokens + counted.TotalTokens
			if source == "provider" {
				require.EqualValues(t, fakes.CountedTokens, n)
			} else {
				require.InDelta(t, 7, n, 3)
			}
		}
	}
	require.Empty(t, f.ledger.all(), "counting costs nothing")
}

// Token counts are refused as calls are.
func TestCountTokensRefused(t *testing.T) {
	f := newFamily(t, nil)
	const ask = `{"model":"anthropic/claude-sonnet-4-5","messages":[{"role":"user","content":"x"}]}`
	require.Equal(t, http.StatusUnauthorized, f.post("/v1/messages/count_tokens", ask, "Authorization", "").Status)
	require.Equal(t, http.StatusNotFound, f.post("/v1/messages/count_tokens", strings.Replace(ask, "claude-sonnet-4-5", "", 1)).Status)
	require.Equal(t, http.StatusBadRequest, f.post("/v1/messages/count_tokens", `{"messages":[]}`).Status)
	require.Equal(t, http.StatusNotFound, f.post("/v1/messages/count_tokens", ask, "Authorization", "Bearer only:nothing").Status)
	a := f.do(http.MethodGet, "/v1/messages/count_tokens", "")
	require.Equal(t, http.StatusMethodNotAllowed, a.Status)
	require.Contains(t, a.Body, `"type":"error"`)
}

func TestEmbeddingsAcross(t *testing.T) {
	f := newFamily(t, nil)
	for _, model := range []string{"openai/text-embedding-3-small", "gemini/gemini-embedding-001"} {
		a := f.post("/v1/embeddings", `{"model":"`+model+`","input":["one","three"]}`)
		require.Equal(t, http.StatusOK, a.Status, a.Body)
		var answer struct {
			Data []struct {
				Index     int
				Embedding []float64
			}
		}
		require.NoError(t, json.Unmarshal([]byte(a.Body), &answer))
		require.Len(t, answer.Data, 2, a.Body)
		for i, length := range []float64{3, 5} {
			require.Equal(t, i, answer.Data[i].Index)
			require.InDelta(t, length, answer.Data[i].Embedding[0], 1e-6, "the fake's vector begins with the text's length")
		}
		a = f.post("/v1beta/models/"+model+":embedContent", `{"content":{"parts":[{"text":"three"}]}}`)
		require.Equal(t, http.StatusOK, a.Status, a.Body)
		require.Regexp(t, `^\{"embedding":\{"values":\[5[,.]`, strings.ReplaceAll(a.Body, " ", ""))
		a = f.post("/v1beta/models/"+model+":batchEmbedContents",
			`{"requests":[{"model":"models/x","content":{"parts":[{"text":"a"}]}},{"model":"models/x","content":{"parts":[{"text":"bb"}]}}]}`)
		require.Equal(t, http.StatusOK, a.Status, a.Body)
		require.Regexp(t, `^\{"embeddings":\[\{"values":\[1[,.]`, strings.ReplaceAll(a.Body, " ", ""))
	}
	for _, row := range f.ledger.all() {
		require.True(t, row.Success)
		require.Positive(t, row.InputTokens)
	}
}

// Lists of models have each dialect's own shape.
func TestModelsInEachShape(t *testing.T) {
	f := newFamily(t, withSpecialists)
	var openai struct {
		Object string
		Data   []struct{ ID, Object string }
	}
	require.NoError(t, json.Unmarshal([]byte(f.do(http.MethodGet, "/v1/models", "").Body), &openai))
	require.Equal(t, "list", openai.Object)
	var anthropic struct {
		Data []struct {
			Type, ID    string
			DisplayName string `json:"display_name"`
			CreatedAt   string `json:"created_at"`
		}
		HasMore bool   `json:"has_more"`
		FirstID string `json:"first_id"`
		LastID  string `json:"last_id"`
	}
	for _, path := range []string{"/v1/models", "/anthropic/v1/models"} {
		require.NoError(t, json.Unmarshal([]byte(f.do(http.MethodGet, path, "", "Anthropic-Version", "2023-06-01").Body), &anthropic))
		require.Len(t, anthropic.Data, len(openai.Data))
		require.Equal(t, "model", anthropic.Data[0].Type)
		require.NotEmpty(t, anthropic.Data[0].DisplayName)
		require.Equal(t, openai.Data[0].ID, anthropic.FirstID)
		require.Equal(t, openai.Data[len(openai.Data)-1].ID, anthropic.LastID)
	}
	var gemini struct {
		Models []struct {
			Name    string
			Methods []string `json:"supportedGenerationMethods"`
		}
	}
	require.NoError(t, json.Unmarshal([]byte(f.do(http.MethodGet, "/v1beta/models", "").Body), &gemini))
	require.Len(t, gemini.Models, len(openai.Data))
	require.Equal(t, "models/"+openai.Data[0].ID, gemini.Models[0].Name)

	one := f.do(http.MethodGet, "/v1beta/models/helper", "")
	require.Contains(t, one.Body, `"name":"models/helper"`)
	require.Contains(t, f.do(http.MethodGet, "/v1/models/helper", "", "Anthropic-Version", "2023-06-01").Body, `"type":"model"`)
	missing := f.do(http.MethodGet, "/v1beta/models/nothing", "")
	require.Equal(t, http.StatusNotFound, missing.Status)
	require.Contains(t, missing.Body, `"NOT_FOUND"`)
}

// Errors before any upstream is asked have the caller's shape as well.
func TestErrorsInEachShape(t *testing.T) {
	f := newFamily(t, nil)
	for path, want := range map[string]string{
		"/v1/chat/completions":                    `"type":"invalid_request_error"`,
		"/v1/responses":                           `"type":"invalid_request_error"`,
		"/v1/messages":                            `{"type":"error","error":{"type":"not_found_error"`,
		"/v1beta/models/nothing:generateContent":  `"status":"NOT_FOUND"`,
		"/gemini/v1beta/models/x:generateContent": `"status":"NOT_FOUND"`,
		"/anthropic/v1/nothing":                   `{"type":"error","error":{"type":"not_found_error"`,
		"/v1beta/models/gemini/x:countTheTokens":  `"status":"NOT_FOUND"`,
		"/openai/v1/nothing":                      `"code":"not_found"`,
	} {
		a := f.post(path, `{"model":"nothing","max_tokens":5,"messages":[{"role":"user","content":"x"}],"input":"x","contents":[{"parts":[{"text":"x"}]}]}`)
		require.Equal(t, http.StatusNotFound, a.Status, "%s: %s", path, a.Body)
		require.Contains(t, a.Body, want, path)
		require.Contains(t, a.Body, a.Header.Get("X-Request-Id"), path)
		require.NotEmpty(t, a.Header.Get("X-Request-Id"))
	}
}

// A specialist's settings reach an upstream of another format, and a fallback of
// a third format answers when the first choice does not.
func TestSpecialistAcross(t *testing.T) {
	f := newFamily(t, func(o *gateway.Options) {
		temperature := 0.5
		o.Specialists = specialists{{
			ID: "helper", Name: "Helper", Provider: "anthropic", Model: "claude-sonnet-4-5", SystemPrompt: "Be kind.",
			Temperature: &temperature, MaxTokens: 100,
			Fallbacks: []specialist.Target{{Provider: "gemini", Model: "gemini-2.5-flash"}},
		}}
	})
	for _, stream := range []bool{false, true} {
		a := f.chat(fmt.Sprintf(`{"model":"helper","stream":%t,"max_tokens":500,"messages":[{"role":"system","content":"Be brief."},{"role":"user","content":"say: hi"}]}`, stream))
		require.Equal(t, http.StatusOK, a.Status, a.Body)
		d := f.anthropic.LastDescription()
		require.Equal(t, "Be kind.\n\nBe brief.", d.System)
		require.EqualValues(t, 100, d.MaxTokens)
		require.InDelta(t, 0.5, *d.Temperature, 0)
	}
	before := len(f.ledger.all())
	f.anthropic.Script(upstreamtest.JSON(529, `{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}`))
	a := f.chat(`{"model":"helper","messages":[{"role":"user","content":"say: from elsewhere"}]}`)
	require.Equal(t, http.StatusOK, a.Status, a.Body)
	require.Contains(t, a.Body, "from elsewhere")
	rows := f.ledger.wait(t, before+2)[before:]
	require.Equal(t, "anthropic", rows[0].Provider)
	require.Equal(t, llm.CauseUpstreamOverloaded, rows[0].ErrorCause)
	require.Equal(t, "gemini", rows[1].Provider)
	require.True(t, rows[1].Success)
	require.Equal(t, "Be kind.", f.gemini.LastDescription().System)
}

// A specialist's temperature gives way where the model, or the version of the API
// that the caller speaks, takes none: the caller could not take it out.
func TestSpecialistTemperatureGivesWay(t *testing.T) {
	f := newFamily(t, func(o *gateway.Options) {
		o.Specialists = specialists{{
			ID: "helper", Name: "Helper", Provider: "anthropic", Model: "claude-sonnet-4-5", SystemPrompt: "Be kind.", Temperature: new(0.5),
		}}
	})
	for name, a := range map[string]answer{
		"thinking": f.chat(`{"model":"helper","max_tokens":3000,"reasoning_effort":"low","messages":[{"role":"user","content":"say: hi"}]}`),
		"version": f.post("/v1/messages", `{"model":"helper","max_tokens":50,"messages":[{"role":"user","content":"say: hi"}]}`,
			"Anthropic-Version", "2026-10-21"),
	} {
		require.Equal(t, http.StatusOK, a.Status, "%s: %s", name, a.Body)
		require.Empty(t, a.Header.Get("X-Tollgate-Dropped"))
		require.Equal(t, "Be kind.", f.anthropic.LastDescription().System)
		require.Nil(t, f.anthropic.LastDescription().Temperature)
	}
	require.Empty(t, f.anthropic.Problems())
	mine := f.chat(`{"model":"helper","max_tokens":3000,"temperature":0.5,"reasoning_effort":"low","messages":[{"role":"user","content":"say: hi"}]}`)
	require.Equal(t, http.StatusBadRequest, mine.Status, "the caller's own is refused")
	require.Contains(t, mine.Body, `"param":"temperature"`)
}

// What the first target's format cannot say, a fallback's may.
func TestFallbackThatCanSayIt(t *testing.T) {
	f := newFamily(t, func(o *gateway.Options) {
		o.Specialists = specialists{{
			ID: "helper", Name: "Helper", Provider: "xai", Model: "grok-4",
			Fallbacks: []specialist.Target{{Provider: "gemini", Model: "gemini-2.5-flash"}},
		}}
	})
	a := f.post("/v1/messages", `{"model":"helper","max_tokens":50,"top_k":5,"messages":[{"role":"user","content":"say: hi"}]}`)
	require.Equal(t, http.StatusOK, a.Status, a.Body)
	row := f.ledger.one(t)
	require.Equal(t, "gemini", row.Provider)
	require.Equal(t, 1, row.Attempt)
	require.EqualValues(t, 5, *f.gemini.LastDescription().TopK)
}

// Headers of a dialect go to upstreams of that dialect only.
func TestDialectHeaders(t *testing.T) {
	f := newFamily(t, nil)
	ask := func(model string) http.Header {
		a := f.post("/v1/messages", `{"model":"`+model+`","max_tokens":50,"messages":[{"role":"user","content":"say: hi"}]}`,
			"Anthropic-Version", "2023-06-01", "Anthropic-Beta", "context-1m")
		require.Equal(t, http.StatusOK, a.Status, a.Body)
		require.Equal(t, a.Header.Get("X-Request-Id"), a.Header.Get("Request-Id"), "as Anthropic's SDKs look for it")
		fake := map[string]*fakes.Server{"anthropic": f.anthropic, "openai": f.openai}[strings.Split(model, "/")[0]]
		return fake.Last().Header
	}
	require.Equal(t, "context-1m", ask("anthropic/claude-sonnet-4-5").Get("Anthropic-Beta"))
	require.Empty(t, ask("openai/gpt-4o").Get("Anthropic-Beta"))
	require.Empty(t, ask("openai/gpt-4o").Get("Anthropic-Version"))
}

// Responses repeat their instructions; a specialist's prompt is not the caller's
// to see.
func TestSpecialistsPromptStaysHidden(t *testing.T) {
	f := newFamily(t, func(o *gateway.Options) {
		o.Specialists = specialists{
			{ID: "helper", Name: "Helper", Provider: "openai", Model: "gpt-4o", SystemPrompt: "The secret: canary-prompt."},
			{ID: "other", Name: "Other", Provider: "anthropic", Model: "claude-sonnet-4-5", SystemPrompt: "The secret: canary-prompt."},
		}
	})
	for _, model := range []string{"helper", "other"} {
		for _, stream := range []string{"false", "true"} {
			for instructions, want := range map[string]string{`"Be brief."`: `"instructions":"Be brief."`, "null": `"instructions":null`} {
				a := f.post("/v1/responses", `{"model":"`+model+`","stream":`+stream+`,"instructions":`+instructions+`,"input":"say: hi"}`)
				require.Equal(t, http.StatusOK, a.Status, a.Body)
				require.NotContains(t, a.Body, "canary-prompt")
				require.Contains(t, a.Body, want)
				require.Equal(t, "hi", lastResponse(t, a).text())
			}
		}
	}
	require.Contains(t, f.openai.LastDescription().System, "canary-prompt")
}

// A translated stream is kept open in its dialect's own way while the upstream
// is silent; one whose clients would choke on anything is left silent.
func TestTranslatedPings(t *testing.T) {
	f := newFamily(t, func(o *gateway.Options) { o.Ping = 20 * time.Millisecond })
	const slow = `#slow 70ms\nsay: one two`
	for path, want := range map[string]string{
		"/v1/messages":         "event: ping\ndata: {\"type\": \"ping\"}\n\n",
		"/v1/chat/completions": ": ping\n\n",
		"/v1/responses":        ": ping\n\n",
		"/v1beta/models/xai/grok-4:streamGenerateContent?alt=sse": "",
	} {
		a := f.post(path, `{"model":"xai/grok-4","stream":true,"max_tokens":99,"messages":[{"role":"user","content":"`+slow+`"}]}`)
		if strings.Contains(path, "responses") {
			a = f.post(path, `{"model":"xai/grok-4","stream":true,"input":"`+slow+`"}`)
		} else if want == "" {
			a = f.post(path, `{"contents":[{"parts":[{"text":"`+slow+`"}]}]}`)
		} else if strings.Contains(path, "chat") {
			a = f.post(path, `{"model":"anthropic/claude-sonnet-4-5","stream":true,"messages":[{"role":"user","content":"`+slow+`"}]}`)
		}
		require.Equal(t, http.StatusOK, a.Status, a.Body)
		if want == "" {
			require.NotContains(t, a.Body, "ping")
			continue
		}
		require.Contains(t, a.Body, want, path)
	}
}
