package pipeline

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/financecommander/tollgate/internal/pipeline/expr"
)

// compile makes a step's templates, expressions and schema ready.
func (c *checker) compile(step *PlanStep) {
	names := expr.Names{Steps: step.DependsOn}
	if m := step.Map; m != nil {
		step.MapOver = c.expression(m.Over, expr.List, names, at("steps", step.Index, "map", "over"))
	}
	step.SkipCondition = c.expression(step.SkipIf, expr.Bool, names, at("steps", step.Index, "skip_if"))
	after := expr.Names{Steps: append(slices.Clone(step.DependsOn), step.Name)}
	step.StopCondition = c.expression(step.StopIf, expr.Bool, after, at("steps", step.Index, "stop_if"))

	names.Item = step.Map != nil
	switch step.Kind() {
	case KindModel:
		c.compileModel(step, names)
	case KindHTTP:
		c.compileHTTP(step, names)
	case KindTransform:
		step.TransformExpr = c.expression(step.Transform, expr.Value, names, at("steps", step.Index, "transform"))
	}
}

func (c *checker) compileModel(step *PlanStep, names expr.Names) {
	// The default prompt is made of names, and can be wrong only where they are.
	if c.says(step.Index, "prompt") || len(c.found.list) == 0 {
		step.PromptTemplate = c.template(step.Prompt, names, at("steps", step.Index, "prompt"))
	}
	if step.Format == FormatJSON || len(step.Schema) > 0 {
		step.AnswerSchema = c.answerSchema(step)
	}
}

func (c *checker) answerSchema(step *PlanStep) *AnswerSchema {
	if len(step.Schema) == 0 {
		return &AnswerSchema{}
	}
	path := at("steps", step.Index, "schema")
	where, _, node := c.place(path)
	document := c.value(node, where)
	if count(document) > maxSchema {
		c.complain(path, "the schema has more than %d values", maxSchema)
		return nil
	}
	if outside, found := outsideRef(document, nil); found {
		c.complain(append(path, outside...), "%s", inside(outside))
		return nil
	}
	schema, tokens, message := compileAnswer(document)
	if message != "" {
		c.complain(append(path, tokens...), "this is no JSON Schema (2020-12): %s", message)
	}
	return schema
}

// maxSchema is how many values a schema may have; to make one ready takes time that
// grows with their square.
const maxSchema = 2000

// count is how many values there are in one.
func count(v any) int {
	n := 1
	switch v := v.(type) {
	case map[string]any:
		for _, below := range v {
			n += count(below)
		}
	case []any:
		for _, below := range v {
			n += count(below)
		}
	}
	return n
}

// outsideRef finds a reference that leaves the schema.
func outsideRef(v any, path []string) (tokens []string, found bool) {
	switch v := v.(type) {
	case map[string]any:
		for _, name := range slices.Sorted(maps.Keys(v)) {
			below := append(slices.Clone(path), name)
			text, isText := v[name].(string)
			switch {
			case isText && (name == "$ref" && !strings.HasPrefix(text, "#") || name == "$dynamicRef"):
				return below, true
			case isText && name == "$schema" && strings.TrimSuffix(text, "#") != metaSchema:
				return below, true
			}
			if tokens, found = outsideRef(v[name], below); found {
				return tokens, true
			}
		}
	case []any:
		for i := range v {
			if tokens, found = outsideRef(v[i], append(slices.Clone(path), at(i)...)); found {
				return tokens, true
			}
		}
	}
	return nil, false
}

const metaSchema = "https://json-schema.org/draft/2020-12/schema"

// inside says what a reference must be.
func inside(path []string) string {
	switch path[len(path)-1] {
	case "$schema":
		return fmt.Sprintf("must be %q", metaSchema)
	case "$dynamicRef": // where it leads is known only when an answer is checked
		return `is not to be had here; use "$ref"`
	}
	return `must refer to something in the schema itself, as in "#/$defs/name"`
}

// expression makes one ready; nil where there is none, or it is at fault.
func (c *checker) expression(text string, want expr.Type, names expr.Names, path []string) *expr.Expression {
	if text == "" {
		return nil
	}
	e, err := expr.ParseExpression(text, want, names)
	if err != nil {
		c.complainInside(path, err)
		return nil
	}
	return e
}

