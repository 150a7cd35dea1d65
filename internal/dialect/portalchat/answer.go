package portalchat

import (
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/financecommander/tollgate/internal/llm"
	"github.com/financecommander/tollgate/pricing"
)

// Outcome is what the end of an answer says of the whole.
type Outcome struct {
	SpecialistID   string
	SpecialistName string
	Provider       string
	Model          string
	InputTokens    int64
	OutputTokens   int64
	Cost           pricing.Money
	Latency        time.Duration
	Err            *llm.Error // why the answer is not whole; nil: it is
}

// chunk is one event of a stream. Every field stands in every chunk, since the
// frontend prints what is missing as "undefined".
type chunk struct {
	Content      string         `json:"content"`
	IsFinal      bool           `json:"is_final"`
	InputTokens  int64          `json:"input_tokens"`
	OutputTokens int64          `json:"output_tokens"`
	Model        string         `json:"model"`
	LatencyMS    int64          `json:"latency_ms"`
	Cost         jsontext.Value `json:"cost_usd"`
	Estimated    jsontext.Value `json:"estimated_cost_usd"`
	Error        string         `json:"error,omitempty"`
}

var zeroCost = jsontext.Value("0")

// AppendChunk appends a stream's event with a piece of the answer's text.
func AppendChunk(dst []byte, text, model string) []byte {
	return appendEvent(dst, chunk{Content: text, Model: model, Cost: zeroCost, Estimated: zeroCost})
}

// AppendFinal appends the event that ends every stream, whatever happened.
func AppendFinal(dst []byte, o Outcome) []byte {
	cost := amount(o.Cost)
	c := chunk{
		IsFinal: true, InputTokens: o.InputTokens, OutputTokens: o.OutputTokens, Model: o.Model,
		LatencyMS: o.Latency.Round(time.Millisecond).Milliseconds(), Cost: cost, Estimated: cost,
	}
	if o.Err != nil {
		c.Error = message(o.Err)
		c.Content = "\n\n[The answer broke off: " + c.Error + "]"
	}
	return appendEvent(dst, c)
}

func appendEvent(dst []byte, c chunk) []byte {
	dst = append(dst, "event: message\ndata: "...)
	data, _ := json.Marshal(c, jsontext.AllowInvalidUTF8(true))
	dst = append(dst, data...)
	return append(dst, "\n\n"...)
}

// answer is the body of an unstreamed answer.
type answer struct {
	Content        string         `json:"content"`
	SpecialistID   string         `json:"specialist_id"`
	SpecialistName string         `json:"specialist_name"`
	Provider       string         `json:"provider"`
	Model          string         `json:"model"`
	InputTokens    int64          `json:"input_tokens"`
	OutputTokens   int64          `json:"output_tokens"`
	Cost           jsontext.Value `json:"cost_usd"`
	Estimated      jsontext.Value `json:"estimated_cost_usd"`
	LatencyMS      int64          `json:"latency_ms"`
}

// AppendAnswer appends the body of an unstreamed answer.
func AppendAnswer(dst []byte, text string, o Outcome) []byte {
	cost := amount(o.Cost)
	data, _ := json.Marshal(answer{
		Content: text, SpecialistID: o.SpecialistID, SpecialistName: o.SpecialistName,
		Provider: o.Provider, Model: o.Model, InputTokens: o.InputTokens, OutputTokens: o.OutputTokens,
		Cost: cost, Estimated: cost, LatencyMS: o.Latency.Round(time.Millisecond).Milliseconds(),
	}, jsontext.AllowInvalidUTF8(true))
	return append(dst, data...)
}

// amount is money as an exact JSON number in USD.
func amount(m pricing.Money) jsontext.Value {
	return jsontext.Value(m.String())
}
