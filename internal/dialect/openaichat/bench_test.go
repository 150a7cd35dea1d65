package openaichat_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/financecommander/tollgate/internal/dialect/openaichat"
	"github.com/financecommander/tollgate/internal/upstreamtest"
)

// requestOf is a request of about size bytes, in messages as people write them.
func requestOf(size int) []byte {
	var b bytes.Buffer
	b.WriteString(`{"model":"assistant","stream":true,"temperature":0.7,"messages":[{"role":"system","content":"You are a helpful assistant."}`)
	for b.Len() < size-150 {
		b.WriteString(`,{"role":"user","content":"Write a function that says \"hello\".\nIt should take a name, and fall back to \"world\" where there is none. Then explain how it works, step by step, and what could go wrong with names from other countries."}`)
		b.WriteString(`,{"role":"assistant","content":null,"tool_calls":[{"id":"call_1","type":"function","function":{"name":"run","arguments":"{\"code\":\"print(1)\"}"}}]}`)
	}
	b.WriteString(`],"user":"u-1","top_p":1,"presence_penalty":0,"tools":[{"type":"function","function":{"name":"run","parameters":{"type":"object"}}}]}`)
	return b.Bytes()
}

func BenchmarkReadAndPatch(b *testing.B) {
	for _, size := range []int{1 << 10, 20 << 10, 100 << 10} {
		body := requestOf(size)
		b.Run(fmt.Sprintf("%dKB", size>>10), func(b *testing.B) {
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			for b.Loop() {
				call, err := openaichat.Chat.Read(body)
				if err != nil {
					b.Fatal(err)
				}
				if _, err := call.Patch(allEdits); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	image := []byte(`{"model":"m","messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"data:image/png;base64,` + strings.Repeat("iVBORw0KGgo", 20_000) + `"}}]}]}`)
	b.Run("image 215KB", func(b *testing.B) {
		b.SetBytes(int64(len(image)))
		for b.Loop() {
			if _, err := openaichat.Chat.Read(image); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkMeter(b *testing.B) {
	for name, chunk := range map[string]string{
		"openai": `{"id":"chatcmpl-B9MHDbslfkBeAs8l4bebGdFOJ6PeG","object":"chat.completion.chunk","created":1741570283,"model":"gpt-4o-2024-08-06","service_tier":"default","system_fingerprint":"fp_44added55e","choices":[{"index":0,"delta":{"content":"Hello"},"logprobs":null,"finish_reason":null}],"usage":null,"obfuscation":"abcd"}`,
		"short":  `{"id":"x","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"content":"Hello"},"finish_reason":null}]}`,
	} {
		b.Run(name, func(b *testing.B) {
			e := event(chunk)
			m := openaichat.Chat.NewMeter()
			b.ReportAllocs()
			for b.Loop() {
				m.Event(e)
			}
		})
	}
	b.Run("body", func(b *testing.B) {
		body := []byte(upstreamtest.ChatBody(strings.Repeat("some words ", 60)))
		b.SetBytes(int64(len(body)))
		b.ReportAllocs()
		for b.Loop() {
			openaichat.Chat.NewMeter().Body(body)
		}
	})
}

func BenchmarkError(b *testing.B) {
	body := []byte(`{"error":{"message":"Rate limit reached for gpt-4.1 in organization org-documented on tokens per min (TPM): Limit 30000. Visit https://platform.openai.com/account/rate-limits to learn more.","type":"tokens","param":null,"code":"x"}}`)
	for b.Loop() {
		_ = openaichat.Chat.Error(400, nil, body)
	}
}
