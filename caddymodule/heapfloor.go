package caddymodule

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync"
)

// heapFloor is the heap below which garbage is not worth collecting. A gateway's
// live heap is a few MiB, and Go's default would collect each time it has
// doubled, dozens of times a second under load, for a seventh of all CPU time.
const heapFloor = 64 << 20

// steadyGCPercent holds above the floor. It is below Go's own 100: with hundreds
// of streams the heap is mostly buffers that live long and are cheap to mark, so
// memory is worth more than the few collections it saves.
const steadyGCPercent = 60

var heapFloorOnce sync.Once

// keepHeapFloor makes the collector wait for the floor, once per process. Who
// sets GOGC has decided otherwise.
func keepHeapFloor() {
	if os.Getenv("GOGC") != "" {
		return
	}
	heapFloorOnce.Do(func() { new(gcWatch).arm() })
}

// gcWatch is made anew in every collection, by the finalizer of the one before.
type gcWatch struct {
	percent int
	_       [16]byte // smaller objects share their memory, and so their life, with others
}

func (w *gcWatch) arm() {
	runtime.SetFinalizer(w, func(w *gcWatch) {
		next := &gcWatch{percent: w.percent}
		if percent := gcPercent(liveHeap()); percent*4 < w.percent*3 || percent*3 > w.percent*4 {
			debug.SetGCPercent(percent) // stops the world, so only for a change that counts
			next.percent = percent
		}
		next.arm()
	})
}

// gcPercent is the GOGC with which a heap of that many live bytes is collected
// at the floor, or the steady one where that is later.
func gcPercent(live uint64) int {
	if live == 0 || live >= heapFloor {
		return steadyGCPercent
	}
	return max(steadyGCPercent, int((heapFloor-live)*100/live))
}

// liveHeap is what the last collection found in use, in bytes.
func liveHeap() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(sample)
	if sample[0].Value.Kind() != metrics.KindUint64 {
		return 0
	}
	return sample[0].Value.Uint64()
}
