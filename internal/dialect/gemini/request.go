package gemini

import (
	"strconv"

	"github.com/financecommander/tollgate/internal/dialect"
	"github.com/financecommander/tollgate/internal/dialect/wire"
	"github.com/financecommander/tollgate/internal/jsonedit"
	"github.com/financecommander/tollgate/internal/llm"
)

// call is one request body and what was found in it.
type call struct {
	codec Generate
	jsonedit.Object

	config     jsonedit.Object // generationConfig
	configName string          // as the client wrote it; "" if there is none
	maxTokens  int64
	limitName  string // as the client wrote maxOutputTokens; "" if it did not
	warm       bool   // the client set a temperature
}

// Read implements [dialect.Codec].
func (g Generate) Read(body []byte) (dialect.Call, error) {
	k := &call{codec: g}
	if err := k.read(body); err != nil {
		return nil, wire.RequestError(err)
	}
	return k, nil
}

func (k *call) read(body []byte) (err error) {
	if k.Object, err = jsonedit.ReadObject(body); err != nil {
		return err
	}
	switch contents := k.Value("contents"); {
	case contents == nil:
		return wire.Missing("contents")
	case contents[0] != '[' && contents[0] != '{': // Google takes one object for a list of one
		return &jsonedit.TypeError{Name: "contents", Want: "an array"}
	}
	if err := k.readSystem(); err != nil {
		return err
	}
	return k.readConfig()
}

func (k *call) readSystem() error {
	name, err := spelling(&k.Object, "systemInstruction", "system_instruction")
	if err != nil {
		return err
	}
	system, ok, err := k.Object.Object(name)
	if err != nil || !ok {
		return err
	}
	switch parts := system.Value("parts"); {
	case parts == nil, parts[0] == '[', parts[0] == '{':
		return nil
	}
	return &jsonedit.TypeError{Name: name + ".parts", Want: "an array"}
}

func (k *call) readConfig() (err error) {
	if k.configName, err = spelling(&k.Object, "generationConfig", "generation_config"); err != nil {
		return err
	}
	var ok bool
	if k.config, ok, err = k.Object.Object(k.configName); err != nil || !ok {
		k.configName = ""
		return err
	}
	if k.limitName, err = spelling(&k.config, "maxOutputTokens", "max_output_tokens"); err != nil {
		return err
	}
	switch k.maxTokens, ok, err = number(&k.config, k.limitName); {
	case err != nil:
		return &jsonedit.TypeError{Name: k.configName + "." + k.limitName, Want: "an integer"}
	case !ok:
		k.limitName = ""
	}
	if k.warm, err = k.config.Number("temperature"); err != nil {
		return &jsonedit.TypeError{Name: k.configName + ".temperature", Want: "a number"}
	}
	return nil
}

// spelling gives the name under which a member is there; both spellings at once
// are refused, since readers differ in which they take. Where none is there it
// gives the first.
func spelling(o *jsonedit.Object, camel, snake string) (string, error) {
	_, one := o.Find(camel)
	_, other := o.Find(snake)
	switch {
	case one && other:
		return "", wire.Invalid(snake, "and "+camel+" are the same member, which must come only once")
	case other:
		return snake, nil
	}
	return camel, nil
}

// number is an integer, which Google takes as a string too.
func number(o *jsonedit.Object, name string) (n int64, ok bool, err error) {
	if value := o.Value(name); len(value) > 2 && value[0] == '"' {
		if n, ok = jsonedit.ParseInt(value[1 : len(value)-1]); ok {
			return n, true, nil
		}
	}
	return o.Int(name)
}

// Model implements [dialect.Call].
func (k *call) Model() string { return k.codec.Model }

// Stream implements [dialect.Call].
func (k *call) Stream() bool { return k.codec.Streaming }

// UsageWanted implements [dialect.Call]: the format's streams always tell it.
func (k *call) UsageWanted() bool { return true }

// MaxTokens implements [dialect.Call].
func (k *call) MaxTokens() int64 { return k.maxTokens }

// Patch implements [dialect.Call]. The model is not in the body.
func (k *call) Patch(edits dialect.Edits) ([]byte, error) {
	e := k.Edit()
	if edits.SystemPrompt != "" {
		patchSystem(e, &k.Object, edits.SystemPrompt)
	}
	k.patchConfig(e, edits)
	return e.BytesIn(edits.Into), nil
}

