package wire

import (
	"math"
	"slices"
	"strconv"

	"github.com/financecommander/tollgate/internal/jsonedit"
	"github.com/financecommander/tollgate/internal/llm"
)

// Writer appends JSON to a buffer: commas come by themselves, quoting too. Names
// of members must need no escape.
type Writer struct{ Bytes []byte }

// separate puts the comma between two values.
func (w *Writer) separate() {
	if n := len(w.Bytes); n > 0 {
		switch w.Bytes[n-1] {
		case '{', '[', ':', ' ', '\n':
		default:
			w.Bytes = append(w.Bytes, ',')
		}
	}
}

// Object begins an object; End ends it.
func (w *Writer) Object() *Writer {
	w.separate()
	w.Bytes = append(w.Bytes, '{')
	return w
}

// Array begins an array; EndArray ends it.
func (w *Writer) Array() *Writer {
	w.separate()
	w.Bytes = append(w.Bytes, '[')
	return w
}

// End ends an object.
func (w *Writer) End() { w.Bytes = append(w.Bytes, '}') }

// EndArray ends an array.
func (w *Writer) EndArray() { w.Bytes = append(w.Bytes, ']') }

// Name begins a member, whose value comes next.
func (w *Writer) Name(name string) *Writer {
	w.separate()
	w.Bytes = append(w.Bytes, '"')
	w.Bytes = append(w.Bytes, name...)
	w.Bytes = append(w.Bytes, '"', ':')
	return w
}

// Text appends a string.
func (w *Writer) Text(text string) *Writer {
	w.separate()
	w.Bytes = AppendQuote(w.Bytes, text)
	return w
}

// Raw appends a value that is JSON already; nothing becomes null.
func (w *Writer) Raw(value []byte) *Writer {
	w.separate()
	if len(value) == 0 {
		value = []byte("null")
	}
	w.Bytes = append(w.Bytes, value...)
	return w
}

// Null appends null.
func (w *Writer) Null() *Writer { return w.Raw(nil) }

// Int appends an integer.
func (w *Writer) Int(n int64) *Writer {
	w.separate()
	w.Bytes = strconv.AppendInt(w.Bytes, n, 10)
	return w
}

// Float appends a number. One that JSON cannot say becomes null.
func (w *Writer) Float(f float64) *Writer {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return w.Null()
	}
	w.separate()
	format := byte('f')
	if abs := math.Abs(f); abs != 0 && (abs < 1e-6 || abs >= 1e21) {
		format = 'e'
	}
	w.Bytes = strconv.AppendFloat(w.Bytes, f, format, -1, 64)
	return w
}

// Bool appends true or false.
func (w *Writer) Bool(b bool) *Writer {
	w.separate()
	w.Bytes = strconv.AppendBool(w.Bytes, b)
	return w
}

// TextMember appends a string member, if there is something in it.
func (w *Writer) TextMember(name, text string) {
	if text != "" {
		w.Name(name).Text(text)
	}
}

// IntMember appends a member that is a number, if it is not 0.
func (w *Writer) IntMember(name string, n int64) {
	if n != 0 {
		w.Name(name).Int(n)
	}
}

// FloatMember appends a member that is a number, if it is there.
func (w *Writer) FloatMember(name string, f *float64) {
	if f != nil {
		w.Name(name).Float(*f)
	}
}

// BoolMember appends a boolean member, if it is there.
func (w *Writer) BoolMember(name string, b *bool) {
	if b != nil {
		w.Name(name).Bool(*b)
	}
}

// RawMember appends a member that is JSON already, if it is there.
func (w *Writer) RawMember(name string, value []byte) {
	if len(value) > 0 {
		w.Name(name).Raw(value)
	}
}

// Members appends the members of an object, all but some.
func (w *Writer) Members(object []byte, but ...string) {
	if len(object) == 0 {
		return
	}
	s := jsonedit.NewScanner(object)
	for name := range s.Members {
		if value := s.Skip(); !slices.Contains(but, string(name)) {
			w.separate()
			w.Bytes = append(jsonedit.AppendQuote(w.Bytes, name), ':')
			w.Bytes = append(w.Bytes, value...)
		}
	}
}

// Member is the value of a member of an object; nil where there is none.
func Member(object []byte, name string) (value []byte) {
	if len(object) == 0 {
		return nil
	}
	s := jsonedit.NewScanner(object)
	for n := range s.Members {
		if string(n) == name {
			value = s.Skip()
		}
	}
	return value
}

// Rest collects the members that a codec has no word for. The zero value is
// empty.
type Rest struct{ w Writer }

// Add takes a member.
func (r *Rest) Add(name, value []byte) {
	if len(r.w.Bytes) == 0 {
		r.w.Bytes = append(r.w.Bytes, '{')
	}
	r.w.separate()
	r.w.Bytes = append(jsonedit.AppendQuote(r.w.Bytes, name), ':')
	r.w.Bytes = append(r.w.Bytes, value...)
}

// Nest adds what another Rest holds as one member, if it holds anything.
func (r *Rest) Nest(name string, inner *Rest) {
	if value := inner.JSON(); value != nil {
		r.Add([]byte(name), value)
	}
}

// JSON gives the members as an object; nil where there is none.
func (r *Rest) JSON() []byte {
	if len(r.w.Bytes) == 0 {
		return nil
	}
	return append(slices.Clip(r.w.Bytes), '}')
}

// Extra gives the members as what a format said.
func (r *Rest) Extra(format llm.Format) llm.Extra {
	if value := r.JSON(); value != nil {
		return llm.Extra{Format: format, JSON: value}
	}
	return llm.Extra{}
}

// Count is how many members an object has.
func Count(object []byte) (n int) {
	s := jsonedit.NewScanner(object)
	for range s.Members {
		n++
	}
	return n
}

// Member begins a member of any name, whose value comes next.
func (w *Writer) Member(name string) *Writer {
	w.separate()
	w.Bytes = append(AppendQuote(w.Bytes, name), ':')
	return w
}
