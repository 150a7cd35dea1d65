package execute

import (
	"bytes"
	"encoding/json"
	"strings"
	"unicode"
)

// product is what a step, or one item of it, puts out.
type product struct {
	text string
	json bool // the text is a JSON value; else it is a text, whatever it looks like
}

// part is the product as part of a JSON array.
func (p product) part() string {
	if p.json {
		return p.text
	}
	return compact(p.text)
}

// productOf makes a product of an expression's value.
func productOf(value any) product {
	if text, ok := value.(string); ok {
		return product{text: text}
	}
	return product{text: compact(value), json: true}
}

// compact writes a value, as encoding/json decodes it, without needless escapes.
func compact(value any) string {
	var b bytes.Buffer
	w := json.NewEncoder(&b)
	w.SetEscapeHTML(false)
	_ = w.Encode(value) // it came from JSON
	return strings.TrimSuffix(b.String(), "\n")
}

// decode gives the value of a text that is JSON; else nil.
func decode(text string) any {
	var value any
	if json.Unmarshal([]byte(text), &value) != nil {
		return nil
	}
	return value
}

// readJSON reads the JSON of a model's answer, which may stand in a code fence.
func readJSON(answer string) (p product, value any, ok bool) {
	for _, text := range []string{answer, unfence(answer)} {
		var b bytes.Buffer
		if json.Compact(&b, []byte(text)) == nil && json.Unmarshal(b.Bytes(), &value) == nil {
			return product{text: b.String(), json: true}, value, true
		}
	}
	return product{}, nil, false
}

// unfence gives what stands between the first code fence of a text and the last.
func unfence(text string) string {
	const fence = "```"
	_, inner, _ := strings.Cut(text, fence)
	inner = strings.TrimLeftFunc(inner, unicode.IsLetter) // the language
	if end := strings.LastIndex(inner, fence); end >= 0 {
		inner = inner[:end]
	}
	return inner
}
