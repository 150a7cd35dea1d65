package gemini_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/dialect"
	"github.com/financecommander/tollgate/internal/dialect/gemini"
	"github.com/financecommander/tollgate/internal/llm"
)

const hello = `"contents":[{"parts":[{"text":"hello"}]}]`

func TestPatch(t *testing.T) {
	temperature := 0.5
	for _, tc := range []struct {
		name, body string
		edits      dialect.Edits
		want       string
	}{
		{"nothing", `{ ` + hello + ` }`, dialect.Edits{Model: "other", AskUsage: true}, `{ ` + hello + ` }`},
		{"a prompt", `{` + hello + `}`, dialect.Edits{SystemPrompt: "Be \"kind\"."}, `{` + hello + `,"systemInstruction":{"parts":[{"text":"Be \"kind\"."}]}}`},
		{
			"a prompt before the client's", `{"system_instruction":{"role":"user","parts":[{"text":"mine"}]},` + hello + `}`,
			dialect.Edits{SystemPrompt: "x"},
			`{"system_instruction":{"role":"user","parts":[{"text":"x"},{"text":"mine"}]},` + hello + `}`,
		},
		{
			"a prompt before the client's only part", `{"systemInstruction":{"parts":{"text":"mine"}},` + hello + `}`,
			dialect.Edits{SystemPrompt: "x"},
			`{"systemInstruction":{"parts":[{"text":"x"},{"text":"mine"}]},` + hello + `}`,
		},
		{
			"a prompt in an empty instruction", `{"systemInstruction":{"parts":[ ]},` + hello + `}`,
			dialect.Edits{SystemPrompt: "x"},
			`{"systemInstruction":{"parts":[{"text":"x"}]},` + hello + `}`,
		},
		{
			"defaults", `{` + hello + `}`,
			dialect.Edits{Temperature: &temperature, MaxTokens: 100},
			`{` + hello + `,"generationConfig":{"temperature":0.5,"maxOutputTokens":100}}`,
		},
		{
			"a cap on more", `{"generation_config":{"max_output_tokens":"500","temperature":1},` + hello + `}`,
			dialect.Edits{Temperature: &temperature, MaxTokens: 100},
			`{"generation_config":{"max_output_tokens":100,"temperature":1},` + hello + `}`,
		},
		{
			"a cap on less", `{"generationConfig":{"maxOutputTokens":50},` + hello + `}`,
			dialect.Edits{MaxTokens: 100},
			`{"generationConfig":{"maxOutputTokens":50},` + hello + `}`,
		},
		{
			"a cap where the config says null", `{"generationConfig":null,` + hello + `}`,
			dialect.Edits{MaxTokens: 100},
			`{"generationConfig":{"maxOutputTokens":100},` + hello + `}`,
		},
		{
			"a cap where the limit is null", `{"generationConfig":{"maxOutputTokens":null},` + hello + `}`,
			dialect.Edits{MaxTokens: 100},
			`{"generationConfig":{"maxOutputTokens":100},` + hello + `}`,
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			k, err := gemini.Generate{Model: "gemini-9", Streaming: true}.Read([]byte(tc.body))
			require.NoError(t, err)
			require.Equal(t, "gemini-9", k.Model())
			require.True(t, k.Stream())
			require.True(t, k.UsageWanted())
			body, err := k.Patch(tc.edits)
			require.NoError(t, err)
			require.Equal(t, tc.want, string(body))
		})
	}
}

func TestMaxTokens(t *testing.T) {
	for body, want := range map[string]int64{
		`{` + hello + `}`: 0,
		`{"generationConfig":{"maxOutputTokens":7},` + hello + `}`:      7,
		`{"generation_config":{"max_output_tokens":"8"},` + hello + `}`: 8,
	} {
		k, err := gemini.Generate{}.Read([]byte(body))
		require.NoError(t, err)
		require.Equal(t, want, k.MaxTokens())
	}
}

