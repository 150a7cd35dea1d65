package expr

import (
	"slices"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
	"cel.dev/cel-go/parser"
)

// argumentList is an argument that is a list.
func argumentList(args []ref.Val, i int) (*list, ref.Val) {
	l, ok := asLister(args[i])
	if !ok {
		return nil, types.WrapErr(errWrongKind)
	}
	return l, nil
}

func slice(args []ref.Val) ref.Val {
	l, wrong := argumentList(args, 0)
	if wrong != nil {
		return wrong
	}
	from, wrong := argument[types.Int](args, 1)
	if wrong != nil {
		return wrong
	}
	to, wrong := argument[types.Int](args, 2)
	if wrong != nil {
		return wrong
	}
	from = max(0, min(from, types.Int(len(l.elems))))
	to = max(from, min(to, types.Int(len(l.elems))))
	return newList(l.elems[from:to])
}

func reverse(args []ref.Val) ref.Val {
	l, wrong := argumentList(args, 0)
	if wrong != nil {
		return wrong
	}
	elems := slices.Clone(l.elems)
	slices.Reverse(elems)
	return newList(elems)
}

func flatten(args []ref.Val) ref.Val {
	l, wrong := argumentList(args, 0)
	if wrong != nil {
		return wrong
	}
	elems := []ref.Val{}
	for _, e := range l.elems {
		if inner, ok := e.(traits.Lister); ok {
			if l, ok := asLister(inner); ok {
				elems = append(elems, l.elems...)
			}
		} else {
			elems = append(elems, e)
		}
		if len(elems) > maxItems {
			return types.WrapErr(errTooMany)
		}
	}
	return newList(elems)
}

var errTooMany = &Error{Message: "a list has more than 100000 items"}

func distinct(args []ref.Val) ref.Val {
	l, wrong := argumentList(args, 0)
	if wrong != nil {
		return wrong
	}
	seen := make(map[any]struct{}, len(l.elems))
	elems := []ref.Val{}
	for _, e := range l.elems {
		var key any = e
		if n, ok := number(e); ok {
			key = n
		}
		switch e.(type) {
		case types.Double, types.Int, types.String, types.Bool, types.Null:
		default:
			return types.WrapErr(errWrongKind)
		}
		if _, ok := seen[key]; !ok {
			seen[key] = struct{}{}
			elems = append(elems, e)
		}
	}
	return newList(elems)
}

func sortValue(args []ref.Val) ref.Val { return sortBy([]ref.Val{args[0], args[0]}) }

// sortBy puts a list in the order of as many keys, which are all numbers or all
// texts.
func sortBy(args []ref.Val) ref.Val {
	l, wrong := argumentList(args, 0)
	if wrong != nil {
		return wrong
	}
	keys, wrong := argumentList(args, 1)
	if wrong != nil {
		return wrong
	}
	if len(keys.elems) != len(l.elems) || !canOrder(keys.elems) {
		return types.WrapErr(&Error{Message: "only numbers, or only texts, can be put in an order"})
	}
	order := make([]int, len(l.elems))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int {
		c, _ := keys.elems[a].(traits.Comparer).Compare(keys.elems[b]).(types.Int) //nolint:forcetypeassert // see canOrder
		return int(c)
	})
	elems := make([]ref.Val, len(order))
	for i, from := range order {
		elems[i] = l.elems[from]
	}
	return newList(elems)
}

// canOrder tells whether keys can be put in one: all are numbers, or all texts.
func canOrder(keys []ref.Val) bool {
	numbers, texts := 0, 0
	for _, k := range keys {
		if _, ok := number(k); ok {
			numbers++
		}
		if _, ok := k.(types.String); ok {
			texts++
		}
	}
	return numbers == len(keys) || texts == len(keys)
}

// expandSortBy makes of LIST.sortBy(x, KEY) a call of [sortByKeys] on the list and
// its LIST.map(x, KEY), with the list, which may be any expression, evaluated once.
func expandSortBy(f cel.MacroExprFactory, target ast.Expr, args []ast.Expr) (ast.Expr, *cel.Error) {
	const input = "@list"
	keys, err := parser.MakeMap(f, f.NewIdent(input), args)
	if err != nil {
		return nil, err
	}
	sorted := f.NewMemberCall(sortByKeys, f.NewIdent(input), keys)
	return f.NewComprehension(f.NewList(), "#unused", input, target, f.NewLiteral(types.False), f.NewIdent(input), sorted), nil
}

func listsRange(args []ref.Val) ref.Val {
	n, wrong := argument[types.Int](args, 0)
	switch {
	case wrong != nil:
		return wrong
	case n > maxItems:
		return types.WrapErr(errTooMany)
	}
	elems := make([]ref.Val, max(0, n))
	for i := range elems {
		elems[i] = types.Int(i)
	}
	return newList(elems)
}
