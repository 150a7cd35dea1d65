package openairesponses

import (
	"bytes"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/financecommander/tollgate/internal/dialect"
	"github.com/financecommander/tollgate/internal/dialect/wire"
	"github.com/financecommander/tollgate/internal/jsonedit"
	"github.com/financecommander/tollgate/internal/llm"
)

// reader reads objects whose members may stand in any order, and be needed in
// another: what an item is says its type, which often comes last. It notes the
// first thing that is wrong, so that decoding reads straight on and asks once.
// Facing a provider nobody asks, and what is wrong counts as absent.
type reader struct {
	members []member // of all objects being read
	texts   wire.Texts
	err     *llm.Error
}

// member is one member of an object.
type member struct {
	name, value []byte
	asked       bool // for by somebody
}

// object is one object of a body, by its members' place in the reader. It is
// good until the loop that gave it goes on.
type object struct {
	reader   *reader
	place    place
	from, to int
}

// body reads a whole body, which must be one object.
func (r *reader) body(body []byte) object {
	r.members = r.members[:0]
	s := jsonedit.NewScanner(body)
	if s.Kind() != jsonedit.KindObject {
		if r.err == nil {
			r.err = wire.RequestError(&jsonedit.SyntaxError{Reason: "expected an object"})
		}
		return object{reader: r}
	}
	o := r.scan(&s, place{})
	if err := s.End(); err != nil && (r.err == nil || r.err.Param == "") {
		r.err = wire.RequestError(err)
	}
	return o
}

// value reads a value that is known to be good JSON.
func (r *reader) value(value []byte, at place) object {
	s := jsonedit.NewScanner(value)
	return r.scan(&s, at)
}

// scan reads the object at hand. Names that come twice are refused, since
// readers differ in which of the two they take.
func (r *reader) scan(s *jsonedit.Scanner, at place) object {
	o := object{reader: r, place: at, from: len(r.members)}
	if s.Kind() != jsonedit.KindObject {
		s.Skip()
		r.fail(at.String(), "must be an object")
		o.to = o.from
		return o
	}
	var many map[string]struct{}
	for name := range s.Members {
		if r.twice(o.from, name, &many) {
			r.fail(at.member(string(name)), "comes twice")
			continue // the first one counts, where nobody asks
		}
		r.members = append(r.members, member{name: name, value: s.Skip()})
	}
	o.to = len(r.members)
	return o
}

// twice says that a name came before. Few names are compared one by one, many
// through a map, so that a hostile body costs no more than its length.
func (r *reader) twice(from int, name []byte, many *map[string]struct{}) bool {
	const few = 32
	before := r.members[from:]
	if len(before) < few {
		return slices.ContainsFunc(before, func(m member) bool { return string(m.name) == string(name) })
	}
	if *many == nil {
		*many = make(map[string]struct{}, 2*few)
		for _, m := range before {
			(*many)[string(m.name)] = struct{}{}
		}
	}
	_, is := (*many)[string(name)]
	(*many)[string(name)] = struct{}{}
	return is
}

// fail notes that something is wrong at a path. message goes on after it.
func (r *reader) fail(path, message string) {
	if r.err == nil {
		r.err = wire.Invalid(strings.ToValidUTF8(path, "\uFFFD"), message)
	}
}

// get is a member's value as it stands; nil where there is none or it is null.
func (o *object) get(name string) []byte {
	for i := o.from; i < o.to; i++ {
		if m := &o.reader.members[i]; string(m.name) == name {
			m.asked = true
			if len(m.value) == 0 || m.value[0] == 'n' {
				return nil
			}
			return m.value
		}
	}
	return nil
}

// wrong notes that a member is not what it must be.
func (o *object) wrong(name, message string) { o.reader.fail(o.place.member(name), message) }

// text is a string member; "" where there is none. Broken UTF-8 in it is no
// reason to lose a request over.
func (o *object) text(name string) string {
	value := o.get(name)
	if value != nil && value[0] != '"' {
		o.wrong(name, "must be a string")
		return ""
	}
	return o.reader.texts.Unquote(value)
}

// required is a string member that must be there.
func (o *object) required(name string) string {
	if o.get(name) == nil {
		o.missing(name)
	}
	return o.text(name)
}

func (o *object) missing(name string) {
	if o.reader.err == nil {
		o.reader.err = wire.Missing(o.place.member(name))
	}
}

// flag is a boolean member; nil where there is none.
func (o *object) flag(name string) *bool {
	value := o.get(name)
	switch {
	case value == nil:
		return nil
	case value[0] != 't' && value[0] != 'f':
		o.wrong(name, "must be a boolean")
		return nil
	}
	return new(value[0] == 't')
}

