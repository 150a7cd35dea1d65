package fakes

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
)

// What an answer costs. [InputTokens] are read, of which `#cache` makes
// CacheReadTokens and CacheWriteTokens come from and go to a cache. OutputTokens
// are written, and ReasoningTokens on top where the model thought.
const (
	InputTokens      = 1000
	CacheReadTokens  = 500
	CacheWriteTokens = 100
	OutputTokens     = 50
	ReasoningTokens  = 20
	CountedTokens    = 42 // what every count of tokens gives
)

// prompt is what the model is asked, in no particular format.
type prompt struct {
	model  string
	stream bool
	items  []Item
	states int // pieces of provider state that came back and were found good

	tools    []Tool
	mode     string   // auto, none, required; "": not said
	allowed  []string // the tools that may be called; nil: all
	parallel *bool

	output *Output

	maxTokens         int64
	temperature, topP *float64
	topK, seed        *int64
	frequencyPenalty  *float64
	presencePenalty   *float64
	stop              []string
	n                 int
	logprobs          bool
	topLogprobs       int

	mayThink  bool // the model can think
	mustThink bool // and does so unasked
	showsIt   bool // its thoughts are told
	asked     bool // the request asks for thinking
}

// The kinds of what a model writes.
const (
	kindThinking = "thinking"
	kindRedacted = "redacted"
	kindText     = "text"
	kindRefusal  = "refusal"
	kindCall     = "tool_call"
	kindResult   = "tool_result"
)

// part is a piece of an answer.
type part struct {
	kind string
	text string
	name string // of the tool
	args string // its arguments, as JSON
	cite bool   // the text cites [citedURL]
}

// What `#cite` cites.
const (
	citedURL   = "https://example.com/paris"
	citedTitle = "Paris"
)

// The reasons for which an answer ends.
const (
	endStop    = "stop"
	endLength  = "length"
	endTools   = "tools"
	endStopSeq = "stop_sequence"
	endRefusal = "refusal"
)

// reply is what the model answers.
type reply struct {
	parts   []part
	end     string
	stop    string // the stop sequence met
	cached  bool
	thought bool

	status    int    // an error in the answer's place; 0: none
	midstream bool   // an error after a few words
	cut       string // "", "reset", "clean"
	pause     time.Duration
}

// usage is what a reply costs, in disjoint numbers.
type usage struct{ input, cacheRead, cacheWrite, output, reasoning int64 }

func (r *reply) usage() usage {
	u := usage{input: InputTokens, output: OutputTokens}
	if r.cached {
		u.cacheRead, u.cacheWrite = CacheReadTokens, CacheWriteTokens
		u.input -= u.cacheRead + u.cacheWrite
	}
	if r.thought {
		u.reasoning = ReasoningTokens
	}
	return u
}

func (u usage) inputTotal() int64  { return u.input + u.cacheRead + u.cacheWrite }
func (u usage) outputTotal() int64 { return u.output + u.reasoning }

// answer lets the model think.
func (p *prompt) answer() *reply {
	s, after := p.script()
	r := &reply{
		end: endStop, cached: s.cache, status: s.status, midstream: s.midstream, cut: s.cut, pause: s.pause,
	}
	step := steps(after)
	if p.mayThink && (p.mustThink || s.think || s.redacted) {
		r.thought = true
		if s.redacted {
			r.parts = append(r.parts, part{kind: kindRedacted, text: fmt.Sprintf("secret of step %d", step+1)})
		} else {
			r.parts = append(r.parts, part{kind: kindThinking, text: fmt.Sprintf("Step %d: let me think it over.", step+1)})
		}
	}
	if calls := p.calls(s, step); len(calls) > 0 {
		if text := s.said(); text != "" && step == 0 {
			r.parts = append(r.parts, part{kind: kindText, text: text})
		}
		r.parts = append(r.parts, calls...)
		r.end = endTools
		return r
	}
	p.finish(r, s, after)
	return r
}

// steps counts the rounds of tool calls since the user last spoke.
func steps(after []Item) int {
	n := 0
	for i, it := range after {
		if it.Kind == kindCall && (i == 0 || after[i-1].Kind != kindCall) {
			n++
		}
	}
	return n
}

