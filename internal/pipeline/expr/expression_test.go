package expr

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"cel.dev/cel-go/common/operators"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var exprNames = Names{Steps: []string{"search", "review"}, Item: true, Response: true}

func exprScope(t testing.TB) *Scope {
	t.Helper()
	s := testScope(t)
	s.Response = map[string]any{
		"status": 200, "headers": map[string]any{"content-type": "application/json"}, "body": `{"a": 1}`, "json": map[string]any{"a": 1.0},
	}
	return s
}

func TestExpressions(t *testing.T) {
	t.Parallel()
	examples := map[string]string{
		"query":                          `"Which of our suppliers?"`,
		"steps.search.output.size() > 5": "true",
		"steps['search'].output == steps[\"search\"].output": "true",
		"steps.review.skipped && !steps.review.failed":       "true",
		"steps.review.json == null":                          "true",
		"steps.search.json":                                  "",
		"item.name + string(index)":                          `"Zoë2"`,
		"response.status == 200 && response.headers['content-type'].startsWith('application') ? response.json.a : null": "1",
		"[steps.search, steps.review].filter(s, !s.skipped).map(s, s.output.size())":                                    "[13]",
		"{'a': [1, 2.5, null, true, 'b'], 'c': {}}":                                                                     `{"a":[1,2.5,null,true,"b"],"c":{}}`,
		"steps.search.json.hits[steps.search.json.first].name":                                                          `"Brim"`,
		"steps.search.json.hits[0]['name']":                                                                             `"Acme"`,

		// JSON's numbers are doubles, and work with whole ones all the same.
		"steps.search.json.total > 5 && steps.search.json.total == 1234567": "true",
		"steps.search.json.first + 1":                                       "2",
		"2 * steps.search.json.best - 1":                                    "0.8",
		"1 / 4":                                                             "0",
		"steps.search.json.first / 4":                                       "0.25",
		"steps.search.json.total % 10":                                      "7",
		"-steps.search.json.first":                                          "-1",
		"5 % 3 + 2":                                                         "4",
		"2 in dyn([1.0, 2.0]) && dyn(2.0) in [1, 2]":                        "true",
		"dyn([1, 2]) == [1.0, 2.0] && dyn({'a': 1}) == {'a': 1.0}":          "true",
		"[1] + [2] == [1, 2]":                                               "true",
		"'a' < 'b' && 1 <= 1.5 && 2 >= 2 && 3 > 2.5 && 1 != 2":              "true",
		"'phone' in item && !('fax' in item)":                               "true",

		"size('Zoë') + size([1]) + size({'a': 1})":                   "5",
		"has(item.phone) && !has(item.fax) && !has(item.phone.code)": "true",
		"query.contains('our')":                                      "true",
		"query.startsWith('Which') && query.endsWith('?')":           "true",
		"query.matches('^W.*suppl(y|iers)')":                         "true",
		"int('7') + int(2.9)":                                        "9",
		"double('1.5') + double(1)":                                  "2.5",
		"string(1.5) + string(true)":                                 `"1.5true"`,
		"bool('true')":                                               "true",
		"dyn(1) == 1":                                                "true",
		"type(item) == map && type(query) == string && type([]) == list && type(steps.search.json.total) == double": "true",
		"steps.search.json.hits.all(h, h.score > 0)":                                                                "true",
		"steps.search.json.hits.exists(h, h.name == 'Brim')":                                                        "true",
		"steps.search.json.hits.exists_one(h, h.name == 'Acme')":                                                    "false",
		"steps.search.json.hits.filter(h, h.score >= 1.5).size()":                                                   "2",
		"steps.search.json.hits.map(h, h.name)":                                                                     `["Acme","Brim","Acme"]`,
		"steps.search.json.hits.map(h, h.score > 1, h.score)":                                                       "[2,1.5]",
		"steps.search.json.hits.sortBy(h, h.score).map(h, h.name + string(h.score))":                                `["Acme1","Brim1.5","Acme2"]`,
		"steps.search.json.hits.sortBy(h, -h.score)[0].score":                                                       "2",
		"{'b': 1, 'a': 2}.map(k, k)":                                                                                `["a","b"]`,

		"'  a '.trim() + 'b'.upper() + 'C'.lower()":             `"aBc"`,
		"item.name.truncate(2) + item.name.truncate(3)":         `"Zo…Zoë"`,
		"item.name.substring(2) + query.substring(0, 5)":        `"ëWhich"`,
		"item.name.indexOf('ë') + 'a'.indexOf('b')":             "1",
		"'a-b'.replace('-', '+')":                               `"a+b"`,
		"'a,b'.split(',')":                                      `["a","b"]`,
		"['a', 'b'].join() + steps.search.json.tags.join(', ')": `"abb, a"`,
		"json({'a': ['<b>', null]})":                            `"{\"a\":[\"<b>\",null]}"`,
		"[1, 2, 3].slice(1, 9)":                                 "[2,3]",
		"[1, 2].reverse()":                                      "[2,1]",
		"[[1], [], [2, [3]], 4].flatten()":                      "[1,2,[3],4]",
		"[1, 1.0, 'a', 'a', null].distinct()":                   `[1,"a",null]`,
		"steps.search.json.tags.sort()":                         `["a","b"]`,
		"[3, 1.5].sort()":                                       "[1.5,3]",
		"[1, 2].sum() + [0.5, 1].sum() + [].sum()":              "4.5",
		"lists.range(3)":                                        "[0,1,2]",
		"math.abs(-3) + math.abs(-0.5)":                         "3.5",
		"math.ceil(1.2) + math.floor(1.8) + math.round(2.5)":    "6",
		"math.round(1.256, 2)":                                  "1.26",
		"math.greatest([1, 2.5, 2]) - math.least([3, 1])":       "1.5",
	}
	used := map[string]bool{}
	for text, want := range examples {
		e, err := ParseExpression(text, Value, exprNames)
		require.NoError(t, err, text)
		v, err := e.Value(t.Context(), exprScope(t))
		require.NoError(t, err, text)
		if want == "" { // all of the JSON
			require.Equal(t, exprScope(t).Steps["search"].JSON, v)
			continue
		}
		got, err := json.Marshal(v)
		require.NoError(t, err)
		require.JSONEq(t, want, string(got), text)
		for _, name := range expressionFunctionNames {
			used[name] = used[name] || strings.Contains(text, name+"(")
		}
	}
	for _, name := range expressionFunctionNames {
		require.True(t, used[name], "no example of %s", name)
	}
}

