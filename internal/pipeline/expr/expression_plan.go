package expr

import (
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/overloads"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
	"cel.dev/cel-go/interpreter"
)

// The work of an evaluation is counted in steps of about 100 ns. CEL can count,
// too, but takes time that grows with the square of a loop's length to do so, and
// counts what a function has done when it is too late.
const (
	maxSteps = 200_000
	perStep  = 128 // weight that is gone through in one step
	perBody  = 4   // parts of a loop's body that are evaluated in one step
)

// workLeft is where an [activation] has what is left of [maxSteps]; no expression
// can name it.
const workLeft = "@work"

// charge takes steps from what is left, and ends the evaluation as CEL does.
func charge(frame *interpreter.ExecutionFrame, steps int) {
	found, _ := frame.ResolveName(workLeft)
	left, ok := found.(*int)
	if !ok {
		return
	}
	if *left -= 1 + steps; *left < 0 {
		panic(interpreter.EvalCancelledError{Message: errTooMuchWork.Message, Cause: interpreter.CostLimitExceeded})
	}
}

var errTooMuchWork = &Error{Message: "the expression does too much work"}

// planner makes nodes of ours of those that CEL has planned.
type planner struct {
	// rounds are the conditions that are evaluated once in a loop's round, by their
	// ids, with the steps of a round.
	rounds map[int64]int
}

func newPlanner(e ast.Expr) *planner {
	p := &planner{rounds: map[int64]int{}}
	ast.PostOrderVisit(e, ast.NewExprVisitor(func(x ast.Expr) {
		if x.Kind() != ast.ComprehensionKind {
			return
		}
		parts := 0
		count := ast.NewExprVisitor(func(ast.Expr) { parts++ })
		ast.PostOrderVisit(x.AsComprehension().LoopStep(), count)
		p.rounds[x.AsComprehension().LoopCondition().ID()] = parts / perBody
	}))
	return p
}

func (p *planner) decorate(i interpreter.InterpretableV2) (interpreter.InterpretableV2, error) {
	if steps, ok := p.rounds[i.ID()]; ok {
		return round{i, steps}, nil
	}
	switch node := i.(type) {
	case interpreter.InterpretableConstructor:
		switch node.Type() {
		case types.ListType:
			return listLiteral{node}, nil
		case types.MapType:
			return objectLiteral{node}, nil
		}
	case interpreter.InterpretableCall:
		return newCall(node)
	}
	return i, nil
}

// round is the condition of a loop.
type round struct {
	interpreter.InterpretableV2
	steps int
}

// Exec implements [interpreter.InterpretableV2].
func (r round) Exec(frame *interpreter.ExecutionFrame) ref.Val {
	charge(frame, r.steps)
	return r.InterpretableV2.Exec(frame)
}

// Eval implements [interpreter.Interpretable].
func (r round) Eval(a interpreter.Activation) ref.Val { return r.Exec(interpreter.AsFrame(a)) }

// listLiteral makes a list of ours.
type listLiteral struct {
	interpreter.InterpretableConstructor
}

// Exec implements [interpreter.InterpretableV2].
func (l listLiteral) Exec(frame *interpreter.ExecutionFrame) ref.Val {
	elems, wrong := execAll(frame, l.InitVals())
	if wrong != nil {
		return wrong
	}
	charge(frame, len(elems))
	return types.LabelErrNode(l.ID(), newList(elems))
}

// Eval implements [interpreter.Interpretable].
func (l listLiteral) Eval(a interpreter.Activation) ref.Val { return l.Exec(interpreter.AsFrame(a)) }

func execAll(frame *interpreter.ExecutionFrame, all []interpreter.InterpretableV2) ([]ref.Val, ref.Val) {
	values := make([]ref.Val, len(all))
	for i, e := range all {
		if values[i] = e.Exec(frame); types.IsUnknownOrError(values[i]) {
			return nil, values[i]
		}
	}
	return values, nil
}

// objectLiteral makes an object of ours.
type objectLiteral struct {
	interpreter.InterpretableConstructor
}

