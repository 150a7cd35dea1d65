package expr

import (
	"regexp"
	"regexp/syntax"
	"strings"

	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/overloads"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
)

// functions are what is done for each function and operator: ours, and CEL's
// standard ones, of which CEL itself only checks the types.
var functions = func() map[string]func([]ref.Val) ref.Val {
	all := map[string]func([]ref.Val) ref.Val{
		operators.Equals:        func(a []ref.Val) ref.Val { return types.Equal(a[0], a[1]) },
		operators.NotEquals:     func(a []ref.Val) ref.Val { return types.Bool(types.Equal(a[0], a[1]) != types.True) },
		operators.Less:          compared(func(c types.Int) bool { return c < 0 }),
		operators.LessEquals:    compared(func(c types.Int) bool { return c <= 0 }),
		operators.Greater:       compared(func(c types.Int) bool { return c > 0 }),
		operators.GreaterEquals: compared(func(c types.Int) bool { return c >= 0 }),
		operators.In:            in,
		operators.LogicalNot:    not,
		operators.Negate:        negate,

		overloads.Size:       size,
		overloads.Contains:   textCondition(strings.Contains),
		overloads.StartsWith: textCondition(strings.HasPrefix),
		overloads.EndsWith:   textCondition(strings.HasSuffix),

		overloads.TypeConvertInt:    converted(types.IntType),
		overloads.TypeConvertDouble: converted(types.DoubleType),
		overloads.TypeConvertString: converted(types.StringType),
		overloads.TypeConvertBool:   converted(types.BoolType),
		overloads.TypeConvertType:   converted(types.TypeType),
		overloads.TypeConvertDyn:    func(a []ref.Val) ref.Val { return a[0] },

		sortByKeys: sortBy,
	}
	for name, f := range expressionFunctions {
		if f.do != nil {
			all[name] = f.do
		}
	}
	for _, o := range arithmetic {
		all[o.name] = func(a []ref.Val) ref.Val { return o.do(a[0], a[1]) }
	}
	return all
}()

func compared(holds func(types.Int) bool) func([]ref.Val) ref.Val {
	return func(args []ref.Val) ref.Val {
		comparer, wrong := argument[traits.Comparer](args, 0)
		if wrong != nil {
			return wrong
		}
		c, ok := comparer.Compare(args[1]).(types.Int)
		if !ok {
			return types.WrapErr(errWrongKind)
		}
		return types.Bool(holds(c))
	}
}

func in(args []ref.Val) ref.Val {
	container, wrong := argument[traits.Container](args, 1)
	if wrong != nil {
		return wrong
	}
	return container.Contains(args[0])
}

func not(args []ref.Val) ref.Val {
	b, wrong := argument[types.Bool](args, 0)
	if wrong != nil {
		return wrong
	}
	return !b
}

func negate(args []ref.Val) ref.Val {
	n, wrong := argument[traits.Negater](args, 0)
	if wrong != nil {
		return wrong
	}
	return n.Negate()
}

func size(args []ref.Val) ref.Val {
	sizer, wrong := argument[traits.Sizer](args, 0)
	if wrong != nil {
		return wrong
	}
	return sizer.Size()
}

func textCondition(holds func(text, part string) bool) func([]ref.Val) ref.Val {
	return func(args []ref.Val) ref.Val {
		text, wrong := argument[types.String](args, 0)
		if wrong != nil {
			return wrong
		}
		part, wrong := argument[types.String](args, 1)
		if wrong != nil {
			return wrong
		}
		return types.Bool(holds(string(text), string(part)))
	}
}

func converted(t ref.Type) func([]ref.Val) ref.Val {
	return func(args []ref.Val) ref.Val {
		v := args[0].ConvertToType(t)
		if types.IsError(v) {
			return types.WrapErr(&Error{Message: "the value cannot be made one of that type"})
		}
		return v
	}
}

// The bounds of regular expressions, whose work is their size times the text's.
const (
	maxProgram  = 1000
	maxMatching = 16 << 20
	perMatching = 16 // of it in one step
)

// matcher is `matches`, with its pattern compiled before.
type matcher struct {
	pattern *regexp.Regexp
	size    int // of the pattern's program
}

func newMatcher(pattern string) (*matcher, *Error) {
	parsed, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		return nil, &Error{Message: "the pattern of `matches` is no regular expression"}
	}
	program, err := syntax.Compile(parsed.Simplify())
	if err != nil || len(program.Inst) > maxProgram {
		return nil, &Error{Message: "the pattern of `matches` is too large"}
	}
	compiled, err := regexp.Compile(pattern)
	if err != nil {
		return nil, &Error{Message: "the pattern of `matches` is no regular expression"}
	}
	return &matcher{compiled, len(program.Inst)}, nil
}

func (m *matcher) cost(args []ref.Val) int {
	text, _ := args[0].(types.String)
	return m.size * len(text) / perMatching
}

func (m *matcher) do(args []ref.Val) ref.Val {
	text, wrong := argument[types.String](args, 0)
	switch {
	case wrong != nil:
		return wrong
	case m.size*len(text) > maxMatching:
		return types.WrapErr(&Error{Message: "the text is too long for this pattern; shorten it with `truncate`"})
	}
	return types.Bool(m.pattern.MatchString(string(text)))
}
