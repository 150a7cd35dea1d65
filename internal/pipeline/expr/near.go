package expr

import (
	"fmt"
	"strings"
)

// DidYouMean is a hint to be put after a message of an unknown word, "; did you
// mean …"; "" where nothing that is known is near.
func DidYouMean(word string, known []string) string {
	best, least := "", max(1, min(3, len(word)/3))+1
	for _, k := range known {
		if len(word) >= 3 && strings.HasPrefix(k, word) {
			best = k
			break
		}
		if d := distance(strings.ToLower(word), strings.ToLower(k), least); d < least && d < len(word) {
			best, least = k, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf("; did you mean %q?", best)
}

// distance is how many letters are to be put in, left out, changed or swapped with
// the next to make one word of another; words whose lengths differ by most and
// more are that far apart.
func distance(a, b string, most int) int {
	if len(a)-len(b) >= most || len(b)-len(a) >= most {
		return most
	}
	before, last := make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := range len(a) {
		row := make([]int, len(b)+1)
		row[0] = i + 1
		for j := range len(b) {
			change := last[j]
			if a[i] != b[j] {
				change++
			}
			row[j+1] = min(last[j+1]+1, row[j]+1, change)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
		before, last = last, row
	}
	return last[len(b)]
}