// What is declared is documented, and done by ours.
func TestExpressionFunctions(t *testing.T) {
	t.Parallel()
	env, err := environment()
	require.NoError(t, err)
	lazy := []string{operators.LogicalAnd, operators.LogicalOr, operators.Conditional, operators.NotStrictlyFalse, operators.Index, "matches"}
	for _, name := range slices.Sorted(maps.Keys(env.Functions())) {
		require.True(t, functions[name] != nil || slices.Contains(lazy, name), name)
		operator := strings.ContainsAny(name, "_@!") && name != "exists_one"
		_, documented := expressionFunctions[name]
		require.True(t, operator || documented, name)
	}
	for _, all := range [][]FunctionDoc{Functions(), ExpressionFunctions()} {
		require.True(t, slices.IsSortedFunc(all, func(a, b FunctionDoc) int { return strings.Compare(a.Name, b.Name) }))
		for _, f := range all {
			require.Contains(t, f.Use, f.Name)
			require.True(t, strings.HasSuffix(f.Text, "."), f.Text)
		}
	}
}

func TestExpressionFaults(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]Error{
		"steps.serach.output":                        {1, 1, "`steps.serach` is no step that this one depends on (`depends_on`); did you mean \"search\"?"},
		"query == '' ||\n steps.secret.output == ''": {2, 2, "`steps.secret` is no step that this one depends on (`depends_on`)"},
		".steps.secret.output":                       {1, 2, "`steps.secret` is no step that this one depends on (`depends_on`)"},
		"steps['secret'].output":                     {1, 6, "`steps.secret` is no step that this one depends on (`depends_on`)"},
		"steps[query].output":                        {1, 6, "a step is to be named, as `steps.NAME` or `steps[\"NAME\"]`"},
		"steps['sec' + 'ret'].output":                {1, 6, "a step is to be named, as `steps.NAME` or `steps[\"NAME\"]`"},
		"steps":                                      {1, 1, "`steps` alone is not to be had; name a step, as `steps.search.output`"},
		"steps.map(s, s)":                            {1, 1, "`steps` alone is not to be had; name a step, as `steps.search.output`"},
		"[steps][0].secret.output":                   {1, 2, "`steps` alone is not to be had; name a step, as `steps.search.output`"},
		"(true ? steps : query).secret":              {1, 9, "`steps` alone is not to be had; name a step, as `steps.search.output`"},
		"dyn(steps)":                                 {1, 5, "`steps` alone is not to be had; name a step, as `steps.search.output`"},
		"'secret' in steps":                          {1, 13, "`steps` alone is not to be had; name a step, as `steps.search.output`"},
		"[1].map(steps, steps)":                      {1, 8, "`steps` cannot be the name of a macro's variable"},
		"[1].map(query, 1)":                          {1, 8, "`query` cannot be the name of a macro's variable"},
		"[1].sortBy(item, 1)":                        {1, 11, "`item` cannot be the name of a macro's variable"},
		"steps.search.outptu":                        {1, 1, "a step has `output`, `json`, `skipped`, `failed`, but no `outptu`; did you mean \"output\"?"},
		"[steps.search].map(s, s.secret)":            {1, 24, "undefined field 'secret'"},
		"has(steps.secret.json.a)":                   {1, 5, "`steps.secret` is no step that this one depends on (`depends_on`)"},
		"has(steps.search.json)":                     {1, 5, "`has` asks for a field of an object; a step that is depended on is always there"},
		"response.boddy":                             {1, 1, "a response has `status`, `headers`, `body`, `json`, but no `boddy`; did you mean \"body\"?"},
		"qeury":                                      {1, 1, "there is no `qeury`; did you mean \"query\"?"},
		"env.HOME":                                   {1, 1, "there is no `env`"},
		"@work":                                      {1, 1, "Syntax error: token recognition error at: '@'"},
		"query ==":                                   {1, 9, "Syntax error: it ends too early"},
		"sizee(query)":                               {1, 6, "there is no function `sizee`; did you mean \"size\"?"},
		"query.trimm()":                              {1, 12, "there is no function `trimm`; did you mean \"trim\"?"},
		"math.flor(1)":                               {1, 10, "there is no function `math.flor`; did you mean \"math.floor\"?"},
		"timestamp('2026-01-01T00:00:00Z')":          {1, 10, "there is no function `timestamp`"},
		"step{output: 'a'}":                          {1, 5, "there are no types such as `step` to make values of"},
		"google.protobuf.Struct{}":                   {1, 23, "there are no types such as `google.protobuf.Struct` to make values of"},
		"query > 1":                                  {1, 7, "found no matching overload for '_>_' applied to '(string, int)'"},
		"query.matches(query)":                       {1, 14, "the pattern of `matches` must be written out in the expression"},
		"query.matches('(')":                         {1, 15, "the pattern of `matches` is no regular expression"},
		"query.matches('(a{100}){100}')":             {1, 15, "the pattern of `matches` is no regular expression"},
		"query.matches('a{500}b{600}')":              {1, 15, "the pattern of `matches` is too large"},
		"b'a'":                                       {0, 0, "it is to give something that JSON can say, but gives bytes"},
		"type(1)":                                    {0, 0, "it is to give something that JSON can say, but gives type(int)"},
		"1u":                                         {0, 0, "it is to give something that JSON can say, but gives uint"},
		"\xff":                                       {0, 0, "the expression is not UTF-8"},
		strings.Repeat(" ", MaxExpression) + "1":     {0, 0, "the expression is longer than 16384 bytes"},
	} {
		_, err := ParseExpression(text, Value, exprNames)
		assert.Equal(t, &want, err, text)
	}
	for text, names := range map[string]Names{"steps.search.output": {}, "item": {}, "index": {}, "response": {Item: true}} {
		_, err := ParseExpression(text, Value, names)
		require.ErrorContains(t, err, "is", text)
		require.ErrorContains(t, err, "to be had", text)
	}
	for text, want := range map[string]Type{"query": Bool, "1": Bool, "'a'": List, "{'a': 1}": List, "null": Bool} {
		_, err := ParseExpression(text, want, exprNames)
		require.ErrorContains(t, err, "it is to give", text)
	}
	for _, text := range []string{"", "query +", "(", strings.Repeat("(", 200) + "1" + strings.Repeat(")", 200), strings.Repeat("[", 200) + strings.Repeat("]", 200), "1" + strings.Repeat("+1", 5000)} {
		_, err := ParseExpression(text, Value, exprNames)
		require.Error(t, err)
		require.LessOrEqual(t, len(err.Error()), 400)
	}
	_, err := ParseExpression("'a'"+strings.Repeat(" + query", 60), Value, exprNames)
	require.NoError(t, err)
}

