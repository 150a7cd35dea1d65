package pipeline

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// maxFaults is how many faults are told of one definition.
const maxFaults = 100

// enoughFaults is how many are looked for: to say where each is takes time that
// grows with the definition.
const enoughFaults = 3 * maxFaults

// Error implements error.
func (f *Faults) Error() string {
	lines := make([]string, 0, len(f.List))
	for _, fault := range f.List {
		line := f.File
		if fault.Line > 0 {
			line = fmt.Sprintf("%s:%d:%d", f.File, fault.Line, fault.Column)
		}
		if fault.Path != "" {
			line += ": " + fault.Path
		}
		lines = append(lines, line+": "+fault.Message)
	}
	return strings.Join(lines, "\n")
}

// collector gathers faults in any order.
type collector struct {
	list   []Fault
	broken []string // paths below which nothing more is to be said
	more   int      // that there are besides
}

// full tells whether there are enough, and counts one more if so.
func (c *collector) full() bool {
	if len(c.list) < enoughFaults {
		return false
	}
	c.more++
	return true
}

func (c *collector) at(line, column int, path, format string, args ...any) {
	c.list = append(c.list, Fault{Path: path, Line: line, Column: column, Message: fmt.Sprintf(format, args...)})
}

// faults are all of them in the source's order; nil: there are none.
func (c *collector) faults(file string) *Faults {
	if len(c.list) == 0 {
		return nil
	}
	slices.SortStableFunc(c.list, func(a, b Fault) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	list := slices.Compact(c.list)
	if more := len(list) - maxFaults + c.more; len(list) > maxFaults {
		list = append(list[:maxFaults:maxFaults], Fault{Message: fmt.Sprintf("and %d more faults", more)})
	}
	return &Faults{File: file, List: list}
}

// isBroken tells whether a path, or what it is a part of, is at fault already.
func (c *collector) isBroken(path string) bool {
	return slices.ContainsFunc(c.broken, func(broken string) bool {
		rest, below := strings.CutPrefix(path, broken)
		return below && (rest == "" || rest[0] == '.' || rest[0] == '[' || broken == "")
	})
}

// nearest is the known word that an unknown one may be meant for; "" if none is
// near.
func nearest(word string, known []string) string {
	best, least := "", max(1, min(3, len(word)/3))+1
	for _, k := range known {
		if d := distance(strings.ToLower(word), strings.ToLower(k)); d < least {
			best, least = k, d
		}
	}
	return best
}

// didYouMean is a hint to be put after a message; "" where there is none.
func didYouMean(word string, known []string) string {
	if near := nearest(word, known); near != "" {
		return fmt.Sprintf("; did you mean %q?", near)
	}
	return ""
}

// distance is how many letters are to be put in, left out, changed or swapped
// with the next to make one word of another.
func distance(a, b string) int {
	if len(a) > 100 || len(b) > 100 {
		return 100
	}
	before, last := make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row := make([]int, len(b)+1)
		row[0] = i
		for j := 1; j <= len(b); j++ {
			change := 1
			if a[i-1] == b[j-1] {
				change = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+change)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last = last, row
	}
	return last[len(b)]
}
