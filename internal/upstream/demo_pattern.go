package upstream

import (
	"regexp"
	"regexp/syntax"
	"strings"
)

// matching makes a text for a regular expression; false where that did not work
// out.
func (m *demoMaker) matching(pattern string) (text string, ok bool) {
	tree, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		return "", false
	}
	var b strings.Builder
	m.spell(&b, tree)
	re, err := regexp.Compile(pattern)
	return b.String(), err == nil && re.MatchString(b.String())
}

// spell writes a text that a part of an expression matches.
func (m *demoMaker) spell(b *strings.Builder, re *syntax.Regexp) {
	if !m.spend(0) || b.Len() > demoLength {
		return
	}
	switch re.Op {
	case syntax.OpLiteral:
		b.WriteString(string(re.Rune))
	case syntax.OpCharClass:
		b.WriteRune(m.of(re.Rune))
	case syntax.OpAnyChar, syntax.OpAnyCharNotNL:
		b.WriteRune(m.of([]rune{'a', 'z'}))
	case syntax.OpCapture, syntax.OpConcat:
		for _, part := range re.Sub {
			m.spell(b, part)
		}
	case syntax.OpAlternate:
		m.spell(b, re.Sub[m.random.IntN(len(re.Sub))])
	case syntax.OpStar, syntax.OpPlus, syntax.OpQuest, syntax.OpRepeat:
		times := re.Min
		if re.Op == syntax.OpPlus || re.Op == syntax.OpStar {
			times = 1 + m.random.IntN(4)
		}
		for range times {
			m.spell(b, re.Sub[0])
		}
	default: // what matches without a letter, or never
	}
}

// of chooses from the ranges of a class: one that can be seen, if there is one.
func (m *demoMaker) of(ranges []rune) rune {
	var seen []rune
	for i := 0; i+1 < len(ranges); i += 2 {
		for r := max(ranges[i], '!'); r <= min(ranges[i+1], '~'); r++ {
			seen = append(seen, r)
		}
	}
	switch {
	case len(seen) > 0:
		return seen[m.random.IntN(len(seen))]
	case len(ranges) > 0:
		return ranges[0]
	}
	return ' '
}
