package wire

// Slab gives memory for many small values that live and die together, in pieces
// of many. The zero value is ready.
type Slab[T any] struct {
	free []T
	size int
}

// The lengths of a slab's pieces, which grow so that little is left over.
const (
	firstPiece = 4
	lastPiece  = 64
)

// New gives a zero value.
func (s *Slab[T]) New() *T { return &s.take()[0] }

// One gives a slice of one value, which moves elsewhere when it is appended to.
func (s *Slab[T]) One(v T) []T {
	one := s.take()
	one[0] = v
	return one
}

func (s *Slab[T]) take() []T {
	if len(s.free) == 0 {
		s.size = min(max(2*s.size, firstPiece), lastPiece)
		s.free = make([]T, s.size)
	}
	one := s.free[:1:1]
	s.free = s.free[1:]
	return one
}
