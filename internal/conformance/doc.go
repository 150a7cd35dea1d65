// Package conformance holds the test of every client dialect against every
// upstream dialect: what is carried, what is refused, and that each call leaves
// the right row. Clients are written by hand from the providers' documentation,
// upstreams are package fakes; neither shares code with the gateway's codecs. Its
// table is docs/conformance.md, which the test writes (`go test -update`) and
// compares.
package conformance
