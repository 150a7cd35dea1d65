package expr

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"unicode/utf8"
)

// The bounds of functions.
const (
	maxItems  = 100_000 // of a list that a function makes
	maxIndent = 100
)

// templateFunction is a function of templates.
type templateFunction struct {
	use, text   string
	least, most int // arguments; most 0: any number
	do          func(r *run, args []any) (any, error)
}

// templateFunctions are all there are. What a function works on is its last
// argument, so that it can be piped in.
var templateFunctions = map[string]templateFunction{
	"truncate": {"truncate N TEXT", "The first N characters of a text, and an ellipsis (…) where that leaves something out.", 2, 2, truncate},
	"json":     {"json VALUE", "The value as JSON, on one line.", 1, 1, func(r *run, a []any) (any, error) { return r.encode(a[0], "") }},
	"pretty":   {"pretty VALUE", "The value as JSON, over several lines.", 1, 1, func(r *run, a []any) (any, error) { return r.encode(a[0], "  ") }},
	"indent":   {"indent N TEXT", "The text with N spaces, 100 at most, in front of each line.", 2, 2, indent},
	"join":     {"join SEPARATOR LIST", "The items, as texts, with the separator between them.", 2, 2, join},
	"split":    {"split SEPARATOR TEXT", "The list of the parts between separators.", 2, 2, split},
	"lines":    {"lines TEXT", "The list of the lines.", 1, 1, func(_ *run, a []any) (any, error) { return splitText(a[0], "\n") }},
	"first":    {"first N LIST", "The list's first N items.", 2, 2, first},
	"trim":     {"trim TEXT", "The text without white space around it.", 1, 1, onText(strings.TrimSpace)},
	"upper":    {"upper TEXT", "The text in capitals.", 1, 1, onText(strings.ToUpper)},
	"lower":    {"lower TEXT", "The text in small letters.", 1, 1, onText(strings.ToLower)},
	"replace":  {"replace OLD NEW TEXT", "The text with NEW in place of each OLD.", 3, 3, replace},
	"contains": {"contains PART TEXT", "Whether the text has that part, or the list such an item.", 2, 2, contains},
	"default":  {"default OTHER VALUE", "The value; OTHER in place of null and of an empty text, list or object.", 2, 2, orDefault},
	"get":      {"get KEY OBJECT", "The object's field; null if there is none, where `.KEY` fails.", 2, 2, get},
	"index":    {"index VALUE KEY …", "The field of an object, or the item of a list, counted from 0; further keys go deeper.", 2, 0, index},
	"len":      {"len VALUE", "How many characters a text has, items a list, or fields an object.", 1, 1, length},
	"eq":       {"eq A B …", "Whether A is equal to B, or to one of several.", 2, 0, equalToAny},
	"ne":       {"ne A B", "Whether A is not equal to B.", 2, 2, notEqual},
	"lt":       {"lt A B", "Whether A is less than B; both are numbers, or texts.", 2, 2, ordered(func(c int) bool { return c < 0 })},
	"le":       {"le A B", "Whether A is less than B or equal.", 2, 2, ordered(func(c int) bool { return c <= 0 })},
	"gt":       {"gt A B", "Whether A is greater than B.", 2, 2, ordered(func(c int) bool { return c > 0 })},
	"ge":       {"ge A B", "Whether A is greater than B or equal.", 2, 2, ordered(func(c int) bool { return c >= 0 })},
	"and":      {"and A B …", "The first that is empty, zero, false or null; else the last.", 1, 0, nil},
	"or":       {"or A B …", "The first that is not empty, zero, false or null; else the last.", 1, 0, nil},
	"not":      {"not A", "Whether A is empty, zero, false or null.", 1, 1, nil},
}

var templateFunctionNames = slices.Sorted(maps.Keys(templateFunctions))

func wrong(format string, args ...any) error { return &Error{Message: fmt.Sprintf(format, args...)} }

