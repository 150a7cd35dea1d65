//go:build race

package roundtrip_test

// underRace: the race detector makes everything ten times slower.
const underRace = true
