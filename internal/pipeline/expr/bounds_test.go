package expr

import (
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

// costly are expressions that would take for ever, or all memory.
func costly() map[string]string {
	tripled := strings.Repeat(".map(a, [a, a, a])", 40)
	return map[string]string{
		"nested loops":         "lists.range(100000).all(x, lists.range(100000).all(y, true))",
		"loops without calls":  "item.l.exists_one(x, item.l.exists_one(y, item.l.exists_one(z, false)))",
		"loops of conditions":  "item.l.all(x, item.l.all(y, !(" + strings.Repeat("x == -1.0 || ", 200) + "false)))",
		"loops of ternaries":   "item.l.filter(x, item.l.filter(y, " + strings.Repeat("item.no ? false : ", 30) + "false).size() > 0).size()",
		"deep maps":            "item.l.map(a, item.l.map(b, item.l.map(c, item.l.map(d, a))))",
		"a list of itself":     "[[1]]" + tripled + ".size()",
		"a list of itself, ==": "[[[1]]" + tripled + "].all(x, x == x)",
		"an object of itself":  "[{'a': 1}]" + strings.Repeat(".map(a, {'a': a, 'b': a, 'c': a})", 40) + ".size()",
		"maps of maps":         "[[1]]" + strings.Repeat(".map(a, [1, 2, 3].map(x, a))", 40) + ".size()",
		"growing lists":        "[[1]]" + strings.Repeat(".map(a, a + a + a)", 40) + ".size()",
		"growing texts":        "[query]" + strings.Repeat(".map(a, a + a + a)", 40) + ".size()",
		"copied lists":         "item.l.all(i, size(item.l + [i]) > 0)",
		"equal lists":          "item.l.all(x, item.l == item.l)",
		"looking in lists":     "item.l.all(x, !('a' in item.l))",
		"looking in texts":     "item.l.all(x, !query.contains('b'))",
		"replacements":         "query.replace('a', query)",
		"replaced for long":    "item.l.all(x, query.replace('a', 'b') != '')",
		"joined lists":         "item.l.map(x, query).join(query)",
		"split texts":          "item.l.all(x, query.split('').size() > 0)",
		"capitals":             "item.l.all(x, query.upper() != '')",
		"substrings":           "item.l.all(x, query.substring(0, 5) != '')",
		"sizes of texts":       "item.l.all(x, query.size() > 0)",
		"patterns":             "item.l.all(x, !query.matches('(a|aa|a*)*b'))",
		"large patterns":       "query.matches('(a?){50}(a*){50}b')",
		"JSON":                 "item.l.all(x, json(item.l) != '')",
		"sorted lists":         "item.l.all(x, item.l.sort().size() > 0)",
		"sorted by":            "item.l.all(x, item.l.sortBy(y, -y).size() > 0)",
		"flattened":            "[item.l]" + strings.Repeat(".map(a, [a, a, a, a].flatten())", 40) + ".size()",
		"ranges":               "lists.range(100000).map(x, lists.range(100000)).size()",
		"large results":        "item.l.map(x, query)",
		"large results, again": "[[[1]]" + strings.Repeat(".map(a, [a, a, a])", 12) + "]",
	}
}

func TestExpressionsEnd(t *testing.T) {
	t.Parallel()
	l := make([]any, 3000)
	for i := range l {
		l[i] = float64(i)
	}
	s := &Scope{Query: strings.Repeat("a", 300_000), Item: map[string]any{"l": l, "no": false}}
	for name, text := range costly() {
		e, err := ParseExpression(text, Value, exprNames)
		require.NoError(t, err, name)
		began := time.Now()
		_, err = e.Value(t.Context(), s)
		took := time.Since(began)
		require.Error(t, err, name)
		require.Less(t, took, time.Minute, name) // a tenth of a second or two on a machine at rest
		t.Logf("%-22s %12v %v", name, took, err)
	}
}

// What is usual is far from the bounds.
func TestUsualExpressionsAreNotCostly(t *testing.T) {
	t.Parallel()
	rows := make([]any, 1000)
	for i := range rows {
		rows[i] = map[string]any{"id": fmt.Sprint("id", i), "score": float64(i), "text": strings.Repeat("some words ", 30)}
	}
	s := &Scope{Query: strings.Repeat("words of a question ", 500), Item: rows}
	for _, text := range []string{
		"item.filter(r, r.score > 5 && r.text.contains('words')).map(r, {'id': r.id, 'score': math.round(r.score * 0.1 + 2, 1)}).sortBy(r, -r.score).slice(0, 10)",
		"item.map(r, r.score).sum() / item.size()",
		"item.filter(r, r.id in ['id1', 'id5']).map(r, r.id).join(', ') + query",
		"item.map(r, r.text.truncate(100))",
		"item.exists(r, r.text.matches('(?i)WORD|PHRASE'))",
		"item.map(r, json(r)).size()",
	} {
		e, err := ParseExpression(text, Value, exprNames)
		require.NoError(t, err, text)
		_, err = e.Value(t.Context(), s)
		require.NoError(t, err, text)
	}
}

func TestTruncate(t *testing.T) {
	t.Parallel()
	for n, want := range []string{"…", "Z…", "Zo…", "Zoë", "Zoë"} {
		require.Equal(t, want, Truncate("Zoë", n))
	}
	require.Empty(t, Truncate("", 0))
}

func FuzzTemplate(f *testing.F) {
	for _, text := range bombs {
		f.Add(text, "a")
	}
	for _, text := range []string{
		"{{ .query }}", "{{ range $i, $x := .item }}{{ $x.name }}{{ else }}{{ end }}", "{{ with .steps.search }}{{ .json.a }}{{ end }}", "{{ index .steps `search` `json` .query }}",
		"{{ truncate 3 .query | json | indent 2 }}", "{{ define `x` }}{{ end }}", "{{ and .query .item.x (eq 1 2.0) | not }}", "{{ $x := 1 }}{{ $x = 0x10 }}{{ 'a' }}{{ 1e3 }}{{ nil }}",
		"{{ if true }}{{ break }}{{ end }}", "{{- /* c */ -}}", "{{ (index .item 0).x.y }}", "{{ print }}", "{{ .item.x | get .query | default .item }}", "{{ first 2 (lines .query) }}",
	} {
		f.Add(text, `{"a": [1, {"b": null}], "name": "x"}`)
	}
	f.Fuzz(func(t *testing.T, text, value string) {
		made, err := ParseTemplate(text, testNames)
		if err != nil {
			_, ours := err.(*Error) //nolint:errorlint // it is not wrapped
			require.True(t, ours)
			return
		}
		item := []any{value, 1.5, true, nil, map[string]any{"name": value, "x": []any{value}}}
		s := &Scope{Query: value, Item: item, Steps: map[string]Output{"search": {Text: value, JSON: map[string]any{"a": value}}, "secret": {Text: "!SECRET!"}}}
		got, err := made.Execute(t.Context(), s)
		if err != nil {
			_, ours := err.(*Error) //nolint:errorlint // it is not wrapped
			require.True(t, ours, "%v", err)
			return
		}
		require.LessOrEqual(t, len(got), MaxText)
		require.True(t, strings.Contains(text+value, "!") || !strings.Contains(got, "!SECRET!"))
	})
}

func FuzzExpression(f *testing.F) {
	for _, text := range []string{
		"[[1]].map(a, [a, a, a]).map(a, [a, a]).size()", "item.exists_one(x, item.all(y, item.filter(z, x == y).size() > 0))", "query.replace('a', query)",
		"query", "steps.search.json.a + 1", "item.map(x, x)", "item[4].x.sortBy(a, a)", "has(item[4].y) ? 1 : 2.5", "steps[query]", "'a'.matches('b*')", "{'a': item}", "[1][0u]", "-(-1)",
		"item.flatten().distinct()", "math.round(1.5, 400)", "query.substring(-1, 2)", "lists.range(-5)", "type(query) == type(1)", "1 % 0.0", "b'a' + b'b'", "r'\\x' + \"\\u00e9\"",
		"item.exists_one(x, x == null)", "json(item).split('')", "in", "steps.search.output.size() in [1]", "9223372036854775807 * 2", "[].sum()", "int(1e300)", "string(1e300)",
	} {
		f.Add(text, `{"a": [1, {"b": null}], "name": "x"}`)
	}
	f.Fuzz(func(t *testing.T, text, value string) {
		e, err := ParseExpression(text, Value, exprNames)
		if err != nil {
			_, ours := err.(*Error) //nolint:errorlint // it is not wrapped
			require.True(t, ours)
			return
		}
		item := []any{value, 1.5, true, nil, map[string]any{"name": value, "x": []any{value}}}
		s := &Scope{Query: value, Item: item, Steps: map[string]Output{"search": {Text: value, JSON: map[string]any{"a": value}}, "secret": {Text: "!SECRET!"}}}
		got, err := e.Value(t.Context(), s)
		if err != nil {
			_, ours := err.(*Error) //nolint:errorlint // it is not wrapped
			require.True(t, ours, "%v", err)
			return
		}
		if told, ok := got.(string); ok && utf8.ValidString(told) {
			require.True(t, strings.Contains(text+value, "!") || !strings.Contains(told, "!SECRET!"))
		}
	})
}
