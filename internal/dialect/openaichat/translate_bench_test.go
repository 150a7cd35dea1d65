package openaichat_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/financecommander/tollgate/internal/dialect"
	"github.com/financecommander/tollgate/internal/dialect/openaichat"
	"github.com/financecommander/tollgate/internal/llm"
)

// bodies are 1 MiB of conversation: of agents, which send files and get them
// back, and the worst, thousands of short turns.
func bodies() map[string][]byte {
	var long bytes.Buffer
	file := jsonText(strings.Repeat("func main() {\n\tfmt.Println(\"hello\", os.Args[1])\n}\n\n", 80))
	long.WriteString(`{"model":"m","stream":true,"messages":[{"role":"system","content":` + file + `}`)
	for i := 0; long.Len() < 1<<20; i++ {
		fmt.Fprintf(&long, `,{"role":"assistant","content":"Let me see.","tool_calls":[{"id":"call_%d","type":"function","function":{"name":"read","arguments":"{\"path\":\"/src/main.go\"}"}}]}`, i)
		fmt.Fprintf(&long, `,{"role":"tool","tool_call_id":"call_%d","content":%s}`, i, file)
	}
	long.WriteString(`]}`)
	image := []byte(`{"model":"m","messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"data:image/png;base64,` + strings.Repeat("iVBORw0K", 1<<17) + `"}}]}]}`)
	return map[string][]byte{"agent": long.Bytes(), "short turns": requestOf(1 << 20), "image": image}
}

func jsonText(value any) string {
	text, _ := json.Marshal(value)
	return string(text)
}

// BenchmarkTranslateRequest is what a request of 1 MiB costs, read and written.
func BenchmarkTranslateRequest(b *testing.B) {
	for name, body := range bodies() {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			for b.Loop() {
				r, err := openaichat.Chat.DecodeRequest(body, decodeOptions())
				if err != nil {
					b.Fatal(err)
				}
				if _, err := openaichat.Chat.EncodeRequest(r, encodeOptions()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkDecodeRequest1MiB(b *testing.B) {
	for name, body := range bodies() {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := openaichat.Chat.DecodeRequest(body, decodeOptions()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkEncodeRequest1MiB(b *testing.B) {
	for name, body := range bodies() {
		r, err := openaichat.Chat.DecodeRequest(body, decodeOptions())
		if err != nil {
			b.Fatal(err)
		}
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := openaichat.Chat.EncodeRequest(r, encodeOptions()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkStreamDecodeDelta(b *testing.B) {
	for name, chunk := range map[string]string{
		"text":      `{"id":"chatcmpl-B9MHDbslfkBeAs8l4bebGdFOJ6PeG","object":"chat.completion.chunk","created":1741570283,"model":"gpt-4o-2024-08-06","service_tier":"default","system_fingerprint":"fp_44added55e","choices":[{"index":0,"delta":{"content":"Hello"},"logprobs":null,"finish_reason":null}],"usage":null,"obfuscation":"abcd"}`,
		"escaped":   `{"id":"chatcmpl-B9MHDbslfkBeAs8l4bebGdFOJ6PeG","object":"chat.completion.chunk","created":1741570283,"model":"gpt-4o-2024-08-06","service_tier":"default","system_fingerprint":"fp_44added55e","choices":[{"index":0,"delta":{"content":"\n"},"logprobs":null,"finish_reason":null}],"usage":null,"obfuscation":"abcd"}`,
		"arguments": `{"id":"chatcmpl-B9MHDbslfkBeAs8l4bebGdFOJ6PeG","object":"chat.completion.chunk","created":1741570283,"model":"gpt-4o-2024-08-06","service_tier":"default","system_fingerprint":"fp_44added55e","choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"location"}}]},"logprobs":null,"finish_reason":null}],"usage":null}`,
	} {
		b.Run(name, func(b *testing.B) {
			d := openaichat.Chat.NewDecoder(dialect.UpstreamOptions{Model: "m"})
			d.Event(event(`{"id":"x","choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"call_1","function":{"name":"run","arguments":""}}]}}]}`))
			e := event(chunk)
			d.Event(e)
			b.ReportAllocs()
			for b.Loop() {
				d.Event(e)
				if len(d.Events()) != 1 {
					b.Fatal(d.Events())
				}
			}
		})
	}
}

func BenchmarkStreamEncodeDelta(b *testing.B) {
	for name, test := range map[string]struct {
		begin llm.Part
		delta llm.Event
	}{
		"text":      {&llm.Text{}, llm.TextDelta{Text: "Hello"}},
		"arguments": {&llm.ToolCall{ID: "call_1", Name: "run"}, llm.ArgumentsDelta{JSON: `"location`}},
	} {
		b.Run(name, func(b *testing.B) {
			e := openaichat.Chat.NewEncoder(answerOptions())
			dst := e.AppendEvent(nil, llm.PartStart{Begin: test.begin})
			b.ReportAllocs()
			for b.Loop() {
				dst = e.AppendEvent(dst[:0], test.delta)
			}
		})
	}
}
