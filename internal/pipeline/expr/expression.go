package expr

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"unicode/utf8"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
	"cel.dev/cel-go/interpreter"
)

// The bounds of expressions.
const (
	// MaxExpression is how long an expression may be, in bytes.
	MaxExpression  = 16 << 10
	maxNodes       = 4000
	maxNesting     = 64
	interruptEvery = 64 // rounds of a loop
)

// Expression gives values. It is safe for concurrent use.
type Expression struct {
	program cel.Program
	ast     *ast.AST
}

// environment is what all expressions share.
var environment = sync.OnceValues(func() (*cel.Env, error) {
	registry, err := types.NewRegistry()
	if err != nil {
		return nil, err
	}
	options := append(library(),
		cel.CustomTypeProvider(provider{registry}),
		cel.CustomTypeAdapter(registry),
		cel.CrossTypeNumericComparisons(true),
		cel.ParserExpressionSizeLimit(MaxExpression),
		cel.ParserRecursionLimit(maxNesting),
		cel.ExpressionNestingDepthLimit(4*maxNesting),
		cel.ExpressionNodeLimit(maxNodes),
		cel.Variable("query", cel.StringType),
		cel.Variable("steps", cel.MapType(cel.StringType, stepType)),
		cel.Variable("item", cel.DynType),
		cel.Variable("index", cel.IntType),
		cel.Variable("response", cel.MapType(cel.StringType, cel.DynType)),
	)
	return cel.NewCustomEnv(options...)
})

// ParseExpression reads an expression; the error is an *Error, or [Errors].
func ParseExpression(text string, want Type, names Names) (*Expression, error) {
	env, err := environment()
	if err != nil {
		return nil, &Error{Message: "expressions are not to be had: " + err.Error()}
	}
	switch {
	case len(text) > MaxExpression:
		return nil, &Error{Message: fmt.Sprintf("the expression is longer than %d bytes", MaxExpression)}
	case !utf8.ValidString(text):
		return nil, &Error{Message: "the expression is not UTF-8"}
	}
	parsed, issues := env.Parse(text)
	if issues.Err() != nil {
		return nil, issueError(issues)
	}
	w := walker{env: env, ast: parsed.NativeRep(), names: names}
	if err := w.walk(w.ast.Expr(), nil); err != nil {
		return nil, err
	}
	if len(w.unknown) > 0 {
		return nil, w.unknown.err()
	}
	checked, issues := env.Check(parsed)
	if issues.Err() != nil {
		return nil, issueError(issues)
	}
	if err := fits(checked.OutputType(), want); err != nil {
		return nil, err
	}
	program, err := env.Program(checked,
		cel.InterruptCheckFrequency(interruptEvery),
		cel.CustomDecoratorV2(newPlanner(checked.NativeRep().Expr()).decorate),
	)
	if err != nil {
		if ours, ok := errors.AsType[*Error](err); ok {
			return nil, ours
		}
		return nil, &Error{Message: "the expression cannot be made ready"}
	}
	return &Expression{program: program, ast: checked.NativeRep()}, nil
}

// jsonKinds are the types of what JSON can say, and of empty lists' items.
var jsonKinds = []types.Kind{
	types.BoolKind, types.DoubleKind, types.IntKind, types.StringKind, types.NullTypeKind, types.ListKind, types.MapKind, types.TypeParamKind,
}

// fits says whether an expression can give what is wanted of it.
func fits(t *cel.Type, want Type) error {
	if t.Kind() == types.DynKind {
		return nil
	}
	wanted, ok := "", false
	switch want {
	case Bool:
		wanted, ok = "true or false", t.Kind() == types.BoolKind
	case List:
		wanted, ok = "a list", t.Kind() == types.ListKind
	case Value:
		wanted, ok = "something that JSON can say", slices.Contains(jsonKinds, t.Kind())
	}
	if !ok {
		return &Error{Message: fmt.Sprintf("it is to give %s, but gives %s", wanted, t)}
	}
	return nil
}

// Bool evaluates a condition.
func (e *Expression) Bool(ctx context.Context, s *Scope) (bool, error) {
	v, err := e.evaluate(ctx, s)
	if err != nil {
		return false, err
	}
	b, ok := v.(types.Bool)
	if !ok {
		return false, &Error{Message: "the condition gave neither true nor false"}
	}
	return bool(b), nil
}

// List evaluates a list; its items are as encoding/json decodes them.
func (e *Expression) List(ctx context.Context, s *Scope) ([]any, error) {
	v, err := e.evaluate(ctx, s)
	if err != nil {
		return nil, err
	}
	l, ok := v.(traits.Lister)
	if !ok {
		return nil, &Error{Message: "the expression gave no list"}
	}
	left := MaxText
	return listToGo(l, &left)
}

// Value evaluates anything; the value is as encoding/json decodes it. Whole
// numbers of more than 53 bits, which not all readers of JSON keep, are errors.
func (e *Expression) Value(ctx context.Context, s *Scope) (any, error) {
	v, err := e.evaluate(ctx, s)
	if err != nil {
		return nil, err
	}
	left := MaxText
	return toGo(v, &left)
}

func (e *Expression) evaluate(ctx context.Context, s *Scope) (ref.Val, error) {
	v, _, err := e.program.ContextEval(ctx, &activation{scope: s, left: maxSteps, made: map[string]ref.Val{}})
	if err != nil {
		return nil, e.evalError(ctx, err)
	}
	return v, nil
}

// activation is a scope as expressions see it; each variable is made once, when
// it is first asked for.
type activation struct {
	scope *Scope
	left  int // steps
	made  map[string]ref.Val
}

// Parent implements [cel.Activation].
func (*activation) Parent() cel.Activation { return nil }

// ResolveName implements [cel.Activation].
func (a *activation) ResolveName(name string) (any, bool) {
	if name == workLeft {
		return &a.left, true
	}
	if v, ok := a.made[name]; ok {
		return v, true
	}
	var v ref.Val
	switch name {
	case "query":
		v = types.String(a.scope.Query)
	case "index":
		v = types.Int(a.scope.Index)
	case "item":
		v = fromGo(a.scope.Item)
	case "steps":
		v = stepsValue(a.scope.Steps)
	case "response":
		v = fromGo(a.scope.Response)
	default:
		return nil, false
	}
	a.made[name] = v
	return v, true
}

// evalError says what went wrong. Errors of CEL may hold values, so none of their
// text is kept.
func (e *Expression) evalError(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if cancelled, ok := errors.AsType[interpreter.EvalCancelledError](err); ok && cancelled.Cause == interpreter.CostLimitExceeded {
		return errTooMuchWork
	}
	told := Error{Message: evalReason(err)}
	if ours, ok := errors.AsType[*Error](err); ok {
		told.Message = ours.Message
	}
	at, ok := errors.AsType[*types.Err](err)
	if !ok || at.NodeID() == 0 {
		return &told
	}
	var what string
	if told.Line, told.Column, what = e.describe(at.NodeID()); what != "" {
		told.Message = "`" + what + "`: " + told.Message
	}
	return &told
}
