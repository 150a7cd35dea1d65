package fakes

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// rsRequest is the body of a response.
// https://platform.openai.com/docs/api-reference/responses/create
type rsRequest struct {
	Model              string            `json:"model"`
	Input              raw               `json:"input"`
	Instructions       *string           `json:"instructions"`
	Stream             *bool             `json:"stream"`
	StreamOptions      raw               `json:"stream_options"`
	Tools              []rsTool          `json:"tools"`
	ToolChoice         raw               `json:"tool_choice"`
	ParallelToolCalls  *bool             `json:"parallel_tool_calls"`
	MaxToolCalls       *int              `json:"max_tool_calls"`
	MaxOutputTokens    *int64            `json:"max_output_tokens"`
	Temperature        *float64          `json:"temperature"`
	TopP               *float64          `json:"top_p"`
	TopLogprobs        *int              `json:"top_logprobs"`
	PreviousResponseID string            `json:"previous_response_id"`
	Store              *bool             `json:"store"`
	Include            []string          `json:"include"`
	Metadata           map[string]string `json:"metadata"`
	User               string            `json:"user"`
	SafetyIdentifier   string            `json:"safety_identifier"`
	PromptCacheKey     string            `json:"prompt_cache_key"`
	ServiceTier        string            `json:"service_tier"`
	Truncation         string            `json:"truncation"`
	Background         *bool             `json:"background"`
	Reasoning          *struct {
		Effort          string `json:"effort"`
		Summary         string `json:"summary"`
		GenerateSummary string `json:"generate_summary"`
		Context         string `json:"context"`
	} `json:"reasoning"`
	Text *struct {
		Format *struct {
			Type string `json:"type"`
			chatSchema
		} `json:"format"`
		Verbosity string `json:"verbosity"`
	} `json:"text"`
	PromptCacheRetention raw `json:"prompt_cache_retention"`
	ContextManagement    raw `json:"context_management"`
}

type rsTool struct {
	Type        string `json:"type"`
	Name        string `json:"name"`
	Description string `json:"description"`
	Parameters  raw    `json:"parameters"`
	Strict      *bool  `json:"strict"`
	Format      raw    `json:"format"`
}

// rsItem has the members of all types of items; [itemMembers] says whose is which.
type rsItem struct {
	Type             string   `json:"type"`
	ID               string   `json:"id,omitempty"`
	Status           *string  `json:"status,omitempty"`
	Role             string   `json:"role,omitempty"`
	Phase            *string  `json:"phase,omitempty"`
	Content          raw      `json:"content,omitempty"`
	CallID           string   `json:"call_id,omitempty"`
	Name             string   `json:"name,omitempty"`
	Arguments        *string  `json:"arguments,omitempty"`
	ParsedArguments  raw      `json:"parsed_arguments,omitempty"` // the SDK's helpers send it back
	Input            *string  `json:"input,omitempty"`
	Output           raw      `json:"output,omitempty"`
	Summary          []rsPart `json:"summary,omitempty"`
	EncryptedContent *string  `json:"encrypted_content,omitempty"`
}

type rsPart struct {
	Type        string  `json:"type"`
	Text        *string `json:"text,omitempty"`
	Refusal     *string `json:"refusal,omitempty"`
	Annotations raw     `json:"annotations,omitempty"`
	Logprobs    raw     `json:"logprobs,omitempty"`
	Parsed      raw     `json:"parsed,omitempty"` // the SDK's helpers send it back
	ImageURL    *string `json:"image_url,omitempty"`
	FileID      *string `json:"file_id,omitempty"`
	Detail      string  `json:"detail,omitempty"`
	FileData    *string `json:"file_data,omitempty"`
	FileURL     *string `json:"file_url,omitempty"`
	Filename    *string `json:"filename,omitempty"`
}

var (
	itemMembers = map[string][]string{
		"message":                 {"id", "status", "role", "content", "phase"},
		"function_call":           {"id", "status", "call_id", "name", "arguments", "parsed_arguments"},
		"function_call_output":    {"id", "status", "call_id", "output"},
		"custom_tool_call":        {"id", "status", "call_id", "name", "input"},
		"custom_tool_call_output": {"id", "status", "call_id", "output"},
		"reasoning":               {"id", "status", "summary", "content", "encrypted_content"},
		"item_reference":          {"id"},
	}
	itemPrefix = map[string]string{"message": "msg", "function_call": "fc", "custom_tool_call": "ctc", "reasoning": "rs"}
	includes   = []string{
		"reasoning.encrypted_content", "message.output_text.logprobs", "message.input_image.image_url",
		"file_search_call.results", "web_search_call.action.sources", "computer_call_output.output.image_url",
		"code_interpreter_call.outputs", "web_search_call.results",
	}
)