// All names that are not there are told, up to a bound.
func TestUnknownNames(t *testing.T) {
	t.Parallel()
	_, err := ParseExpression("steps.serach.output == qeury ||\n shout(steps.search.outptu)", Value, exprNames)
	require.Equal(t, Errors{
		{1, 1, "`steps.serach` is no step that this one depends on (`depends_on`); did you mean \"search\"?"},
		{1, 24, "there is no `qeury`; did you mean \"query\"?"},
		{2, 7, "there is no function `shout`"},
		{2, 8, "a step has `output`, `json`, `skipped`, `failed`, but no `outptu`; did you mean \"output\"?"},
	}, err)
	all, ok := errors.AsType[Errors](err)
	require.True(t, ok)
	require.EqualError(t, all[:2].err(), all[0].Message+"; "+all[1].Message)
	_, err = ParseExpression("cel.bind(a, [1], a)", Value, exprNames)
	require.EqualError(t, err, "there is no `cel`; there is no function `bind`; there is no `a`; there is no `a`")
	_, err = ParseExpression("[a"+strings.Repeat(", a", 500)+"]", Value, exprNames)
	require.Len(t, err, maxErrors)

	_, err = ParseTemplate("{{ .qeury | shout }}\n{{ range .query }}{{ $.item.x }}{{ $.steps.serach }}{{ end }}", Names{Steps: []string{"search"}})
	require.Equal(t, Errors{
		{1, 4, "there is no `.qeury`; did you mean \"query\"?"},
		{1, 13, "there is no function `shout`"},
		{2, 22, "`.item` is to be had in a map step only"},
		{2, 36, "`.steps.serach` is no step that this one depends on (`depends_on`); did you mean \"search\"?"},
	}, err)
	_, err = ParseTemplate(strings.Repeat("{{ .a }}", 500), Names{})
	require.Len(t, err, maxErrors)
}