// Exec implements [interpreter.InterpretableV2].
func (o objectLiteral) Exec(frame *interpreter.ExecutionFrame) ref.Val {
	values, wrong := execAll(frame, o.InitVals()) // keys and fields in turn
	if wrong != nil {
		return wrong
	}
	charge(frame, len(values))
	fields := make(map[string]ref.Val, len(values)/2)
	for i := 0; i+1 < len(values); i += 2 {
		key, ok := values[i].(types.String)
		if !ok {
			return types.LabelErrNode(o.ID(), types.WrapErr(&Error{Message: "the keys of an object are texts"}))
		}
		fields[string(key)] = values[i+1]
	}
	return types.LabelErrNode(o.ID(), newObject(fields))
}

// Eval implements [interpreter.Interpretable].
func (o objectLiteral) Eval(a interpreter.Activation) ref.Val {
	return o.Exec(interpreter.AsFrame(a))
}

// call is a call of a function or an operator, but for those that need not
// evaluate all their operands.
type call struct {
	interpreter.InterpretableCall
	do   func(args []ref.Val) ref.Val
	cost func(args []ref.Val) int
}

func newCall(planned interpreter.InterpretableCall) (interpreter.InterpretableV2, error) {
	function := planned.Function()
	switch function {
	case operators.NotStrictlyFalse:
		return planned, nil
	case overloads.Matches:
		m, err := plannedMatcher(planned)
		if err != nil {
			return nil, err
		}
		return call{planned, m.do, m.cost}, nil
	case operators.Add:
		return call{planned, functions[function], addCost}, nil
	case overloads.Size:
		return call{planned, functions[function], sizeCost}, nil
	}
	do, ok := functions[function]
	if !ok {
		return nil, &Error{Message: "there is no function `" + function + "`"}
	}
	if often, ok := often[function]; ok {
		return call{planned, do, func(args []ref.Val) int { return often * weightCost(args) }}, nil
	}
	return call{planned, do, weightCost}, nil
}

// plannedMatcher is for a pattern that the walker has seen to be written out.
func plannedMatcher(planned interpreter.InterpretableCall) (*matcher, error) {
	if constant, ok := planned.Args()[1].(interpreter.InterpretableConst); ok {
		if pattern, ok := constant.Value().(types.String); ok {
			m, wrong := newMatcher(string(pattern))
			if wrong != nil {
				return nil, wrong
			}
			return m, nil
		}
	}
	return nil, errNotWritten
}

var errNotWritten = &Error{Message: "the pattern of `matches` must be written out in the expression"}

// Exec implements [interpreter.InterpretableV2].
func (c call) Exec(frame *interpreter.ExecutionFrame) ref.Val {
	args, wrong := execAll(frame, c.Args())
	if wrong != nil {
		return wrong
	}
	charge(frame, c.cost(args))
	v := c.do(args)
	if c.Function() != operators.Add {
		charge(frame, weight(v)/perStep)
	}
	return types.LabelErrNode(c.ID(), v)
}

// Eval implements [interpreter.Interpretable].
func (c call) Eval(a interpreter.Activation) ref.Val { return c.Exec(interpreter.AsFrame(a)) }

// weightCost is for functions that go through all of their arguments.
func weightCost(args []ref.Val) int {
	total := 0
	for _, v := range args {
		total += weight(v) / perStep
	}
	return total
}

// often is about how many times more some functions have to do.
var often = map[string]int{sortByKeys: 16, "sort": 16, "split": 4, "json": 4, "distinct": 4, "replace": 4, "upper": 4, "lower": 4}

// sizeCost is less for lists and objects, which know theirs.
func sizeCost(args []ref.Val) int {
	if _, ok := args[0].(types.String); ok {
		return weightCost(args)
	}
	return 0
}

// addCost is less for lists that grow in place.
func addCost(args []ref.Val) int {
	switch a := args[0].(type) {
	case *list:
		total := 0
		if !a.growsInPlace() {
			total += len(a.elems)
		}
		if b, ok := args[1].(*list); ok {
			total += len(b.elems)
		}
		return total / 4
	case traits.Lister:
		return 0
	}
	return weightCost(args)
}
