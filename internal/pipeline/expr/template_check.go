package expr

import (
	"fmt"
	"slices"
	"strings"
	"text/template/parse"
	"unicode/utf8"
)

// maxDepth is how deep blocks and parentheses of a template may be nested; each
// `else if` counts as one.
const maxDepth = 100

// checker walks a template and refuses whatever is not known to be harmless.
type checker struct {
	text    string
	names   Names
	depth   int
	unknown Errors // names that are not there, of steps and functions
}

// place is where in a template something stands.
type place struct {
	root bool // the dot is the root of the data, that is, not in range or with
}

// at is an error with a node's place.
func (c *checker) at(n parse.Node, format string, args ...any) *Error {
	before := c.text[:min(c.start(n), len(c.text))]
	line := 1 + strings.Count(before, "\n")
	column := 1 + utf8.RuneCountInString(before[strings.LastIndexByte(before, '\n')+1:])
	return &Error{Line: line, Column: column, Message: fmt.Sprintf(format, args...)}
}

// miss notes a name that is not there; the rest is looked at all the same.
func (c *checker) miss(n parse.Node, format string, args ...any) error {
	c.unknown = append(c.unknown, c.at(n, format, args...))
	if len(c.unknown) == maxErrors {
		return c.unknown
	}
	return nil
}

// start is where a node begins: the parser gives a chain of fields the place of
// its second.
func (c *checker) start(n parse.Node) int {
	position := int(n.Position())
	var first string
	switch n := n.(type) {
	case *parse.FieldNode:
		first = "." + n.Ident[0]
	case *parse.VariableNode:
		first = n.Ident[0]
	default:
		return position
	}
	if before := position - len(first); before >= 0 && strings.HasPrefix(c.text[before:], n.String()) {
		return before
	}
	return position
}

// deeper counts nesting.
func (c *checker) deeper(n parse.Node) (func(), *Error) {
	if c.depth++; c.depth > maxDepth {
		return func() { c.depth-- }, c.at(n, "it is nested more than %d deep", maxDepth)
	}
	return func() { c.depth-- }, nil
}

func (c *checker) list(l *parse.ListNode, here place) error {
	if l == nil {
		return nil
	}
	for _, n := range l.Nodes {
		if err := c.node(n, here); err != nil {
			return err
		}
	}
	return nil
}

func (c *checker) node(n parse.Node, here place) error {
	switch n := n.(type) {
	case *parse.TextNode, *parse.CommentNode, *parse.BreakNode, *parse.ContinueNode:
		return nil
	case *parse.ActionNode:
		return c.pipe(n.Pipe, here)
	case *parse.IfNode:
		return c.branch(&n.BranchNode, here, here)
	case *parse.WithNode:
		return c.branch(&n.BranchNode, here, place{})
	case *parse.RangeNode:
		return c.branch(&n.BranchNode, here, place{})
	case *parse.TemplateNode:
		return c.at(n, "`template` is not to be had")
	}
	return c.at(n, "this is not to be had in a template")
}

func (c *checker) branch(b *parse.BranchNode, outside, inside place) error {
	shallower, tooDeep := c.deeper(b)
	defer shallower()
	if tooDeep != nil {
		return tooDeep
	}
	if err := c.pipe(b.Pipe, outside); err != nil {
		return err
	}
	if number, ok := only(b.Pipe).(*parse.NumberNode); ok && b.NodeType == parse.NodeRange {
		return c.at(number, "`range` goes over a list or an object, not over a number")
	}
	if err := c.list(b.List, inside); err != nil {
		return err
	}
	return c.list(b.ElseList, outside)
}

// only is what a pipe consists of, if that is one operand.
func only(p *parse.PipeNode) parse.Node {
	if len(p.Cmds) != 1 || len(p.Cmds[0].Args) != 1 {
		return nil
	}
	if inner, ok := p.Cmds[0].Args[0].(*parse.PipeNode); ok {
		return only(inner)
	}
	return p.Cmds[0].Args[0]
}