func asText(v any) (string, error) {
	text, ok := v.(string)
	if !ok {
		return "", wrong("%s where a text is needed", kind(v))
	}
	return text, nil
}

func asList(v any) ([]any, error) {
	switch list := v.(type) {
	case []any:
		return list, nil
	case nil:
		return nil, nil
	}
	return nil, wrong("%s where a list is needed", kind(v))
}

// asNumber is a number of JSON, or one that is written in a template.
func asNumber(v any) (float64, bool) {
	switch n := v.(type) {
	case float64:
		return n, true
	case int:
		return float64(n), true
	}
	return 0, false
}

// asCount is a whole number from 0.
func asCount(v any) (int, error) {
	n, ok := asNumber(v)
	if !ok || n != math.Trunc(n) || n < 0 || n > math.MaxInt32 {
		return 0, wrong("%s where a whole number from 0 is needed", kind(v))
	}
	return int(n), nil
}

// kind names what a value is.
func kind(v any) string {
	switch v.(type) {
	case nil:
		return "null"
	case string:
		return "a text"
	case bool:
		return "true or false"
	case float64, int:
		return "a number"
	case []any:
		return "a list"
	case map[string]any:
		return "an object"
	}
	return "something unknown"
}

func onText(f func(string) string) func(*run, []any) (any, error) {
	return func(_ *run, args []any) (any, error) {
		text, err := asText(args[0])
		if err != nil {
			return nil, err
		}
		return f(text), nil
	}
}

func truncate(_ *run, args []any) (any, error) {
	n, err := asCount(args[0])
	if err != nil {
		return nil, err
	}
	text, err := asText(args[1])
	if err != nil {
		return nil, err
	}
	return Truncate(text, n), nil
}

// Truncate is a text's first n characters, with an ellipsis where that leaves
// something out.
func Truncate(text string, n int) string {
	count := 0
	for i := range text {
		if count == n {
			return text[:i] + "…"
		}
		count++
	}
	return text
}

func indent(_ *run, args []any) (any, error) {
	n, err := asCount(args[0])
	if err != nil {
		return nil, err
	}
	text, err := asText(args[1])
	switch {
	case err != nil:
		return nil, err
	case n > maxIndent:
		return nil, wrong("the text is indented by %d at most", maxIndent)
	case len(text)+n*(1+strings.Count(text, "\n")) > MaxText:
		return nil, errTooLong
	}
	spaces := strings.Repeat(" ", n)
	return spaces + strings.ReplaceAll(text, "\n", "\n"+spaces), nil
}

func join(r *run, args []any) (any, error) {
	separator, err := asText(args[0])
	if err != nil {
		return nil, err
	}
	list, err := asList(args[1])
	if err != nil {
		return nil, err
	}
	var joined strings.Builder
	for i, item := range list {
		text, err := r.text(item)
		if err != nil {
			return nil, err
		}
		if i > 0 {
			text = separator + text
		}
		if joined.Len()+len(text) > MaxText {
			return nil, errTooLong
		}
		joined.WriteString(text)
	}
	return joined.String(), nil
}

func split(_ *run, args []any) (any, error) {
	separator, err := asText(args[0])
	if err != nil {
		return nil, err
	}
	return splitText(args[1], separator)
}

func splitText(v any, separator string) (any, error) {
	text, err := asText(v)
	if err != nil {
		return nil, err
	}
	if strings.Count(text, separator) >= maxItems {
		return nil, wrong("the text has more than %d parts", maxItems)
	}
	parts := strings.Split(text, separator)
	list := make([]any, len(parts))
	for i, part := range parts {
		list[i] = part
	}
	return list, nil
}

func first(_ *run, args []any) (any, error) {
	n, err := asCount(args[0])
	if err != nil {
		return nil, err
	}
	list, err := asList(args[1])
	if err != nil {
		return nil, err
	}
	return list[:min(n, len(list))], nil
}

