//go:build race

package conversation_test

// underRace: the race detector makes everything ten times slower.
const underRace = true
