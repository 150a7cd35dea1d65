package upstream

import (
	"bytes"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"io"
	"maps"
	"math/big"
	"math/rand/v2"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// The bounds of a value that is made to fit a schema.
const (
	demoDepth  = 40   // schemas within schemas, with references followed
	demoFlat   = 5    // from here on, only what a schema insists on
	demoValues = 3000 // that are made, and schemas that are merged
	demoItems  = 100  // of one array, and members of an object
	demoLength = 5000 // characters of one text
	demoSchema = 256 << 10
)

// demoValue makes an answer in JSON: for a schema a small value that fits it, as
// far as its keywords are known here. The same question gets the same answer;
// others get others.
func demoValue(schema json.RawMessage, question string) string {
	seed := fnv.New64a()
	_, _ = io.WriteString(seed, question)
	m := &demoMaker{random: rand.New(rand.NewPCG(seed.Sum64(), 0)), left: demoValues} // a toy value, no secret
	decoder := json.NewDecoder(bytes.NewReader(schema))
	decoder.UseNumber() // bounds are exact
	var value any
	if len(schema) > 0 && len(schema) <= demoSchema && decoder.Decode(&m.root) == nil {
		value = m.make(m.root, "answer", 0)
	} else {
		value = map[string]any{"demo": true, "question": clip(question, 100), "score": m.random.IntN(100) + 1}
	}
	var text strings.Builder
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(value)
	return strings.TrimSpace(text.String())
}

// demoMaker makes values that fit schemas.
type demoMaker struct {
	root   any
	random *rand.Rand
	left   int // see demoValues
}

// spend says whether there may be one more step, on something of a size.
func (m *demoMaker) spend(size int) bool {
	m.left -= 1 + size/32
	return m.left >= 0
}

// shape is a JSON Schema in its object form.
type shape = map[string]any

// make makes a value for a schema; name is the member's that it is for.
func (m *demoMaker) make(schema any, name string, depth int) any {
	s := m.resolve(schema, depth)
	if !m.spend(0) || depth > demoDepth {
		return nil
	}
	if value, ok := s["const"]; ok {
		return value
	}
	kind := kindOf(s)
	if values := list(s["enum"]); len(values) > 0 {
		fitting := slices.DeleteFunc(slices.Clone(values), func(v any) bool { return s["type"] != nil && !isOf(v, kind) })
		if len(fitting) == 0 {
			fitting = values
		}
		return fitting[m.random.IntN(len(fitting))]
	}
	switch kind {
	case "object":
		return m.object(s, depth)
	case "array":
		return m.array(s, name, depth)
	case "integer", "number":
		return m.number(s, kind == "integer")
	case "boolean":
		return m.random.IntN(2) == 0
	case "null":
		return nil
	}
	return m.string(s, name)
}

// resolve gives a schema with its references followed and what it is composed of
// put together. Of alternatives the first counts.
func (m *demoMaker) resolve(schema any, depth int) shape {
	s, _ := schema.(shape)
	if !m.spend(len(s)) || depth > demoDepth {
		return s
	}
	whole := maps.Clone(s)
	join := func(key string, other any) {
		delete(whole, key)
		whole = m.merge(whole, m.resolve(other, depth+1))
	}
	if at, ok := s["$ref"].(string); ok {
		join("$ref", m.find(at))
	}
	for _, part := range list(s["allOf"]) {
		join("allOf", part)
	}
	for _, key := range []string{"anyOf", "oneOf"} {
		choices := list(s[key])
		something := func(c any) bool { s, _ := c.(shape); return s["type"] != "null" }
		if i := max(0, slices.IndexFunc(choices, something)); i < len(choices) {
			join(key, choices[i])
		}
	}
	if condition, ok := s["if"]; ok { // what meets it and what follows from it is right
		join("if", condition)
		join("then", s["then"])
	}
	return whole
}

// find follows a reference within the document.
func (m *demoMaker) find(at string) any {
	pointer, ok := strings.CutPrefix(at, "#")
	if !ok || pointer != "" && pointer[0] != '/' {
		return nil
	}
	found := m.root
	for part := range strings.SplitSeq(strings.TrimPrefix(pointer, "/"), "/") {
		if pointer == "" {
			break
		}
		part = strings.NewReplacer("~1", "/", "~0", "~").Replace(part)
		switch node := found.(type) {
		case shape:
			found = node[part]
		case []any:
			i, err := strconv.Atoi(part)
			if err != nil || i < 0 || i >= len(node) {
				return nil
			}
			found = node[i]
		default:
			return nil
		}
	}
	return found
}

// merge gives a schema for what fits both.
func (m *demoMaker) merge(a, b shape) shape {
	whole := maps.Clone(a)
	if whole == nil {
		whole = shape{}
	}
	for _, key := range slices.Sorted(maps.Keys(b)) {
		if mine, ok := whole[key]; ok {
			whole[key] = m.mergeMember(key, mine, b[key])
		} else {
			whole[key] = b[key]
		}
	}
	return whole
}

func (m *demoMaker) mergeMember(key string, a, b any) any {
	if !m.spend(0) {
		return a
	}
	switch key {
	case "properties", "patternProperties", "$defs", "definitions":
		mine, _ := a.(shape)
		other, _ := b.(shape)
		whole := make(shape, len(mine)+len(other))
		maps.Copy(whole, other)
		for name, have := range mine {
			if more, ok := other[name]; ok {
				have = shape{"allOf": []any{have, more}}
			}
			whole[name] = have
		}
		return whole
	case "items", "contains", "additionalProperties":
		return shape{"allOf": []any{a, b}}
	case "required", "allOf":
		return slices.Concat(list(a), list(b))
	case "enum", "type":
		mine, other := list(a), list(b)
		both := slices.DeleteFunc(slices.Clone(mine), func(v any) bool {
			return !slices.ContainsFunc(other, func(w any) bool {
				return reflect.DeepEqual(v, w) || key == "type" && v == "integer" && w == "number"
			})
		})
		if len(both) == 0 { // "number" and "integer", or nothing at all
			return b
		}
		return both
	case "minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties", "minContains":
		return larger(a, b, 1)
	case "maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties":
		return larger(a, b, -1)
	}
	return b
}

func larger(a, b any, sign int) any {
	x, y := rational(a), rational(b)
	if x == nil || y != nil && sign*y.Cmp(x) > 0 {
		return b
	}
	return a
}

// kindOf is the type of the value to make. Where a schema does not say, its
// keywords do.
func kindOf(s shape) string {
	kinds := list(s["type"])
	for _, kind := range kinds {
		if kind, ok := kind.(string); ok && kind != "null" {
			return kind
		}
	}
	if len(kinds) > 0 {
		return "null"
	}
	for _, hint := range []struct{ kind, words string }{
		{"object", "properties required additionalProperties patternProperties minProperties"},
		{"array", "items prefixItems minItems contains"},
		{"number", "minimum maximum exclusiveMinimum exclusiveMaximum multipleOf"},
	} {
		for word := range strings.FieldsSeq(hint.words) {
			if _, ok := s[word]; ok {
				return hint.kind
			}
		}
	}
	return "string"
}

func isOf(v any, kind string) bool {
	switch v := v.(type) {
	case string:
		return kind == "string"
	case json.Number:
		n := rational(v)
		return kind == "number" || kind == "integer" && n != nil && n.IsInt()
	case bool:
		return kind == "boolean"
	case nil:
		return kind == "null"
	case []any:
		return kind == "array"
	}
	return kind == "object"
}

// object has the members that are required; where none is, all that there are.
func (m *demoMaker) object(s shape, depth int) any {
	properties, _ := s["properties"].(shape)
	names := make([]string, 0, len(properties))
	for _, name := range list(s["required"]) {
		if name, ok := name.(string); ok {
			names = append(names, name)
		}
	}
	if len(names) == 0 && depth < demoFlat {
		names = slices.Sorted(maps.Keys(properties))
	}
	dependent, _ := s["dependentRequired"].(shape)
	for i := 0; i < len(names) && len(names) < demoItems; i++ { // those that come in need others, too
		for _, name := range list(dependent[names[i]]) {
			if name, ok := name.(string); ok && !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	least := count(s["minProperties"], 0)
	for _, name := range slices.Sorted(maps.Keys(properties)) {
		if len(names) < least && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	for i := 1; len(names) < least; i++ {
		names = append(names, "key"+strconv.Itoa(i))
	}
	value := make(map[string]any, len(names))
	for _, name := range names {
		if _, made := value[name]; !made {
			value[name] = m.make(m.member(s, properties, name), name, depth+1)
		}
	}
	return value
}

// member is the schema of an object's member.
func (m *demoMaker) member(s, properties shape, name string) any {
	var all []any
	if schema, ok := properties[name]; ok {
		all = append(all, schema)
	}
	patterns, _ := s["patternProperties"].(shape)
	for _, pattern := range slices.Sorted(maps.Keys(patterns)) {
		if !m.spend(len(pattern)) {
			break
		}
		if re, err := regexp.Compile(pattern); err == nil && re.MatchString(name) {
			all = append(all, patterns[pattern])
		}
	}
	if len(all) == 0 {
		return s["additionalProperties"]
	}
	return shape{"allOf": all}
}

// array has two items, unless a schema wants more or fewer.
func (m *demoMaker) array(s shape, name string, depth int) any {
	first := list(s["prefixItems"])
	least := max(count(s["minItems"], 0), count(s["minContains"], 0))
	n := max(least, 2, len(first))
	if depth >= demoFlat {
		n = max(least, len(first))
	}
	if s["contains"] != nil && s["minContains"] == nil {
		n = max(n, 1)
	}
	n = min(n, count(s["maxItems"], n), demoItems)
	if s["items"] == false {
		n = min(n, len(first))
	}
	unique := s["uniqueItems"] == true
	values := make([]any, 0, n)
	for tries := 0; len(values) < n && tries < 30*n; tries++ {
		var of any = shape{"allOf": []any{s["items"], s["contains"]}}
		if i := len(values); i < len(first) {
			of = first[i]
		}
		value := m.make(of, strings.TrimSuffix(name, "s"), depth+1)
		if m.left < 0 {
			break
		}
		if !unique || !slices.ContainsFunc(values, func(v any) bool { return reflect.DeepEqual(v, value) }) {
			values = append(values, value)
		}
	}
	return values
}

// string is a text that says what it is for, or what a format or pattern wants.
func (m *demoMaker) string(s shape, name string) any {
	if pattern, ok := s["pattern"].(string); ok {
		if text, ok := m.matching(pattern); ok {
			return text
		}
	}
	format, _ := s["format"].(string)
	if text, ok := m.formatted(format); ok {
		return text
	}
	text := fmt.Sprintf("Demo %s %d", strings.NewReplacer("_", " ", "-", " ").Replace(clip(name, 40)), m.random.IntN(1000))
	least := min(count(s["minLength"], 0), demoLength)
	if missing := least - utf8.RuneCountInString(text); missing > 0 {
		text += strings.Repeat(" and so on", missing/len(" and so on")+1)
		text = text[:len(text)-1] + "."
	}
	if runes, most := []rune(text), count(s["maxLength"], demoLength); len(runes) > max(most, least) {
		text = string(runes[:max(most, least)])
	}
	return text
}

// formatted is a text of one of the formats that JSON Schema lists.
func (m *demoMaker) formatted(format string) (text string, ok bool) {
	n := m.random.IntN(1000)
	date := fmt.Sprintf("%d-%02d-%02d", 2020+n%6, n%12+1, n%28+1)
	clock := fmt.Sprintf("%02d:%02d:%02dZ", n%24, n%60, n/7%60)
	text, ok = map[string]string{
		"date": date, "time": clock, "date-time": date + "T" + clock, "duration": fmt.Sprintf("P%dD", n),
		"email": fmt.Sprintf("demo%d@example.com", n), "idn-email": fmt.Sprintf("demo%d@example.com", n),
		"hostname": fmt.Sprintf("demo%d.example.com", n), "idn-hostname": fmt.Sprintf("demo%d.example.com", n),
		"uri": fmt.Sprintf("https://example.com/demo/%d", n), "iri": fmt.Sprintf("https://example.com/demo/%d", n),
		"uri-reference": fmt.Sprintf("/demo/%d", n), "iri-reference": fmt.Sprintf("/demo/%d", n),
		"uri-template": fmt.Sprintf("/demo/%d/{id}", n),
		"uuid":         fmt.Sprintf("00000000-0000-4000-8000-%012d", n),
		"ipv4":         fmt.Sprintf("192.0.2.%d", n%256), "ipv6": fmt.Sprintf("2001:db8::%x", n),
		"json-pointer": fmt.Sprintf("/demo/%d", n), "relative-json-pointer": fmt.Sprintf("%d", n), "regex": "^demo$",
	}[format]
	return text, ok
}

// number is one within the bounds, a multiple of what it must be one of.
func (m *demoMaker) number(s shape, whole bool) any {
	step := rational(s["multipleOf"])
	fixed := step != nil && step.Sign() > 0
	low, high := bounds(s)
	switch {
	case fixed && whole:
		step = new(big.Rat).SetInt(step.Num()) // its whole multiples are those of its numerator
	case whole:
		step = big.NewRat(1, 1)
	case !fixed:
		step = big.NewRat(1, 10)
		if new(big.Rat).Sub(high, low).Cmp(big.NewRat(10, 1)) <= 0 {
			step = big.NewRat(1, 100)
		}
	}
	for range 15 { // a narrow range needs a fine step
		from, to := steps(low, step, s["exclusiveMinimum"], 1), steps(high, step, s["exclusiveMaximum"], -1)
		if room := new(big.Int).Sub(to, from); room.Sign() >= 0 {
			if room.IsInt64() && room.Int64() < 1<<40 {
				from.Add(from, big.NewInt(m.random.Int64N(room.Int64()+1)))
			}
			return decimal(new(big.Rat).Mul(new(big.Rat).SetInt(from), step))
		}
		if fixed || whole {
			break
		}
		step = new(big.Rat).Mul(step, big.NewRat(1, 10))
	}
	return decimal(low)
}

// bounds are the least and the largest number that a schema lets through, if it
// excludes neither; where it names none, a range of a hundred.
func bounds(s shape) (low, high *big.Rat) {
	span := big.NewRat(100, 1)
	for _, key := range []string{"minimum", "exclusiveMinimum"} {
		if n := rational(s[key]); n != nil && (low == nil || n.Cmp(low) > 0) {
			low = n
		}
	}
	for _, key := range []string{"maximum", "exclusiveMaximum"} {
		if n := rational(s[key]); n != nil && (high == nil || n.Cmp(high) < 0) {
			high = n
		}
	}
	switch {
	case low == nil && high == nil:
		low = new(big.Rat)
		high = span
	case low == nil:
		if low = new(big.Rat); high.Sign() < 0 {
			low.Sub(high, span)
		}
	case high == nil:
		high = new(big.Rat).Add(low, span)
	}
	return low, high
}

// steps is how many steps a bound is away from 0, within the bound. sign is 1 for
// the least, -1 for the largest.
func steps(bound, step *big.Rat, excluded any, sign int64) *big.Int {
	q := new(big.Rat).Quo(bound, step)
	n := new(big.Int).Div(q.Num(), q.Denom()) // rounded down
	exact := q.IsInt()
	if sign > 0 && !exact {
		n.Add(n, big.NewInt(1))
	}
	if edge := rational(excluded); exact && edge != nil && edge.Cmp(bound) == 0 {
		n.Add(n, big.NewInt(sign))
	}
	return n
}

func decimal(n *big.Rat) json.Number {
	text := n.FloatString(20)
	return json.Number(strings.TrimSuffix(strings.TrimRight(text, "0"), "."))
}

// rational is a number of a schema, exactly; nil for what is none, or one that
// nobody means.
func rational(v any) *big.Rat {
	number, ok := v.(json.Number)
	f, err := number.Float64()
	if !ok || err != nil || len(number) > 30 || f > 1e15 || f < -1e15 || f != 0 && f < 1e-15 && f > -1e-15 {
		return nil
	}
	n, _ := new(big.Rat).SetString(string(number))
	return n
}

// count is a number of things; what a schema does not say is otherwise.
func count(v any, otherwise int) int {
	n := rational(v)
	if n == nil || n.Sign() < 0 {
		return otherwise
	}
	f, _ := n.Float64()
	return int(min(f, demoLength))
}

// list is a list, or a single thing as one; nil: nothing.
func list(v any) []any {
	switch v := v.(type) {
	case nil:
		return nil
	case []any:
		return v
	}
	return []any{v}
}
