package gemini_test

import (
	"bytes"
	"encoding/base64"
	"strings"
	"testing"

	"github.com/financecommander/tollgate/internal/dialect"
	"github.com/financecommander/tollgate/internal/dialect/gemini"
	"github.com/financecommander/tollgate/internal/jsonedit"
	"github.com/financecommander/tollgate/internal/llm"
	"github.com/financecommander/tollgate/internal/sse"
)

// delta is the ordinary chunk of a stream, as Google sends it.
var delta = sse.Event{Data: []byte(`{"candidates": [{"content": {"parts": [{"text": " referred to as the \"City of Light\" (*La Ville Lumière*), it is home"}],"role": "model"},"index": 0}],"usageMetadata": {"promptTokenCount": 8,"candidatesTokenCount": 68,"totalTokenCount": 104,"promptTokensDetails": [{"modality": "TEXT","tokenCount": 8}],"thoughtsTokenCount": 28,"serviceTier": "standard"},"modelVersion": "gemini-3-flash-preview","responseId": "J3dHapyWENS3g8UPyrefuAE"}`)}

func BenchmarkMeterDelta(b *testing.B) {
	m := gemini.Generate{}.NewMeter()
	b.ReportAllocs()
	for b.Loop() {
		m.Event(delta)
	}
}

func BenchmarkDecodeDelta(b *testing.B) {
	d := gemini.Generate{}.NewDecoder(dialect.UpstreamOptions{})
	n := 0
	b.ReportAllocs()
	for b.Loop() {
		if n++; n%10_000 == 0 { // no answer is longer
			d = gemini.Generate{}.NewDecoder(dialect.UpstreamOptions{})
		}
		d.Event(delta)
	}
}

func BenchmarkEncodeDelta(b *testing.B) {
	e := gemini.Generate{}.NewEncoder(answerOptions())
	dst := e.AppendEvent(nil, llm.Started{ID: "J3dHapyWENS3g8UPyrefuAE", Model: "gemini-3-flash-preview"})
	e.AppendEvent(nil, llm.PartStart{Begin: &llm.Text{}})
	var event llm.Event = llm.TextDelta{Text: ` referred to as the "City of Light" (*La Ville Lumière*), it is home`}
	n := 0
	b.ReportAllocs()
	for b.Loop() {
		if n++; n%10_000 == 0 {
			e = gemini.Generate{}.NewEncoder(answerOptions())
			e.AppendEvent(nil, llm.Started{ID: "J3dHapyWENS3g8UPyrefuAE", Model: "gemini-3-flash-preview"})
			e.AppendEvent(nil, llm.PartStart{Begin: &llm.Text{}})
		}
		dst = e.AppendEvent(dst[:0], event)
	}
}

// longText is a conversation of about 1 MiB, longImage one with an image of it.
func longText() []byte {
	body := []byte(`{"contents":[`)
	text := strings.Repeat("The quick brown fox jumps over the lazy dog.\nIt said: \"über\". ", 64)
	for i := 0; len(body) < 1<<20; i++ {
		if i > 0 {
			body = append(body, ',')
		}
		role := [2]string{"user", "model"}[i%2]
		body = append(body, `{"role":"`+role+`","parts":[{"text":`...)
		body = append(jsonedit.AppendQuote(body, text), `}]}`...)
	}
	return append(body, `],"systemInstruction":{"parts":[{"text":"Be brief."}]}}`...)
}

func longImage() []byte {
	data := base64.StdEncoding.EncodeToString(bytes.Repeat([]byte("0123456789abcdef"), 48<<10))
	return []byte(`{"contents":[{"role":"user","parts":[{"text":"What is it?"},{"inlineData":{"mimeType":"image/png","data":"` + data + `"}}]}]}`)
}

// longTools is an agent's conversation of about 1 MiB: calls and results.
func longTools() []byte {
	body := []byte(`{"contents":[{"role":"user","parts":[{"text":"Go."}]}`)
	for len(body) < 1<<20 {
		body = append(body, `,{"role":"model","parts":[{"functionCall":{"id":"c1","name":"read","args":{"path":"/a/b/c","from":1,"to":200}},"thoughtSignature":"`...)
		body = append(body, strings.Repeat("QUJD", 100)...)
		body = append(body, `"}]},{"role":"user","parts":[{"functionResponse":{"id":"c1","name":"read","response":{"output":`...)
		body = append(jsonedit.AppendQuote(body, strings.Repeat("func main() {\n\tfmt.Println(\"hello\")\n}\n", 100)), `}}}]}`...)
	}
	return append(body, `],"tools":[{"functionDeclarations":[{"name":"read","parametersJsonSchema":{"type":"object","properties":{"path":{"type":"string"}}}}]}]}`...)
}

var bodies = []struct {
	name string
	body func() []byte
}{{"conversation", longText}, {"image", longImage}, {"agent", longTools}}

// BenchmarkTranslateRequest is what a request of 1 MiB costs, read and written.
func BenchmarkTranslateRequest(b *testing.B) {
	g := gemini.Generate{Model: "gemini-3-flash"}
	for _, bb := range bodies {
		body := bb.body()
		b.Run(bb.name, func(b *testing.B) {
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			for b.Loop() {
				r, err := g.DecodeRequest(body, dialect.DecodeOptions{Seal: dialect.NoSeal{}})
				if err != nil {
					b.Fatal(err)
				}
				if _, err := g.EncodeRequest(r, encodeOptions()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkPatch(b *testing.B) {
	g := gemini.Generate{Model: "gemini-3-flash"}
	for _, bb := range bodies {
		body := bb.body()
		b.Run(bb.name, func(b *testing.B) {
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			into := make([]byte, 2*len(body))
			for b.Loop() {
				k, err := g.Read(body)
				if err != nil {
					b.Fatal(err)
				}
				if _, err := k.Patch(dialect.Edits{SystemPrompt: "Be kind.", MaxTokens: 100, Into: into}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
