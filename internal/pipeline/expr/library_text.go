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
	characters := []rune(string(text))
	to := types.Int(len(characters))
	if len(args) > 2 {
		if to, wrong = argument[types.Int](args, 2); wrong != nil {
			return wrong
		}
	}
	if from < 0 || to < from || int(to) > len(characters) {
		return types.WrapErr(&Error{Message: "the text has no such place"})
	}
	return types.String(string(characters[from:to]))
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
			return types.WrapErr(wrongKind)
		}
		if joined.Len()+len(text)+len(separator) > MaxText {
			return types.WrapErr(tooLong)
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
		return types.WrapErr(notJSON)
	}
	return types.String(bytes.TrimSuffix(text.Bytes(), []byte("\n")))
}
