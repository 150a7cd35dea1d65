package usage

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"
)

// split sorts the lines of a spool file.
func split(data []byte) (records, corrupt []string) {
	for line, intact := range frames(data) {
		if intact {
			records = append(records, string(line))
		} else {
			corrupt = append(corrupt, string(line))
		}
	}
	return records, corrupt
}

func TestFrames(t *testing.T) {
	t.Parallel()
	a, b := typical(), typical()
	first, second := string(appendFrame(nil, a)), string(appendFrame(nil, b))
	jsonA, jsonB := string(a.AppendJSON(nil)), string(b.AppendJSON(nil))
	flipped := []byte(second)
	flipped[len(flipped)/2] ^= 1
	for name, test := range map[string]struct {
		data             string
		records, corrupt []string
	}{
		"empty":                       {"", nil, nil},
		"two":                         {first + second, []string{jsonA, jsonB}, nil},
		"probe between":               {first + "\n" + second, []string{jsonA, jsonB}, nil},
		"torn tail":                   {first + second[:len(second)-1], []string{jsonA}, []string{second[1 : len(second)-1]}},
		"torn in the checksum":        {first + second[:5], []string{jsonA}, []string{second[1:5]}},
		"a record after a fragment":   {first[:100] + second, []string{jsonB}, []string{first[1:100]}},
		"flipped bit":                 {string(flipped) + first, []string{jsonA}, []string{string(flipped[1:])}},
		"zeros after a power cut":     {first + "\n" + string(make([]byte, 64)), []string{jsonA}, []string{string(make([]byte, 64))}},
		"not a spool file":            {"hello\nworld 12", nil, []string{"hello", "world 12"}},
		"nothing after the checksum":  {"\n00000000 ", nil, []string{"00000000 "}},
		"checksum that is not hex":    {"\nzzzzzzzz {}", nil, []string{"zzzzzzzz {}"}},
		"no space after the checksum": {"\n00000000_{}", nil, []string{"00000000_{}"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			records, corrupt := split([]byte(test.data))
			require.Equal(t, test.records, records)
			require.Equal(t, test.corrupt, corrupt)
		})
	}
}

func FuzzFrames(f *testing.F) {
	frame := appendFrame(nil, typical())
	f.Add(frame, 0)
	f.Add(append(bytes.Clone(frame[:77]), frame...), 77)
	f.Add([]byte("\n00000000 {}\n\n"), 3)
	f.Fuzz(func(t *testing.T, data []byte, at int) {
		records, corrupt := split(data)
		total := 0
		for _, r := range records {
			total += len(r) + frameOverhead
		}
		for _, c := range corrupt {
			total += len(c)
		}
		if total > len(data)+1 { // the first line may lack its line feed
			t.Fatalf("%d bytes came out of %d", total, len(data))
		}
		// Whatever stands before it, a whole frame is read back.
		after, _ := split(append(bytes.Clone(data), frame...))
		if len(after) == 0 || after[len(after)-1] != string(frame[frameOverhead:]) {
			t.Fatal("a frame after other bytes is lost")
		}
		if at >= 0 && at < len(frame) { // and a damaged one never
			damaged := bytes.Clone(frame)
			damaged[at] ^= 0x10
			for _, r := range func() []string { r, _ := split(damaged); return r }() {
				if r != string(frame[frameOverhead:]) {
					t.Fatalf("a damaged frame was taken for a record: %q", r)
				}
			}
		}
	})
}
