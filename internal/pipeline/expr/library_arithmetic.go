package expr

import (
	"math"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
)

// operation is an operator of arithmetic. CEL's own do not work on a whole number
// and one of JSON, which is a double: `item.score + 1` would fail.
type operation struct {
	name    string
	ints    func(a types.Int, b ref.Val) ref.Val
	doubles func(a types.Double, b ref.Val) ref.Val
}

var arithmetic = []operation{
	{operators.Add, types.Int.Add, types.Double.Add},
	{operators.Subtract, types.Int.Subtract, types.Double.Subtract},
	{operators.Multiply, types.Int.Multiply, types.Double.Multiply},
	{operators.Divide, types.Int.Divide, types.Double.Divide},
	{operators.Modulo, types.Int.Modulo, func(a types.Double, b ref.Val) ref.Val {
		return types.Double(math.Mod(float64(a), float64(b.(types.Double)))) //nolint:forcetypeassert // see do
	}},
}

func (o operation) declare() cel.EnvOption {
	whole, number := cel.IntType, cel.DoubleType
	signatures := []signature{
		global(whole, whole, whole), global(number, number, number), global(number, whole, number), global(number, number, whole),
	}
	if o.name == operators.Add {
		signatures = append(signatures, global(cel.StringType, cel.StringType, cel.StringType), global(listOf, listOf, listOf))
	}
	return declare(o.name, signatures)
}

func (o operation) do(a, b ref.Val) ref.Val {
	switch x := a.(type) {
	case types.Int:
		if y, ok := b.(types.Double); ok {
			return o.doubles(types.Double(x), y)
		}
		if _, ok := b.(types.Int); ok {
			return o.ints(x, b)
		}
	case types.Double:
		if y, ok := b.(types.Int); ok {
			b = types.Double(y)
		}
		if _, ok := b.(types.Double); ok {
			return o.doubles(x, b)
		}
	case types.String, traits.Lister:
		if o.name == operators.Add {
			return addTexts(x, b)
		}
	}
	return types.WrapErr(errWrongKind)
}

// addTexts joins two texts, or two lists.
func addTexts(a, b ref.Val) ref.Val {
	if x, ok := a.(types.String); ok {
		y, ok := b.(types.String)
		switch {
		case !ok:
			return types.WrapErr(errWrongKind)
		case len(x)+len(y) > maxWeight:
			return types.WrapErr(errTooLarge)
		}
		return x + y
	}
	x, ok := asLister(a)
	if !ok {
		return types.WrapErr(errTooLarge)
	}
	return x.Add(b)
}

// number gives a number's value.
func number(v ref.Val) (float64, bool) {
	switch n := v.(type) {
	case types.Int:
		return float64(n), true
	case types.Double:
		return float64(n), true
	}
	return 0, false
}

func onNumber(f func(float64) float64) func([]ref.Val) ref.Val {
	return func(args []ref.Val) ref.Val {
		n, ok := number(args[0])
		if !ok {
			return types.WrapErr(errWrongKind)
		}
		return types.Double(f(n))
	}
}

var (
	mathCeil  = onNumber(math.Ceil)
	mathFloor = onNumber(math.Floor)
)

func mathAbs(args []ref.Val) ref.Val {
	if n, ok := args[0].(types.Int); ok {
		if n < 0 {
			return n.Negate()
		}
		return n
	}
	return onNumber(math.Abs)(args)
}

func mathRound(args []ref.Val) ref.Val {
	if len(args) == 1 {
		return onNumber(math.Round)(args)
	}
	digits, wrong := argument[types.Int](args, 1)
	if wrong != nil {
		return wrong
	}
	scale := math.Pow10(int(max(-300, min(300, digits))))
	return onNumber(func(n float64) float64 {
		if scaled := n * scale; !math.IsInf(scaled, 0) {
			return math.Round(scaled) / scale
		}
		return n
	})(args)
}

func sum(args []ref.Val) ref.Val {
	l, wrong := argumentList(args, 0)
	if wrong != nil {
		return wrong
	}
	var total ref.Val = types.IntZero
	for _, e := range l.elems {
		if _, ok := number(e); !ok {
			return types.WrapErr(errWrongKind)
		}
		if total = arithmetic[0].do(total, e); types.IsError(total) {
			return total
		}
	}
	return total
}

func mathGreatest(args []ref.Val) ref.Val {
	return extreme(args, func(n, best float64) bool { return n > best })
}

func mathLeast(args []ref.Val) ref.Val {
	return extreme(args, func(n, best float64) bool { return n < best })
}

func extreme(args []ref.Val, better func(n, best float64) bool) ref.Val {
	l, wrong := argumentList(args, 0)
	if wrong != nil {
		return wrong
	}
	if len(l.elems) == 0 {
		return types.WrapErr(&Error{Message: "the list is empty"})
	}
	best := l.elems[0]
	for _, e := range l.elems {
		n, ok := number(e)
		if !ok {
			return types.WrapErr(errWrongKind)
		}
		if m, _ := number(best); better(n, m) {
			best = e
		}
	}
	return best
}
