package expr

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var testNames = Names{Steps: []string{"search", "review"}, Item: true}

// testScope is what most tests' templates and expressions see.
func testScope(t testing.TB) *Scope {
	t.Helper()
	var found any
	require.NoError(t, json.Unmarshal([]byte(`{
		"total": 1234567, "best": 0.9, "first": 1, "none": null, "empty": [], "yes": true,
		"hits": [{"name": "Acme", "score": 2}, {"name": "Brim", "score": 1.5}, {"name": "Acme", "score": 1}],
		"tags": ["b", "a"]
	}`), &found))
	return &Scope{
		Query: "Which of our suppliers?",
		Steps: map[string]Output{
			"search": {Text: "line 1\nline 2", JSON: found},
			"review": {Skipped: true},
		},
		Item:  map[string]any{"name": "Zoë", "phone": nil},
		Index: 2,
	}
}

func TestTemplates(t *testing.T) {
	t.Parallel()
	examples := map[string]string{
		"":                                             "",
		"plain text, no braces":                        "plain text, no braces",
		"{{ .query }}":                                 "Which of our suppliers?",
		"{{- .query -}} ":                              "Which of our suppliers?",
		"{{/* a comment */}}a":                         "a",
		"{{ .steps.search.output }}":                   "line 1\nline 2",
		"{{ .steps.review.output }}":                   "",
		"{{ .steps.review.skipped }}":                  "true",
		"{{ .steps.review.failed }}":                   "false",
		"{{ .steps.review.json }}":                     "null",
		"{{ $.steps.search.json.total }}":              "1234567",
		"{{ .steps.search.json.best }}":                "0.9",
		"{{ .steps.search.json.tags }}":                `["b","a"]`,
		"{{ .steps.search.json.none }}":                "null",
		"{{ .item.name }} {{ .index }}":                "Zoë 2",
		"{{ .item }}":                                  `{"name":"Zoë","phone":null}`,
		"{{ 3 }} {{ 2.50 }} {{ `raw` }}":               "3 2.5 raw",
		`{{ index .steps "search" "json" "tags" 1 }}`:  "a",
		"{{ (index .steps.search.json.hits 1).name }}": "Brim",
		"{{ $h := .steps.search.json.hits }}{{ range $h }}{{ .name }},{{ end }}":                                             "Acme,Brim,Acme,",
		"{{ range $i, $h := .steps.search.json.hits }}{{ $i }}{{ $h.name }}{{ end }}":                                        "0Acme1Brim2Acme",
		"{{ range .steps.search.json.hits }}{{ if eq .name `Brim` }}{{ continue }}{{ end }}{{ .score }}{{ break }}{{ end }}": "2",
		"{{ range .steps.search.json.empty }}x{{ else }}none: {{ .query }}{{ end }}":                                         "none: Which of our suppliers?",
		"{{ range .steps.review.json }}x{{ else }}none{{ end }}":                                                             "none",
		"{{ range $k, $v := .item }}{{ $k }}={{ $v }};{{ end }}":                                                             "name=Zoë;phone=null;",
		"{{ range .steps.search.json.tags }}{{ $.query | len }}{{ . }}{{ end }}":                                             "23b23a",
		"{{ with .steps.search }}{{ .output | len }}{{ $.index }}{{ end }}":                                                  "132",
		"{{ with .steps.review.output }}{{ . }}{{ else with .item.name }}{{ . }}{{ end }}":                                   "Zoë",
		"{{ if .steps.review.skipped }}a{{ else if .query }}b{{ end }}":                                                      "a",
		"{{ $x := 1 }}{{ if .query }}{{ $x = 2 }}{{ end }}{{ $x }}":                                                          "2",

		"{{ truncate 5 .query }}":                   "Which…",
		"{{ .item.name | truncate 2 }}":             "Zo…",
		"{{ .item.name | truncate 3 }}":             "Zoë",
		"{{ truncate 0 .query }}":                   "…",
		"{{ json .steps.search.json.hits }}":        `[{"name":"Acme","score":2},{"name":"Brim","score":1.5},{"name":"Acme","score":1}]`,
		"{{ .query | json }}":                       `"Which of our suppliers?"`,
		"{{ json `<a href=\"\">&` }}":               `"<a href=\"\">&"`,
		"{{ pretty .item }}":                        "{\n  \"name\": \"Zoë\",\n  \"phone\": null\n}",
		"{{ indent 2 .steps.search.output }}":       "  line 1\n  line 2",
		"{{ .steps.search.json.tags | join `, ` }}": "b, a",
		"{{ join `-` .steps.search.json.empty }}":   "",
		"{{ split ` ` .query | json }}":             `["Which","of","our","suppliers?"]`,
		"{{ lines .steps.search.output | len }}":    "2",

		"{{ first 1 .steps.search.json.tags }}{{ first 9 .steps.search.json.tags }}": `["b"]["b","a"]`,
		"{{ trim `  a ` }}.":                           "a.",
		"{{ upper .item.name }}{{ lower .item.name }}": "ZOËzoë",
		"{{ replace `o` `0` .query }}":                 "Which 0f 0ur suppliers?",
		"{{ contains `our` .query }} {{ contains `a` .steps.search.json.tags }} {{ contains `z` .steps.search.json.tags }}":     "true true false",
		"{{ .item.phone | default `no phone` }} {{ default `x` .item.name }} {{ default 1 .steps.search.json.empty }}":          "no phone Zoë 1",
		"{{ get `fax` .item }} {{ get `name` .item }} {{ get `a` .item.phone }}":                                                "null Zoë null",
		"{{ index .steps.search.json.hits .steps.search.json.first `name` }}":                                                   "Brim",
		"{{ len .item.name }} {{ len .item }} {{ len .steps.search.json.hits }} {{ len .item.phone }}":                          "3 2 3 0",
		"{{ eq .index 2 }} {{ eq .index 2.0 }} {{ eq .index 1 2 }} {{ eq .query `a` }} {{ eq .item.phone nil }} {{ eq `1` 1 }}": "true true true false true false",
		"{{ ne .index 2 }} {{ ne .query 2 }}": "false true",
		"{{ lt 1 .index }} {{ le .index 2 }} {{ gt .index 2 }} {{ ge `b` `a` }} {{ lt .steps.search.json.best 1 }}": "true true false true true",
		"{{ and .query .steps.review.skipped }} {{ or .steps.review.output `b` }} {{ not .query }}":                 "true b false",
		"{{ and .item.phone .item.phone.nothing }}":                                                                 "null",
	}
	used := map[string]bool{}
	for text, want := range examples {
		made, err := ParseTemplate(text, testNames)
		require.NoError(t, err, text)
		got, err := made.Execute(t.Context(), testScope(t))
		require.NoError(t, err, text)
		require.Equal(t, want, got, text)
		for _, name := range templateFunctionNames {
			used[name] = used[name] || strings.Contains(text, name+" ")
		}
	}
	for _, name := range templateFunctionNames {
		require.True(t, used[name], "no example of %s", name)
	}
}

