package expr

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"text/template"
	"text/template/parse"
	"unicode/utf8"
)

// The bounds.
const (
	// MaxText is how long a text that a template makes may be, in bytes; of a value
	// that an expression gives, its JSON.
	MaxText = 1 << 20
	// MaxSource is how long a template may be, in bytes.
	MaxSource = 64 << 10
)

// templateName is what errors of text/template call every template.
const templateName = "text"

// Template makes texts. It is safe for concurrent use.
type Template struct {
	text   string
	tree   *parse.Tree
	escape bool
}

// ParseTemplate reads a template; the error is an *Error, or [Errors].
func ParseTemplate(text string, names Names) (*Template, error) {
	switch {
	case len(text) > MaxSource:
		return nil, &Error{Message: fmt.Sprintf("the template is longer than %d bytes", MaxSource)}
	case !utf8.ValidString(text):
		return nil, &Error{Message: "the template is not UTF-8"}
	}
	tree, trees := parse.New(templateName), map[string]*parse.Tree{}
	tree.Mode = parse.SkipFuncCheck // our own check says more
	if _, err := tree.Parse(text, "{{", "}}", trees); err != nil {
		return nil, syntaxError(err)
	}
	c := checker{text: text, names: names}
	for _, other := range trees {
		if other != tree {
			return nil, c.at(other.Root, "`define` and `block` are not to be had")
		}
	}
	if err := c.list(tree.Root, place{root: true}); err != nil {
		return nil, err
	}
	if len(c.unknown) > 0 {
		return nil, c.unknown.err()
	}
	instrument(tree, tree.Root)
	return &Template{text: text, tree: tree}, nil
}

// ParseURLTemplate reads a template of a URL: of each value that is put into it
// all but letters, digits and "-._~" is escaped, so that it stays one part of a
// path or one value of a query.
func ParseURLTemplate(text string, names Names) (*Template, error) {
	t, err := ParseTemplate(text, names)
	if err == nil {
		t.escape = true
	}
	return t, err
}

// syntaxText takes an error of the parser apart.
var syntaxText = regexp.MustCompile(`(?s)^template: ` + templateName + `:(\d+): (.*)$`)

func syntaxError(err error) *Error {
	found := syntaxText.FindStringSubmatch(err.Error())
	if found == nil {
		return &Error{Message: "the template cannot be read"}
	}
	line, _ := strconv.Atoi(found[1])
	message := found[2]
	if message == "unexpected EOF" {
		message = "a block has no `{{ end }}`"
	}
	return &Error{Line: line, Message: message}
}

// Execute makes the text.
func (t *Template) Execute(ctx context.Context, s *Scope) (text string, err error) {
	r := &run{ctx: ctx, left: budget, escape: t.escape}
	made, err := template.New(templateName).Option("missingkey=error").Funcs(r.funcs()).AddParseTree(templateName, t.tree)
	if err != nil {
		return "", &Error{Message: "the template cannot be made ready"}
	}
	if err := made.Execute(r, s.data()); err != nil {
		return "", t.executeError(ctx, err)
	}
	return r.out.String(), nil
}

// data is a scope as templates see it: maps, lists, texts and numbers, of which
// none has a method.
func (s *Scope) data() map[string]any {
	steps := make(map[string]any, len(s.Steps))
	for name, o := range s.Steps {
		steps[name] = map[string]any{"output": o.Text, "json": o.JSON, "skipped": o.Skipped, "failed": o.Failed}
	}
	// Numbers are what JSON's are, which range does not take.
	data := map[string]any{"query": s.Query, "steps": steps, "item": s.Item, "index": float64(s.Index)}
	if s.Response != nil {
		data["response"] = s.Response
	}
	return data
}

// failureText takes an error of the execution apart.
var failureText = regexp.MustCompile(`(?s)^template: ` + templateName + `:(\d+):(\d+): executing "` + templateName + `" at <(.*?)>: (.*)$`)

// executeError says what went wrong. Errors of text/template may hold values, so
// only those parts of them are kept that come from the template itself.
func (t *Template) executeError(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	ours, isOurs := errors.AsType[*Error](err)
	found := failureText.FindStringSubmatch(err.Error())
	if found == nil {
		if isOurs {
			return ours
		}
		return &Error{Message: "the template cannot be executed"}
	}
	e := &Error{Message: reason(found[4])}
	if isOurs {
		e.Message = ours.Message
	}
	e.Line, _ = strconv.Atoi(found[1])
	column, _ := strconv.Atoi(found[2])
	e.Column = t.column(e.Line, column)
	if where := found[3]; !strings.HasPrefix(where, internal) && utf8.RuneCountInString(where) <= 100 {
		e.Message = "`" + strings.ReplaceAll(where, "%%", "%") + "`: " + e.Message
	}
	return e
}

// column counts characters from 1 where text/template counts bytes from 0.
func (t *Template) column(line, offset int) int {
	lines := strings.SplitN(t.text, "\n", line+1)
	if line < 1 || line > len(lines) {
		return 0
	}
	return 1 + utf8.RuneCountInString(lines[line-1][:min(offset, len(lines[line-1]))])
}

// reasons are what text/template's own errors begin with, and what is said of them.
var reasons = []struct{ theirs, ours string }{
	{"map has no entry for key ", "there is no "},
	{"nil data; no entry for key ", "it is null, and has no "},
}

// A field's name stands in the template, quoted.
var fieldName = regexp.MustCompile(`^"[A-Za-z0-9_]{1,100}"$`)

var fieldOfNull = regexp.MustCompile(`^nil pointer evaluating interface \{\}\.([A-Za-z0-9_]{1,100})$`)

func reason(text string) string {
	for _, r := range reasons {
		if field, ok := strings.CutPrefix(text, r.theirs); ok && fieldName.MatchString(field) {
			return r.ours + field
		}
	}
	if found := fieldOfNull.FindStringSubmatch(text); found != nil {
		return "it is null, and has no \"" + found[1] + "\""
	}
	if strings.HasPrefix(text, "can't evaluate field") {
		return "only an object has fields"
	}
	return "that cannot be done with a value of this kind"
}
