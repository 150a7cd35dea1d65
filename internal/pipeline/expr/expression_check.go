package expr

import (
	"fmt"
	"slices"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/overloads"
	"cel.dev/cel-go/common/types"
)

// issueError tells the first of what CEL finds wrong with an expression.
func issueError(issues *cel.Issues) error {
	all := issues.Errors()
	if len(all) == 0 {
		return &Error{Message: "the expression cannot be read"}
	}
	message := strings.ReplaceAll(all[0].Message, "mismatched input '<EOF>'", "it ends too early")
	if strings.HasPrefix(message, "Syntax error:") {
		message, _, _ = strings.Cut(message, " expecting {") // any of twenty things
	}
	e := &Error{Message: Truncate(message, 300)}
	if at := all[0].Location; at != nil && at.Line() > 0 {
		e.Line, e.Column = at.Line(), at.Column()+1
	}
	return e
}

// walker refuses references to what is not there, before CEL checks the types.
type walker struct {
	env     *cel.Env
	ast     *ast.AST
	names   Names
	unknown Errors // names that are not there, of steps and functions
}

func (w *walker) at(e ast.Expr, format string, args ...any) *Error {
	told := &Error{Message: fmt.Sprintf(format, args...)}
	told.Line, told.Column = startOf(w.ast, e)
	return told
}

// miss notes a name that is not there; the rest is looked at all the same.
func (w *walker) miss(e ast.Expr, format string, args ...any) error {
	w.unknown = append(w.unknown, w.at(e, format, args...))
	if len(w.unknown) == maxErrors {
		return w.unknown
	}
	return nil
}

// startOf is where an expression begins, as far as CEL knows; of a.b.c it has the
// last dot.
func startOf(tree *ast.AST, e ast.Expr) (line, column int) {
	for e.Kind() == ast.SelectKind {
		e = e.AsSelect().Operand()
	}
	at := tree.SourceInfo().GetStartLocation(e.ID())
	if at.Line() < 1 {
		return 0, 0
	}
	return at.Line(), at.Column() + 1
}

// walk visits an expression in which there are local variables.
func (w *walker) walk(e ast.Expr, locals []string) error {
	switch e.Kind() {
	case ast.LiteralKind, ast.UnspecifiedExprKind:
	case ast.IdentKind, ast.SelectKind:
		if path := chain(e); path != nil && !slices.Contains(locals, path[0]) {
			return w.reference(e, path)
		}
		if e.Kind() == ast.SelectKind {
			return w.walk(e.AsSelect().Operand(), locals)
		}
	case ast.CallKind:
		return w.call(e, locals)
	case ast.ListKind:
		return w.walkAll(e.AsList().Elements(), locals)
	case ast.MapKind:
		for _, entry := range e.AsMap().Entries() {
			if err := w.walkAll([]ast.Expr{entry.AsMapEntry().Key(), entry.AsMapEntry().Value()}, locals); err != nil {
				return err
			}
		}
	case ast.ComprehensionKind:
		return w.comprehension(e, locals)
	case ast.StructKind:
		return w.at(e, "there are no types such as `%s` to make values of", e.AsStruct().TypeName())
	}
	return nil
}

func (w *walker) walkAll(all []ast.Expr, locals []string) error {
	for _, e := range all {
		if err := w.walk(e, locals); err != nil {
			return err
		}
	}
	return nil
}

// chain gives the names of a.b.c; nil of anything else.
func chain(e ast.Expr) []string {
	if e.Kind() == ast.IdentKind {
		return []string{strings.TrimPrefix(e.AsIdent(), ".")}
	}
	if e.Kind() == ast.SelectKind {
		if operand := chain(e.AsSelect().Operand()); operand != nil {
			return append(operand, e.AsSelect().FieldName())
		}
	}
	return nil
}

// typeNames are values, too.
var typeNames = []string{"bool", "double", "int", "list", "map", "null_type", "string", "type"}

func (w *walker) reference(e ast.Expr, path []string) error {
	if strings.HasPrefix(path[0], "@") || len(path) == 1 && slices.Contains(typeNames, path[0]) {
		return nil
	}
	if e.Kind() == ast.SelectKind && e.AsSelect().IsTestOnly() && path[0] == "steps" && len(path) <= 3 {
		return w.at(e, "`has` asks for a field of an object; a step that is depended on is always there")
	}
	if message := w.names.check(path, ""); message != "" {
		return w.miss(e, "%s", message)
	}
	return nil
}