func TestExpressionFailures(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]Error{
		"item.fax":                       {1, 1, "`item.fax`: there is no such field; ask with `has` first"},
		"query != '' &&\n item.fax == 1": {2, 2, "`item.fax`: there is no such field; ask with `has` first"},
		"item.phone.code":                {1, 1, "`item.phone.code`: there is no such field; ask with `has` first"},
		"item[query]":                    {1, 5, "there is no such field; ask with `has` first"},
		"steps.search.json.tags[2]":      {1, 23, "the list has no such item"},
		"steps.search.json.tags[-1]":     {1, 23, "the list has no such item"},
		"steps.search.json.tags[0.5]":    {1, 23, "an item of a list is asked for by a whole number"},
		"[1][index]":                     {1, 4, "the list has no such item"},
		"item.name + 1":                  {1, 11, "that cannot be done with values of these kinds"},
		"item.name < 1":                  {1, 11, "that cannot be done with values of these kinds"},
		"item.upper()":                   {1, 11, "that cannot be done with values of these kinds"},
		"item.name.map(x, x)":            {0, 0, "only lists and objects can be gone through"},
		"1 / (index - 2)":                {1, 3, "a whole number is divided by zero"},
		"index % 0":                      {1, 7, "a whole number is divided by zero"},
		"9223372036854775807 + 1":        {1, 21, "a whole number is larger than 64 bits"},
		"int(query)":                     {1, 4, "the value cannot be made one of that type"},
		"query.substring(3, 2)":          {1, 16, "the text has no such place"},
		"query.substring(0, 1000)":       {1, 16, "the text has no such place"},
		"[1, 'a'].sort()":                {1, 14, "only numbers, or only texts, can be put in an order"},
		"[item].distinct()":              {1, 16, "that cannot be done with values of these kinds"},
		"math.least([])":                 {1, 11, "the list is empty"},
		"lists.range(100001)":            {1, 12, "a list has more than 100000 items"},
		"{1: 2}":                         {1, 1, "the keys of an object are texts"},
		"1.0 / 0":                        {0, 0, "the result has a number that JSON cannot say, such as what comes of dividing by zero"},
		"9007199254740993":               {0, 0, "the result has a whole number of more than 53 bits, which would lose digits in JSON; make a text of it with `string`"},
		"[-9007199254740993]":            {0, 0, "the result has a whole number of more than 53 bits, which would lose digits in JSON; make a text of it with `string`"},
		"dyn(b'a')":                      {0, 0, "the result has something that JSON cannot say"},
		"[type(1)]":                      {0, 0, "the result has something that JSON cannot say"},
		"dyn(1u)":                        {0, 0, "the result has something that JSON cannot say"},
		"steps.search":                   {0, 0, "the result has something that JSON cannot say"},
	} {
		e, err := ParseExpression(text, Value, exprNames)
		if err != nil { // what gives no JSON at all
			e, err = ParseExpression("dyn("+text+")", Value, exprNames)
		}
		require.NoError(t, err, text)
		_, err = e.Value(t.Context(), exprScope(t))
		assert.Equal(t, &want, err, text)
	}
}

