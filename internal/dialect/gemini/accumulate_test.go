package gemini_test

import (
	"encoding/json"
	"maps"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// accumulate makes a whole answer of a stream's chunks. It knows nothing of the
// code it is to test: of every member it keeps the last value, and it joins the
// parts.
func accumulate(t testing.TB, stream []byte) map[string]any {
	t.Helper()
	whole := map[string]any{}
	candidates := map[float64]map[string]any{}
	for _, e := range events(t, stream) {
		if e.Data == nil {
			continue
		}
		var chunk map[string]any
		require.NoError(t, json.Unmarshal(e.Data, &chunk))
		list, _ := chunk["candidates"].([]any)
		for _, c := range list {
			c := c.(map[string]any)
			index, _ := c["index"].(float64)
			if candidates[index] == nil {
				candidates[index] = map[string]any{"content": map[string]any{"role": "model"}}
			}
			content, _ := c["content"].(map[string]any)
			delete(c, "content")
			maps.Copy(candidates[index], c)
			candidates[index]["index"] = index
			into := candidates[index]["content"].(map[string]any)
			parts, _ := into["parts"].([]any)
			more, _ := content["parts"].([]any)
			into["parts"] = append(parts, more...)
		}
		delete(chunk, "candidates")
		maps.Copy(whole, chunk)
	}
	var all []any
	for _, c := range candidates {
		content := c["content"].(map[string]any)
		content["parts"] = joinParts(content["parts"].([]any))
		all = append(all, c)
	}
	require.LessOrEqual(t, len(all), 1, "no recording has more candidates")
	whole["candidates"] = all
	text, err := json.Marshal(whole)
	require.NoError(t, err)
	return plainAnswer(t, text)
}

// joinParts joins pieces of text, up to and with a signature, leaves out empty
// ones, and puts calls together whose arguments were streamed.
func joinParts(parts []any) []any {
	joined := []any{}
	var last map[string]any // text to which more can be added
	var call map[string]any // a call whose arguments are not whole
	for _, p := range parts {
		p := p.(map[string]any)
		if f, ok := p["functionCall"].(map[string]any); ok && (call != nil || f["willContinue"] == true) {
			if call == nil {
				call = map[string]any{"name": f["name"], "args": map[string]any{}}
				p["functionCall"] = call
				joined = append(joined, p)
			}
			pieces, _ := f["partialArgs"].([]any)
			for _, piece := range pieces {
				piece := piece.(map[string]any)
				name := strings.TrimPrefix(piece["jsonPath"].(string), "$.")
				args := call["args"].(map[string]any)
				before, _ := args[name].(string)
				args[name] = before + piece["stringValue"].(string)
			}
			if f["willContinue"] != true {
				call = nil
			}
			last = nil
			continue
		}
		text, isText := p["text"].(string)
		signature := p["thoughtSignature"]
		if signature != nil && len(p) == 1 { // a signature alone is one of empty text
			p["text"], isText = "", true
		}
		switch {
		case !isText:
			last = nil
			joined = append(joined, p)
		case text == "" && signature == nil:
		case last != nil && last["thought"] == p["thought"]:
			last["text"] = last["text"].(string) + text
			if signature != nil {
				last["thoughtSignature"], last = signature, nil
			}
		default:
			joined = append(joined, p)
			if last = p; signature != nil {
				last = nil
			}
		}
	}
	return joined
}

func unmarshal(t testing.TB, text []byte) (v any) {
	t.Helper()
	require.NoError(t, json.Unmarshal(text, &v))
	return v
}

func marshal(v any) []byte {
	text, _ := json.Marshal(v) // what was unmarshalled always marshals
	return text
}
