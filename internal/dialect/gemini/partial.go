package gemini

import (
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/financecommander/tollgate/internal/jsonedit"
	"github.com/financecommander/tollgate/internal/llm"
)

// Vertex AI can stream a call's arguments: a functionCall with willContinue,
// then some whose partialArgs name a place in the arguments by its JSON path and
// what comes there, and at last one without willContinue.
// Source: https://cloud.google.com/vertex-ai/generative-ai/docs/model-reference/function-calling.

type partialArg struct {
	JSONPath    string         `json:"jsonPath,case:ignore"`
	StringValue *string        `json:"stringValue,case:ignore"`
	NumberValue jsontext.Value `json:"numberValue,case:ignore"`
	BoolValue   *bool          `json:"boolValue,case:ignore"`
	NullValue   jsontext.Value `json:"nullValue,case:ignore"`
}

// readPartial takes the members of a streamed call out of f.Extra.
func readPartial(f *functionCall) (pieces []partialArg, more bool) {
	if len(f.Extra) == 0 {
		return nil, false
	}
	args, rest := take(f.Extra, "partialArgs")
	carryOn, rest := take(rest, "willContinue")
	f.Extra = rest
	if args != nil {
		_ = json.Unmarshal(args, &pieces, writing)
		if pieces == nil {
			pieces = []partialArg{}
		}
	}
	return pieces, string(carryOn) == "true"
}

// partialCall is a call whose arguments are on their way.
type partialCall struct {
	common llm.Common
	call   *functionCall
	root   node
}

// node is a value of the arguments.
type node struct {
	names    []string // an object's, in their order; an array's are its indices
	children []*node
	isArray  bool
	text     []byte // of a string
	isString bool
	literal  string // any other value
}

func newPartialCall(common llm.Common, f *functionCall) *partialCall {
	return &partialCall{common: common, call: f}
}

func (p *partialCall) add(f *functionCall, pieces []partialArg) {
	s := jsonedit.NewScanner(f.Args)
	if len(f.Args) > 0 {
		for name := range s.Members {
			p.root.child(string(name)).literal = string(s.Skip())
		}
	}
	for i := range pieces {
		p.root.set(&pieces[i])
	}
}

// maxPath bounds how deep a path goes.
const maxPath = 64

// set puts a piece where its path says. Strings come in pieces, to be joined.
func (n *node) set(a *partialArg) {
	for i, step := range splitPath(a.JSONPath) {
		if i == maxPath {
			return
		}
		n.isArray = step.index
		n = n.child(step.name)
	}
	switch {
	case a.StringValue != nil:
		n.isString = true
		n.text = append(n.text, *a.StringValue...)
	case a.BoolValue != nil:
		n.literal = strconv.FormatBool(*a.BoolValue)
	case len(a.NumberValue) > 0 && a.NumberValue.Kind() == '0':
		n.literal = string(a.NumberValue)
	case a.NullValue != nil:
		n.literal = null
	}
}

func (n *node) child(name string) *node {
	for i := range n.names {
		if n.names[i] == name {
			return n.children[i]
		}
	}
	c := &node{}
	n.names, n.children = append(n.names, name), append(n.children, c)
	return c
}

type step struct {
	name  string
	index bool
}

// splitPath reads a path such as $.items[0].name or $['a name'].
func splitPath(path string) []step {
	var steps []step
	path = strings.TrimPrefix(path, "$")
	for path != "" {
		switch path[0] {
		case '.':
			name := path[1:]
			if end := strings.IndexAny(name, ".["); end >= 0 {
				name = name[:end]
			}
			path = path[1+len(name):]
			steps = append(steps, step{name: name})
		case '[':
			inner, rest, _ := strings.Cut(path[1:], "]")
			path = rest
			name := strings.Trim(inner, `'"`)
			steps = append(steps, step{name: name, index: name == inner})
		default:
			return steps
		}
	}
	return steps
}

func (p *partialCall) arguments() string {
	if len(p.root.names) == 0 {
		return "{}"
	}
	return string(p.root.append(nil))
}

func (n *node) append(dst []byte) []byte {
	switch {
	case len(n.names) > 0:
		open, end := byte('{'), byte('}')
		if n.isArray {
			open, end = '[', ']'
		}
		dst = append(dst, open)
		for i, c := range n.children {
			if i > 0 {
				dst = append(dst, ',')
			}
			if !n.isArray {
				dst = append(jsonedit.AppendQuote(dst, n.names[i]), ':')
			}
			dst = c.append(dst)
		}
		return append(dst, end)
	case n.isString:
		return jsonedit.AppendQuote(dst, n.text)
	case n.literal != "":
		return append(dst, n.literal...)
	}
	return append(dst, null...)
}
