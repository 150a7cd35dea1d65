package openaichat_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/dialect/openaichat"
	"github.com/financecommander/tollgate/internal/llm"
)

// TestBadRequests sends what is wrong: each gets a 400 that names the path.
func TestBadRequests(t *testing.T) {
	const user = `{"role":"user","content":"hi"}`
	message := func(m string) string { return `{"model":"m","messages":[` + user + `,` + m + `]}` }
	content := func(part string) string { return message(`{"role":"user","content":[` + part + `]}`) }
	body := func(members string) string { return `{"model":"m","messages":[` + user + `],` + members + `}` }
	nested := strings.Repeat("[", 600) + strings.Repeat("]", 600)
	for name, tc := range map[string]struct{ body, param string }{
		"no JSON":            {`{"model":`, ""},
		"no object":          {`[]`, ""},
		"trailing":           {`{"model":"m","messages":[` + user + `]} x`, ""},
		"no model":           {`{"messages":[` + user + `]}`, "model"},
		"model null":         {`{"model":null,"messages":[` + user + `]}`, "model"},
		"model a number":     {`{"model":1,"messages":[` + user + `]}`, "model"},
		"no messages":        {`{"model":"m"}`, "messages"},
		"messages empty":     {`{"model":"m","messages":[]}`, "messages"},
		"messages an object": {`{"model":"m","messages":{}}`, "messages"},
		"message a string":   {message(`"hi"`), "messages[1]"},
		"no role":            {message(`{"content":"hi"}`), "messages[1].role"},
		"unknown role":       {message(`{"role":"robot","content":"hi"}`), "messages[1].role"},
		"no content":         {message(`{"role":"user"}`), "messages[1].content"},
		"content null":       {message(`{"role":"system","content":null}`), "messages[1].content"},
		"content a number":   {message(`{"role":"user","content":1}`), "messages[1].content"},
		"nothing said":       {message(`{"role":"assistant"}`), "messages[1].content"},
		"name a number":      {message(`{"role":"user","content":"a","name":1}`), "messages[1].name"},
		"twice at depth":     {message(`{"role":"user","content":"a","content":"b"}`), "messages[1].content"},
		"twice, unknown":     {message(`{"role":"user","content":"a","x":{"y":[{"z":1,"z":2}]}}`), "messages[1].x.y[0].z"},
		"twice at the top":   {body(`"seed":1,"seed":2`), "seed"},
		"twice by escapes":   {body(`"seed":1,"se\u0065d":2`), "seed"},

		"part a string":     {content(`"hi"`), "messages[1].content[0]"},
		"part without type": {content(`{"text":"hi"}`), "messages[1].content[0].type"},
		"text missing":      {content(`{"type":"text"}`), "messages[1].content[0].text"},
		"text a number":     {content(`{"type":"text","text":1}`), "messages[1].content[0].text"},
		"no url":            {content(`{"type":"image_url","image_url":{}}`), "messages[1].content[0].image_url.url"},
		"image a string":    {content(`{"type":"image_url","image_url":"x"}`), "messages[1].content[0].image_url"},
		"bad base64":        {content(`{"type":"text","text":"a"},{"type":"image_url","image_url":{"url":"data:image/png;base64,a*b="}}`), "messages[1].content[1].image_url.url"},
		"no base64":         {content(`{"type":"image_url","image_url":{"url":"data:image/svg+xml,<svg/>"}}`), "messages[1].content[0].image_url.url"},
		"unpadded base64":   {content(`{"type":"image_url","image_url":{"url":"data:image/png;base64,YQ"}}`), "messages[1].content[0].image_url.url"},
		"bad audio":         {content(`{"type":"input_audio","input_audio":{"data":"?","format":"wav"}}`), "messages[1].content[0].input_audio.data"},
		"audio's format":    {content(`{"type":"input_audio","input_audio":{"data":"YQ=="}}`), "messages[1].content[0].input_audio.format"},
		"bad file":          {content(`{"type":"file","file":{"file_data":"data:application/pdf;base64,?"}}`), "messages[1].content[0].file.file_data"},
		"no file":           {content(`{"type":"file","file":{"filename":"a.pdf"}}`), "messages[1].content[0].file.file_data"},
		"two files":         {content(`{"type":"file","file":{"file_id":"f","file_data":"YQ=="}}`), "messages[1].content[0].file.file_id"},
		"cache a string":    {content(`{"type":"text","text":"a","cache_control":"x"}`), "messages[1].content[0].cache_control"},

		"orphan result":     {message(`{"role":"tool","tool_call_id":"call_1","content":"a"}`), "messages[1].tool_call_id"},
		"result without id": {message(`{"role":"tool","content":"a"}`), "messages[1].tool_call_id"},
		"orphan function":   {message(`{"role":"function","name":"f","content":"a"}`), "messages[1].name"},
		"function's name":   {message(`{"role":"function","content":"a"}`), "messages[1].name"},
		"calls no array":    {message(`{"role":"assistant","tool_calls":{}}`), "messages[1].tool_calls"},
		"call without id":   {message(`{"role":"assistant","tool_calls":[{"type":"function","function":{"name":"f","arguments":""}}]}`), "messages[1].tool_calls[0].id"},
		"call without name": {message(`{"role":"assistant","tool_calls":[{"id":"c","type":"function","function":{"arguments":""}}]}`), "messages[1].tool_calls[0].function.name"},
		"arguments no text": {message(`{"role":"assistant","tool_calls":[{"id":"c","type":"function","function":{"name":"f","arguments":{}}}]}`), "messages[1].tool_calls[0].function.arguments"},
		"call's type":       {message(`{"role":"assistant","tool_calls":[{"id":"c","type":"x"}]}`), "messages[1].tool_calls[0].type"},
		"calls of a user":   {message(`{"role":"user","content":"a","tool_calls":[{"id":"c","type":"function","function":{"name":"f","arguments":""}}]}`), "messages[1].tool_calls"},
		"old call's name":   {message(`{"role":"assistant","function_call":{"arguments":""}}`), "messages[1].function_call.name"},
		"details no object": {message(`{"role":"assistant","content":"a","reasoning_details":[{"a":1,"a":2}]}`), "messages[1].reasoning_details[0].a"},
		"tools no array":    {body(`"tools":{}`), "tools"},
		"tool without type": {body(`"tools":[{"function":{"name":"f"}}]`), "tools[0].type"},
		"tool without name": {body(`"tools":[{"type":"function","function":{}}]`), "tools[0].function.name"},
		"tool without body": {body(`"tools":[{"type":"function"}]`), "tools[0].function"},
		"custom without":    {body(`"tools":[{"type":"custom"}]`), "tools[0].custom"},
		"schema a string":   {body(`"tools":[{"type":"function","function":{"name":"f","parameters":"x"}}]`), "tools[0].function.parameters"},
		"schema, twice":     {body(`"tools":[{"type":"function","function":{"name":"f","parameters":{"properties":{"a":1,"a":2}}}}]`), "tools[0].function.parameters.properties.a"},
		"function's own":    {body(`"functions":[{}]`), "functions[0].name"},
		"choice":            {body(`"tool_choice":"maybe"`), "tool_choice"},
		"choice's type":     {body(`"tool_choice":{}`), "tool_choice.type"},
		"choice's name":     {body(`"tool_choice":{"type":"function"}`), "tool_choice.function.name"},
		"format a string":   {body(`"response_format":"json"`), "response_format"},
		"format's type":     {body(`"response_format":{}`), "response_format.type"},
		"format's name":     {body(`"response_format":{"type":"json_schema","json_schema":{"schema":{}}}`), "response_format.json_schema.name"},
		"format's schema":   {body(`"response_format":{"type":"json_schema","json_schema":{"name":"a","schema":1}}`), "response_format.json_schema.schema"},
		"stream":            {body(`"stream":"yes"`), "stream"},
		"stream options":    {body(`"stream_options":{"include_usage":1}`), "stream_options.include_usage"},
		"temperature":       {body(`"temperature":"hot"`), "temperature"},
		"huge":              {body(`"top_p":1e999`), "top_p"},
		"max tokens":        {body(`"max_tokens":1.5`), "max_tokens"},
		"n":                 {body(`"n":-1`), "n"},
		"stop":              {body(`"stop":[1]`), "stop[0]"},
		"seed":              {body(`"seed":"1"`), "seed"},
		"metadata":          {body(`"metadata":{"a":1}`), "metadata.a"},
		"reasoning":         {body(`"reasoning":{"max_tokens":"many"}`), "reasoning.max_tokens"},
		"effort":            {body(`"reasoning_effort":1`), "reasoning_effort"},
		"nested too deep":   {body(`"x":` + nested), ""},
		"content too deep":  {message(`{"role":"user","content":` + nested + `}`), "messages[1].content[0]"},
		"schema too deep":   {body(`"tools":[{"type":"function","function":{"name":"f","parameters":{"a":` + nested + `}}}]`), ""},
		"very long name":    {message(fmt.Sprintf(`{"role":"user","content":"a","%[1]s":1,"%[1]s":2}`, strings.Repeat("x", 5000))), "messages[1]." + strings.Repeat("x", 100)},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := openaichat.Chat.DecodeRequest([]byte(tc.body), decodeOptions())
			e, ok := errors.AsType[*llm.Error](err)
			require.True(t, ok, "%v", err)
			require.Equal(t, llm.CauseInvalidRequest, e.Cause)
			require.Equal(t, tc.param, e.Param, e.Message)
			require.Contains(t, e.Message, tc.param)
			require.Equal(t, 400, e.Status())
		})
	}
}

// A body as large as the gateway takes is no trouble, be it one text or millions
// of the smallest things.
func TestLargestBodies(t *testing.T) {
	const limit = 32 << 20
	fill := func(before, piece, after string) []byte {
		return []byte(before + strings.Repeat(piece, (limit-len(before)-len(after))/len(piece)) + after)
	}
	for name, tc := range map[string]struct {
		body []byte
		good bool
	}{
		"text":     {fill(`{"model":"m","messages":[{"role":"user","content":"`, `a"`[:1], `"}]}`), true},
		"messages": {fill(`{"model":"m","messages":[{"role":"user","content":""}`, `,{"role":"user","content":""}`, `]}`), true},
		"members":  {fill(`{"model":"m","messages":[{"role":"user","content":"a"`, `,"a":0`, `}]}`), false},
		"nothing":  {fill(`{"model":"m","messages":[1`, `,1`, `]}`), false},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := openaichat.Chat.DecodeRequest(tc.body, decodeOptions())
			require.Equal(t, tc.good, err == nil, "%v", err)
		})
	}
}
