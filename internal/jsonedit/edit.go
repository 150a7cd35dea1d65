package jsonedit

import "slices"

// Editor collects changes to an object, which itself stays as it is.
type Editor struct {
	object  *Object
	splices []splice
	room    [6]splice // backs splices of the usual few
}

// splice puts text in the place of the bytes from start to end.
type splice struct {
	start, end int
	text       string
}

// Edit begins to change an object.
func (o *Object) Edit() *Editor {
	e := &Editor{object: o}
	e.splices = e.room[:0]
	return e
}

// Set gives a member a value, which is JSON text. A member that is not there is
// added behind the last one. No member may be set twice.
func (e *Editor) Set(name, value string) {
	if m, ok := e.object.Find(name); ok {
		e.splices = append(e.splices, splice{m.Start, m.End, value})
		return
	}
	member := string(AppendQuote(nil, name)) + ":" + value
	if members := e.object.members; len(members) > 0 {
		e.Insert(members[len(members)-1].End, ","+member)
		return
	}
	for _, added := range e.splices {
		if added.start == e.object.open+1 {
			member = "," + member
			break
		}
	}
	e.Insert(e.object.open+1, member)
}

// SetText gives a member a string as its value.
func (e *Editor) SetText(name, text string) {
	e.Set(name, string(AppendQuote(nil, text)))
}

// Insert puts text at a position of the object's bytes. Texts put at one
// position follow each other in the order of the calls.
func (e *Editor) Insert(at int, text string) {
	e.splices = append(e.splices, splice{at, at, text})
}

// Bytes returns the changed text, or the very bytes that were read where there
// is no change.
func (e *Editor) Bytes() []byte { return e.BytesIn(nil) }

// BytesIn is Bytes in the memory given, if that has room.
func (e *Editor) BytesIn(memory []byte) []byte {
	src := e.object.src
	if len(e.splices) == 0 {
		return src
	}
	// A value replaced ends where members are added; it comes first.
	slices.SortStableFunc(e.splices, func(a, b splice) int { return a.start - b.start })
	size := len(src)
	for _, p := range e.splices {
		size += len(p.text) - (p.end - p.start)
	}
	dst, from := memory[:0], 0
	if cap(dst) < size {
		dst = make([]byte, 0, size)
	}
	for _, p := range e.splices {
		dst = append(dst, src[from:p.start]...)
		dst = append(dst, p.text...)
		from = p.end
	}
	return append(dst, src[from:]...)
}
