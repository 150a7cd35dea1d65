package specialist

import (
	"encoding/json"
	"testing"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/stretchr/testify/require"
)

// FuzzPatch checks what a change may not do, whatever is sent: leave the limits,
// touch what is not the caller's, lose a prompt, or be a change twice.
func FuzzPatch(f *testing.F) {
	for _, seed := range []string{
		`{}`, `null`, `{"name":"x","description":null,"temperature":0.7,"max_tokens":null,"pinned":true}`,
		`{"pricing":{"input_per_1m":2.5,"output_per_1m":1e2},"fallbacks":[{"provider":"p","model":"m"}],"aliases":["a"]}`,
		`{"system_prompt":"New.","version":3,"id":"code-reviewer","prompt_history":[],"created_at":5}`,
		`{"pricing":{"input_per_1m":02,"output_per_1m":-0}}`, `{"name":"\ud83d\ude00 \u0000"}`, `{"base_url":"https://a.example"}`,
		`{"fallbacks":[null],"aliases":[null]}`, `{"temperature":1e999}`, `{"max_tokens":1.0}`, `{"name":"a","name":"b"}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		was := valid()
		was.Version, was.Pricing = 3, &Pricing{"2.50", "10"}
		was.PromptHistory = append(make([]PromptVersion, 0, 4), PromptVersion{Prompt: "p", Version: 1})
		before, err := json.Marshal(was)
		require.NoError(t, err)

		var p Patch
		if jsonv2.Unmarshal(text, &p) != nil || p.meets(&was) != nil {
			return
		}
		is, err := p.apply(was)
		after, marshalled := json.Marshal(was)
		require.NoError(t, marshalled)
		require.Equal(t, string(before), string(after), "what others read is untouched")
		if err != nil || is.Validate() != nil {
			return
		}
		require.Equal(t, was.ID, is.ID)
		require.NotEmpty(t, is.SystemPrompt)
		if same(&was, &is) {
			return
		}
		is.follow(&was)
		require.Equal(t, 4, is.Version)
		if is.SystemPrompt != was.SystemPrompt {
			require.Equal(t, was.SystemPrompt, is.PromptHistory[1].Prompt)
		}

		again, err := p.apply(is)
		require.NoError(t, err)
		require.True(t, same(&is, &again), "the same once more changes nothing")

		echo, err := json.Marshal(is)
		require.NoError(t, err)
		var back Patch
		require.NoError(t, jsonv2.Unmarshal(echo, &back))
		require.NoError(t, back.meets(&is))
		again, err = back.apply(is)
		require.NoError(t, err)
		require.True(t, same(&is, &again), "the whole object sent back changes nothing: %s", echo)
	})
}