func TestTemplateFaults(t *testing.T) {
	t.Parallel()
	only := "there is no function `%s`"
	for text, want := range map[string]Error{
		"{{ .query":                                    {1, 0, "unclosed action"},
		"a\n{{ if .query }}":                           {2, 0, "a block has no `{{ end }}`"},
		"{{ .steps.serach.output }}":                   {1, 4, "`.steps.serach` is no step that this one depends on (`depends_on`); did you mean \"search\"?"},
		"{{ $.steps.secret.output }}":                  {1, 4, "`.steps.secret` is no step that this one depends on (`depends_on`)"},
		"é {{ .query }}\n  {{ .steps.search.outptu }}": {2, 6, "a step has `output`, `json`, `skipped`, `failed`, but no `outptu`; did you mean \"output\"?"},
		"{{ .steps.search.output.x }}":                 {1, 4, "`.steps.search.output` has no fields"},
		"{{ .quary }}":                                 {1, 4, "there is no `.quary`; did you mean \"query\"?"},
		"{{ .query.length }}":                          {1, 4, "`.query` is a text and has no fields"},
		"{{ .index.x }}":                               {1, 4, "`.index` is a number and has no fields"},
		"{{ .response.body }}":                         {1, 4, "`.response` is to be had in what an http step picks only"},
		"{{ .steps }}":                                 {1, 4, "`.steps` alone is not to be had; name a step, as `.steps.search.output`"},
		"{{ $s := .steps }}":                           {1, 10, "`.steps` alone is not to be had; name a step, as `.steps.search.output`"},
		"{{ range .steps }}{{ end }}":                  {1, 10, "`.steps` alone is not to be had; name a step, as `.steps.search.output`"},
		"{{ with $.steps }}{{ end }}":                  {1, 9, "`.steps` alone is not to be had; name a step, as `.steps.search.output`"},
		"{{ (.steps).secret }}":                        {1, 5, "`.steps` alone is not to be had; name a step, as `.steps.search.output`"},
		"{{ json .steps }}":                            {1, 9, "`.steps` alone is not to be had; name a step, as `.steps.search.output`"},
		"{{ get `secret` .steps }}":                    {1, 17, "`.steps` alone is not to be had; name a step, as `.steps.search.output`"},
		"{{ index .steps .query }}":                    {1, 17, "a step is to be named by a text, as in `index .steps \"NAME\"`"},
		"{{ index $.steps (trim `search`) }}":          {1, 19, "a step is to be named by a text, as in `index .steps \"NAME\"`"},
		"{{ `search` | index .steps }}":                {1, 21, "`.steps` alone is not to be had; name a step, as `.steps.search.output`"},
		"{{ index .steps `secret` }}":                  {1, 17, "`.steps.secret` is no step that this one depends on (`depends_on`)"},
		"{{ index .steps `search` `secret` }}":         {1, 17, "a step has `output`, `json`, `skipped`, `failed`, but no `secret`"},
		"{{ . }}":                                      {1, 4, "`.` alone is not to be had here; name what is meant, as `.query`"},
		"{{ json . }}":                                 {1, 9, "`.` alone is not to be had here; name what is meant, as `.query`"},
		"{{ (.).steps }}":                              {1, 5, "`.` alone is not to be had here; name what is meant, as `.query`"},
		"{{ with . }}{{ .steps }}{{ end }}":            {1, 9, "`.` alone is not to be had here; name what is meant, as `.query`"},
		"{{ $ }}":                                      {1, 4, "`$` alone is not to be had; name what is meant, as `$.query`"},
		"{{ range $ }}{{ end }}":                       {1, 10, "`$` alone is not to be had; name what is meant, as `$.query`"},
		"{{ range .item }}{{ with $ }}{{ .steps.secret }}{{ end }}{{ end }}": {1, 26, "`$` alone is not to be had; name what is meant, as `$.query`"},
		"{{ $ := .item }}":                         {1, 4, "`$` cannot be given another value"},
		"{{ $ = .item }}":                          {1, 4, "`$` cannot be given another value"},
		"{{ define `a` }}b{{ end }}":               {1, 17, "`define` and `block` are not to be had"},
		"{{ define `text` }}b{{ end }}":            {1, 20, "`define` and `block` are not to be had"},
		"{{ block `a` .query }}b{{ end }}":         {1, 23, "`define` and `block` are not to be had"},
		"{{ template `a` }}":                       {1, 13, "`template` is not to be had"},
		"{{ template `text` .query }}":             {1, 13, "`template` is not to be had"},
		"{{ range 5 }}a{{ end }}":                  {1, 10, "`range` goes over a list or an object, not over a number"},
		"{{ range $i := (1000000000) }}a{{ end }}": {1, 17, "`range` goes over a list or an object, not over a number"},
		"{{ 1i }}":                       {1, 4, "`1i` is too large, or no number that JSON has"},
		"{{ .query 1 }}":                 {1, 4, "`.query` is no function"},
		"{{ .item.name .query }}":        {1, 4, "`.item.name` is no function"},
		"{{ 1 | .query }}":               {1, 8, "`.query` is no function"},
		"{{ truncate 5 }}":               {1, 4, "`truncate` is used as `truncate N TEXT`"},
		"{{ .query | truncate }}":        {1, 13, "`truncate` is used as `truncate N TEXT`"},
		"{{ json .query 1 }}":            {1, 4, "`json` is used as `json VALUE`"},
		"{{ join trim .item }}":          {1, 9, "`trim` is used as `trim TEXT`"},
		"{{ trunc 5 .query }}":           {1, 4, fmt.Sprintf(only, "trunc") + "; did you mean \"truncate\"?"},
		"{{ _print 1 }}":                 {1, 4, fmt.Sprintf(only, "_print")},
		"{{ _each 1 .item }}":            {1, 4, fmt.Sprintf(only, "_each")},
		"\xff":                           {0, 0, "the template is not UTF-8"},
		strings.Repeat("a", MaxSource+1): {0, 0, "the template is longer than 65536 bytes"},
	} {
		_, err := ParseTemplate(text, testNames)
		assert.Equal(t, &want, err, text)
	}
	_, err := ParseTemplate("{{ .steps.search.output }}", Names{})
	require.EqualError(t, err, "`.steps` is not to be had: the step depends on no other (`depends_on`)")
	_, err = ParseTemplate("{{ .item }}", Names{})
	require.EqualError(t, err, "`.item` is to be had in a map step only")
}