func TestRequestText(t *testing.T) {
	k, err := gemini.Generate{}.Read([]byte(`{"systemInstruction":{"parts":{"text":"Be brief."}},"contents":[{"parts":[{"text":"a\nb"},{"inlineData":{"data":"AAAA"}}]},
		{"parts":[{"functionCall":{"name":"f"}}]}],"tools":[{"googleSearch":{}}],"generationConfig":{"responseSchema":{"type":"STRING"}}}`))
	require.NoError(t, err)
	require.Equal(t, "Be brief.\na\nb\n{\"name\":\"f\"}\n[{\"googleSearch\":{}}]\n{\"type\":\"STRING\"}\n", string(k.AppendText(nil, 1000)))
	require.Equal(t, "Be br", string(k.AppendText(nil, 5)))
}

// What is wrong with a body is told with the path to it, in the client's words.
func TestBadRequests(t *testing.T) {
	for _, tc := range []struct{ name, body, param string }{
		{"no JSON", `{`, ""},
		{"an array", `[]`, ""},
		{"two values", `{} {}`, ""},
		{"nothing", `{}`, "contents"},
		{"null contents", `{"contents":null}`, "contents"},
		{"no contents", `{"contents":[]}`, "contents"},
		{"contents as text", `{"contents":"hello"}`, "contents"},
		{"a content as text", `{"contents":["hello"]}`, "contents[0]"},
		{"parts as text", `{"contents":[{"parts":"hello"}]}`, "contents[0].parts"},
		{"a part as text", `{"contents":[{"parts":["hello"]}]}`, "contents[0].parts[0]"},
		{"an empty part", `{"contents":[{"parts":[{}]}]}`, "contents[0].parts[0]"},
		{"two kinds of part", `{"contents":[{"parts":[{"text":"x","fileData":{"fileUri":"gs://x"}}]}]}`, "contents[0].parts[0]"},
		{"text as number", `{"contents":[{"parts":[{"text":"x"},{"text":7}]}]}`, "contents[0].parts[1].text"},
		{"thought as text", `{"contents":[{"parts":[{"text":"x","thought":"yes"}]}]}`, "contents[0].parts[0].thought"},
		{"an unknown role", `{"contents":[{"parts":[{"text":"x"}]},{"role":"system","parts":[{"text":"x"}]}]}`, "contents[1].role"},
		{"a role as number", `{"contents":[{"role":1}]}`, "contents[0].role"},
		{"bad base64", `{"contents":[{"parts":[{"inlineData":{"mimeType":"image/png","data":"!!!!"}}]}]}`, "contents[0].parts[0].inlineData.data"},
		{"base64 cut off", `{"contents":[{"parts":[{"inline_data":{"mime_type":"image/png","data":"AAAAA"}}]}]}`, "contents[0].parts[0].inlineData.data"},
		{"no data", `{"contents":[{"parts":[{"inlineData":{"mimeType":"image/png"}}]}]}`, "contents[0].parts[0].inlineData.data"},
		{"no type", `{"contents":[{"parts":[{"inlineData":{"data":"AAAA"}}]}]}`, "contents[0].parts[0].inlineData.mimeType"},
		{"no URI", `{"contents":[{"parts":[{"fileData":{"mimeType":"image/png"}}]}]}`, "contents[0].parts[0].fileData.fileUri"},
		{"a call without name", `{"contents":[{"role":"model","parts":[{"functionCall":{"args":{}}}]}]}`, "contents[0].parts[0].functionCall.name"},
		{"arguments as text", `{"contents":[{"role":"model","parts":[{"functionCall":{"name":"f","args":"x"}}]}]}`, "contents[0].parts[0].functionCall.args"},
		{"arguments twice", `{"contents":[{"role":"model","parts":[{"functionCall":{"name":"f","args":{"a":1,"a":2}}}]}]}`, "contents[0].parts[0].functionCall.args.a"},
		{"a response without name", `{"contents":[{"parts":[{"functionResponse":{"response":{}}}]}]}`, "contents[0].parts[0].functionResponse.name"},
		{"a response as text", `{"contents":[{"role":"model","parts":[{"functionCall":{"name":"f"}}]},{"parts":[{"functionResponse":{"name":"f","response":"x"}}]}]}`, "contents[1].parts[0].functionResponse.response"},
		{"an orphan response", `{"contents":[{"parts":[{"functionResponse":{"name":"f","response":{}}}]}]}`, "contents[0].parts[0].functionResponse"},
		{"a response with bad base64", `{"contents":[{"role":"model","parts":[{"functionCall":{"name":"f"}}]},{"parts":[{"functionResponse":{"name":"f","parts":[{"inlineData":{"mimeType":"image/png","data":"?"}}]}}]}]}`, "contents[1].parts[0].functionResponse.parts[0].inlineData.data"},
		{"a name twice", `{"contents":[{"parts":[{"text":"x"}]}],"contents":[]}`, "contents"},
		{"a name twice, deeper", `{"contents":[{"parts":[{"text":"x","text":"y"}]}]}`, "contents[0].parts[0].text"},
		{"two spellings", `{"system_instruction":{"parts":[{"text":"x"}]},"systemInstruction":{"parts":[{"text":"x"}]},` + hello + `}`, "systemInstruction"},
		{"a config as list", `{"generationConfig":[],` + hello + `}`, "generationConfig"},
		{"a temperature as text", `{"generationConfig":{"temperature":"hot"},` + hello + `}`, "generationConfig.temperature"},
		{"a limit as text", `{"generationConfig":{"maxOutputTokens":"many"},` + hello + `}`, "generationConfig.maxOutputTokens"},
		{"a fraction as limit", `{"generationConfig":{"maxOutputTokens":1.5},` + hello + `}`, "generationConfig.maxOutputTokens"},
		{"stops as number", `{"generationConfig":{"stopSequences":[1]},` + hello + `}`, "generationConfig.stopSequences[0]"},
		{"a budget as list", `{"generationConfig":{"thinkingConfig":{"thinkingBudget":[]}},` + hello + `}`, "generationConfig.thinkingConfig.thinkingBudget"},
		{"a function without name", `{"tools":[{"functionDeclarations":[{"description":"x"}]}],` + hello + `}`, "tools[0].functionDeclarations[0].name"},
		{"a function as text", `{"tools":[{"functionDeclarations":["f"]}],` + hello + `}`, "tools[0].functionDeclarations[0]"},
		{"an unknown mode", `{"toolConfig":{"functionCallingConfig":{"mode":"SOMETIMES"}},` + hello + `}`, "toolConfig.functionCallingConfig.mode"},
		{"labels as numbers", `{"labels":{"a":1},` + hello + `}`, "labels.a"},
		{"too deep", `{"contents":[{"parts":[{"functionCall":{"name":"f","args":{"a":` + strings.Repeat("[", 600) + strings.Repeat("]", 600) + `}}}]}]}`, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := gemini.Generate{}.DecodeRequest([]byte(tc.body), dialect.DecodeOptions{Seal: dialect.NoSeal{}})
			var e *llm.Error
			require.ErrorAs(t, err, &e)
			require.Equal(t, llm.CauseInvalidRequest, e.Cause)
			require.Equal(t, tc.param, e.Param, e.Message)
			require.NotEmpty(t, e.Message)
		})
	}
}

