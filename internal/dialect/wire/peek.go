package wire

import "github.com/financecommander/tollgate/internal/jsonedit"

// Peek gives a string member of the object at hand without taking the object;
// "" where there is none. It is quick where the member comes first.
func (r *Reader) Peek(member string) string {
	s := r.s
	if s.Kind() != jsonedit.KindObject {
		return ""
	}
	for name := range s.Members {
		if string(name) == member {
			if s.Kind() != jsonedit.KindString {
				return ""
			}
			return r.texts.Word(r.texts.said(&s))
		}
	}
	return ""
}

// PeekRaw gives the value of a member of the object at hand without taking the
// object; nil where there is none.
func (r *Reader) PeekRaw(member string) []byte {
	s := r.s
	if s.Kind() != jsonedit.KindObject {
		return nil
	}
	for name := range s.Members {
		if string(name) == member {
			return s.Skip()
		}
	}
	return nil
}