func replace(_ *run, args []any) (any, error) {
	var texts [3]string
	for i := range texts {
		text, err := asText(args[i])
		if err != nil {
			return nil, err
		}
		texts[i] = text
	}
	return replaceBounded(texts[2], texts[0], texts[1])
}

// replaceBounded replaces, unless the text would become too long.
func replaceBounded(text, before, after string) (string, error) {
	if more := len(after) - len(before); more > 0 && len(text)+more*strings.Count(text, before) > MaxText {
		return "", errTooLong
	}
	return strings.ReplaceAll(text, before, after), nil
}

func contains(_ *run, args []any) (any, error) {
	if list, ok := args[1].([]any); ok {
		for _, item := range list {
			if same, err := equal(args[0], item); err == nil && same {
				return true, nil
			}
		}
		return false, nil
	}
	part, err := asText(args[0])
	if err != nil {
		return nil, err
	}
	text, err := asText(args[1])
	if err != nil {
		return nil, err
	}
	return strings.Contains(text, part), nil
}

func orDefault(_ *run, args []any) (any, error) {
	switch v := args[1].(type) {
	case nil:
		return args[0], nil
	case string:
		if v == "" {
			return args[0], nil
		}
	case []any:
		if len(v) == 0 {
			return args[0], nil
		}
	case map[string]any:
		if len(v) == 0 {
			return args[0], nil
		}
	}
	return args[1], nil
}

func get(_ *run, args []any) (any, error) {
	key, err := asText(args[0])
	if err != nil {
		return nil, err
	}
	switch object := args[1].(type) {
	case map[string]any:
		return object[key], nil
	case nil:
		return nil, nil //nolint:nilnil // null is a value
	}
	return nil, wrong("%s where an object is needed", kind(args[1]))
}

func index(_ *run, args []any) (any, error) {
	v := args[0]
	for _, key := range args[1:] {
		switch container := v.(type) {
		case []any:
			i, err := asCount(key)
			if err != nil {
				return nil, err
			}
			if i >= len(container) {
				return nil, wrong("the list is shorter than that")
			}
			v = container[i]
		case map[string]any:
			name, err := asText(key)
			if err != nil {
				return nil, err
			}
			field, ok := container[name]
			if !ok {
				return nil, wrong("there is no such field; `get` gives null then")
			}
			v = field
		default:
			return nil, wrong("%s where a list or an object is needed", kind(v))
		}
	}
	return v, nil
}

func length(_ *run, args []any) (any, error) {
	switch v := args[0].(type) {
	case string:
		return utf8.RuneCountInString(v), nil
	case []any:
		return len(v), nil
	case map[string]any:
		return len(v), nil
	case nil:
		return 0, nil
	}
	return nil, wrong("%s has no length", kind(args[0]))
}

// equal compares what is no list and no object. Values of different kinds are
// not equal.
func equal(a, b any) (bool, error) {
	for _, v := range []any{a, b} {
		switch v.(type) {
		case []any, map[string]any:
			return false, wrong("lists and objects cannot be compared")
		}
	}
	if x, ok := asNumber(a); ok {
		y, ok := asNumber(b)
		return ok && x == y, nil
	}
	return a == b, nil
}

func equalToAny(_ *run, args []any) (any, error) {
	for _, other := range args[1:] {
		if same, err := equal(args[0], other); err != nil || same {
			return same, err
		}
	}
	return false, nil
}

func notEqual(_ *run, args []any) (any, error) {
	same, err := equal(args[0], args[1])
	return !same, err
}

func ordered(holds func(int) bool) func(*run, []any) (any, error) {
	return func(_ *run, args []any) (any, error) {
		if a, ok := asNumber(args[0]); ok {
			if b, ok := asNumber(args[1]); ok {
				return holds(cmp.Compare(a, b)), nil
			}
		}
		a, isText := args[0].(string)
		b, alsoText := args[1].(string)
		if !isText || !alsoText {
			return nil, wrong("%s and %s cannot be put in an order", kind(args[0]), kind(args[1]))
		}
		return holds(cmp.Compare(a, b)), nil
	}
}
