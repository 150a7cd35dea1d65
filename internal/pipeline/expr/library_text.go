package expr

import (
	"bytes"
	"encoding/json"
	"strings"
	"unicode/utf8"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
)

func textFunction(f func(string) string) func([]ref.Val) ref.Val {
	return func(args []ref.Val) ref.Val {
		text, wrong := argument[types.String](args, 0)
		if wrong != nil {
			return wrong
		}
		return types.String(f(string(text)))
	}
}

func truncateValue(args []ref.Val) ref.Val {
	text, wrong := argument[types.String](args, 0)
	if wrong != nil {
		return wrong
	}
	n, wrong := argument[types.Int](args, 1)
	if wrong != nil {
		return wrong
	}
	return types.String(Truncate(string(text), int(max(0, min(n, maxWeight)))))
}

func substring(args []ref.Val) ref.Val {
	text, wrong := argument[types.String](args, 0)
	if wrong != nil {
		return wrong
	}
	from, wrong := argument[types.Int](args, 1)
	if wrong != nil {
		return wrong
	}
	to := types.Int(len(text))
	if len(args) > 2 {
		if to, wrong = argument[types.Int](args, 2); wrong != nil {
			return wrong
		}
	}
	begin, ok := offset(string(text), from)
	if len(args) == 2 && ok {
		return text[begin:]
	}
	end, alsoOK := offset(string(text), to)
	if !ok || !alsoOK || end < begin {
		return types.WrapErr(errNoPlace)
	}
	return text[begin:end]
}

var errNoPlace = &Error{Message: "the text has no such place"}

// offset is where in a text the nth character begins, or the text ends.
func offset(text string, n types.Int) (int, bool) {
	count := types.Int(0)
	for i := range text {
		if count == n {
			return i, true
		}
		count++
	}
	return len(text), count == n
}

func indexOf(args []ref.Val) ref.Val {
	text, wrong := argument[types.String](args, 0)
	if wrong != nil {
		return wrong
	}
	part, wrong := argument[types.String](args, 1)
	if wrong != nil {
		return wrong
	}
	at := strings.Index(string(text), string(part))
	if at < 0 {
		return types.Int(-1)
	}
	return types.Int(utf8.RuneCountInString(string(text[:at])))
}

func replaceValue(args []ref.Val) ref.Val {
	var all [3]string
	for i := range all {
		text, wrong := argument[types.String](args, i)
		if wrong != nil {
			return wrong
		}
		all[i] = string(text)
	}
	replaced, err := replaceBounded(all[0], all[1], all[2])
	if err != nil {
		return types.WrapErr(err)
	}
	return types.String(replaced)
}

func splitValue(args []ref.Val) ref.Val {
	text, wrong := argument[types.String](args, 0)
	if wrong != nil {
		return wrong
	}
	separator, wrong := argument[types.String](args, 1)
	if wrong != nil {
		return wrong
	}
	parts, err := splitText(string(text), string(separator))
	if err != nil {
		return types.WrapErr(err)
	}
	return fromGo(parts)
}

func joinValue(args []ref.Val) ref.Val {
	l, wrong := argumentList(args, 0)
	if wrong != nil {
		return wrong
	}
	separator := types.String("")
	if len(args) > 1 {
		if separator, wrong = argument[types.String](args, 1); wrong != nil {
			return wrong
		}
	}
	var joined strings.Builder
	for i, e := range l.elems {
		text, ok := e.(types.String)
		if !ok {
			return types.WrapErr(errWrongKind)
		}
		if joined.Len()+len(text)+len(separator) > MaxText {
			return types.WrapErr(errTooLong)
		}
		if i > 0 {
			joined.WriteString(string(separator))
		}
		joined.WriteString(string(text))
	}
	return types.String(joined.String())
}

func jsonValue(args []ref.Val) ref.Val {
	left := MaxText
	v, err := toGo(args[0], &left)
	if err != nil {
		return types.WrapErr(err)
	}
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(v); err != nil {
		return types.WrapErr(errNotJSON)
	}
	return types.String(bytes.TrimSuffix(text.Bytes(), []byte("\n")))
}
