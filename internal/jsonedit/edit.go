package jsonedit

import "slices"

// Editor collects changes to an object, which itself stays as it is.
type Editor struct {
	object  *Object
	splices []splice
	removed []int     // members, by index
	settled bool      // the commas are right
	room    [6]splice // backs splices of the usual few
}

// splice puts text in the place of the bytes from start to end.
type splice struct {
	start, end int
	text       string
	added      bool // the text is a new member with a comma before it
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
		e.splices = append(e.splices, splice{start: m.Start, end: m.End, text: value})
		return
	}
	at := e.object.endBefore(len(e.object.members))
	e.splices = append(e.splices, splice{start: at, end: at, text: "," + string(AppendQuote(nil, name)) + ":" + value, added: true})
}

// Remove takes a member away, if it is there. It must be neither set nor changed
// within.
func (e *Editor) Remove(name string) {
	for i, m := range e.object.members {
		if string(m.Name) == name && !slices.Contains(e.removed, i) {
			e.removed = append(e.removed, i)
			e.splices = append(e.splices, splice{start: e.object.endBefore(i), end: m.End})
		}
	}
}

// SetText gives a member a string as its value.
func (e *Editor) SetText(name, text string) {
	e.Set(name, string(AppendQuote(nil, text)))
}

// Insert puts text at a position of the object's bytes. Texts put at one
// position follow each other in the order of the calls.
func (e *Editor) Insert(at int, text string) {
	e.splices = append(e.splices, splice{start: at, end: at, text: text})
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
	e.settle()
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

// settle puts right the comma after members that were removed from the front,
// and the one before a member added where none is left.
func (e *Editor) settle() {
	if e.settled {
		return
	}
	e.settled = true
	members, first := e.object.members, 0
	for slices.Contains(e.removed, first) {
		first++
	}
	if first < len(members) {
		if first > 0 {
			end := members[first-1].End
			e.splices = append(e.splices, splice{start: end, end: skipSpace(e.object.src, end) + 1})
		}
		return
	}
	for i := range e.splices {
		if s := &e.splices[i]; s.added {
			s.text = s.text[1:]
			return
		}
	}
}

// endBefore is where the member before the i-th ends, or the object begins.
func (o *Object) endBefore(i int) int {
	if i == 0 {
		return o.open + 1
	}
	return o.members[i-1].End
}
