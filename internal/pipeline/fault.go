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