// rsReader reads one request.
type rsReader struct {
	s       *Server
	p       *prompt
	q       *rsRequest
	items   []rsItem // the whole conversation, what was kept included
	waiting []string // calls without an output
}

func (s *Server) rsPrompt(body []byte) (*rsReader, *refusal) {
	q := &rsRequest{}
	if path, err := strictly(body, q); err != nil {
		return nil, bad(openAIPath(path), "Unknown or invalid parameter: %v", err)
	}
	r := &rsReader{s: s, q: q, p: &prompt{
		model: q.Model, stream: isTrue(q.Stream), temperature: q.Temperature, topP: q.TopP, parallel: q.ParallelToolCalls, n: 1,
	}}
	for _, check := range []func() *refusal{r.model, r.input, r.tools, r.choice, r.output, r.limits} {
		if problem := check(); problem != nil {
			return nil, problem
		}
	}
	return r, nil
}

func (r *rsReader) includes(what string) bool { return slices.Contains(r.q.Include, what) }

func (r *rsReader) stores() bool { return r.q.Store == nil || *r.q.Store }

func (r *rsReader) model() *refusal {
	q := r.q
	switch {
	case q.Model == "":
		return &refusal{status: http.StatusBadRequest, param: "model", code: "missing_required_parameter", message: "Missing required parameter: 'model'."}
	case !r.s.known(q.Model): // not 404: Responses says it so
		return &refusal{
			status: http.StatusBadRequest, param: "model", code: "model_not_found",
			message: fmt.Sprintf("The requested model '%s' does not exist.", q.Model),
		}
	}
	r.p.mayThink = reasoningModel(q.Model)
	if re := q.Reasoning; re != nil {
		if !r.p.mayThink && re.Effort != "none" {
			return &refusal{status: http.StatusBadRequest, param: "reasoning.effort", code: "unsupported_parameter", message: "Unsupported parameter: 'reasoning.effort' is not supported with this model."}
		}
		if !slices.Contains([]string{"", "none", "minimal", "low", "medium", "high", "xhigh"}, re.Effort) {
			return bad("reasoning.effort", "Invalid value: '%s'.", re.Effort)
		}
		summary := re.Summary
		if !slices.Contains([]string{"", "auto", "concise", "detailed"}, summary) {
			return bad("reasoning.summary", "Invalid value: '%s'.", summary)
		}
		r.p.mayThink = r.p.mayThink && re.Effort != "none"
		r.p.asked = r.p.mayThink && (re.Effort != "" || summary != "")
		r.p.mustThink, r.p.showsIt = r.p.asked, summary != ""
	}
	return nil
}

func (r *rsReader) input() *refusal {
	if r.q.Instructions != nil && *r.q.Instructions != "" {
		r.p.items = append(r.p.items, Item{Role: "system", Kind: kindText, Text: *r.q.Instructions})
	}
	if id := r.q.PreviousResponseID; id != "" {
		kept, ok := r.s.kept(id)
		if !ok {
			return &refusal{
				status: http.StatusBadRequest, param: "previous_response_id", code: "previous_response_not_found",
				message: fmt.Sprintf("Previous response with id '%s' not found.", id),
			}
		}
		r.items = kept
	}
	begin := len(r.items)
	if _, ok := isText(r.q.Input); ok {
		r.items = append(r.items, rsItem{Type: "message", Role: "user", Content: r.q.Input})
	} else if problem := r.list(); problem != nil {
		return problem
	}
	if len(r.items) == 0 {
		return &refusal{status: http.StatusBadRequest, param: "input", code: "missing_required_parameter", message: "Missing required parameter: 'input'."}
	}
	for i := range r.items {
		if problem := r.item(i, fmt.Sprintf("input[%d]", i-begin)); problem != nil {
			return problem
		}
	}
	if len(r.waiting) > 0 {
		return bad("input", "No tool output found for function call %s.", r.waiting[0])
	}
	return nil
}

