// Package upstreamtest has the upstreams that tests talk to: a replay of
// recorded provider traffic ([Replay]), and one that misbehaves as told
// ([Upstream]). Both listen on loopback only and end with their test.
//
// The recordings are found in ../shared/traces beside the repository. Where
// they are absent, tests that need them are skipped; with the environment
// variable CI set to "true" they fail instead.
package upstreamtest
