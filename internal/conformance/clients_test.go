package conformance

import (
	"bytes"
	"encoding/json"
	"strings"
)

// object is a JSON object, as clients write them.
type object = map[string]any

// talk is what a client says, in no particular dialect.
type talk struct {
	model    string
	stream   bool
	system   string
	turns    []turn
	tools    bool // offer get_weather
	parallel bool // say that parallel calls are welcome
	schema   bool // ask for JSON that fits citySchema
	think    bool
	cache    bool // mark the system prompt (or the first message) as cacheable
	max      int64
	extra    object // more members, in the client's own words
}

// turn is one message: the user's, the model's, or tool results.
type turn struct {
	user    string
	image   bool
	said    string     // by the model, as plain text
	answer  []any      // of the model, as it came: messages, items or contents
	results []toolSaid // to the calls of the answer before
}

type toolSaid struct {
	id, name, text string
	failed         bool
}

// outcome is what a client understood of an answer.
type outcome struct {
	status   int
	header   map[string][]string
	text     string
	thinking string
	calls    []called
	stop     string // stop, length, tools, refusal
	usage    tokens
	answer   []any // to send back in the next request
	whole    bool  // the answer looks finished to its client
	errType  string
	errText  string
	param    string
	raw      string
}

type called struct{ id, name, args string }

// tokens are usage in inclusive totals, with the parts a dialect tells.
type tokens struct{ input, output, cached int64 }

// dialectClient is a client of one dialect.
type dialectClient interface {
	name() string
	path(t talk) string
	header() []string
	body(t talk) object
	read(t talk, o *outcome)
}

var clients = []dialectClient{chatClient{}, responsesClient{}, anthropicClient{}, geminiClient{}}

const (
	pixel = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
	// citySchema is what schema asks for.
	cityProperty = "city"
)

func citySchema() object {
	return object{
		"type": "object", "properties": object{cityProperty: object{"type": "string"}},
		"required": []any{cityProperty}, "additionalProperties": false,
	}
}

// events cuts an event stream into types and data.
func events(body string) (list []struct{ typ, data string }) {
	for block := range strings.SplitSeq(strings.ReplaceAll(body, "\r\n", "\n"), "\n\n") {
		var e struct{ typ, data string }
		for line := range strings.SplitSeq(block, "\n") {
			if v, ok := strings.CutPrefix(line, "event: "); ok {
				e.typ = v
			}
			if v, ok := strings.CutPrefix(line, "data: "); ok {
				e.data += v
			}
		}
		if e.data != "" {
			list = append(list, e)
		}
	}
	return list
}

// parse reads JSON leniently: what is not there is nil.
func parse(text string) object {
	var o object
	d := json.NewDecoder(bytes.NewReader([]byte(text)))
	d.UseNumber()
	_ = d.Decode(&o)
	return o
}

func str(v any) string { s, _ := v.(string); return s }

func obj(v any) object { o, _ := v.(object); return o }

func list(v any) []any { l, _ := v.([]any); return l }

func num(v any) int64 {
	n, _ := v.(json.Number)
	i, _ := n.Int64()
	return i
}

func at(o object, path ...string) any {
	var v any = o
	for _, name := range path {
		v = obj(v)[name]
	}
	return v
}

func text(v any) string {
	b, _ := json.Marshal(v)
	return string(b)
}
