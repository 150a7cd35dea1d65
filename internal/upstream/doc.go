// Package upstream knows the model providers: where each is, how it wants to be
// authenticated, which wire formats it speaks and where, and what is odd about
// it. The `demo` provider is built in and needs no network.
package upstream
