package roundtrip_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf16"

	"github.com/go-json-experiment/json/jsontext"
)

// js is JSON text.
type js []byte

// obj makes an object of names and values. A value that is nil, or a nil pointer
// or js, leaves its member out.
func obj(pairs ...any) js {
	out := []byte{'{'}
	for i := 0; i < len(pairs); i += 2 {
		value := val(pairs[i+1])
		if value == nil {
			continue
		}
		if len(out) > 1 {
			out = append(out, ',')
		}
		out = append(out, quote(pairs[i].(string))...)
		out = append(append(out, ':'), value...)
	}
	return append(out, '}')
}

func arr(values []js) js {
	return append(append(js{'['}, bytes.Join(asBytes(values), []byte{','})...), ']')
}

func asBytes(values []js) [][]byte {
	all := make([][]byte, len(values))
	for i, v := range values {
		all[i] = v
	}
	return all
}

// orNil leaves a member out where nothing is to be said.
func orNil(text string) any {
	if text == "" {
		return nil
	}
	return text
}

func val(v any) js {
	switch v := v.(type) {
	case nil:
		return nil
	case js:
		return v
	case []js:
		if v == nil {
			return nil
		}
		return arr(v)
	case string:
		return quote(v)
	case bool:
		return js(strconv.FormatBool(v))
	case *bool:
		if v == nil {
			return nil
		}
		return js(strconv.FormatBool(*v))
	case int64:
		if v == 0 {
			return nil
		}
		return js(strconv.FormatInt(v, 10))
	case *int64:
		if v == nil {
			return nil
		}
		return js(strconv.FormatInt(*v, 10))
	case *float64:
		if v == nil {
			return nil
		}
		return js(strconv.FormatFloat(*v, 'g', -1, 64))
	case []string:
		if v == nil {
			return nil
		}
		all := make([]js, len(v))
		for i, s := range v {
			all[i] = quote(s)
		}
		return arr(all)
	case map[string]string:
		if v == nil {
			return nil
		}
		text, _ := json.Marshal(v)
		return text
	}
	panic(fmt.Sprintf("no JSON for %T", v))
}

// loneSurrogate stands in generated text for half of a surrogate pair, which
// clients in some languages do send. It arrives as U+FFFD.
const loneSurrogate = '\uE000'

// quote writes a string as clients do: some of its characters as they are, some
// escaped, by what stands in the text itself.
func quote(text string) js {
	out := js{'"'}
	ascii := len(text)%3 == 0 // as Python writes by default
	for _, r := range text {
		switch {
		case r == loneSurrogate:
			out = append(out, `\ud83d`...)
		case r == '"' || r == '\\':
			out = append(out, '\\', byte(r))
		case r == '\n':
			out = append(out, '\\', 'n')
		case r == '/' && ascii: // as PHP writes
			out = append(out, '\\', '/')
		case r < 0x20, r > 0x7e && r < 0x10000 && ascii:
			out = fmt.Appendf(out, `\u%04x`, r)
		case r >= 0x10000 && ascii:
			high, low := utf16.EncodeRune(r)
			out = fmt.Appendf(out, `\u%04x\u%04X`, high, low)
		default:
			out = append(out, string(r)...)
		}
	}
	return append(out, '"')
}

// received is generated text as a decoder has it.
func received(text string) string { return strings.ReplaceAll(text, string(loneSurrogate), "\uFFFD") }

// canonical gives JSON without white space between its tokens and with the
// fewest escapes, and what is no JSON as it is. Numbers stay as they are written.
func canonical(text string) string {
	v := jsontext.Value(text)
	if v.Format(jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true)) != nil {
		return text
	}
	return string(v)
}
