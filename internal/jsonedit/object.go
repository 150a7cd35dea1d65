package jsonedit

import (
	"fmt"

	"github.com/go-json-experiment/json/jsontext"
)

// Object is a JSON object of which only the members' places are known. It
// refers to the bytes it was read from.
type Object struct {
	src     []byte
	open    int // where its brace is
	members []Member
}

// Member is one member of an object: its name, and where its value stands.
type Member struct {
	Name       []byte
	Start, End int
}

// TypeError says that a member has not the type asked for.
type TypeError struct {
	Name string // the member
	Want string // what it must be, with its article: "a boolean"
}

// Error implements error.
func (e *TypeError) Error() string { return fmt.Sprintf("%s must be %s", e.Name, e.Want) }

const usualMembers = 16 // more than most requests have

// ReadObject reads src, which must be one object and nothing else. It refuses
// names that come twice, since readers differ in which of the two they take;
// nested objects are not checked for that. The error is a *SyntaxError.
func ReadObject(src []byte) (Object, error) {
	s := NewScanner(src)
	names := uniqueNames{members: make([]Member, 0, usualMembers)}
	open, isObject := s.Pos(), s.Kind() == KindObject
	for name := range s.Members {
		start := s.pos
		if !names.add(name) {
			s.fail(start, "a member comes twice, its second value begins")
			break
		}
		value := s.Skip()
		names.members = append(names.members, Member{Name: name, Start: start, End: start + len(value)})
	}
	if err := s.End(); err != nil {
		return Object{}, err
	}
	if !isObject {
		return Object{}, &SyntaxError{Reason: "expected an object"}
	}
	return Object{src: src, open: open, members: names.members}, nil
}

// Find returns the member of a name.
func (o *Object) Find(name string) (Member, bool) {
	for _, m := range o.members {
		if string(m.Name) == name {
			return m, true
		}
	}
	return Member{}, false
}

// Value returns a member's value as it stands; nil where there is none or it is
// null, which every API takes for the same.
func (o *Object) Value(name string) []byte {
	m, ok := o.Find(name)
	if !ok || o.src[m.Start] == 'n' {
		return nil
	}
	return o.src[m.Start:m.End:m.End]
}

// Text returns a string member; "" where there is none. Its UTF-8 must be good.
func (o *Object) Text(name string) (string, error) {
	value := o.Value(name)
	if value == nil {
		return "", nil
	}
	text, err := jsontext.AppendUnquote(nil, value)
	if err != nil {
		return "", &TypeError{name, "a string"}
	}
	return string(text), nil
}

// Bool returns a boolean member; false where there is none.
func (o *Object) Bool(name string) (bool, error) {
	switch value := o.Value(name); {
	case value == nil, value[0] == 'f':
		return false, nil
	case value[0] == 't':
		return true, nil
	}
	return false, &TypeError{name, "a boolean"}
}

// Int returns an integer member; ok is false where there is none.
func (o *Object) Int(name string) (n int64, ok bool, err error) {
	value := o.Value(name)
	if value == nil {
		return 0, false, nil
	}
	if n, ok = ParseInt(value); !ok {
		return 0, false, &TypeError{name, "an integer"}
	}
	return n, true, nil
}

// Number checks that a member, if there is one, is a number.
func (o *Object) Number(name string) (ok bool, err error) {
	value := o.Value(name)
	if value == nil {
		return false, nil
	}
	if value[0] != '-' && !isDigit(value[0]) {
		return false, &TypeError{name, "a number"}
	}
	return true, nil
}

// Object returns an object member, with positions in its own value; ok is
// false where there is none.
func (o *Object) Object(name string) (inner Object, ok bool, err error) {
	value := o.Value(name)
	if value == nil {
		return Object{}, false, nil
	}
	if value[0] != '{' {
		return Object{}, false, &TypeError{name, "an object"}
	}
	if inner, err = ReadObject(value); err != nil {
		// All but a name that comes twice was found when this object was read.
		return Object{}, false, fmt.Errorf("%s: %w", name, err)
	}
	return inner, true, nil
}

// uniqueNames notices names that come twice. Few are compared one by one, many
// through a map, so that a hostile body costs no more than its length.
type uniqueNames struct {
	members []Member
	seen    map[string]struct{}
}

const fewNames = 32

func (u *uniqueNames) add(name []byte) bool {
	if len(u.members) < fewNames {
		for _, m := range u.members {
			if string(m.Name) == string(name) {
				return false
			}
		}
		return true
	}
	if u.seen == nil {
		u.seen = make(map[string]struct{}, 2*fewNames)
		for _, m := range u.members {
			u.seen[string(m.Name)] = struct{}{}
		}
	}
	if _, twice := u.seen[string(name)]; twice {
		return false
	}
	u.seen[string(name)] = struct{}{}
	return true
}