// Of text/template's own functions none is there that is not ours or harmless.
func TestNoOtherFunctions(t *testing.T) {
	t.Parallel()
	harmless := []string{"and", "or", "not", "index", "len", "eq", "ne", "lt", "le", "gt", "ge"}
	builtins := []string{"and", "call", "html", "index", "slice", "js", "len", "not", "or", "print", "printf", "println", "urlquery", "eq", "ge", "gt", "le", "lt", "ne"}
	for _, name := range append(builtins, "env", "readFile", "exec", "include", "tpl", "fail", "lookup", "now", "panic", "recover", "close") {
		if slices.Contains(harmless, name) {
			continue
		}
		for _, text := range []string{"{{ %s }}", "{{ %s .query }}", "{{ .query | %s }}", "{{ json (%s .query) }}", "{{ if %s .query }}{{ end }}", "{{ range %s .query }}{{ end }}", "{{ $x := %s .query }}", "{{ trim %s }}", "{{ (%s .query).x }}"} {
			_, err := ParseTemplate(fmt.Sprintf(text, name), testNames)
			require.ErrorContains(t, err, "there is no function `"+name+"`", text)
		}
	}
}

func TestTemplateFailures(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]Error{
		"a\n {{ .item.fax }}":                           {2, 10, "`.item.fax`: there is no \"fax\""},
		"{{ .steps.review.json.total }}":                {1, 21, "`.steps.review.json.total`: it is null, and has no \"total\""},
		"{{ .item.phone.code }}":                        {1, 14, "`.item.phone.code`: it is null, and has no \"code\""},
		"{{ .item.name.Len }}":                          {1, 13, "`.item.name.Len`: only an object has fields"},
		"{{ .steps.search.json.total.String }}":         {1, 27, "`.steps.search.json.total.String`: only an object has fields"},
		"{{ range .steps.search.json.total }}{{ end }}": {1, 23, "`range` goes over a list or an object only"},
		"{{ range len .query }}{{ end }}":               {1, 10, "`range` goes over a list or an object only"},
		"{{ range .index }}{{ end }}":                   {1, 10, "`range` goes over a list or an object only"},
		"{{ range $i, $x := .steps.search.json.tags }}{{ range $i }}{{ end }}{{ end }}": {1, 55, "`range` goes over a list or an object only"},
		"{{ range .query }}{{ end }}":                   {1, 10, "`range` goes over a list or an object only"},
		"{{ $n := 1000000000 }}{{ range $n }}{{ end }}": {1, 32, "`range` goes over a list or an object only"},
		"{{ index .steps.search.json.tags 2 }}":         {1, 4, "`index .steps.search.json.tags 2`: the list is shorter than that"},
		"{{ index .steps.search.json.tags -1 }}":        {1, 4, "`index .steps.search.json.tags -1`: a number where a whole number from 0 is needed"},
		"{{ index .item .query }}":                      {1, 4, "`index .item .query`: there is no such field; `get` gives null then"},
		"{{ index .query 1 }}":                          {1, 4, "`index .query 1`: a text where a list or an object is needed"},
		"{{ truncate 1.5 .query }}":                     {1, 4, "`truncate 1.5 .query`: a number where a whole number from 0 is needed"},
		"{{ upper .item }}":                             {1, 4, "`upper .item`: an object where a text is needed"},
		"{{ join `,` .query }}":                         {1, 4, "`join `,` .query`: a text where a list is needed"},
		"{{ indent 101 .query }}":                       {1, 4, "`indent 101 .query`: the text is indented by 100 at most"},
		"{{ lt .query 1 }}":                             {1, 4, "`lt .query 1`: a text and a number cannot be put in an order"},
		"{{ eq .item .item }}":                          {1, 4, "`eq .item .item`: lists and objects cannot be compared"},
		"{{ get `a` .query }}":                          {1, 4, "`get `a` .query`: a text where an object is needed"},
		"{{ len .steps.review.skipped }}":               {1, 4, "`len .steps.review.skipped`: true or false has no length"},
	} {
		made, err := ParseTemplate(text, testNames)
		require.NoError(t, err, text)
		got, err := made.Execute(t.Context(), testScope(t))
		require.Empty(t, got)
		told, ok := errors.AsType[*Error](err)
		require.True(t, ok, text)
		assert.Equal(t, want.Message, told.Message, text)
		require.Equal(t, want.Line, told.Line, text)
		require.NotZero(t, told.Column, text)
	}
}