func TestResultsOfOtherTypes(t *testing.T) {
	t.Parallel()
	e, err := ParseExpression("item.name", Bool, exprNames)
	require.NoError(t, err)
	_, err = e.Bool(t.Context(), exprScope(t))
	require.EqualError(t, err, "the condition gave neither true nor false")
	e, err = ParseExpression("item.name", List, exprNames)
	require.NoError(t, err)
	_, err = e.List(t.Context(), exprScope(t))
	require.EqualError(t, err, "the expression gave no list")
	e, err = ParseExpression("item.name == 'Zoë'", Bool, exprNames)
	require.NoError(t, err)
	yes, err := e.Bool(t.Context(), exprScope(t))
	require.NoError(t, err)
	require.True(t, yes)
	for text, want := range map[string][]any{
		"[1, 'a', null]": {1.0, "a", nil}, "steps.search.json.tags": {"b", "a"}, "[]": {}, "[].map(x, x)": {}, "[1].filter(x, false)": {},
	} {
		e, err = ParseExpression(text, List, exprNames)
		require.NoError(t, err)
		list, err := e.List(t.Context(), exprScope(t))
		require.NoError(t, err)
		require.Equal(t, want, list, text)
	}
	// Nothing that encoding/json does not decode goes in.
	e, err = ParseExpression("item", Value, exprNames)
	require.NoError(t, err)
	_, err = e.Value(t.Context(), &Scope{Item: time.Now()})
	require.EqualError(t, err, "`item`: there is a value that JSON cannot say")
	v, err := e.Value(t.Context(), &Scope{Item: json.Number("1e3")})
	require.NoError(t, err)
	require.InDelta(t, 1000.0, v, 0)
	// A step that is known, but not in the scope, is an error and no panic.
	e, err = ParseExpression("steps.search.output", Value, exprNames)
	require.NoError(t, err)
	_, err = e.Value(t.Context(), &Scope{})
	require.Error(t, err)
}

