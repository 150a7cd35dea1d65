// Package llm is Tollgate's one vocabulary: what a request, a streamed event,
// a token count and an error are, whatever wire format they came in or leave
// in. It does no I/O and imports nothing of ours, so every other package may
// speak it.
package llm