// hostile are outputs that would be something else, were they taken for more than texts.
var hostile = []string{
	"{{ .steps.secret.output }}", "{{ call .query }}", "}}{{ printf `x` }}{{", "{{ define `text` }}x{{ end }}", "{{/*", "*/}}", "{{", "}}", "{{ range 1000000000 }}{{ end }}",
	`" + steps.secret.output + "`, `') || true || ('`, "${steps.secret.output}", "$(id)", "%s%n", "\x00", "\\", `\u007b\u007b`, "<script>", "\r\nX-A: b", "steps.secret.output",
	"`", "{env.HOME}", "{file./etc/passwd}", "{{`{{`}}",
}

// What comes from callers and models stays what it is, wherever it is filled in.
func TestOutputsAreNoTemplates(t *testing.T) {
	t.Parallel()
	made, err := ParseTemplate("{{ .query }}|{{ .steps.search.output }}|{{ .steps.search.json.a }}|{{ .item }}|{{ range $k, $v := .steps.search.json }}{{ $v | trim | printed }}{{ end }}", testNames)
	require.Nil(t, made)
	require.ErrorContains(t, err, "printed")
	made, err = ParseTemplate("{{ .query }}|{{ .steps.search.output }}|{{ .steps.search.json.a }}|{{ .item }}|{{ range $k, $v := .steps.search.json }}{{ $v }}{{ end }}|{{ json .query }}", testNames)
	require.NoError(t, err)
	for _, text := range hostile {
		s := &Scope{
			Query: text, Item: text,
			// A step that is not among the names is not there for the template, even if it were here.
			Steps: map[string]Output{"search": {Text: text, JSON: map[string]any{"a": text}}, "secret": {Text: "SECRET"}},
		}
		got, err := made.Execute(t.Context(), s)
		require.NoError(t, err)
		parts := strings.Join([]string{text, text, text, text, text}, "|")
		quoted, ok := strings.CutPrefix(got, parts+"|")
		require.True(t, ok, got)
		var again string
		require.NoError(t, json.Unmarshal([]byte(quoted), &again))
		require.Equal(t, text, again)
	}
}