// list reads the input's items.
func (r *rsReader) list() *refusal {
	var items []rsItem
	if path, err := strictly(r.q.Input, &items); err != nil {
		return bad("input"+openAIPath(path), "Unknown or invalid parameter: %v", err)
	}
	var members []map[string]raw
	_, _ = strictly(r.q.Input, &members)
	for i := range items {
		it, at := &items[i], fmt.Sprintf("input[%d]", i)
		if it.Type == "" && it.Role != "" {
			it.Type = "message"
		}
		allowed, ok := itemMembers[it.Type]
		if !ok {
			return bad(at, "Invalid value: '%s'.", it.Type)
		}
		for name := range members[i] {
			if name != "type" && !slices.Contains(allowed, name) {
				return &refusal{status: http.StatusBadRequest, param: at + "." + name, code: "unknown_parameter", message: fmt.Sprintf("Unknown parameter: '%s.%s'.", at, name)}
			}
		}
		if prefix := itemPrefix[it.Type]; it.ID != "" && !strings.HasPrefix(it.ID, prefix) {
			return bad(at+".id", "Invalid '%s.id': '%s'. Expected an ID that begins with '%s'.", at, it.ID, prefix)
		}
		if len(it.ID) > 64 || len(it.CallID) > 64 {
			return &refusal{
				status: http.StatusBadRequest, param: at + ".call_id", code: "string_above_max_length",
				message: fmt.Sprintf("Invalid '%s.call_id': string too long. Expected a string with maximum length 64.", at),
			}
		}
	}
	r.items = append(r.items, items...)
	return nil
}

func (r *rsReader) item(i int, at string) *refusal {
	it := &r.items[i]
	switch it.Type {
	case "message":
		return r.message(it, at)
	case "reasoning":
		return r.reasoning(i, at)
	case "function_call", "custom_tool_call":
		return r.call(i, at)
	case "function_call_output", "custom_tool_call_output":
		return r.result(it, at)
	default:
		return &refusal{status: http.StatusNotFound, param: "input", message: fmt.Sprintf("Item with id '%s' not found. Items are not persisted when `store` is set to false.", it.ID)}
	}
}

func (r *rsReader) message(it *rsItem, at string) *refusal {
	role, types := it.Role, []string{"input_text", "input_image", "input_file"}
	switch role {
	case "system", "developer":
		role = "system"
	case "user":
	case "assistant":
		types = []string{"output_text", "refusal"}
	default:
		return bad(at+".role", "Invalid value: '%s'. Supported values are: 'assistant', 'system', 'developer', and 'user'.", role)
	}
	items, problem := contentItems(it.Content, at+".content", types...)
	for _, piece := range items {
		piece.Role = role
		r.p.items = append(r.p.items, piece)
	}
	return problem
}

func contentItems(content raw, at string, types ...string) ([]Item, *refusal) {
	if text, ok := isText(content); ok {
		return []Item{{Kind: kindText, Text: text}}, nil
	}
	var parts []rsPart
	if path, err := strictly(content, &parts); err != nil {
		return nil, bad(at+openAIPath(path), "Unknown or invalid parameter: %v", err)
	}
	var items []Item
	for i := range parts {
		at := fmt.Sprintf("%s[%d]", at, i)
		if !slices.Contains(types, parts[i].Type) {
			return nil, bad(at+".type", "Invalid value: '%s'. Supported values are: '%s'.", parts[i].Type, strings.Join(types, "', '"))
		}
		it, problem := parts[i].item(at)
		if problem != nil {
			return nil, problem
		}
		items = append(items, it)
	}
	return items, nil
}

func (c *rsPart) item(at string) (Item, *refusal) {
	switch {
	case c.Text != nil:
		return Item{Kind: kindText, Text: *c.Text}, nil
	case c.Type == "refusal" && c.Refusal != nil:
		return Item{Kind: kindText, Text: *c.Refusal}, nil
	case c.FileID != nil:
		return Item{}, bad(at+".file_id", "No file with id '%s'.", *c.FileID)
	case c.Type == "input_image" && c.ImageURL != nil:
		return imageItem(*c.ImageURL, at+".image_url")
	case c.Type == "input_file" && c.FileURL != nil:
		return Item{Kind: "document", URL: *c.FileURL}, nil
	case c.Type == "input_file" && c.FileData != nil:
		if c.Filename == nil {
			return Item{}, bad(at+".filename", "Missing required parameter: '%s.filename'.", at)
		}
		return documentItem(*c.FileData, at+".file_data")
	}
	return Item{}, bad(at, "Missing required parameter of '%s'.", c.Type)
}