func (w *walker) call(e ast.Expr, locals []string) error {
	call := e.AsCall()
	args := call.Args()
	function := call.FunctionName()
	if call.IsMemberFunction() {
		path := chain(call.Target())
		namespaced := len(path) == 1 && slices.Contains(namespaces, path[0]) && !slices.Contains(locals, path[0])
		if namespaced {
			function = path[0] + "." + function
		} else if err := w.walk(call.Target(), locals); err != nil {
			return err
		}
	}
	if !w.env.HasFunction(function) {
		if err := w.miss(e, "there is no function `%s`%s", function, DidYouMean(function, expressionFunctionNames)); err != nil {
			return err
		}
	}
	if function == overloads.Matches {
		if err := w.pattern(e, args); err != nil {
			return err
		}
	}
	if function == operators.Index {
		if path := chain(args[0]); slices.Equal(path, []string{"steps"}) && !slices.Contains(locals, "steps") {
			return w.indexedStep(e, args[1])
		}
	}
	return w.walkAll(args, locals)
}

// pattern checks what is last of a call of `matches`.
func (w *walker) pattern(e ast.Expr, args []ast.Expr) error {
	if len(args) == 0 {
		return nil // CEL says more of that
	}
	last := args[len(args)-1]
	if last.Kind() == ast.LiteralKind {
		if text, ok := last.AsLiteral().(types.String); ok {
			if _, wrong := newMatcher(string(text)); wrong != nil {
				return w.at(last, "%s", wrong.Message)
			}
			return nil
		}
	}
	return w.at(e, "%s", errNotWritten.Message)
}

// indexedStep checks steps["NAME"].
func (w *walker) indexedStep(e, key ast.Expr) error {
	if key.Kind() == ast.LiteralKind {
		if name, ok := key.AsLiteral().(types.String); ok {
			return w.reference(e, []string{"steps", string(name)})
		}
	}
	return w.at(e, "a step is to be named, as `steps.NAME` or `steps[\"NAME\"]`")
}

func (w *walker) comprehension(e ast.Expr, locals []string) error {
	c := e.AsComprehension()
	if slices.Contains([]string{"query", "steps", "item", "index", "response"}, c.IterVar()) {
		return w.at(e, "`%s` cannot be the name of a macro's variable", c.IterVar())
	}
	if err := w.walkAll([]ast.Expr{c.IterRange(), c.AccuInit()}, locals); err != nil {
		return err
	}
	inside := append(slices.Clone(locals), c.IterVar(), c.AccuVar())
	return w.walkAll([]ast.Expr{c.LoopCondition(), c.LoopStep(), c.Result()}, inside)
}

// describe says where a node stands, and gives the names of a.b.c where that is
// what it is; they are the expression's own.
func (e *Expression) describe(id int64) (line, column int, what string) {
	ast.PostOrderVisit(e.ast.Expr(), ast.NewExprVisitor(func(x ast.Expr) {
		if x.ID() != id {
			return
		}
		line, column = startOf(e.ast, x)
		if path := chain(x); path != nil && !strings.HasPrefix(path[0], "@") {
			what = strings.Join(path, ".")
		}
	}))
	return line, column, what
}

// reasons that CEL gives begin with these; what is said instead holds no values.
var evalReasons = []struct{ theirs, ours string }{
	{"no such key", "there is no such field; ask with `has` first"},
	{"no such overload", "that cannot be done with values of these kinds"},
	{"got '", "only lists and objects can be gone through"},
	{"index out of bounds", "the list has no such item"},
	{"invalid index", "the list has no such item"},
	{"no such index", "the list has no such item"},
	{"unsupported index", "an item of a list is asked for by a whole number"},
	{"division by zero", "a whole number is divided by zero"},
	{"modulus by zero", "a whole number is divided by zero"},
	{"integer overflow", "a whole number is larger than 64 bits"},
	{"range error", "a number is larger than its type can hold"},
}

func evalReason(err error) string {
	text := err.Error()
	for _, r := range evalReasons {
		if strings.HasPrefix(text, r.theirs) {
			return r.ours
		}
	}
	return "the expression cannot be evaluated with these values"
}
