// Package roundtrip tests that what a user and a model of two formats say to
// each other arrives whole: an answer goes from the model's format to the
// user's, the user sends it back with the next request as an SDK does, and the
// model must find all of it again.
package roundtrip_test

import (
	"encoding/binary"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime/debug"
	"testing"

	"github.com/financecommander/tollgate/internal/dialect"
)

func TestMain(m *testing.M) {
	debug.SetGCPercent(1600) // much garbage, of which little lives
	os.Exit(m.Run())
}

// How many conversations each pair of formats has. Within one format bodies pass
// as they are, unless they hold tokens, so there it is a tenth.
const (
	conversations      = 10_000
	shortConversations = 200
	raceConversations  = 100
)

var seed = flag.Int64("seed", -1, "run the conversation of this seed only")

func TestConversations(t *testing.T) {
	t.Parallel()
	first, n := uint64(0), uint64(conversations)
	switch {
	case *seed >= 0:
		first, n = uint64(*seed), uint64(*seed)+1
	case underRace:
		n = raceConversations
	case testing.Short():
		n = shortConversations
	}
	for _, from := range formats {
		for _, to := range formats {
			t.Run(fmt.Sprintf("%s to %s", from, to), func(t *testing.T) {
				t.Parallel()
				n, failed := n, 0
				if from == to && *seed < 0 {
					n /= 10
				}
				for seed := first; seed < n; seed++ {
					if err := newTrip(seeded(seed), from, to).run(); err != nil {
						t.Errorf("seed %d: %v", seed, err)
						if failed++; failed == 3 {
							return
						}
					}
				}
			})
		}
	}
}

// A test of what is lost must notice a loss: without tokens no state of another
// format comes back.
func TestLossIsNoticed(t *testing.T) {
	t.Parallel()
	for _, from := range formats {
		for _, to := range formats {
			lost := 0
			for seed := range uint64(100) {
				trip := newTrip(seeded(seed), from, to)
				trip.sealer = dialect.NoSeal{}
				if trip.run() != nil {
					lost++
				}
			}
			if stateful := to != dialect.OpenAIChat; from != to && stateful && lost < 20 {
				t.Errorf("%s to %s: nothing but %d of 100 were noticed", from, to, lost)
			}
		}
	}
}

// An answer that the upstream breaks off never looks like a whole one, wherever it
// breaks off, and what came before is not lost.
func TestCutStreams(t *testing.T) {
	t.Parallel()
	for _, from := range formats {
		for _, to := range formats {
			for seed := range uint64(300) {
				trip := newTrip(seeded(seed), from, to)
				trip.up, trip.down = true, true
				if err := trip.cut(); err != nil {
					t.Errorf("%s to %s: seed %d: %v", from, to, seed, err)
					break
				}
			}
		}
	}
}

// FuzzRoundTrip lets the bytes decide what a conversation is like.
func FuzzRoundTrip(f *testing.F) {
	for seed := range uint64(16) {
		f.Add(binary.LittleEndian.AppendUint64(nil, seed), uint8(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte, pair uint8) {
		from, to := formats[pair%4], formats[pair/4%4]
		if err := newTrip(dice{rand.New(&tape{data: data})}, from, to).run(); err != nil {
			t.Error(err)
		}
	})
}

// tape is a source of randomness that plays bytes, and then goes on from where
// they led it.
type tape struct {
	data  []byte
	state uint64
}

// Uint64 implements [rand.Source].
func (t *tape) Uint64() uint64 {
	if len(t.data) >= 2 {
		t.state += uint64(binary.LittleEndian.Uint16(t.data))
		t.data = t.data[2:]
	}
	t.state += 0x9e3779b97f4a7c15 // splitmix64
	z := t.state
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}
