package anthropic_test

import (
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/dialect"
	"github.com/financecommander/tollgate/internal/dialect/anthropic"
	"github.com/financecommander/tollgate/internal/jsonedit"
	"github.com/financecommander/tollgate/internal/sse"
)

func deltaEvent(text string) sse.Event {
	data := `{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":` + string(jsonedit.AppendQuote(nil, text)) + `}}`
	return sse.Event{Type: []byte("content_block_delta"), Data: []byte(data)}
}

func events(data ...string) (all []sse.Event) {
	for _, d := range data {
		all = append(all, sse.Event{Data: []byte(d)})
	}
	return all
}

var beginning = events(
	`{"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant","model":"claude","content":[],"stop_reason":null,"usage":{"input_tokens":10,"output_tokens":1}}}`,
	`{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}`,
)

func BenchmarkMeter(b *testing.B) {
	b.ReportAllocs()
	event := deltaEvent(" a token's worth")
	m := anthropic.Messages.NewMeter()
	for _, e := range beginning {
		m.Event(e)
	}
	for b.Loop() {
		m.Event(event)
	}
}

// BenchmarkTranslateDelta is what a delta costs from an upstream of this format
// to a client of it.
func BenchmarkTranslateDelta(b *testing.B) {
	for name, event := range map[string]sse.Event{"plain": deltaEvent(" a token's worth"), "escaped": deltaEvent(" a \"token\"\n")} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			d := anthropic.Messages.NewDecoder(dialect.UpstreamOptions{Model: "claude"})
			e := anthropic.Messages.NewEncoder(dialect.AnswerOptions{Stream: true, Seal: dialect.NoSeal{}, Now: func() int64 { return 1 }})
			var out []byte
			step := func(event sse.Event) {
				d.Event(event)
				out = out[:0]
				for _, event := range d.Events() {
					out = e.AppendEvent(out, event)
				}
			}
			for _, event := range beginning {
				step(event)
			}
			for b.Loop() {
				step(event)
			}
			require.Contains(b, string(out), "text_delta")
		})
	}
}

// body is a request of about a size: a long conversation with tools, or one with
// an image in it.
func body(size int, image bool) []byte {
	var s strings.Builder
	s.WriteString(`{"model":"claude-sonnet-4-5","max_tokens":1000,"stream":true,"system":[{"type":"text","text":"Be brief.","cache_control":{"type":"ephemeral"}}],"messages":[`)
	if image {
		s.WriteString(`{"role":"user","content":[{"type":"image","source":{"type":"base64","media_type":"image/png","data":"` + strings.Repeat("iVBO", size/4) + `"}}]}`)
	}
	for i := 0; !image && s.Len() < size; i++ {
		id := "toolu_" + strconv.Itoa(i)
		text := string(jsonedit.AppendQuote(nil, strings.Repeat("Some text with \"quotes\"\nand lines. ", 30)))
		if i > 0 {
			s.WriteByte(',')
		}
		s.WriteString(`{"role":"user","content":` + text + `},{"role":"assistant","content":[{"type":"text","text":` + text + `},{"type":"tool_use","id":"` + id + `","name":"read","input":{"path":"/etc/hosts","lines":[1,2,3]}}]},` +
			`{"role":"user","content":[{"type":"tool_result","tool_use_id":"` + id + `","content":[{"type":"text","text":` + text + `}]}]}`)
	}
	s.WriteString(`]}`)
	return []byte(s.String())
}

// codeBody is a mebibyte of files that an agent has read.
func codeBody() []byte {
	file := jsonedit.AppendQuote(nil, strings.Repeat("func main() {\n\tfmt.Println(\"hello\", os.Args[1])\n}\n\n", 80))
	s := []byte(`{"model":"claude-sonnet-4-5","max_tokens":1000,"messages":[{"role":"user","content":"Read them all."}`)
	for i := 0; len(s) < 1<<20; i++ {
		id := "toolu_" + strconv.Itoa(i)
		s = append(s, `,{"role":"assistant","content":[{"type":"tool_use","id":"`+id+`","name":"read","input":{"path":"main.go"}}]}`...)
		s = append(s, `,{"role":"user","content":[{"type":"tool_result","tool_use_id":"`+id+`","content":`...)
		s = append(append(s, file...), `}]}`...)
	}
	return append(s, `]}`...)
}

// BenchmarkTranslateRequest is what a request of 1 MiB costs, read and written.
func BenchmarkTranslateRequest(b *testing.B) {
	for name, request := range map[string][]byte{"conversation": body(1<<20, false), "agent": codeBody(), "image": body(1<<20, true)} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(request)))
			for b.Loop() {
				r, err := anthropic.Messages.DecodeRequest(request, dialect.DecodeOptions{Seal: dialect.NoSeal{}})
				require.NoError(b, err)
				_, err = anthropic.Messages.EncodeRequest(r, dialect.EncodeOptions{Unsaid: &dialect.Unsaid{Target: anthropic.Format}})
				require.NoError(b, err)
			}
		})
	}
}

func BenchmarkPatch(b *testing.B) {
	b.ReportAllocs()
	request, temperature := body(64<<10, false), 0.5
	b.SetBytes(int64(len(request)))
	into := make([]byte, 0, 2*len(request))
	for b.Loop() {
		call, err := anthropic.Messages.Read(request)
		require.NoError(b, err)
		_, err = call.Patch(dialect.Edits{Model: "claude-opus-4-1", SystemPrompt: "You are helpful.", Temperature: &temperature, MaxTokens: 500, Into: into})
		require.NoError(b, err)
	}
}
