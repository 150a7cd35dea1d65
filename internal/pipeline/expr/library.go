package expr

import (
	"maps"
	"slices"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/env"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/overloads"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
)

// standard is what expressions have of CEL's standard functions: those whose work
// and results are bounded by their arguments. The others are ours, or not there.
var standard = []string{
	operators.LogicalAnd, operators.LogicalOr, operators.LogicalNot, operators.Conditional, operators.NotStrictlyFalse,
	operators.Equals, operators.NotEquals, operators.Less, operators.LessEquals, operators.Greater, operators.GreaterEquals,
	operators.In, operators.Index, operators.Negate,
	overloads.Size, overloads.Contains, overloads.StartsWith, overloads.EndsWith, overloads.Matches,
	overloads.TypeConvertInt, overloads.TypeConvertDouble, overloads.TypeConvertString, overloads.TypeConvertBool,
	overloads.TypeConvertDyn, overloads.TypeConvertType,
}

// namespaces are what stands in front of some functions' names.
var namespaces = []string{"lists", "math"}

// expressionFunction is a function of expressions.
type expressionFunction struct {
	use, text string
	// declare is nil for a standard one and a macro.
	declare []signature
	do      func(args []ref.Val) ref.Val
}

// signature is one form of a function.
type signature struct {
	member bool
	args   []*cel.Type
	result *cel.Type
}

var (
	anyType = cel.TypeParamType("T")
	listOf  = cel.ListType(anyType)
	texts   = cel.ListType(cel.StringType)
)

func member(result *cel.Type, args ...*cel.Type) signature {
	return signature{member: true, args: args, result: result}
}

func global(result *cel.Type, args ...*cel.Type) signature {
	return signature{args: args, result: result}
}

// expressionFunctions are all there are, but for operators.
var expressionFunctions = map[string]expressionFunction{
	"size":       {use: "size(X)", text: "How many characters a text has, items a list, or fields an object."},
	"has":        {use: "has(X.FIELD)", text: "Whether an object has a field."},
	"contains":   {use: "TEXT.contains(PART)", text: "Whether the text has that part."},
	"startsWith": {use: "TEXT.startsWith(PART)", text: "Whether the text begins so."},
	"endsWith":   {use: "TEXT.endsWith(PART)", text: "Whether the text ends so."},
	"matches":    {use: "TEXT.matches('PATTERN')", text: "Whether the text has a part that a regular expression (RE2) fits, which is written out in the expression."},
	"int":        {use: "int(X)", text: "A number without its fraction, or a text, as a whole number."},
	"double":     {use: "double(X)", text: "A whole number or a text as a number."},
	"string":     {use: "string(X)", text: "A number, true or false as a text."},
	"bool":       {use: "bool(TEXT)", text: "\"true\" or \"false\" as a truth value."},
	"dyn":        {use: "dyn(X)", text: "X, whose type is not looked at before the expression is evaluated."},
	"type":       {use: "type(X)", text: "X's type, to be compared with bool, double, int, list, map, null_type or string."},
	"all":        {use: "LIST.all(x, CONDITION)", text: "Whether the condition holds for all items x."},
	"exists":     {use: "LIST.exists(x, CONDITION)", text: "Whether the condition holds for an item x."},
	"exists_one": {use: "LIST.exists_one(x, CONDITION)", text: "Whether the condition holds for exactly one item x."},
	"filter":     {use: "LIST.filter(x, CONDITION)", text: "The list of the items x for which the condition holds."},
	"map":        {use: "LIST.map(x, VALUE)", text: "The list of what VALUE is for each item x; with a condition before VALUE, only of those for which it holds."},
	"sortBy":     {use: "LIST.sortBy(x, KEY)", text: "The items, those first for which KEY, a number or a text, is least; equal ones stay in their order."},

	"trim":      {"TEXT.trim()", "The text without white space around it.", []signature{member(cel.StringType, cel.StringType)}, textFunction(strings.TrimSpace)},
	"upper":     {"TEXT.upper()", "The text in capitals.", []signature{member(cel.StringType, cel.StringType)}, textFunction(strings.ToUpper)},
	"lower":     {"TEXT.lower()", "The text in small letters.", []signature{member(cel.StringType, cel.StringType)}, textFunction(strings.ToLower)},
	"truncate":  {"TEXT.truncate(N)", "The first N characters of a text, and an ellipsis (…) where that leaves something out.", []signature{member(cel.StringType, cel.StringType, cel.IntType)}, truncateValue},
	"substring": {"TEXT.substring(FROM, TO)", "The characters from one place, counted from 0, up to another, or to the end.", []signature{member(cel.StringType, cel.StringType, cel.IntType), member(cel.StringType, cel.StringType, cel.IntType, cel.IntType)}, substring},
	"indexOf":   {"TEXT.indexOf(PART)", "At which character, counted from 0, the text first has that part; -1: nowhere.", []signature{member(cel.IntType, cel.StringType, cel.StringType)}, indexOf},
	"replace":   {"TEXT.replace(OLD, NEW)", "The text with NEW in place of each OLD.", []signature{member(cel.StringType, cel.StringType, cel.StringType, cel.StringType)}, replaceValue},
	"split":     {"TEXT.split(SEPARATOR)", "The list of the parts between separators.", []signature{member(texts, cel.StringType, cel.StringType)}, splitValue},
	"join":      {"LIST.join(SEPARATOR)", "The texts of a list, with the separator, if one is given, between them.", []signature{member(cel.StringType, texts), member(cel.StringType, texts, cel.StringType)}, joinValue},
	"json":      {"json(X)", "X as JSON, in a text.", []signature{global(cel.StringType, cel.DynType)}, jsonValue},

	"slice":       {"LIST.slice(FROM, TO)", "The items from one place, counted from 0, up to another; what is outside of the list is left out.", []signature{member(listOf, listOf, cel.IntType, cel.IntType)}, slice},
	"reverse":     {"LIST.reverse()", "The items from the last to the first.", []signature{member(listOf, listOf)}, reverse},
	"flatten":     {"LIST.flatten()", "The items of the lists in a list, in one.", []signature{member(cel.ListType(cel.DynType), cel.ListType(cel.DynType))}, flatten},
	"distinct":    {"LIST.distinct()", "The items without those that were there before; none may be a list or an object.", []signature{member(listOf, listOf)}, distinct},
	"sort":        {"LIST.sort()", "The numbers, or the texts, from the least.", []signature{member(listOf, listOf)}, sortValue},
	"sum":         {"LIST.sum()", "The sum of the numbers.", []signature{member(cel.DynType, listOf)}, sum},
	"lists.range": {"lists.range(N)", "The list of 0, 1 and so on, N of them.", []signature{global(cel.ListType(cel.IntType), cel.IntType)}, listsRange},

	"math.abs":      {"math.abs(X)", "A number without its sign.", []signature{global(cel.DynType, cel.DynType)}, mathAbs},
	"math.ceil":     {"math.ceil(X)", "The next whole number from X upwards.", []signature{global(cel.DoubleType, cel.DynType)}, mathCeil},
	"math.floor":    {"math.floor(X)", "The next whole number from X downwards.", []signature{global(cel.DoubleType, cel.DynType)}, mathFloor},
	"math.round":    {"math.round(X, DIGITS)", "X rounded to so many digits behind the point; without DIGITS, to a whole number.", []signature{global(cel.DoubleType, cel.DynType), global(cel.DoubleType, cel.DynType, cel.IntType)}, mathRound},
	"math.greatest": {"math.greatest(LIST)", "The largest number of a list.", []signature{global(cel.DynType, listOf)}, mathGreatest},
	"math.least":    {"math.least(LIST)", "The smallest number of a list.", []signature{global(cel.DynType, listOf)}, mathLeast},
}

