package openairesponses

import (
	"strconv"

	"github.com/financecommander/tollgate/internal/dialect"
	"github.com/financecommander/tollgate/internal/dialect/wire"
	"github.com/financecommander/tollgate/internal/jsonedit"
)

// call is one request body and what was found in it.
type call struct {
	jsonedit.Object

	model        string
	stream       bool
	instructions string
	maxTokens    int64
	limited      bool // the client set maxTokens
	temperature  bool // the client set one
}

// Read implements [dialect.Codec].
func (Codec) Read(body []byte) (dialect.Call, error) {
	k := &call{}
	if err := k.read(body); err != nil {
		return nil, wire.RequestError(err)
	}
	return k, nil
}

func (k *call) read(body []byte) (err error) {
	if k.Object, err = jsonedit.ReadObject(body); err != nil {
		return err
	}
	if k.model, err = k.Text("model"); err != nil {
		return err
	}
	if k.model == "" {
		return wire.Missing("model")
	}
	if k.stream, err = k.Bool("stream"); err != nil {
		return err
	}
	if k.instructions, err = k.Text("instructions"); err != nil {
		return err
	}
	if k.temperature, err = k.Number("temperature"); err != nil {
		return err
	}
	if k.maxTokens, k.limited, err = k.Int("max_output_tokens"); err != nil {
		return err
	}
	return k.readInput()
}

// readInput looks for input, or for what can stand in its place.
func (k *call) readInput() error {
	input := k.Value("input")
	switch {
	case input != nil && input[0] != '"' && input[0] != '[':
		return &jsonedit.TypeError{Name: "input", Want: "a string or an array"}
	case input == nil && k.Value("prompt") == nil && k.Value("previous_response_id") == nil && k.Value("conversation") == nil:
		return wire.Missing("input")
	}
	return nil
}

// Model implements [dialect.Call].
func (k *call) Model() string { return k.model }

// Stream implements [dialect.Call].
func (k *call) Stream() bool { return k.stream }

// UsageWanted implements [dialect.Call]. The format always tells usage, within
// an event that is sent anyway.
func (k *call) UsageWanted() bool { return true }

// MaxTokens implements [dialect.Call].
func (k *call) MaxTokens() int64 { return max(k.maxTokens, 0) }

// Patch implements [dialect.Call]. The system prompt goes before the client's
// instructions; usage need not be asked for, and the limit has one name only.
func (k *call) Patch(edits dialect.Edits) ([]byte, error) {
	e := k.Edit()
	if edits.Model != "" && edits.Model != k.model {
		e.SetText("model", edits.Model)
	}
	if prompt := edits.SystemPrompt; prompt != "" {
		if k.instructions != "" {
			prompt += "\n\n" + k.instructions
		}
		e.SetText("instructions", prompt)
	}
	if edits.Temperature != nil && !k.temperature {
		e.Set("temperature", strconv.FormatFloat(*edits.Temperature, 'f', -1, 64))
	}
	if limit := edits.MaxTokens; limit > 0 && (!k.limited || k.maxTokens < 0 || k.maxTokens > limit) {
		e.Set("max_output_tokens", strconv.FormatInt(limit, 10))
	}
	return e.BytesIn(edits.Into), nil
}

// AppendText implements [dialect.Call].
func (k *call) AppendText(dst []byte, limit int) []byte {
	t := wire.NewTextCollector(dst, limit)
	t.Text(k.Value("instructions"))
	t.Messages(k.Value("input"))
	t.Raw(k.Value("tools"))
	t.Raw(k.Value("text"))
	return t.Bytes()
}
