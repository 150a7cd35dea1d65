package wire

import (
	"bytes"
	"errors"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/financecommander/tollgate/internal/jsonedit"
	"github.com/financecommander/tollgate/internal/llm"
)

// Reader reads a client's body in one strict pass and knows at each point the
// path at which it is, so that the first thing wrong is told in the client's own
// words. Members that are null count as absent. After an error every loop ends
// and every method gives its zero value; ask [Reader.End] once, when done.
type Reader struct {
	s     jsonedit.Scanner
	steps []step
	room  [12]step // backs steps of the usual depth
	err   *llm.Error
	names [][]byte // of the members so far of the objects being read
	texts *Texts   // where texts go
	outer *Reader  // the reader of the body that this one reads a value of
	inner *Reader  // what At gives, kept for the next time
}

// step is one step of a path: a member's name, or an element's index.
type step struct {
	name  []byte
	index int // -1 for a member
}

// NewReader returns a reader at the start of a body.
func NewReader(body []byte) *Reader {
	r := &Reader{s: jsonedit.NewScanner(body), texts: NewTexts(len(body))}
	r.steps = r.room[:0]
	return r
}

// End gives the first error, if any, and checks that nothing is left.
func (r *Reader) End() error {
	if r.err != nil {
		return r.err
	}
	if err := r.s.End(); err != nil {
		return RequestError(err)
	}
	return nil
}

// Failed says whether something was wrong.
func (r *Reader) Failed() bool { return r.err != nil || r.s.Failed() }

// Kind is the kind of the next value.
func (r *Reader) Kind() jsonedit.Kind { return r.s.Kind() }

// Path is where the reader is: "messages[3].content[0].type".
func (r *Reader) Path() string { return r.PathOf("") }

// PathOf is the path of a member of the object at hand.
func (r *Reader) PathOf(member string) string {
	var path strings.Builder
	for _, s := range r.steps {
		if s.index >= 0 {
			path.WriteString("[" + strconv.Itoa(s.index) + "]")
			continue
		}
		addName(&path, strings.ToValidUTF8(cut(string(s.name), MaxWord), "\uFFFD"))
	}
	if member != "" {
		addName(&path, member)
	}
	return path.String()
}

func addName(path *strings.Builder, name string) {
	if path.Len() > 0 {
		path.WriteByte('.')
	}
	path.WriteString(name)
}

// Fail notes that something is wrong at a member of the object at hand ("" for
// the value at hand itself). message goes on after the path: "is required".
func (r *Reader) Fail(member, message string) {
	path := r.PathOf(member)
	err := Invalid(path, message)
	if path == "" {
		err.Message = "the request body " + message
	}
	r.FailWith(err)
}

// FailWith notes an error, unless there was one before.
func (r *Reader) FailWith(err *llm.Error) {
	if r.err == nil {
		r.err = err
		r.s = jsonedit.NewScanner(nil)
	}
	if r.outer != nil {
		r.outer.FailWith(err)
	}
}

// Value takes any value and gives its bytes as they stand in the body, to be
// read by At or Unquote.
func (r *Reader) Value() []byte { return r.s.Skip() }

// At reads a value that Value took, of a member of the object at hand ("" for
// the value at hand itself). What is wrong with it is wrong with the body. The
// reader is good until the next call of At.
func (r *Reader) At(member string, value []byte) *Reader {
	inner := r.inner
	if inner == nil {
		inner = &Reader{outer: r, texts: r.texts}
		r.inner = inner
	}
	inner.s, inner.err = jsonedit.NewScanner(value), r.err
	inner.steps, inner.names = append(inner.room[:0], r.steps...), inner.names[:0]
	if member != "" {
		inner.steps = append(inner.steps, step{name: []byte(member), index: -1})
	}
	return inner
}

// Pos is where the next value begins, and Since what stands between there and
// the end of the value just taken.
func (r *Reader) Pos() int { return r.s.Pos() }

// Since gives a copy of the bytes from a position to the end of the value just
// taken. Names that come twice in it are refused.
func (r *Reader) Since(start int) []byte { return r.checked(r.s.Since(start)) }

// Slice is Since without the copy and the check, for large values whose members
// were walked over: the bytes are the body's own.
func (r *Reader) Slice(start int) []byte { return r.s.Since(start) }

// want notes that the value at hand is not what it must be. What ends too early
// or is no JSON is left to End.
func (r *Reader) want(what string) {
	if r.err == nil && r.s.Kind() == jsonedit.KindInvalid {
		r.s.Skip()
		return
	}
	r.Fail("", "must be "+what)
}

// Members loops over the members of an object, all but those that are null.
// Names that come twice are refused, since readers differ in which of the two
// they take.
func (r *Reader) Members(yield func(name []byte) bool) {
	if r.s.Kind() != jsonedit.KindObject {
		r.want("an object")
		return
	}
	at, first := len(r.steps), len(r.names)
	r.steps = append(r.steps, step{index: -1})
	var many map[string]struct{}
	for name := range r.s.Members {
		r.steps[at].name = name
		if r.twice(first, name, &many) {
			r.Fail("", "comes twice")
		}
		if r.err != nil || r.s.Kind() != jsonedit.KindNull && !yield(name) || r.err != nil {
			return
		}
	}
	r.steps, r.names = r.steps[:at], r.names[:first]
}

