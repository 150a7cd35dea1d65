package openairesponses

import (
	"bytes"
	"slices"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/financecommander/tollgate/internal/dialect"
	"github.com/financecommander/tollgate/internal/dialect/wire"
	"github.com/financecommander/tollgate/internal/jsonedit"
	"github.com/financecommander/tollgate/internal/llm"
)

// place is where an object stands in a body, written out only for an error:
// "input[3].content[0]". The zero value is the body itself.
type place struct {
	list  string // "input", "tools"; "" for the body
	index int    // -1: the list is no list but an object, "text"
	inner string // "content", "output"; "" for the element itself
	at    int
}

// String is the place as a path.
func (p place) String() string {
	if p.list == "" {
		return ""
	}
	path := p.list
	if p.index >= 0 {
		path += "[" + strconv.Itoa(p.index) + "]"
	}
	if p.inner != "" {
		path += "." + p.inner + "[" + strconv.Itoa(p.at) + "]"
	}
	return path
}

// member is the path of a member of what stands at the place; "" for itself.
func (p place) member(name string) string {
	switch path := p.String(); {
	case path == "":
		return name
	case name == "":
		return path
	default:
		return path + "." + name
	}
}

// reader reads objects and notes the first thing that is wrong with them, so
// that decoding reads straight on and asks once.
type reader struct{ err *llm.Error }

func (r *reader) fail(path, message string) {
	if r.err == nil {
		r.err = wire.Invalid(path, message)
	}
}

// object is one object of a body, whose members are asked for by name.
type object struct {
	jsonedit.Object
	reader *reader
	place  place
}

// object reads a value that must be an object.
func (r *reader) object(value []byte, at place) object {
	o := object{reader: r, place: at}
	var err error
	if o.Object, err = jsonedit.ReadObject(value); err != nil {
		switch path := at.String(); {
		case path == "" && r.err == nil:
			r.err = wire.RequestError(err)
		case len(value) == 0 || value[0] != '{':
			r.fail(path, "must be an object")
		default: // the syntax was checked with the body, so this is a name that comes twice
			r.fail(path, "has a member twice")
		}
	}
	return o
}

// text is a string member; "" where there is none. Broken UTF-8 in it is no
// reason to lose a request over.
func (o *object) text(name string) string {
	value := o.Value(name)
	if value != nil && value[0] != '"' {
		o.reader.fail(o.place.member(name), "must be a string")
		return ""
	}
	return unquoted(value)
}

// required is a string member that must be there.
func (o *object) required(name string) string {
	if o.Value(name) == nil && o.reader.err == nil {
		o.reader.err = wire.Missing(o.place.member(name))
	}
	return o.text(name)
}

// flag is a boolean member; nil where there is none.
func (o *object) flag(name string) *bool {
	value := o.Value(name)
	switch {
	case value == nil:
		return nil
	case value[0] != 't' && value[0] != 'f':
		o.reader.fail(o.place.member(name), "must be a boolean")
		return nil
	}
	return new(value[0] == 't')
}

// integer is an integer member; nil where there is none.
func (o *object) integer(name string) *int64 {
	value := o.Value(name)
	if value == nil {
		return nil
	}
	n, ok := jsonedit.ParseInt(value)
	if !ok {
		o.reader.fail(o.place.member(name), "must be an integer")
		return nil
	}
	return &n
}

// number is a number member; nil where there is none.
func (o *object) number(name string) *float64 {
	value := o.Value(name)
	if value == nil {
		return nil
	}
	f, err := strconv.ParseFloat(string(value), 64)
	if err != nil {
		o.reader.fail(o.place.member(name), "must be a number")
		return nil
	}
	return &f
}

// nested is a member that is an object; ok is false where there is none.
func (o *object) nested(name string) (inner object, ok bool) {
	value := o.Value(name)
	if value == nil {
		return object{}, false
	}
	at := place{list: o.place.member(name), index: -1}
	inner = object{reader: o.reader, place: at}
	if value[0] != '{' {
		o.reader.fail(o.place.member(name), "must be an object")
		return inner, false
	}
	return o.reader.object(value, at), true
}

// elements loops over a member that is an array. Another value is at fault.
func (o *object) elements(name string, yield func(i int, value []byte)) {
	value := o.Value(name)
	if value == nil {
		return
	}
	if value[0] != '[' {
		o.reader.fail(o.place.member(name), "must be an array")
		return
	}
	s := jsonedit.NewScanner(value)
	i := 0
	for range s.Elements {
		yield(i, s.Skip())
		i++
	}
}

// rest are the members but the known ones, as an object; nil if there are none.
// Nulls say nothing and are left out.
func (o *object) rest(known func(name string) bool) []byte {
	var rest wire.Rest
	for name, value := range o.All {
		if value[0] != 'n' && !known(string(name)) {
			rest.Add(name, o.reader.copy(value, o.place, string(name)))
		}
	}
	return rest.JSON()
}

// only are the members of some names, as an object; nil if there are none.
func (o *object) only(wanted func(name string) bool) []byte {
	return o.rest(func(name string) bool { return !wanted(name) })
}

// among says whether a name is one of some.
func among(names ...string) func(name string) bool {
	return func(name string) bool { return slices.Contains(names, name) }
}

// raw is a member as it stands; nil where there is none.
func (o *object) raw(name string) []byte { return o.reader.copy(o.Value(name), o.place, name) }

// json is a member that is an object, as it stands; nil where there is none.
func (o *object) json(name string) []byte {
	if value := o.Value(name); value != nil && value[0] != '{' {
		o.reader.fail(o.place.member(name), "must be an object")
	}
	return o.raw(name)
}

// copy takes a value over as it is. Names that come twice in it are refused,
// since readers differ in which of the two they take.
func (r *reader) copy(value []byte, at place, name string) []byte {
	if len(value) > 0 && (value[0] == '{' || value[0] == '[') && !jsontext.Value(value).IsValid(jsontext.AllowInvalidUTF8(true)) {
		r.fail(at.member(name), "has a member twice")
	}
	return slices.Clone(value)
}

// unquoted is what a JSON string says.
func unquoted(quoted []byte) string {
	if len(quoted) < 2 {
		return ""
	}
	if bytes.IndexByte(quoted, '\\') < 0 {
		return string(quoted[1 : len(quoted)-1])
	}
	return string(jsonedit.AppendText(nil, quoted))
}

// own is what this format alone says.
func own(object []byte) llm.Extra {
	if len(object) <= len("{}") {
		return llm.Extra{}
	}
	return llm.Extra{Format: dialect.OpenAIResponses, JSON: object}
}

// memberOf is a member of what this format alone says of a part.
func memberOf(c *llm.Common, name string) []byte {
	return wire.Member(c.Wire.In(dialect.OpenAIResponses), name)
}

// restOf are the members but some.
func restOf(o *object, known ...string) *wire.Rest {
	var rest wire.Rest
	for name, value := range o.All {
		if value[0] != 'n' && !slices.Contains(known, string(name)) {
			rest.Add(name, value)
		}
	}
	return &rest
}