func (c *checker) pipe(p *parse.PipeNode, here place) error {
	shallower, tooDeep := c.deeper(p)
	defer shallower()
	if tooDeep != nil {
		return tooDeep
	}
	for _, v := range p.Decl {
		if v.Ident[0] == "$" {
			return c.at(v, "`$` cannot be given another value")
		}
	}
	for i, command := range p.Cmds {
		if err := c.command(command, i > 0, here); err != nil {
			return err
		}
	}
	return nil
}

// command checks a call of a function, or a lone value.
func (c *checker) command(command *parse.CommandNode, piped bool, here place) error {
	first := command.Args[0]
	identifier, isCall := first.(*parse.IdentifierNode)
	if !isCall {
		if piped || len(command.Args) > 1 {
			return c.at(first, "`%s` is no function", first)
		}
		return c.value(first, here)
	}
	given := len(command.Args) - 1
	if piped {
		given++
	}
	if err := c.call(identifier, given); err != nil {
		return err
	}
	args := command.Args[1:]
	if identifier.Ident == "index" && len(args) > 1 && isSteps(args[0]) {
		if err := c.indexedStep(args); err != nil {
			return err
		}
		args = args[2:]
	}
	for _, arg := range args {
		if err := c.value(arg, here); err != nil {
			return err
		}
	}
	return nil
}

func (c *checker) call(identifier *parse.IdentifierNode, given int) error {
	f, ok := templateFunctions[identifier.Ident]
	switch {
	case !ok:
		return c.miss(identifier, "there is no function `%s`%s", identifier.Ident, DidYouMean(identifier.Ident, templateFunctionNames))
	case given < f.least || f.most > 0 && given > f.most:
		return c.at(identifier, "`%s` is used as `%s`", identifier.Ident, f.use)
	}
	return nil
}

// isSteps tells whether an argument is `.steps` or `$.steps`.
func isSteps(n parse.Node) bool {
	switch n := n.(type) {
	case *parse.FieldNode:
		return slices.Equal(n.Ident, []string{"steps"})
	case *parse.VariableNode:
		return slices.Equal(n.Ident, []string{"$", "steps"})
	}
	return false
}

// indexedStep checks `index .steps "NAME" …`.
func (c *checker) indexedStep(args []parse.Node) error {
	path := []string{"steps"}
	for _, arg := range args[1:] {
		text, ok := arg.(*parse.StringNode)
		if !ok {
			break
		}
		path = append(path, text.Text)
	}
	if len(path) == 1 {
		return c.at(args[1], "a step is to be named by a text, as in `index .steps \"NAME\"`")
	}
	return c.path(args[1], path)
}

func (c *checker) value(n parse.Node, here place) error {
	switch n := n.(type) {
	case *parse.DotNode:
		if here.root {
			return c.at(n, "`.` alone is not to be had here; name what is meant, as `.query`")
		}
		return nil
	case *parse.FieldNode:
		if !here.root {
			return nil
		}
		return c.path(n, n.Ident)
	case *parse.VariableNode:
		if n.Ident[0] != "$" {
			return nil
		}
		if len(n.Ident) == 1 {
			return c.at(n, "`$` alone is not to be had; name what is meant, as `$.query`")
		}
		return c.path(n, n.Ident[1:])
	case *parse.ChainNode:
		return c.value(n.Node, here)
	case *parse.PipeNode:
		return c.pipe(n, here)
	case *parse.IdentifierNode:
		return c.call(n, 0)
	case *parse.NumberNode:
		if !n.IsInt && !n.IsFloat {
			return c.at(n, "`%s` is too large, or no number that JSON has", n)
		}
		return nil
	case *parse.StringNode, *parse.BoolNode, *parse.NilNode:
		return nil
	}
	return c.at(n, "this is not to be had in a template")
}

// path checks a reference that begins at the root.
func (c *checker) path(n parse.Node, path []string) error {
	if message := c.names.check(path, "."); message != "" {
		return c.miss(n, "%s", message)
	}
	return nil
}