// The strict look before a pass-through finds what is wrong where it looks.
func TestBadPassThrough(t *testing.T) {
	for body, param := range map[string]string{
		`[]`:                            "",
		`{}`:                            "contents",
		`{"contents":"hi"}`:             "contents",
		`{"contents":[],"contents":[]}`: "",
		`{"systemInstruction":"x",` + hello + `}`:                                        "systemInstruction",
		`{"systemInstruction":{"parts":"x"},` + hello + `}`:                              "systemInstruction.parts",
		`{"systemInstruction":{},"system_instruction":{},` + hello + `}`:                 "system_instruction",
		`{"generationConfig":{"maxOutputTokens":"x"},` + hello + `}`:                     "generationConfig.maxOutputTokens",
		`{"generationConfig":{"maxOutputTokens":1,"max_output_tokens":2},` + hello + `}`: "max_output_tokens",
		`{"generation_config":{"temperature":"x"},` + hello + `}`:                        "generation_config.temperature",
		`{"generationConfig":{},"generation_config":{},` + hello + `}`:                   "generation_config",
	} {
		_, err := gemini.Generate{}.Read([]byte(body))
		var e *llm.Error
		require.ErrorAs(t, err, &e, body)
		require.Equal(t, llm.CauseInvalidRequest, e.Cause)
		require.Equal(t, param, e.Param, body)
	}
}
