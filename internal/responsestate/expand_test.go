package responsestate

import (
	"encoding/json"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/jsonedit"
	"github.com/financecommander/tollgate/internal/llm"
)

func TestExpand(t *testing.T) {
	t.Parallel()
	prev := &Entry{Input: []byte(` [ {"role":"user","content":"Hi"} ] `), Output: []byte(`[{"id":"msg_1"},{"id":"msg_2"}]`)}
	const history = `{"role":"user","content":"Hi"},{"id":"msg_1"},{"id":"msg_2"}`
	for name, test := range map[string]struct {
		body string
		prev *Entry
		want string
		err  string
	}{
		"text": {
			body: `{"model":"m", "previous_response_id" : "resp_1", "input":"\ud83d \u00e9\"",  "x":1e2 }`,
			want: `{"model":"m", "input":[` + history + `,{"type":"message","role":"user","content":[{"type":"input_text","text":"\ud83d \u00e9\""}]}],  "x":1e2 }`,
		},
		"items": {
			body: `{"previous_response_id":"resp_1","input": [ {"type":"function_call_output", "output":"1" } , {"b":[]}],"model":"m"}`,
			want: `{"input": [` + history + `,{"type":"function_call_output", "output":"1" } , {"b":[]}],"model":"m"}`,
		},
		"no items":  {body: `{"input":[ ],"previous_response_id":"r"}`, want: `{"input":[` + history + `]}`},
		"no input":  {body: `{"model":"m","previous_response_id":"r"}`, want: `{"model":"m","input":[` + history + `]}`},
		"nothing":   {body: `{"previous_response_id":"r"}`, want: `{"input":[` + history + `]}`},
		"null":      {body: `{"input":null,"previous_response_id":"r"}`, want: `{"input":[` + history + `]}`},
		"no answer": {body: `{"input":[1]}`, prev: &Entry{Input: []byte("[0]"), Output: []byte("[]")}, want: `{"input":[0,1]}`},
		"empty":     {body: `{"input":[1]}`, prev: &Entry{}, want: `{"input":[1]}`},

		"a number":       {body: `{"input":1}`, err: "input must be a string or an array"},
		"an object":      {body: `{"input":{}}`, err: "input must be a string or an array"},
		"no object":      {body: `[]`, err: "not a JSON object"},
		"no JSON":        {body: `{"input":[}`, err: "not a JSON object"},
		"input twice":    {body: `{"input":[],"input":"x"}`, err: "comes twice"},
		"bad history":    {body: `{}`, prev: &Entry{Input: []byte("{}")}, err: "stored response"},
		"broken history": {body: `{}`, prev: &Entry{Input: []byte("[1}")}, err: "stored response"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if test.prev == nil {
				test.prev = prev
			}
			got, err := Expand([]byte(test.body), test.prev)
			if test.err != "" {
				require.ErrorContains(t, err, test.err)
				_, clients := errors.AsType[*llm.Error](err)
				require.Equal(t, test.prev == prev, clients, "whose fault it is")
				return
			}
			require.NoError(t, err)
			require.Equal(t, test.want, string(got))
		})
	}
}

// A conversation goes on from answer to answer: each entry's input is the
// expanded body's.
func TestExpandedInputIsTheNextHistory(t *testing.T) {
	t.Parallel()
	first, err := InputItems([]byte(`{"input":"one"}`))
	require.NoError(t, err)
	body, err := Expand([]byte(`{"input":"two","previous_response_id":"a"}`), &Entry{Input: first, Output: []byte(`[{"answer":1}]`)})
	require.NoError(t, err)
	second, err := InputItems(body)
	require.NoError(t, err)
	body, err = Expand([]byte(`{"input":"three","previous_response_id":"b"}`), &Entry{Input: second, Output: []byte(`[{"answer":2}]`)})
	require.NoError(t, err)
	message := func(text string) string {
		return `{"type":"message","role":"user","content":[{"type":"input_text","text":"` + text + `"}]}`
	}
	require.JSONEq(t, `{"input":[`+message("one")+`,{"answer":1},`+message("two")+`,{"answer":2},`+message("three")+`]}`, string(body))
}

func FuzzExpand(f *testing.F) {
	f.Add([]byte(`{"model":"m","previous_response_id":"resp_1","input":"Hi"}`), []byte(`[1]`), []byte(`[]`))
	f.Add([]byte(`{ "input" : [ {} ] , "previous_response_id":"x" }`), []byte(` [ ] `), []byte(`[{"a":"b"}]`))
	f.Add([]byte(`{"previous_response_id":"x"}`), []byte(``), []byte(`[`))
	f.Fuzz(func(t *testing.T, body, input, output []byte) {
		expanded, err := Expand(body, &Entry{Input: input, Output: output})
		own, ownErr := InputItems(body)
		if err != nil {
			return
		}
		require.NoError(t, ownErr)
		object, err := jsonedit.ReadObject(expanded)
		require.NoError(t, err, "%q", expanded)
		_, there := object.Find("previous_response_id")
		require.False(t, there)
		require.Equal(t, count(t, input)+count(t, output)+count(t, own), count(t, object.Value("input")))

		before, err := jsonedit.ReadObject(body)
		require.NoError(t, err)
		s := jsonedit.NewScanner(body)
		for name := range s.Members {
			if string(name) != "input" && string(name) != "previous_response_id" {
				require.Equal(t, before.Value(string(name)), object.Value(string(name)))
			}
		}
	})
}

func count(t *testing.T, array []byte) (n int) {
	t.Helper()
	s := jsonedit.NewScanner(array)
	for range s.Elements {
		n++
	}
	return n
}

func BenchmarkExpand(b *testing.B) {
	item, err := json.Marshal(map[string]any{"type": "message", "role": "user", "content": string(make([]byte, 170))})
	require.NoError(b, err)
	history := append([]byte{'['}, item...)
	for len(history) < 1<<20 {
		history = append(append(history, ','), item...)
	}
	prev := &Entry{Input: append(history, ']'), Output: []byte("[]")}
	body := []byte(`{"model":"gpt-5","input":"Go on.","previous_response_id":"resp_1"}`)
	b.SetBytes(int64(len(history)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Expand(body, prev); err != nil {
			b.Fatal(err)
		}
	}
}
