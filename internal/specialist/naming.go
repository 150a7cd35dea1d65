package specialist

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// taken is every name in use: none may be given to another specialist.
type taken struct {
	names map[string]string // lower-case name → id
	ids   map[string]string // id or alias → id
}

// takenBy collects the names of specialists. An id beats an alias, as it does in
// a registry.
func takenBy(lists ...[]Specialist) *taken {
	t := &taken{names: make(map[string]string), ids: make(map[string]string)}
	for _, list := range lists {
		for i := range list {
			t.ids[list[i].ID] = list[i].ID
		}
	}
	for _, list := range lists {
		for i := range list {
			t.add(&list[i])
		}
	}
	return t
}

// add takes the names of one more that nobody has yet.
func (t *taken) add(s *Specialist) {
	for _, name := range append([]string{s.ID}, s.Aliases...) {
		if _, used := t.ids[name]; !used {
			t.ids[name] = s.ID
		}
	}
	if name := strings.ToLower(s.Name); t.names[name] == "" {
		t.names[name] = s.ID
	}
}

// check says whether s may be called as it is. Names that it had before (was,
// which is nil for a new one) are not looked at.
func (t *taken) check(s, was *Specialist) error {
	if was == nil {
		if by, used := t.ids[s.ID]; used {
			return conflict("id", "the id %q is taken by the specialist %q", s.ID, by)
		}
	}
	if by, used := t.names[strings.ToLower(s.Name)]; used && by != s.ID {
		if was == nil || was.Name != s.Name {
			return conflict("name", "the name %q is taken by the specialist %q", s.Name, by)
		}
	}
	for i, alias := range s.Aliases {
		by, used := t.ids[alias]
		if used && by != s.ID && (was == nil || !slices.Contains(was.Aliases, alias)) {
			return conflict(fmt.Sprintf("aliases[%d]", i), "the alias %q is taken by the specialist %q", alias, by)
		}
	}
	return nil
}

// newID makes an id out of a name: "Köln & Co. (Copy)" is "k-ln-co-copy".
func (t *taken) newID(name string) string {
	var b strings.Builder
	for _, r := range strings.ToLower(name) {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9':
			b.WriteRune(r)
		case b.Len() > 0 && !strings.HasSuffix(b.String(), "-"):
			b.WriteByte('-')
		}
	}
	base := strings.Trim(cut(b.String(), maxID), "-")
	if base == "" {
		base = "specialist"
	}
	id := base
	for n := 2; ; n++ {
		if _, used := t.ids[id]; !used && !slices.Contains(reservedIDs, id) {
			return id
		}
		suffix := "-" + strconv.Itoa(n)
		id = strings.TrimRight(cut(base, maxID-len(suffix)), "-") + suffix
	}
}

// copyName is what the copy of a specialist is called.
func (t *taken) copyName(name string) string {
	for n := 1; ; n++ {
		suffix := " (Copy)"
		if n > 1 {
			suffix = fmt.Sprintf(" (Copy %d)", n)
		}
		copied := strings.TrimSpace(cut(name, maxName-len(suffix))) + suffix
		if _, used := t.names[strings.ToLower(copied)]; !used {
			return copied
		}
	}
}

// cut is at most limit characters of s.
func cut(s string, limit int) string {
	characters := []rune(s)
	return string(characters[:min(len(characters), limit)])
}
