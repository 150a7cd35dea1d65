package caddymodule

import (
	"runtime"
	"runtime/debug"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestGCPercent(t *testing.T) {
	const mib = 1 << 20
	for live, want := range map[uint64]int{
		0:         steadyGCPercent, // not known
		4 * mib:   1500,            // collected at 64 MiB
		8 * mib:   700,             // likewise
		32 * mib:  100,             // likewise
		40 * mib:  steadyGCPercent, // the floor is near
		64 * mib:  steadyGCPercent, // at it
		500 * mib: steadyGCPercent, // far above
	} {
		require.Equal(t, want, gcPercent(live), live)
	}
}

// The watch outlives collections and moves GOGC by what it finds.
func TestHeapFloorIsKept(t *testing.T) {
	t.Setenv("GOGC", "")
	before := debug.SetGCPercent(100)
	t.Cleanup(func() { debug.SetGCPercent(before) })
	watch := new(gcWatch)
	watch.arm()
	var percent int
	for range 100 {
		runtime.GC()
		runtime.Gosched()
		percent = debug.SetGCPercent(100)
		if percent > 100 {
			return
		}
		debug.SetGCPercent(percent)
	}
	t.Fatalf("GOGC is %d after 100 collections of a small heap", percent)
}