var expressionFunctionNames = slices.Sorted(maps.Keys(expressionFunctions))

// sortByKeys is what `sortBy` becomes; no expression can name it.
const sortByKeys = "@sortByKeys"

// library declares all that expressions have.
func library() []cel.EnvOption {
	subset := env.NewLibrarySubset()
	for _, function := range standard {
		subset.AddIncludedFunctions(env.NewFunction(function))
	}
	options := []cel.EnvOption{
		cel.StdLib(cel.StdLibSubset(subset)),
		cel.Macros(cel.ReceiverMacro("sortBy", 2, expandSortBy)),
		declare(sortByKeys, []signature{member(listOf, listOf, cel.ListType(cel.TypeParamType("K")))}),
	}
	for _, a := range arithmetic {
		options = append(options, a.declare())
	}
	for name, f := range expressionFunctions {
		if f.do != nil {
			options = append(options, declare(name, f.declare))
		}
	}
	return options
}

// declare tells CEL a function's types; what it does is told by [functions].
func declare(name string, signatures []signature) cel.EnvOption {
	var options []cel.FunctionOpt
	for _, s := range signatures {
		parts := []string{name}
		for _, arg := range s.args {
			parts = append(parts, arg.TypeName())
		}
		id := strings.ReplaceAll(strings.Join(parts, "_"), ".", "_")
		if s.member {
			options = append(options, cel.MemberOverload(id, s.args, s.result))
		} else {
			options = append(options, cel.Overload(id, s.args, s.result))
		}
	}
	return cel.Function(name, options...)
}

// argument is an argument of a type, or an error where it is of another.
func argument[T any](args []ref.Val, i int) (T, ref.Val) {
	v, ok := args[i].(T)
	if !ok {
		return v, types.WrapErr(errWrongKind)
	}
	return v, nil
}

var errWrongKind = &Error{Message: "that cannot be done with values of these kinds"}
