package openaichat_test

import (
	"testing"

	"github.com/financecommander/tollgate/internal/dialect"
	"github.com/financecommander/tollgate/internal/dialect/openaichat"
	"github.com/financecommander/tollgate/internal/llm"
)

func BenchmarkDecodeRequest1MiB(b *testing.B) {
	body := requestOf(1 << 20)
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := openaichat.Chat.DecodeRequest(body, decodeOptions()); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkEncodeRequest1MiB(b *testing.B) {
	body := requestOf(1 << 20)
	r, err := openaichat.Chat.DecodeRequest(body, decodeOptions())
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := openaichat.Chat.EncodeRequest(r, encodeOptions()); err != nil {
			b.Fatal(err)
		}
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