// reasoning checks that an item is one that this model wrote, and that what came
// after it still does.
func (r *rsReader) reasoning(i int, at string) *refusal {
	it := &r.items[i]
	if it.Summary == nil {
		return bad(at+".summary", "Missing required parameter: '%s.summary'.", at)
	}
	if it.EncryptedContent == nil && !r.s.reasonedItem(it.ID) {
		return &refusal{status: http.StatusNotFound, param: "input", message: fmt.Sprintf("Item with id '%s' not found. Items are not persisted when `store` is set to false. Try again with `store` set to true, or remove this item from your input.", it.ID)}
	}
	if it.EncryptedContent != nil {
		if problem := verify(OpenAI, r.q.Model, "reasoning", it.ID, *it.EncryptedContent); problem != "" {
			return &refusal{
				status: http.StatusBadRequest, param: "", code: "invalid_encrypted_content",
				message: fmt.Sprintf("The encrypted content for item %s could not be verified. Reason: %s.", it.ID, problem),
			}
		}
	}
	r.p.states++
	if i+1 >= len(r.items) || !slices.Contains([]string{"message", "function_call", "custom_tool_call", "reasoning"}, r.items[i+1].Type) ||
		r.items[i+1].Type == "message" && r.items[i+1].Role != "assistant" {
		return bad("input", "Item '%s' of type 'reasoning' was provided without its required following item.", it.ID)
	}
	return nil
}

func (r *rsReader) call(i int, at string) *refusal {
	it := &r.items[i]
	item := Item{Role: "assistant", Kind: kindCall, id: it.CallID, Tool: it.Name}
	switch {
	case it.CallID == "":
		return bad(at+".call_id", "Missing required parameter: '%s.call_id'.", at)
	case !toolName.MatchString(it.Name):
		return bad(at+".name", "Invalid '%s.name': string does not match pattern.", at)
	case it.Type == "custom_tool_call" && it.Input != nil:
		item.Arguments = *it.Input
	case it.Type == "function_call" && it.Arguments != nil && isObject(*it.Arguments):
		item.Arguments = anyOf(raw(*it.Arguments))
	default:
		return bad(at+".arguments", "Missing required parameter: '%s.arguments'.", at)
	}
	if needed := r.s.reasonedBefore(it.ID); needed != "" && !slices.ContainsFunc(r.items[:i], func(other rsItem) bool { return other.ID == needed }) {
		return bad("input", "Item '%s' of type 'function_call' was provided without its required 'reasoning' item: '%s'.", it.ID, needed)
	}
	r.waiting = append(r.waiting, it.CallID)
	r.p.items = append(r.p.items, item)
	return nil
}

func (r *rsReader) result(it *rsItem, at string) *refusal {
	n := slices.Index(r.waiting, it.CallID)
	if n < 0 {
		return bad("input", "No tool call found for function call output with call_id %s.", it.CallID)
	}
	r.waiting = slices.Delete(r.waiting, n, n+1)
	item := Item{Role: "tool", Kind: kindResult, id: it.CallID, Tool: toolOf(r.p.items, it.CallID)}
	content, problem := contentItems(it.Output, at+".output", "input_text", "input_image", "input_file")
	r.p.items = append(r.p.items, withContent(item, content))
	return problem
}

func (r *rsReader) tools() *refusal {
	for i, t := range r.q.Tools {
		at := fmt.Sprintf("tools[%d]", i)
		switch t.Type {
		case "custom":
			r.p.tools = append(r.p.tools, Tool{Name: t.Name, Description: t.Description})
		case "function":
			tool, problem := functionTool(t.Name, t.Description, t.Parameters, isTrue(t.Strict), at)
			if problem != nil {
				return problem
			}
			r.p.tools = append(r.p.tools, tool)
		default:
			return bad(at+".type", "Invalid value: '%s'. Supported values are: 'function' and 'custom'.", t.Type)
		}
	}
	return nil
}