// Elements loops over the elements of an array by index.
func (r *Reader) Elements(yield func(index int) bool) {
	if r.s.Kind() != jsonedit.KindArray {
		r.want("an array")
		return
	}
	at, index := len(r.steps), 0
	r.steps = append(r.steps, step{})
	for range r.s.Elements {
		r.steps[at].index = index
		if !yield(index) || r.err != nil {
			return
		}
		index++
	}
	r.steps = r.steps[:at]
}

// Text takes a string.
func (r *Reader) Text() string {
	if r.s.Kind() != jsonedit.KindString {
		r.want("a string")
		return ""
	}
	return r.texts.Take(&r.s)
}

// Unquote gives what a string says that Value took, of a member of the object at
// hand ("" for the value at hand itself).
func (r *Reader) Unquote(member string, quoted []byte) string {
	if len(quoted) < len(`""`) || quoted[0] != '"' {
		if quoted != nil {
			r.Fail(member, "must be a string")
		}
		return ""
	}
	return r.texts.Unquote(quoted)
}

// Word takes a string that must be one of some.
func (r *Reader) Word(words ...string) string {
	if r.s.Kind() != jsonedit.KindString {
		r.want("a string")
		return ""
	}
	word := r.s.Skip()
	if bytes.IndexByte(word, '\\') >= 0 {
		word = jsonedit.AppendQuote(nil, jsonedit.AppendText(nil, word))
	}
	for _, w := range words {
		if len(word) == len(w)+2 && string(word[1:len(word)-1]) == w {
			return w
		}
	}
	r.Fail("", "must be one of "+strings.Join(words, ", "))
	return ""
}

// Texts takes an array of strings.
func (r *Reader) Texts() []string {
	var texts []string
	for range r.Elements {
		texts = append(texts, r.Text())
	}
	return texts
}

// Int takes an integer.
func (r *Reader) Int() int64 {
	if r.s.Kind() == jsonedit.KindNumber {
		n, ok := jsonedit.ParseInt(r.s.Skip())
		if !ok {
			r.Fail("", "must be an integer")
		}
		return n
	}
	r.want("an integer")
	return 0
}

// Count takes an integer that is not negative.
func (r *Reader) Count() int64 {
	n := r.Int()
	if n < 0 {
		r.Fail("", "must not be negative")
	}
	return n
}

// Float takes a number.
func (r *Reader) Float() float64 {
	if r.s.Kind() == jsonedit.KindNumber {
		f, err := strconv.ParseFloat(string(r.s.Skip()), 64)
		if err != nil {
			r.Fail("", "must be a number")
		}
		return f
	}
	r.want("a number")
	return 0
}

// Bool takes true or false.
func (r *Reader) Bool() bool {
	if k := r.s.Kind(); k != jsonedit.KindTrue && k != jsonedit.KindFalse {
		r.want("a boolean")
		return false
	}
	return r.s.Bool()
}

// Raw takes any value and gives a copy of its bytes. Names that come twice in it
// are refused.
func (r *Reader) Raw() []byte {
	return r.checked(r.s.Skip())
}

func (r *Reader) checked(value []byte) []byte {
	value = bytes.Clone(value)
	if len(value) > 0 && (value[0] == '{' || value[0] == '[') && !jsontext.Value(value).IsValid(jsontext.AllowInvalidUTF8(true)) {
		r.failRaw(value)
	}
	return value
}

// RawObject is Raw for an object.
func (r *Reader) RawObject() []byte {
	if r.s.Kind() != jsonedit.KindObject {
		r.want("an object")
		return nil
	}
	return r.Raw()
}

// failRaw finds where the name is that comes twice.
func (r *Reader) failRaw(value []byte) {
	var err error
	d := jsontext.NewDecoder(bytes.NewReader(value), jsontext.AllowInvalidUTF8(true))
	for err == nil {
		_, err = d.ReadToken()
	}
	path := r.Path()
	if wrong, ok := errors.AsType[*jsontext.SyntacticError](err); ok {
		path += pointerPath(string(wrong.JSONPointer))
	}
	r.FailWith(Invalid(path, "comes twice"))
}

// pointerPath turns a JSON pointer into the rest of a path.
func pointerPath(pointer string) string {
	var path strings.Builder
	for token := range strings.SplitSeq(strings.TrimPrefix(pointer, "/"), "/") {
		if token != "" && strings.Trim(token, "0123456789") == "" {
			path.WriteString("[" + token + "]")
		} else {
			path.WriteString("." + cut(token, MaxWord))
		}
	}
	return path.String()
}

// twice notes a name of the object whose names begin at first, and says that it
// came before. Few names are compared one by one, many through a map, so that a
// hostile body costs no more than its length.
func (r *Reader) twice(first int, name []byte, many *map[string]struct{}) bool {
	const few = 16
	before := r.names[first:]
	if len(before) < few {
		for _, n := range before {
			if string(n) == string(name) {
				return true
			}
		}
		r.names = append(r.names, name)
		return false
	}
	if *many == nil {
		*many = make(map[string]struct{}, 2*few)
		for _, n := range before {
			(*many)[string(n)] = struct{}{}
		}
	}
	_, is := (*many)[string(name)]
	(*many)[string(name)] = struct{}{}
	return is
}
