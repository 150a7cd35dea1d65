//go:build !race

package roundtrip_test

const underRace = false