// An error tells where and of which kind, and not of what values.
func TestErrorsHoldNoValues(t *testing.T) {
	t.Parallel()
	const secret = "SECRET"
	s := &Scope{
		Query: secret, Item: map[string]any{secret: secret, "n": 5550123.0},
		Steps: map[string]Output{"search": {Text: secret, JSON: map[string]any{"a": secret, "l": []any{secret}}}, "review": {}},
	}
	for _, text := range []string{
		"{{ index .item .query .query }}", "{{ index .steps.search.json .query }}", "{{ .item.x }}", "{{ .item.n.x }}", "{{ range .query }}{{ end }}", "{{ range .item.n }}{{ end }}",
		"{{ truncate .query .query }}", "{{ indent .item.n .query }}", "{{ join .query .query }}", "{{ lt .query .item }}", "{{ index .steps.search.json.l 4 }}", "{{ .steps.search.json.a.b }}",
		"{{ eq .item 1 }}", "{{ split .item .query }}", "{{ with .query }}{{ .x }}{{ end }}", "{{ range .steps.search.json.l }}{{ .x }}{{ end }}", "{{ first .query .item }}",
	} {
		made, err := ParseTemplate(text, testNames)
		require.NoError(t, err, text)
		_, err = made.Execute(t.Context(), s)
		require.Error(t, err, text)
		require.NotContains(t, err.Error(), secret, text)
		require.NotContains(t, err.Error(), "555", text)
	}
}

func TestURLTemplates(t *testing.T) {
	t.Parallel()
	made, err := ParseURLTemplate("https://a.example/v1/{{ .query }}?q={{ .item.name }}&n={{ .index }}", testNames)
	require.NoError(t, err)
	s := testScope(t)
	s.Query = "../a b/c?x=y#z&é%2e+;:@\r\n\\"
	got, err := made.Execute(t.Context(), s)
	require.NoError(t, err)
	require.Equal(t, "https://a.example/v1/..%2Fa%20b%2Fc%3Fx%3Dy%23z%26%C3%A9%252e%2B%3B%3A%40%0D%0A%5C?q=Zo%C3%AB&n=2", got)
	_, err = ParseURLTemplate("{{ .nothing }}", testNames)
	require.Error(t, err)
}