// integer is an integer member; nil where there is none.
func (o *object) integer(name string) *int64 {
	value := o.get(name)
	if value == nil {
		return nil
	}
	n, ok := jsonedit.ParseInt(value)
	if !ok {
		o.wrong(name, "must be an integer")
		return nil
	}
	return &n
}

// number is a number member; nil where there is none.
func (o *object) number(name string) *float64 {
	value := o.get(name)
	if value == nil {
		return nil
	}
	f, err := strconv.ParseFloat(string(value), 64)
	if err != nil {
		o.wrong(name, "must be a number")
		return nil
	}
	return &f
}

// nested is a member that is an object; ok is false where there is none.
func (o *object) nested(name string) (inner object, ok bool) {
	value := o.get(name)
	if value == nil {
		return object{reader: o.reader}, false
	}
	return o.reader.value(value, place{list: o.place.member(name), index: -1}), value[0] == '{'
}

// elements loops over a member that is an array.
func (o *object) elements(name string, yield func(i int, value []byte)) {
	value := o.get(name)
	switch {
	case value == nil:
		return
	case value[0] != '[':
		o.wrong(name, "must be an array")
		return
	}
	s := jsonedit.NewScanner(value)
	i := 0
	for range s.Elements {
		yield(i, s.Skip())
		i++
	}
}

// objects loops over a member that is an array of objects.
func (o *object) objects(name string, yield func(i int, inner *object, value []byte)) {
	value := o.get(name)
	switch {
	case value == nil:
		return
	case value[0] != '[':
		o.wrong(name, "must be an array")
		return
	}
	r, at := o.reader, o.place.element(name)
	s := jsonedit.NewScanner(value)
	for range s.Elements {
		start, room := s.Pos(), len(r.members)
		inner := r.scan(&s, at)
		yield(at.last(), &inner, s.Since(start))
		r.members = r.members[:room]
		at.next()
	}
}

// raw is a copy of a member as it stands; nil where there is none.
func (o *object) raw(name string) []byte {
	return o.reader.copy(o.get(name), o.place, name)
}

// json is raw for a member that must be an object.
func (o *object) json(name string) []byte {
	if value := o.get(name); value != nil && value[0] != '{' {
		o.wrong(name, "must be an object")
	}
	return o.raw(name)
}

// take are the members of some names, as an object; nil if there are none.
func (o *object) take(names ...string) []byte {
	return o.collect(func(m *member) bool { return slices.Contains(names, string(m.name)) })
}

// rest are the members that nobody asked for, as an object; nil if there are
// none.
func (o *object) rest() []byte {
	return o.collect(func(m *member) bool { return !m.asked })
}

// leave leaves a member to the rest.
func (o *object) leave(name string) {
	for i := o.from; i < o.to; i++ {
		if m := &o.reader.members[i]; string(m.name) == name {
			m.asked = false
		}
	}
}

// collect makes an object of the members wanted. Nulls say nothing and are left
// out.
func (o *object) collect(wanted func(m *member) bool) []byte {
	size := 0
	for i := o.from; i < o.to; i++ {
		if m := &o.reader.members[i]; len(m.value) > 0 && m.value[0] != 'n' && wanted(m) {
			size += len(m.name) + len(m.value) + len(`"":,`)
		}
	}
	if size == 0 {
		return nil
	}
	w := wire.Writer{Bytes: make([]byte, 0, size+len(`{}`))}
	w.Object()
	for i := o.from; i < o.to; i++ {
		if m := &o.reader.members[i]; len(m.value) > 0 && m.value[0] != 'n' && wanted(m) {
			m.asked = true
			o.reader.check(m.value, o.place, string(m.name))
			appendMember(&w, m.name, m.value)
		}
	}
	w.End()
	return w.Bytes
}

// appendMember writes a member whose name may need escapes.
func appendMember(w *wire.Writer, name, value []byte) {
	w.Raw(wire.AppendQuote(nil, string(name)))
	w.Bytes = append(append(w.Bytes, ':'), value...)
}

// copy takes a value over as it is.
func (r *reader) copy(value []byte, at place, name string) []byte {
	r.check(value, at, name)
	return bytes.Clone(value)
}

// check refuses names that come twice within a value that is taken as it is.
func (r *reader) check(value []byte, at place, name string) {
	if len(value) > 0 && (value[0] == '{' || value[0] == '[') && !jsontext.Value(value).IsValid(jsontext.AllowInvalidUTF8(true)) {
		r.fail(at.member(name), "has a member that comes twice")
	}
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
