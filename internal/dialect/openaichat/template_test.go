package openaichat

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/dialect/wire"
	"github.com/financecommander/tollgate/internal/sse"
)

// requireSameAsWalk reads a stream with and without templates: what is learnt
// must be the same after every event.
func requireSameAsWalk(t *testing.T, stream []byte) (fitted int) {
	t.Helper()
	quick, walking := &meter{}, &meter{}
	var s sse.Scanner
	_, _ = s.Write(stream)
	for ev, ok := s.Next(); ok; ev, ok = s.Next() {
		if _, fits := quick.ordinary.Fit(ev.Data); fits {
			fitted++
		}
		walking.ordinary = wire.Template{}
		require.Equal(t, walking.Event(ev), quick.Event(ev), "mark of %s", ev.Data)
		require.Equal(t, walking.Reading(), quick.Reading(), "after %s", ev.Data)
	}
	return fitted
}

// chunks writes a stream of these JSON chunks.
func chunks(data ...string) (stream []byte) {
	for _, d := range data {
		stream = sse.AppendEvent(stream, "", []byte(d))
	}
	return stream
}

func TestTemplate(t *testing.T) {
	const (
		text   = `{"id":"x","model":"m","choices":[{"index":0,"delta":{"content":%q},"finish_reason":null}],"usage":null}`
		padded = `{"id":"x","choices":[{"index":0,"delta":{"content":%q},"finish_reason":null}],"obfuscation":%q}`
		finish = `{"id":"x","model":"m","choices":[{"index":0,"delta":{"content":%q},"finish_reason":"stop"}],"usage":null}`
		other  = `{"id":"x","model":"m","choices":[{"index":1,"delta":{"content":%q},"finish_reason":null}],"usage":null}`
		think  = `{"choices":[{"index":0,"delta":{"reasoning_content":%q}}]}`
		tool   = `{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":%q}}]}}]}`
		two    = `{"choices":[{"index":0,"delta":{"content":%q,"reasoning":%q}}]}`
	)
	f := fmt.Sprintf
	for name, test := range map[string]struct {
		stream []byte
		fitted int // chunks that need no walk
	}{
		"text":              {chunks(f(text, "a"), f(text, "b"), f(text, ""), f(text, "é€")), 3},
		"escapes":           {chunks(f(text, "a"), f(text, `"`), f(text, `\`), f(text, "\n"), f(text, `x","y":"`), f(text, "b")), 5},
		"escape broken":     {chunks(f(text, "a"), strings.Replace(f(text, "b"), "b", `\x`, 1), f(text, "e")), 1},
		"padding":           {chunks(f(padded, "a", "zz"), f(padded, "bcd", "z"), f(padded, "e", "")), 2},
		"padding escaped":   {chunks(f(padded, "a", "zz"), f(padded, "bcd", `"}`)), 1},
		"finish is no text": {chunks(f(text, "a"), f(finish, "b"), f(text, "c")), 1},
		"other choice":      {chunks(f(text, "a"), f(other, "b"), f(other, "c"), f(text, "d")), 1},
		"thinking":          {chunks(f(think, "a"), f(think, "b"), f(text, "c"), f(text, "d"), f(think, "e")), 2},
		"arguments":         {chunks(f(tool, "{"), f(tool, "}")), 1},
		"two pieces":        {chunks(f(two, "a", "b"), f(two, "c", "d")), 0},
		"empty first":       {chunks(f(text, ""), f(text, "a"), f(text, "b")), 1},
		"longer by a byte":  {chunks(f(text, "a"), f(text, "b")+" "), 0},
		"spaces":            {chunks(`{ "choices" : [ {"delta" : { "content" : "a" } } ] } `, `{ "choices" : [ {"delta" : { "content" : "bc" } } ] } `), 1},
		"control character": {chunks(f(text, "a"), strings.Replace(f(text, "bcd"), "bcd", "b\x01", 1), f(text, "e")), 1},
		"cut":               {chunks(f(text, "a"), f(text, "b")[:60]), 0},
	} {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, test.fitted, requireSameAsWalk(t, test.stream))
		})
	}
}

func FuzzTemplate(f *testing.F) {
	f.Add([]byte("data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"}}]}\n\ndata: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"b\\\"\"}}]}\n\n"))
	f.Add([]byte("data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}],\"obfuscation\":\"x\"}\n\ndata: {\"choices\":[{\"delta\":{\"content\":\"\"}}],\"obfuscation\":\"\"}\n\n"))
	f.Fuzz(func(t *testing.T, stream []byte) { requireSameAsWalk(t, stream) })
}