func (r *rsReader) choice() *refusal {
	if absent(r.q.ToolChoice) {
		return nil
	}
	if mode, ok := isText(r.q.ToolChoice); ok {
		r.p.mode = mode
		switch {
		case mode != "auto" && mode != "none" && mode != "required":
			return bad("tool_choice", "Invalid value: '%s'. Supported values are: 'none', 'auto', and 'required'.", mode)
		case mode == "required" && len(r.q.Tools) == 0:
			return bad("tool_choice", "Tool choice 'required' must be specified with 'tools' parameter.")
		}
		return nil
	}
	type named struct {
		Type string `json:"type"`
		Name string `json:"name"`
	}
	var choice struct {
		named
		Mode  string  `json:"mode"`
		Tools []named `json:"tools"`
	}
	if _, err := strictly(r.q.ToolChoice, &choice); err != nil {
		return bad("tool_choice", "Unknown or invalid parameter: %v", err)
	}
	tools := []named{choice.named}
	r.p.mode = "required"
	if choice.Type == "allowed_tools" {
		r.p.mode, tools = choice.Mode, choice.Tools
	}
	for _, t := range tools {
		if t.Type != "function" && t.Type != "custom" || t.Name == "" {
			return bad("tool_choice.type", "Invalid value: '%s'.", t.Type)
		}
		r.p.allowed = append(r.p.allowed, t.Name)
	}
	return offered(r.p, "tool_choice")
}

func (r *rsReader) output() *refusal {
	if r.q.Text == nil || r.q.Text.Format == nil {
		return nil
	}
	switch f := r.q.Text.Format; f.Type {
	case "text":
	case "json_object":
		r.p.output = &Output{Kind: "json"}
	case "json_schema":
		return outputSchema(r.p, f.chatSchema, "text.format")
	default:
		return bad("text.format.type", "Invalid value: '%s'.", f.Type)
	}
	return nil
}

func (r *rsReader) limits() *refusal {
	q := r.q
	if q.MaxOutputTokens != nil {
		r.p.maxTokens = *q.MaxOutputTokens
	}
	r.p.logprobs = r.includes("message.output_text.logprobs")
	if q.TopLogprobs != nil {
		r.p.topLogprobs = *q.TopLogprobs
	}
	for _, what := range q.Include {
		if !slices.Contains(includes, what) {
			return bad("include", "Invalid value: '%s'.", what)
		}
	}
	switch {
	case q.MaxOutputTokens != nil && *q.MaxOutputTokens < 16:
		return &refusal{
			status: http.StatusBadRequest, param: "max_output_tokens", code: "integer_below_min_value",
			message: "Invalid 'max_output_tokens': integer below minimum value. Expected a value >= 16.",
		}
	case outside(q.Temperature, 0, 2):
		return bad("temperature", "Invalid 'temperature': decimal above maximum value. Expected a value <= 2.")
	case outside(q.TopP, 0, 1):
		return bad("top_p", "Invalid 'top_p': decimal above maximum value. Expected a value <= 1.")
	case q.Temperature != nil && *q.Temperature != 1 && reasoningModel(q.Model):
		return &refusal{status: http.StatusBadRequest, param: "temperature", code: "unsupported_parameter", message: "Unsupported parameter: 'temperature' is not supported with this model."}
	case r.includes("reasoning.encrypted_content") && !reasoningModel(q.Model):
		return bad("include", "Encrypted content is not supported with this model.")
	case !slices.Contains([]string{"", "auto", "disabled"}, q.Truncation):
		return bad("truncation", "Invalid value: '%s'.", q.Truncation)
	}
	return nil
}

// kept are the items of a stored response and of all before it.
func (s *Server) kept(id string) ([]rsItem, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	items, ok := s.stored[id]
	return slices.Clone(items), ok
}

// reasonedBefore is the reasoning item that led to a call's item; "" for none.
func (s *Server) reasonedBefore(id string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.reasoned[id]
}

// reasonedItem says whether a reasoning item was kept.
func (s *Server) reasonedItem(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, items := range s.stored {
		if slices.ContainsFunc(items, func(it rsItem) bool { return it.ID == id }) {
			return true
		}
	}
	return false
}

// keep stores a response and says which reasoning its calls need.
func (s *Server) keep(id string, r *rsReader, output []object) {
	items := slices.Clone(r.items)
	var all []rsItem
	text, _ := json.Marshal(output)
	_ = json.Unmarshal(text, &all)
	s.mu.Lock()
	defer s.mu.Unlock()
	before := ""
	for _, it := range all {
		switch it.Type {
		case "reasoning":
			before = it.ID
		case "function_call":
			s.reasoned[it.ID] = before
		}
	}
	if r.stores() {
		s.stored[id] = append(items, all...)
	}
}
