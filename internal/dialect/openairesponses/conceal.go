package openairesponses

import (
	"bytes"

	"github.com/financecommander/tollgate/internal/dialect"
	"github.com/financecommander/tollgate/internal/jsonedit"
)

var _ dialect.Concealer = Responses

// Conceal implements [dialect.Concealer]: providers repeat a call's instructions
// in their answers, those of a specialist among them. data is a response object,
// or an event that holds one.
func (Codec) Conceal(data []byte, c dialect.Call) []byte {
	k, ok := c.(*call)
	if !ok || !bytes.Contains(data, []byte(`"instructions"`)) {
		return data
	}
	own := "null"
	if k.instructions != "" {
		own = string(jsonedit.AppendQuote(nil, k.instructions))
	}
	whole, err := jsonedit.ReadObject(data)
	if err != nil {
		return data
	}
	if response, ok, err := whole.Object("response"); err == nil && ok {
		if response.Value("instructions") == nil {
			return data
		}
		inner := response.Edit()
		inner.Set("instructions", own)
		outer := whole.Edit()
		outer.Set("response", string(inner.Bytes()))
		return outer.Bytes()
	}
	if whole.Value("instructions") == nil {
		return data
	}
	edit := whole.Edit()
	edit.Set("instructions", own)
	return edit.Bytes()
}
