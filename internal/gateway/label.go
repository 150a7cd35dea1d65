package gateway

import "context"

// Label is what the rows of a call say of it, before what its specialist says.
type Label struct {
	ID, Name  string // in the place of the specialist's
	Run, Step string // of a pipeline; empty: it belongs to none
}

type labelKey struct{}

// WithLabel names the calls that are made with a context: calls that the gateway
// makes by itself for a caller.
func WithLabel(ctx context.Context, l Label) context.Context {
	return context.WithValue(ctx, labelKey{}, l)
}

// label is what the call's rows say of it; nothing for a call of which nothing
// is to be said.
func (ex *exchange) label() Label {
	if l, ok := ex.r.Context().Value(labelKey{}).(Label); ok {
		return l
	}
	if p, ok := ex.face.(portal); ok && p.direct {
		return directLabel
	}
	return Label{}
}
