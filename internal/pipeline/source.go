package pipeline

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// The bounds of a definition's text.
const (
	// MaxText is the longest text of a definition, in bytes.
	MaxText = 1 << 20
	// maxNodes and maxSize bound what there is after aliases are put in: values, and
	// bytes of texts.
	maxNodes = 100_000
	maxSize  = 4 * MaxText
	maxDepth = 100
	maxName  = 200 // bytes
	// maxNumber is the longest number, in characters, and maxExponent the largest
	// power of ten in it: exact arithmetic with more takes very long.
	maxNumber   = 64
	maxExponent = 400
)

// source is the text of a definition, read but not yet understood: plain nodes
// without aliases and merge keys.
type source struct {
	lines []string
	root  *yaml.Node // nil: there is nothing
	seen  int        // nodes
	size  int        // bytes of texts
	found *collector
}

// readSource reads YAML, and so JSON. What is wrong goes to the collector.
func readSource(text []byte, found *collector) *source {
	s := &source{found: found}
	if len(text) > MaxText {
		found.at(0, 0, "", "the definition has more than %d bytes", MaxText)
		return s
	}
	if json.Valid(text) {
		text = jsonAsYAML(text)
	}
	s.lines = strings.Split(string(text), "\n")
	var document yaml.Node
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	switch err := decoder.Decode(&document); {
	case errors.Is(err, io.EOF), err == nil && len(document.Content) == 0:
		found.at(1, 1, "", "there is no definition")
		return s
	case err != nil:
		s.syntax(err)
		return s
	}
	var more yaml.Node
	if err := decoder.Decode(&more); err == nil {
		found.at(more.Line, more.Column, "", "there is more than one document; a file has one definition")
		return s
	} else if !errors.Is(err, io.EOF) {
		s.syntax(err)
		return s
	}
	s.root = s.plain(document.Content[0], "", 0)
	return s
}

var (
	yamlLine = regexp.MustCompile(`^(?:yaml: )?(?:line (\d+): )?`)
	// What the YAML reader says of a text's structure; it counts lines from 0 there.
	yamlStructure = regexp.MustCompile(`^did not find expected (?:<|node content|'-' indicator|key|',')|^found (?:undefined tag handle|duplicate %|incompatible)`)
	// What it says of characters, in the first line without a number.
	yamlCharacters = regexp.MustCompile(`^(?:found|(?:did|could) not find|mapping values|block)`)
)

// syntax tells what the YAML reader does not understand.
func (s *source) syntax(err error) {
	text := err.Error()
	match := yamlLine.FindStringSubmatch(text)
	line, _ := strconv.Atoi(match[1])
	message := text[len(match[0]):]
	if yamlStructure.MatchString(message) || line == 0 && yamlCharacters.MatchString(message) {
		line++
	}
	last := len(s.lines)
	if last > 1 && s.lines[last-1] == "" {
		last--
	}
	line = min(line, last)
	s.found.at(line, min(line, 1), "", "this is neither YAML nor JSON: %s", message)
}

// plain copies a node and all below it, with aliases and merge keys put in.
// It returns nil where that is too much, having said so.
func (s *source) plain(n *yaml.Node, path string, depth int) *yaml.Node {
	for n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	s.seen++
	s.size += len(n.Value)
	switch {
	case s.seen > maxNodes || s.size > maxSize:
		s.found.at(n.Line, n.Column, "", "the definition is too large, with all that its aliases stand for")
		return nil
	case depth > maxDepth:
		s.found.at(n.Line, n.Column, path, "this is nested more than %d deep", maxDepth)
		return nil
	}
	plain := &yaml.Node{Kind: n.Kind, Style: n.Style, Tag: n.ShortTag(), Value: n.Value, Line: n.Line, Column: n.Column}
	switch n.Kind {
	case yaml.SequenceNode:
		for i, item := range n.Content {
			if item = s.plain(item, fmt.Sprintf("%s[%d]", path, i), depth+1); item == nil {
				return nil
			}
			plain.Content = append(plain.Content, item)
		}
	case yaml.MappingNode:
		if !s.fill(plain, n, path, depth) {
			return nil
		}
	default: // there is nothing below
	}
	return plain
}

