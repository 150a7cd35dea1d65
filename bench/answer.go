//go:build linux

package main

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"time"
)

const (
	specialistID = "financial-analyst" // shipped with Tollgate; its model is served by the provider openai
	upstreamKey  = "sk-bench-upstream-key"

	usageObject = `{"prompt_tokens":230,"completion_tokens":100,"total_tokens":330,` +
		`"prompt_tokens_details":{"cached_tokens":0,"audio_tokens":0},` +
		`"completion_tokens_details":{"reasoning_tokens":0,"audio_tokens":0,"accepted_prediction_tokens":0,"rejected_prediction_tokens":0}}`

	chunkStart = `data: {"id":"chatcmpl-CGbench0000000000000000000000","object":"chat.completion.chunk","created":1763800000,` +
		`"model":"gpt-4o-2024-08-06","service_tier":"default","system_fingerprint":"fp_bench00000",`
)

// A request is what a client sends: the bytes of one HTTP/1.1 request.
func request(host, token string, size int, stream bool) []byte {
	return requestTo("/v1/chat/completions", "", host, token, size, stream)
}

// anthropicRequest is the same of a client that speaks Anthropic's format.
func anthropicRequest(host, token string, size int, stream bool) []byte {
	return requestTo("/v1/messages", `,"max_tokens":1000`, host, token, size, stream)
}

func requestTo(path, more, host, token string, size int, stream bool) []byte {
	const frame = `{"model":"` + specialistID + `","messages":[{"role":"user","content":"%s"}]%s}`
	if stream {
		more += `,"stream":true`
	}
	text := strings.Repeat("What moved the quarter's margin, and why? ", size/40+1)
	text = text[:max(0, size-len(frame)-len(more)+4)]
	body := fmt.Sprintf(frame, text, more)
	return fmt.Appendf(nil, "POST %s HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\n"+
		"Content-Type: application/json\r\nAccept: application/json\r\nUser-Agent: tollgate-bench\r\nContent-Length: %d\r\n\r\n%s",
		path, host, token, len(body), body)
}

// An answer is what the mock provider sends, ready for the wire: a first write, then one write per pause.
type answer struct {
	pause  time.Duration // between writes
	plain  [][]byte      // for a caller that did not ask for usage
	usage  [][]byte      // for one that did: a stream then has one more event
	expect expectation   // what a client of either gateway must receive
}

// expectation is checked on every answer. A stream is not compared by length, because the provider adds `"usage":null` to each
// event when usage is asked for, and a gateway passes that on.
type expectation struct {
	length int    // of the body; 0 = any
	lines  int    // line feeds in the body: two per event
	ending string // the body's last bytes
}

// plainAnswer is one JSON document of about 1 KB.
func plainAnswer() *answer {
	body := `{"id":"chatcmpl-CGbench0000000000000000000000","object":"chat.completion","created":1763800000,"model":"gpt-4o-2024-08-06",` +
		`"choices":[{"index":0,"message":{"role":"assistant","content":"` + strings.Repeat("Freight fell, prices held. ", 18) +
		`","refusal":null,"annotations":[]},"logprobs":null,"finish_reason":"stop"}],"usage":` + usageObject +
		`,"service_tier":"default","system_fingerprint":"fp_bench00000"}`
	head := "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nOpenai-Processing-Ms: 400\r\nX-Request-Id: req_bench\r\nContent-Length: " +
		strconv.Itoa(len(body)) + "\r\n\r\n"
	writes := [][]byte{[]byte(head + body)}
	return &answer{plain: writes, usage: writes, expect: expectation{length: len(body), ending: body[len(body)-16:]}}
}

// streamAnswer is a stream of n chat events of some 270 bytes and the closing [DONE]. Each event is an HTTP chunk of its own, as
// providers send them. Without a pause everything leaves in one write; with one, each event in its own.
func streamAnswer(n int, pause time.Duration) *answer {
	return &answer{
		pause: pause, plain: streamWrites(n, pause, false), usage: streamWrites(n, pause, true),
		expect: expectation{lines: 2 * (n + 1), ending: "data: [DONE]\n\n"},
	}
}

// anthropicExpectation is what a client of Anthropic's format must receive for a
// streamAnswer of n events: each in its three lines, the frame of message and
// block around them.
func anthropicExpectation(n int) expectation {
	const frame = 5 // message_start, content_block_start and _stop, message_delta, message_stop
	return expectation{lines: 3 * (n - 2 + frame), ending: "data: {\"type\":\"message_stop\"}\n\n"}
}

func streamWrites(n int, pause time.Duration, usage bool) [][]byte {
	writes := [][]byte{[]byte("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nOpenai-Processing-Ms: 400\r\n" +
		"X-Request-Id: req_bench\r\nTransfer-Encoding: chunked\r\n\r\n")}
	tail := "}\n\n"
	if usage {
		tail = `,"usage":null}` + "\n\n"
	}
	for i := range n {
		choice := `"choices":[{"index":0,"delta":{"content":" word"},"logprobs":null,"finish_reason":null}]`
		switch i {
		case 0:
			choice = `"choices":[{"index":0,"delta":{"role":"assistant","content":"","refusal":null},"logprobs":null,"finish_reason":null}]`
		case n - 1:
			choice = `"choices":[{"index":0,"delta":{},"logprobs":null,"finish_reason":"stop"}]`
		}
		writes = append(writes, httpChunk(chunkStart+choice+tail))
	}
	end := httpChunk("data: [DONE]\n\n")
	if usage {
		end = append(httpChunk(chunkStart+`"choices":[],"usage":`+usageObject+"}\n\n"), end...)
	}
	writes = append(writes, append(end, "0\r\n\r\n"...))
	if pause == 0 {
		return [][]byte{bytes.Join(writes, nil)}
	}
	return writes
}

func httpChunk(event string) []byte { return fmt.Appendf(nil, "%x\r\n%s\r\n", len(event), event) }
