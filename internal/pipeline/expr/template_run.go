package expr

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"text/template"
	"text/template/parse"
)

// What an execution may do, in units of a nanosecond or two: a quarter of a second
// of work on one core, and no more memory than a hundred times [MaxText].
const (
	budget      = 128 << 20
	costCall    = 256 // of a function
	costByte    = 4   // of what a function takes and gives
	costItem    = 64  // of a list that is made or gone through
	costPerBody = 16  // of each byte of the source that is repeated for an item
)

// The functions that are put into a template's tree, which no template can name.
const (
	internal   = "_"
	printValue = internal + "print"
	eachOf     = internal + "each"
)

// run is one execution.
type run struct {
	ctx    context.Context //nolint:containedctx // functions of templates are given none
	left   int
	escape bool // of what is put out
	out    bytes.Buffer
}

// charge takes from what an execution may do, and ends it with the context.
func (r *run) charge(cost int) error {
	if err := r.ctx.Err(); err != nil {
		return err
	}
	if r.left -= cost; r.left < 0 {
		return &Error{Message: "the template does too much work"}
	}
	return nil
}

// Write takes in what the template puts out.
func (r *run) Write(p []byte) (int, error) {
	if r.out.Len()+len(p) > MaxText {
		return 0, &Error{Message: fmt.Sprintf("the text is longer than %d bytes; shorten what goes into it with `truncate`", MaxText)}
	}
	if err := r.charge(costCall + len(p)); err != nil {
		return 0, err
	}
	return r.out.Write(p)
}

// funcs are the functions, bound to the execution.
func (r *run) funcs() template.FuncMap {
	funcs := template.FuncMap{
		printValue: r.print,
		eachOf:     r.each,
	}
	for name, f := range templateFunctions {
		if f.do == nil {
			continue // text/template's own
		}
		funcs[name] = func(args ...any) (any, error) {
			if err := r.charge(costCall + costByte*sizes(args)); err != nil {
				return nil, err
			}
			v, err := f.do(r, args)
			if err != nil {
				return nil, err
			}
			return v, r.charge(costByte * sizes([]any{v}))
		}
	}
	return funcs
}

// sizes is about how many bytes a function looks at.
func sizes(args []any) int {
	total := 0
	for _, arg := range args {
		switch v := arg.(type) {
		case string:
			total += len(v)
		case []any:
			total += len(v) * costItem / costByte
		}
	}
	return total
}

// each lets a list or an object be gone through, and takes what it costs to do so.
func (r *run) each(body int, v any) (any, error) {
	var count int
	switch v := v.(type) {
	case nil:
		return nil, nil //nolint:nilnil // null is an empty list to range
	case []any:
		count = len(v)
	case map[string]any:
		count = len(v)
	default:
		return nil, &Error{Message: "`range` goes over a list or an object only"}
	}
	if body = costItem + costPerBody*body; count > budget/body {
		return nil, &Error{Message: "the list is too long for what is done with each item"}
	}
	return v, r.charge(count * body)
}

// print is a value as it goes into the text.
func (r *run) print(v any) (string, error) {
	text, err := r.text(v)
	if err != nil || !r.escape {
		return text, err
	}
	if len(text) > MaxText {
		return "", errTooLong
	}
	return strings.ReplaceAll(url.QueryEscape(text), "+", "%20"), r.charge(costByte * len(text))
}

// text is a value as it is put out: texts as they are, all else as JSON.
func (r *run) text(v any) (string, error) {
	switch v := v.(type) {
	case string:
		return v, nil
	case int: // len, the index of range, or written in the template
		return strconv.Itoa(v), nil
	}
	return r.encode(v, "")
}

func (r *run) encode(v any, indent string) (string, error) {
	limited := &limitedBuffer{}
	encoder := json.NewEncoder(limited)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", indent)
	if err := encoder.Encode(v); err != nil {
		if limited.full {
			return "", errTooLong
		}
		return "", &Error{Message: "the value cannot be said in JSON"}
	}
	text := string(bytes.TrimSuffix(limited.Bytes(), []byte("\n")))
	return text, r.charge(costByte * len(text))
}

var errTooLong = &Error{Message: fmt.Sprintf("the text would be longer than %d bytes", MaxText)}

// limitedBuffer takes no more than [MaxText].
type limitedBuffer struct {
	bytes.Buffer
	full bool
}

func (l *limitedBuffer) Write(p []byte) (int, error) {
	if l.Len()+len(p) > MaxText+1 {
		l.full = true
		return 0, errTooLong
	}
	return l.Buffer.Write(p)
}

// instrument puts [printValue] behind what is put out, for numbers and lists to
// look as in JSON, and [eachOf] behind what is ranged over. Both count.
func instrument(t *parse.Tree, l *parse.ListNode) {
	if l == nil {
		return
	}
	for _, n := range l.Nodes {
		switch n := n.(type) {
		case *parse.ActionNode:
			if len(n.Pipe.Decl) == 0 {
				appendCall(t, n.Pipe, printValue)
			}
		case *parse.RangeNode:
			appendCall(t, n.Pipe, eachOf, numberNode(len(n.List.String())))
			instrumentBranch(t, &n.BranchNode)
		case *parse.IfNode:
			instrumentBranch(t, &n.BranchNode)
		case *parse.WithNode:
			instrumentBranch(t, &n.BranchNode)
		}
	}
}

func instrumentBranch(t *parse.Tree, b *parse.BranchNode) {
	instrument(t, b.List)
	instrument(t, b.ElseList)
}

func appendCall(t *parse.Tree, p *parse.PipeNode, function string, args ...parse.Node) {
	identifier := parse.NewIdentifier(function).SetTree(t).SetPos(p.Pos)
	command := &parse.CommandNode{NodeType: parse.NodeCommand, Pos: p.Pos, Args: append([]parse.Node{identifier}, args...)}
	p.Cmds = append(p.Cmds, command)
}

func numberNode(n int) *parse.NumberNode {
	return &parse.NumberNode{NodeType: parse.NodeNumber, IsInt: true, Int64: int64(n), Text: strconv.Itoa(n)}
}
