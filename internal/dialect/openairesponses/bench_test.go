package openairesponses_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/llm"
	"github.com/financecommander/tollgate/internal/sse"
)

// longRequest is a conversation of a mebibyte: messages, reasoning, calls and
// their results, as an agent has them.
func longRequest() []byte {
	var b strings.Builder
	b.WriteString(`{"model":"gpt-5","stream":true,"store":false,"include":["reasoning.encrypted_content"],"instructions":"Be brief.","tools":[{"type":"function","name":"read","description":"Read a file","parameters":{"type":"object","properties":{"path":{"type":"string"}},"required":["path"]},"strict":false}],"input":[`)
	line := strings.Repeat("All work and no play makes Jack a dull boy. ", 12) + `\n\"quoted\" and é\n`
	for i := 0; b.Len() < 1<<20; i++ {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"role":"user","content":[{"type":"input_text","text":"%d %s"}]},`, i, line)
		fmt.Fprintf(&b, `{"type":"reasoning","id":"rs_%d","summary":[],"encrypted_content":"%s"},`, i, strings.Repeat("gAAAAABo", 100))
		fmt.Fprintf(&b, `{"type":"function_call","id":"fc_%d","call_id":"call_%d","name":"read","arguments":"{\"path\":\"a/b/%d\"}","status":"completed"},`, i, i, i)
		fmt.Fprintf(&b, `{"type":"function_call_output","call_id":"call_%d","output":"%s"}`, i, strings.Repeat(line, 4))
	}
	b.WriteString(`]}`)
	return []byte(b.String())
}

// codeRequest is a mebibyte of files that an agent has read.
func codeRequest() []byte {
	file, _ := json.Marshal(strings.Repeat("func main() {\n\tfmt.Println(\"hello\", os.Args[1])\n}\n\n", 80))
	var b strings.Builder
	b.WriteString(`{"model":"gpt-5","stream":true,"input":[{"role":"user","content":"Read them all."}`)
	for i := 0; b.Len() < 1<<20; i++ {
		fmt.Fprintf(&b, `,{"type":"function_call","call_id":"call_%d","name":"read","arguments":"{\"path\":\"a/b/%d\"}"}`, i, i)
		fmt.Fprintf(&b, `,{"type":"function_call_output","call_id":"call_%d","output":%s}`, i, file)
	}
	b.WriteString(`]}`)
	return []byte(b.String())
}

// BenchmarkTranslateRequest is what a request of 1 MiB costs, read and written.
func BenchmarkTranslateRequest(b *testing.B) {
	image := []byte(`{"model":"gpt-5","input":[{"role":"user","content":[{"type":"input_image","image_url":"data:image/png;base64,` + strings.Repeat("iVBORw0K", 1<<17) + `"}]}]}`)
	for name, body := range map[string][]byte{"conversation": longRequest(), "agent": codeRequest(), "image": image} {
		b.Run(name, func(b *testing.B) {
			options := within()
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			for b.Loop() {
				r, err := codec.DecodeRequest(body, decodeOptions)
				if err != nil {
					b.Fatal(err)
				}
				if _, err := codec.EncodeRequest(r, options); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkDecodeRequest(b *testing.B) {
	body := longRequest()
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := codec.DecodeRequest(body, decodeOptions); err != nil {
			b.Fatal(err)
		}
	}
}

const benchDelta = `{"type":"response.output_text.delta","sequence_number":12,"item_id":"msg_686eebaa2be8819c8f2d2d2f1d8e1f0a0b1c2d3e4f5a6b7c","output_index":0,"content_index":0,"delta":"Hello","logprobs":[],"obfuscation":"abcdefghijk"}`

func BenchmarkDecodeDelta(b *testing.B) {
	e := sse.Event{Data: []byte(benchDelta)}
	d := codec.NewDecoder(upstreamOptions)
	d.Event(e)
	b.ReportAllocs()
	for b.Loop() {
		d.Event(e)
		if len(d.Events()) != 1 {
			b.Fatal("no event")
		}
	}
}

func BenchmarkEncodeDelta(b *testing.B) {
	var out []byte
	e := codec.NewEncoder(answerOptions())
	out = e.AppendEvent(out, llm.Started{ID: "x"})
	out = e.AppendEvent(out, llm.PartStart{Begin: &llm.Text{}})
	delta := llm.Event(llm.TextDelta{Text: "Hello"})
	require.NotEmpty(b, out)
	b.ReportAllocs()
	for b.Loop() {
		out = e.AppendEvent(out[:0], delta)
	}
}