// patchSystem puts a prompt before the client's own.
func patchSystem(e *jsonedit.Editor, o *jsonedit.Object, prompt string) {
	part := string(jsonedit.AppendQuote([]byte(`{"text":`), prompt)) + `}`
	name, _ := spelling(o, "systemInstruction", "system_instruction")
	system, ok, _ := o.Object(name)
	if !ok {
		e.Set(name, `{"parts":[`+part+`]}`)
		return
	}
	inner := system.Edit()
	switch parts := system.Value("parts"); {
	case parts == nil || emptyArray(parts):
		inner.Set("parts", `[`+part+`]`)
	case parts[0] == '{':
		inner.Set("parts", `[`+part+`,`+string(parts)+`]`)
	default:
		m, _ := system.Find("parts")
		inner.Insert(m.Start+1, part+",")
	}
	e.Set(name, string(inner.Bytes()))
}

func emptyArray(value []byte) bool {
	s := jsonedit.NewScanner(value[1:])
	return value[0] == '[' && s.Kind() == jsonedit.KindInvalid // the closing bracket
}

func (k *call) patchConfig(e *jsonedit.Editor, edits dialect.Edits) {
	var set [][2]string
	if edits.Temperature != nil && !k.warm {
		set = append(set, [2]string{"temperature", strconv.FormatFloat(*edits.Temperature, 'f', -1, 64)})
	}
	if limit := edits.MaxTokens; limit > 0 && (k.limitName == "" || k.maxTokens <= 0 || k.maxTokens > limit) {
		name := k.limitName
		if name == "" { // absent, or null
			name, _ = spelling(&k.config, "maxOutputTokens", "max_output_tokens")
		}
		set = append(set, [2]string{name, strconv.FormatInt(limit, 10)})
	}
	if len(set) == 0 {
		return
	}
	if k.configName == "" {
		name, _ := spelling(&k.Object, "generationConfig", "generation_config")
		var config wire.Writer
		config.Object()
		for _, m := range set {
			config.Name(m[0]).Raw([]byte(m[1]))
		}
		config.End()
		e.Set(name, string(config.Bytes))
		return
	}
	inner := k.config.Edit()
	for _, m := range set {
		inner.Set(m[0], m[1])
	}
	e.Set(k.configName, string(inner.Bytes()))
}

// AppendText implements [dialect.Call].
func (k *call) AppendText(dst []byte, limit int) []byte { return appendText(&k.Object, dst, limit) }

// appendText takes what a model reads as text; of tools and schemas, which
// reach it as some kind of JSON, the bytes as they stand.
func appendText(o *jsonedit.Object, dst []byte, limit int) []byte {
	t := wire.NewTextCollector(dst, limit)
	for _, name := range [...]string{"systemInstruction", "system_instruction", "contents"} {
		contentText(t, o.Value(name))
	}
	t.Raw(o.Value("tools"))
	for _, name := range [...]string{"generationConfig", "generation_config"} {
		if config, ok, _ := o.Object(name); ok {
			for _, schema := range [...]string{"responseSchema", "response_schema", "responseJsonSchema", "response_json_schema", "_responseJsonSchema"} {
				t.Raw(config.Value(schema))
			}
		}
	}
	return t.Bytes()
}

// contentText takes a content, or a list of them.
func contentText(t *wire.TextCollector, value []byte) {
	s := jsonedit.NewScanner(value)
	each(&s, func() {
		for name := range s.Members {
			if string(name) == "parts" {
				each(&s, func() { partText(t, &s) })
			}
		}
	})
}

// each visits the elements of an array, or the one value that stands for it.
func each(s *jsonedit.Scanner, visit func()) {
	if s.Kind() != jsonedit.KindArray {
		visit()
		return
	}
	for range s.Elements {
		visit()
	}
}

func partText(t *wire.TextCollector, s *jsonedit.Scanner) {
	for name := range s.Members {
		switch string(name) {
		case "text":
			t.Text(s.Skip())
		case "functionCall", "function_call", "functionResponse", "function_response", "executableCode", "executable_code",
			"codeExecutionResult", "code_execution_result":
			t.Raw(s.Skip())
		}
	}
}

var _ dialect.Call = (*call)(nil)

// systemRefused is the error where a prompt has no place.
func systemRefused() *llm.Error {
	return &llm.Error{
		Cause: llm.CauseInvalidRequest, Param: "model",
		Message: "this specialist has a system prompt and answers chat calls only",
	}
}