// fill puts the members of a mapping into its plain copy. Members that are merged
// in count only where the mapping has none of the same name.
func (s *source) fill(plain, n *yaml.Node, path string, depth int) bool {
	own := map[string]bool{}
	var merged []*yaml.Node
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		for key.Kind == yaml.AliasNode {
			key = key.Alias
		}
		if key.Kind != yaml.ScalarNode || len(key.Value) > maxName {
			s.found.at(key.Line, key.Column, path, "the name of a field must be a text of at most %d bytes", maxName)
			continue
		}
		if key.ShortTag() == "!!merge" {
			merged = append(merged, value)
			continue
		}
		if own[key.Value] {
			s.found.at(key.Line, key.Column, join(path, key.Value), "this is there twice")
			continue
		}
		own[key.Value] = true
		if value = s.plain(value, join(path, key.Value), depth+1); value == nil {
			return false
		}
		plain.Content = append(plain.Content, key, value)
	}
	for _, from := range merged {
		if !s.merge(plain, from, own, path, depth) {
			return false
		}
	}
	return true
}

// merge puts in what "<<" names: a mapping, or several of which earlier ones win.
func (s *source) merge(plain, from *yaml.Node, own map[string]bool, path string, depth int) bool {
	from = s.plain(from, path, depth+1)
	if from == nil {
		return false
	}
	list := []*yaml.Node{from}
	if from.Kind == yaml.SequenceNode {
		list = from.Content
	}
	for _, m := range list {
		if m.Kind != yaml.MappingNode {
			s.found.at(m.Line, m.Column, path, `"<<" takes the members of a mapping, or of a list of mappings`)
			continue
		}
		for i := 0; i+1 < len(m.Content); i += 2 {
			if key := m.Content[i]; !own[key.Value] {
				own[key.Value] = true
				plain.Content = append(plain.Content, key, m.Content[i+1])
			}
		}
	}
	return true
}

// value is a plain node as encoding/json would decode it with UseNumber.
func (s *source) value(n *yaml.Node, path string) any {
	switch n.Kind {
	case yaml.MappingNode:
		object := make(map[string]any, len(n.Content)/2)
		for i := 0; i+1 < len(n.Content); i += 2 {
			key := n.Content[i].Value
			object[key] = s.value(n.Content[i+1], join(path, key))
		}
		return object
	case yaml.SequenceNode:
		list := make([]any, 0, len(n.Content))
		for i, item := range n.Content {
			list = append(list, s.value(item, fmt.Sprintf("%s[%d]", path, i)))
		}
		return list
	default:
		return s.scalar(n, path)
	}
}

func (s *source) scalar(n *yaml.Node, path string) any {
	switch n.Tag {
	case "!!null":
		return nil
	case "!!bool":
		var b bool
		if n.Decode(&b) == nil {
			return b
		}
	case "!!int", "!!float":
		if number, ok := number(n); ok {
			return number
		}
		s.found.at(n.Line, n.Column, path, "this number is too large, or none that JSON can say")
		return json.Number("0")
	case "!!str", "!!timestamp":
		return n.Value
	}
	s.found.at(n.Line, n.Column, path, "the tag %s is not known here", n.Tag)
	return n.Value
}

var jsonNumber = regexp.MustCompile(`^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE]([+-]?[0-9]+))?$`)

// number is a number of YAML, which has more ways to write one than JSON.
func number(n *yaml.Node) (json.Number, bool) {
	if match := jsonNumber.FindStringSubmatch(n.Value); match != nil {
		exponent, err := strconv.Atoi(cmp.Or(match[4], "0"))
		ok := err == nil && len(n.Value) <= maxNumber && exponent <= maxExponent && exponent >= -maxExponent
		return json.Number(n.Value), ok
	}
	var whole int64
	if n.Tag == "!!int" && n.Decode(&whole) == nil {
		return json.Number(strconv.FormatInt(whole, 10)), true
	}
	var float float64
	if err := n.Decode(&float); err != nil || math.IsNaN(float) || math.IsInf(float, 0) {
		return "", false
	}
	return json.Number(strconv.FormatFloat(float, 'g', -1, 64)), true
}