// What comes from callers and models stays what it is.
func TestOutputsAreNoExpressions(t *testing.T) {
	t.Parallel()
	e, err := ParseExpression("[query, steps.search.output, steps.search.json.a, item, query + '', [query].join(), {query: query}.map(k, k)[0], query.replace('nothing', item)]", List, exprNames)
	require.NoError(t, err)
	for _, text := range hostile {
		s := &Scope{Query: text, Item: text, Steps: map[string]Output{"search": {Text: text, JSON: map[string]any{"a": text}}, "secret": {Text: "SECRET"}}}
		got, err := e.List(t.Context(), s)
		require.NoError(t, err)
		require.Equal(t, slices.Repeat([]any{text}, 8), got)
	}
}

func TestExpressionErrorsHoldNoValues(t *testing.T) {
	t.Parallel()
	const secret = "SECRET"
	s := &Scope{
		Query: secret, Item: map[string]any{secret: secret, "n": 5550123.0, "l": []any{secret}},
		Steps: map[string]Output{"search": {Text: secret, JSON: map[string]any{"a": secret}}},
	}
	for _, text := range []string{
		"item[query][query]", "item.x", "item[item[query] + query]", "steps.search.json[query]", "int(query)", "double(query)", "bool(query)", "item.l[item.n]", "item.l[5550123]",
		"item + query", "query.substring(5550123)", "item.l.sum()", "[item, query].sort()", "item.n.upper()", "item.n + query", "string(item)", "{item.n: query}", "math.abs(item.l[0])",
		"item.l.map(x, x.y)", "item.l.all(x, x > 1)", "item.l.map(x, int(x))", "query.contains(item)", "has(query.x)", "item.l.join(item.n)",
	} {
		e, err := ParseExpression(text, Value, exprNames)
		if err != nil {
			require.NotContains(t, err.Error(), secret, text)
			continue
		}
		_, err = e.Value(t.Context(), s)
		require.Error(t, err, text)
		require.NotContains(t, err.Error(), secret, text)
		require.NotContains(t, strings.ReplaceAll(err.Error(), "5550123]", ""), "5550123", text)
	}
}

func TestExpressionsEndWithTheirContext(t *testing.T) {
	t.Parallel()
	e, err := ParseExpression("lists.range(1000).all(x, lists.range(1000).all(y, true))", Bool, exprNames)
	require.NoError(t, err)
	gone := errors.New("gone")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(gone)
	_, err = e.Bool(ctx, exprScope(t))
	require.Equal(t, gone, err)
}

func TestExpressionsAreSharedSafely(t *testing.T) {
	t.Parallel()
	var wg sync.WaitGroup
	shared, err := ParseExpression("steps.search.json.tags.map(x, x + query) + [query]", List, exprNames)
	require.NoError(t, err)
	for i := range 16 {
		wg.Go(func() {
			s := exprScope(t)
			s.Query = fmt.Sprint(i)
			own, err := ParseExpression("query + '!'", Value, exprNames)
			if err != nil {
				t.Error(err)
				return
			}
			for range 20 {
				got, err := shared.List(t.Context(), s)
				if err != nil || !slices.Equal(got, []any{"b" + s.Query, "a" + s.Query, s.Query}) {
					t.Errorf("%v %v", got, err)
				}
				if v, err := own.Value(t.Context(), s); err != nil || v != s.Query+"!" {
					t.Errorf("%v %v", v, err)
				}
			}
		})
	}
	wg.Wait()
}