func (c *checker) template(text string, names expr.Names, path []string) *expr.Template {
	t, err := expr.ParseTemplate(text, names)
	if err != nil {
		c.complainInside(path, err)
		return nil
	}
	return t
}

// complainInside tells of a fault at a place inside a text.
func (c *checker) complainInside(tokens []string, err error) {
	if c.found.full() {
		return
	}
	if several, ok := errors.AsType[expr.Errors](err); ok {
		for _, one := range several {
			c.complainInside(tokens, one)
		}
		return
	}
	path, _, node := c.place(tokens)
	if c.found.isBroken(path) {
		return
	}
	line, column, where := node.Line, node.Column, ""
	if inside, ok := errors.AsType[*expr.Error](err); ok && inside.Line > 0 {
		var exact bool
		if line, column, exact = c.inner(node, inside.Line, inside.Column); !exact {
			where = fmt.Sprintf(" (line %d of the text)", inside.Line)
		}
	}
	c.found.at(line, column, path, "%s%s", err, where)
}

func (c *checker) compileHTTP(step *PlanStep, names expr.Names) {
	h, path := step.HTTP, at("steps", step.Index, "http")
	below := func(tokens ...any) []string { return append(slices.Clone(path), at(tokens...)...) }
	request := &HTTPTemplate{Method: h.Method, Query: map[string]*expr.Template{}, Headers: map[string]*expr.Template{}}
	if h.URL != "" {
		var fault string
		if request.Host, fault = literalHost(h.URL); fault != "" {
			c.complain(below("url"), "%s", fault)
		}
		t, err := expr.ParseURLTemplate(h.URL, names)
		if err != nil {
			c.complainInside(below("url"), err)
		}
		request.URL = t
	}
	for _, name := range c.members(h.Query, below("query")) {
		request.Query[name] = c.template(h.Query[name], names, below("query", name))
	}
	for _, name := range c.members(h.Headers, below("headers")) {
		switch {
		case !headerName.MatchString(name):
			c.complain(below("headers", name), "this is no name of a header")
		case slices.Contains(ownHeaders, strings.ToLower(name)):
			c.complain(below("headers", name), "this header is the gateway's own")
		}
		request.Headers[name] = c.template(h.Headers[name], names, below("headers", name))
	}
	if h.Body != "" {
		request.Body = c.template(h.Body, names, below("body"))
	}
	names.Response = true
	request.Pick = c.expression(h.Pick, expr.Value, names, below("pick"))
	step.HTTPRequest = request
}

// members are the names in a mapping, unless there are too many to look at each.
func (c *checker) members(m map[string]string, tokens []string) []string {
	if path, _, _ := c.place(tokens); c.found.isBroken(path) {
		return nil
	}
	return slices.Sorted(maps.Keys(m))
}

// ownHeaders say how a request travels, which is not a definition's to say.
var ownHeaders = []string{
	"host", "content-length", "connection", "keep-alive", "proxy-authorization", "proxy-connection", "te", "trailer",
	"transfer-encoding", "upgrade", "accept-encoding", "expect",
}

// headerName is as the schema has it.
var headerName = regexp.MustCompile("^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}$")

var origin = regexp.MustCompile(`^(?i:https?)://([^/?#\\]*)([/?#]|$)`)

// literalHost is the host of a URL's template, or what is wrong with the URL: it
// must be said to its end before anything is filled in.
func literalHost(text string) (host, fault string) {
	literal, _, filled := strings.Cut(text, "{{")
	match := origin.FindStringSubmatch(literal)
	switch {
	case !strings.Contains(strings.ToLower(literal), "://") || !strings.HasPrefix(strings.ToLower(literal), "http"):
		return "", `must begin with "https://" or "http://", written out`
	case strings.ContainsAny(literal, "\\ \t\r\n"):
		return "", `must have its host written out, and nothing odd in it`
	case match == nil || filled && match[2] == "":
		return "", `must have its host written out, and a "/", before anything is filled in`
	case strings.Contains(match[1], "@"):
		return "", "must not have a user name or password"
	}
	u, err := url.Parse("https://" + match[1])
	if err != nil || u.Hostname() == "" || strings.ContainsAny(match[1], " \t\r\n%") {
		return "", "must have a valid host"
	}
	return strings.ToLower(u.Host), ""
}