// calls are the tool calls of a step; none when it is time to speak.
func (p *prompt) calls(s *script, step int) []part {
	if p.mode == "none" || len(p.tools) == 0 {
		return nil
	}
	if step < len(s.steps) {
		var calls []part
		for _, c := range s.steps[step] {
			if p.mayCall(c.name) {
				calls = append(calls, c)
			}
		}
		return calls
	}
	if p.mode != "required" || step > 0 {
		return nil
	}
	for _, t := range p.tools {
		if p.mayCall(t.Name) {
			return []part{{kind: kindCall, name: t.Name, args: fit(t.Parameters)}}
		}
	}
	return nil
}

func (p *prompt) mayCall(name string) bool {
	return (len(p.allowed) == 0 || slices.Contains(p.allowed, name)) &&
		slices.ContainsFunc(p.tools, func(t Tool) bool { return t.Name == name })
}

// finish writes the text of an answer that calls no tool.
func (p *prompt) finish(r *reply, s *script, after []Item) {
	text := part{kind: kindText}
	results := tell(after)
	switch {
	case s.describe:
		text.text = p.describe().JSON()
	case s.echo:
		text.text = p.describe().System
	case s.refuse:
		text.kind, text.text, r.end = kindRefusal, "I cannot help with that.", endRefusal
	case s.long:
		words := OutputTokens
		if p.maxTokens > 0 {
			words = int(min(p.maxTokens, OutputTokens))
		}
		text.text, r.end = strings.TrimSpace(strings.Repeat("word ", words)), endLength
	case s.stopseq && len(p.stop) > 0:
		text.text, r.end, r.stop = "one two three", endStopSeq, p.stop[0]
	case s.json || p.output != nil && s.said() == "" && !s.cite:
		schema := any(nil)
		if p.output != nil {
			schema = p.output.Schema
		}
		text.text = fit(schema)
	case s.cite:
		text.text, text.cite = "Paris is the capital of France.", true
	case results != "":
		text.text = results
	case s.said() != "":
		text.text = s.said()
	case len(s.steps) > 0:
		text.text = "There is no such tool."
	default:
		text.text = "Hello from " + p.model
	}
	r.parts = append(r.parts, text)
}

// tell says what the tools said since the user last spoke.
func tell(after []Item) string {
	var told []string
	for _, it := range after {
		if it.Kind != kindResult {
			continue
		}
		said := it.Text
		for _, c := range it.Content {
			if c.Kind != kindText {
				said += fmt.Sprintf("[%s %s]", c.Kind, c.MIME)
			}
		}
		if it.IsError {
			said = "error: " + said
		}
		told = append(told, it.Tool+": "+said)
	}
	return strings.Join(told, "; ")
}

// fit makes a JSON value that fits a schema.
func fit(schema any) string {
	s, _ := schema.(map[string]any)
	text, _ := json.Marshal(value(s, s, "answer", 0))
	return string(text)
}

func value(schema, root map[string]any, name string, depth int) any {
	if depth > 16 || len(schema) == 0 {
		return map[string]any{"ok": true}
	}
	if ref, ok := schema["$ref"].(string); ok {
		return value(find(root, ref), root, name, depth+1)
	}
	if enum, ok := schema["enum"].([]any); ok && len(enum) > 0 {
		return enum[0]
	}
	if c, ok := schema["const"]; ok {
		return c
	}
	for _, choice := range []string{"anyOf", "oneOf", "allOf"} {
		if of, ok := schema[choice].([]any); ok && len(of) > 0 {
			first, _ := of[0].(map[string]any)
			return value(first, root, name, depth+1)
		}
	}
	kind, _ := schema["type"].(string)
	if kinds, ok := schema["type"].([]any); ok && len(kinds) > 0 {
		kind, _ = kinds[0].(string)
	}
	switch strings.ToLower(kind) {
	case "string":
		if name == "city" {
			return "Paris"
		}
		return "text"
	case "number", "integer":
		return 42
	case "boolean":
		return true
	case "null":
		return nil
	case "array":
		items, _ := schema["items"].(map[string]any)
		return []any{value(items, root, name, depth+1)}
	}
	object := map[string]any{}
	properties, _ := schema["properties"].(map[string]any)
	for member, s := range properties {
		s, _ := s.(map[string]any)
		object[member] = value(s, root, member, depth+1)
	}
	return object
}

// find follows a local reference such as "#/$defs/city".
func find(root map[string]any, ref string) map[string]any {
	at := root
	for step := range strings.SplitSeq(strings.TrimPrefix(strings.TrimPrefix(ref, "#"), "/"), "/") {
		if step != "" {
			at, _ = at[step].(map[string]any)
		}
	}
	return at
}