// bombs are templates that would take for ever, or all memory.
var bombs = map[string]string{
	"nested ranges":    "{{ range .item.l }}{{ range $.item.l }}{{ range $.item.l }}{{ range $.item.l }}{{ end }}{{ end }}{{ end }}{{ end }}",
	"a growing text":   "{{ $x := .query }}{{ range .item.l }}{{ $x = replace `a` `aa` $x }}{{ end }}",
	"a long text":      "{{ range .item.l }}{{ range $.item.l }}{{ $.query }}{{ end }}{{ end }}",
	"large capitals":   "{{ range .item.l }}{{ range $.item.l }}{{ $x := upper $.query }}{{ end }}{{ end }}",
	"many parts":       "{{ range .item.l }}{{ $x := split `` $.query }}{{ end }}",
	"a long join":      "{{ range .item.l }}{{ $x := join $.query $.item.l }}{{ end }}",
	"a long JSON":      "{{ range .item.l }}{{ range $.item.l }}{{ $x := json $.item.l }}{{ end }}{{ end }}",
	"many comparisons": "{{ range .item.l }}{{ range $.item.l }}{{ $x := contains `z` $.item.l }}{{ end }}{{ end }}",
	"a large body":     "{{ range .item.l }}{{ range $.item.l }}" + strings.Repeat("{{ if $.query }}{{ end }}", 2000) + "{{ end }}{{ end }}",
	"large indents":    "{{ range .item.l }}{{ $x := replace `a` `\n` $.query | indent 100 }}{{ end }}",
}

func TestTemplatesEnd(t *testing.T) {
	t.Parallel()
	list := make([]any, 3000)
	for i := range list {
		list[i] = float64(i)
	}
	s := &Scope{Query: strings.Repeat("a", 100_000), Item: map[string]any{"l": list}}
	for name, text := range bombs {
		made, err := ParseTemplate(text, testNames)
		require.NoError(t, err, name)
		began := time.Now()
		_, err = made.Execute(t.Context(), s)
		require.Error(t, err, name)
		require.Less(t, time.Since(began), time.Minute, name) // a quarter of a second on a machine at rest
		t.Logf("%-18s %12v %v", name, time.Since(began), err)
	}
	for name, text := range map[string]string{
		"blocks":      strings.Repeat("{{ if .query }}", maxDepth+1) + strings.Repeat("{{ end }}", maxDepth+1),
		"parentheses": "{{ json " + strings.Repeat("(json ", maxDepth+1) + ".query" + strings.Repeat(")", maxDepth+1) + " }}",
		"else":        "{{ if .query }}" + strings.Repeat("{{ else if .query }}", maxDepth+1) + "{{ end }}",
	} {
		_, err := ParseTemplate(text, testNames)
		require.ErrorContains(t, err, "nested more than", name)
	}
	_, err := ParseTemplate("{{ if .query }}"+strings.Repeat("{{ else if .query }}", 40)+"{{ end }}", testNames)
	require.NoError(t, err)
}

func TestLongTexts(t *testing.T) {
	t.Parallel()
	made, err := ParseTemplate("{{ .query }}", Names{})
	require.NoError(t, err)
	got, err := made.Execute(t.Context(), &Scope{Query: strings.Repeat("a", MaxText)})
	require.NoError(t, err)
	require.Len(t, got, MaxText)
	_, err = made.Execute(t.Context(), &Scope{Query: strings.Repeat("a", MaxText+1)})
	require.ErrorContains(t, err, "longer than 1048576 bytes")
}

func TestTemplatesEndWithTheirContext(t *testing.T) {
	t.Parallel()
	made, err := ParseTemplate("a{{ .query }}", Names{})
	require.NoError(t, err)
	gone := errors.New("gone")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(gone)
	_, err = made.Execute(ctx, &Scope{})
	require.Equal(t, gone, err)
}

func TestTemplatesAreSharedSafely(t *testing.T) {
	t.Parallel()
	made, err := ParseTemplate("{{ range .steps.search.json.tags }}{{ . }}{{ $.query }}{{ end }}", testNames)
	require.NoError(t, err)
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			s := testScope(t)
			s.Query = fmt.Sprint(i)
			for range 20 {
				got, err := made.Execute(t.Context(), s)
				if err != nil || got != fmt.Sprintf("b%da%d", i, i) {
					t.Errorf("%q %v", got, err)
				}
			}
		})
	}
	wg.Wait()
}