// wholeNumbers writes numbers without a fraction as Go reads whole ones: 1e3, which
// a schema takes for an integer, as 1000.
func wholeNumbers(v any) any {
	switch v := v.(type) {
	case json.Number:
		if f, err := v.Float64(); err == nil && f == math.Trunc(f) && math.Abs(f) < 1<<53 {
			return json.Number(strconv.FormatInt(int64(f), 10))
		}
	case []any:
		for i := range v {
			v[i] = wholeNumbers(v[i])
		}
	case map[string]any:
		for name := range v {
			v[name] = wholeNumbers(v[name])
		}
	}
	return v
}

// join is the path of a member.
func join(path, member string) string {
	if path == "" {
		return member
	}
	return path + "." + member
}

// place finds what a path leads to, from the document down: the last value that
// is there, and the key that it stands under, if it has one.
func (s *source) place(tokens []string) (path string, key, value *yaml.Node) {
	value = s.root
	for _, token := range tokens {
		switch {
		case value != nil && value.Kind == yaml.SequenceNode:
			path = fmt.Sprintf("%s[%s]", path, token)
			i, err := strconv.Atoi(token)
			if err != nil || i < 0 || i >= len(value.Content) {
				return path, key, value
			}
			key, value = nil, value.Content[i]
		default:
			path = join(path, token)
			k, v := member(value, token)
			if v == nil {
				return path, key, value
			}
			key, value = k, v
		}
	}
	return path, key, value
}

// member finds a member of a mapping.
func member(n *yaml.Node, name string) (key, value *yaml.Node) {
	if n == nil || n.Kind != yaml.MappingNode {
		return nil, nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == name {
			return n.Content[i], n.Content[i+1]
		}
	}
	return nil, nil
}

// inner is where a place in a text is in the file: line and column count from 1
// in the text that a node has. Where that cannot be told it is the node's place,
// and exact is false.
func (s *source) inner(n *yaml.Node, line, column int) (fileLine, fileColumn int, exact bool) {
	column = max(column, 1)
	switch {
	case line < 1:
	case n.Style&yaml.LiteralStyle != 0:
		// The lines after the indicator, which are indented as the text is not.
		indented, _ := indentation(s.lines[min(n.Line, len(s.lines)):])
		if own, ok := indentation(strings.Split(n.Value, "\n")); ok && indented >= own {
			return n.Line + line, indented - own + column, true
		}
	case line > 1 || n.Style&yaml.FoldedStyle != 0:
	case n.Style&(yaml.DoubleQuotedStyle|yaml.SingleQuotedStyle) != 0:
		return n.Line, n.Column + column, true
	default:
		return n.Line, n.Column + column - 1, true
	}
	return n.Line, n.Column, false
}

// indentation is how many spaces the first line has that is not blank.
func indentation(lines []string) (spaces int, found bool) {
	for _, line := range lines {
		if text := strings.TrimLeft(line, " "); strings.TrimSpace(text) != "" {
			return len(line) - len(text), true
		}
	}
	return 0, false
}

// escapes finds what JSON says with a backslash, pairs of surrogates as one, and
// characters that YAML does not take as they are.
var escapes = regexp.MustCompile(`\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|\\u[dD][89a-fA-F][0-9a-fA-F]{2}|\\.|[\x7f-\x{9f}\x{2028}\x{2029}\x{feff}\x{fffe}\x{ffff}]`)

// jsonAsYAML writes a JSON text so that a reader of YAML reads the same out of it.
// Lines stay as they are.
func jsonAsYAML(text []byte) []byte {
	text = bytes.ToValidUTF8(text, []byte("\uFFFD"))
	return escapes.ReplaceAllFunc(text, func(match []byte) []byte {
		r, unescaped := bytes.Runes(match)[0], ""
		switch {
		case r != '\\':
			return fmt.Appendf(nil, `\u%04X`, r)
		case match[1] == '/':
			return match[1:]
		case len(match) == 2:
			return match
		}
		_ = json.Unmarshal([]byte(`"`+string(match)+`"`), &unescaped) // the whole text is valid
		return fmt.Appendf(nil, `\U%08X`, []rune(unescaped)[0])
	})
}
