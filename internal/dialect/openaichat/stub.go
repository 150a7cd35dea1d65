package openaichat

// A first, plain implementation; the files beside this one replace it.

import (
	"bytes"
	"encoding/json"
	"net/http"

	"github.com/financecommander/tollgate/internal/dialect"
	"github.com/financecommander/tollgate/internal/llm"
	"github.com/financecommander/tollgate/internal/sse"
)

type call struct {
	body   []byte
	fields map[string]json.RawMessage
}

func (c Codec) Read(body []byte) (dialect.Call, error) {
	k := &call{body: body}
	if err := json.Unmarshal(body, &k.fields); err != nil {
		return nil, &llm.Error{Cause: llm.CauseInvalidRequest, Message: "the body is not a JSON object"}
	}
	if k.Model() == "" {
		return nil, &llm.Error{Cause: llm.CauseInvalidRequest, Message: "model is required", Param: "model"}
	}
	return k, nil
}

func (k *call) Model() (s string)    { json.Unmarshal(k.fields["model"], &s); return }
func (k *call) Stream() (b bool)     { json.Unmarshal(k.fields["stream"], &b); return }
func (k *call) UsageWanted() bool    { return bytes.Contains(k.fields["stream_options"], []byte("true")) }
func (k *call) MaxTokens() (n int64) { json.Unmarshal(k.fields["max_tokens"], &n); return }
func (k *call) AppendText(dst []byte, limit int) []byte {
	return append(dst, k.body[:min(limit, len(k.body))]...)
}

func (k *call) Patch(e dialect.Edits) ([]byte, error) {
	if e.Model != "" {
		k.fields["model"], _ = json.Marshal(e.Model)
	}
	if e.AskUsage && k.Stream() {
		k.fields["stream_options"] = json.RawMessage(`{"include_usage":true}`)
	}
	return json.Marshal(k.fields)
}

type meter struct{ r dialect.Reading }

func (c Codec) NewMeter() dialect.Meter { return &meter{} }

func (m *meter) Event(e sse.Event) dialect.Mark {
	if string(e.Data) == "[DONE]" {
		m.r.Complete = true
		return dialect.Mark{Terminal: true}
	}
	m.Body(e.Data)
	return dialect.Mark{Content: true}
}

func (m *meter) Body(b []byte) {
	var v struct {
		Model string
		Usage *struct{ Prompt_tokens, Completion_tokens int64 }
	}
	m.r.Complete = json.Unmarshal(b, &v) == nil
	m.r.Model = v.Model
	if v.Usage != nil {
		m.r.Reported = true
		m.r.Usage = llm.Usage{Input: v.Usage.Prompt_tokens, Output: v.Usage.Completion_tokens}
	}
}

func (m *meter) Reading() dialect.Reading { return m.r }

func (c Codec) Error(status int, header http.Header, body []byte) *llm.Error {
	return &llm.Error{Cause: llm.CauseOfStatus(status), Message: "the upstream provider refused the request"}
}

func (c Codec) WriteError(w http.ResponseWriter, err *llm.Error, requestID string) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Request-Id", requestID)
	w.WriteHeader(err.Status())
	json.NewEncoder(w).Encode(map[string]any{"error": map[string]any{"message": err.Message, "type": "error", "param": nil, "code": nil}})
}

func (c Codec) AppendErrorEvent(dst []byte, err *llm.Error, requestID string) []byte {
	b, _ := json.Marshal(map[string]any{"error": map[string]any{"message": err.Message}})
	return sse.AppendEvent(dst, "", b)
}

// EncodeRequest implements [dialect.RequestEncoder].
func (c ChatCodec) EncodeRequest(r *llm.Request) ([]byte, error) { return json.Marshal(r) }

// NewAnswerDecoder returns a decoder for one answer.
func (c ChatCodec) NewAnswerDecoder() dialect.AnswerDecoder { return &decoder{} }

type decoder struct{}

func (*decoder) Event(sse.Event) []llm.Event { return nil }
func (*decoder) Body([]byte) []llm.Event     { return nil }
func (*decoder) End() []llm.Event            { return nil }
