package fakes

import (
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
)

// chatRequest is the body of a chat completion.
// https://platform.openai.com/docs/api-reference/chat/create
type chatRequest struct {
	Model         string        `json:"model"`
	Messages      []chatMessage `json:"messages"`
	Stream        *bool         `json:"stream"`
	StreamOptions *struct {
		IncludeUsage       *bool `json:"include_usage"`
		IncludeObfuscation *bool `json:"include_obfuscation"`
	} `json:"stream_options"`
	Tools             []chatTool `json:"tools"`
	ToolChoice        raw        `json:"tool_choice"`
	ParallelToolCalls *bool      `json:"parallel_tool_calls"`
	ResponseFormat    *struct {
		Type       string      `json:"type"`
		JSONSchema *chatSchema `json:"json_schema"`
	} `json:"response_format"`
	MaxTokens           *int64            `json:"max_tokens"`
	MaxCompletionTokens *int64            `json:"max_completion_tokens"`
	Temperature         *float64          `json:"temperature"`
	TopP                *float64          `json:"top_p"`
	FrequencyPenalty    *float64          `json:"frequency_penalty"`
	PresencePenalty     *float64          `json:"presence_penalty"`
	Seed                *int64            `json:"seed"`
	Stop                raw               `json:"stop"`
	N                   *int              `json:"n"`
	LogProbs            *bool             `json:"logprobs"`
	TopLogProbs         *int              `json:"top_logprobs"`
	ReasoningEffort     string            `json:"reasoning_effort"`
	Verbosity           string            `json:"verbosity"`
	User                string            `json:"user"`
	SafetyIdentifier    string            `json:"safety_identifier"`
	PromptCacheKey      string            `json:"prompt_cache_key"`
	ServiceTier         string            `json:"service_tier"`
	Metadata            map[string]string `json:"metadata"`
	Store               *bool             `json:"store"`

	Audio                raw `json:"audio"`
	Modalities           raw `json:"modalities"`
	Prediction           raw `json:"prediction"`
	LogitBias            raw `json:"logit_bias"`
	WebSearchOptions     raw `json:"web_search_options"`
	PromptCacheRetention raw `json:"prompt_cache_retention"`
	Functions            raw `json:"functions"`
	FunctionCall         raw `json:"function_call"`
}

type chatMessage struct {
	Role       string     `json:"role"`
	Content    raw        `json:"content"`
	Name       string     `json:"name"`
	ToolCalls  []chatCall `json:"tool_calls"`
	ToolCallID string     `json:"tool_call_id"`
	Refusal    *string    `json:"refusal"`

	Audio        raw `json:"audio"`
	FunctionCall raw `json:"function_call"`
	Annotations  raw `json:"annotations"` // of an answer sent back

	// Only providers other than OpenAI know these.
	ReasoningContent *string `json:"reasoning_content"`
	ReasoningDetails raw     `json:"reasoning_details"`
}

type chatCall struct {
	ID       string `json:"id"`
	Type     string `json:"type"`
	Function *struct {
		Name      string `json:"name"`
		Arguments string `json:"arguments"`
		// The SDK's parsing helpers send it back.
		ParsedArguments raw `json:"parsed_arguments"`
	} `json:"function"`
	Custom *struct {
		Name  string `json:"name"`
		Input string `json:"input"`
	} `json:"custom"`
}

type chatTool struct {
	Type     string `json:"type"`
	Function *struct {
		Name        string `json:"name"`
		Description string `json:"description"`
		Parameters  raw    `json:"parameters"`
		Strict      *bool  `json:"strict"`
	} `json:"function"`
	Custom       *chatCustom `json:"custom"`
	CacheControl raw         `json:"cache_control"`
}

type chatCustom struct {
	Name        string `json:"name"`
	Description string `json:"description"`
	Format      raw    `json:"format"`
}

type chatSchema struct {
	Name        string `json:"name"`
	Description string `json:"description"`
	Schema      raw    `json:"schema"`
	Strict      *bool  `json:"strict"`
}

type chatPart struct {
	Type     string  `json:"type"`
	Text     *string `json:"text"`
	Refusal  *string `json:"refusal"`
	ImageURL *struct {
		URL    string `json:"url"`
		Detail string `json:"detail"`
	} `json:"image_url"`
	InputAudio *struct {
		Data   string `json:"data"`
		Format string `json:"format"`
	} `json:"input_audio"`
	File *struct {
		FileData string `json:"file_data"`
		FileID   string `json:"file_id"`
		Filename string `json:"filename"`
	} `json:"file"`
	CacheControl raw `json:"cache_control"`
}

func bad(param, format string, args ...any) *refusal {
	return &refusal{status: http.StatusBadRequest, param: param, message: fmt.Sprintf(format, args...)}
}

var toolName = regexp.MustCompile(`^[a-zA-Z0-9_-]{1,64}$`)

// reasoningModel says whether OpenAI's model thinks.
func reasoningModel(model string) bool {
	return strings.HasPrefix(model, "gpt-5") || strings.HasPrefix(model, "o3") || strings.HasPrefix(model, "o4")
}

// chatPrompt checks a request and gives what it asks.
func (s *Server) chatPrompt(body []byte) (*prompt, *chatRequest, *refusal) {
	var q chatRequest
	if path, err := strictly(body, &q); err != nil {
		return nil, nil, bad(openAIPath(path), "Unknown or invalid parameter: %v", err)
	}
	p := &prompt{
		model: q.Model, stream: isTrue(q.Stream), seed: q.Seed, temperature: q.Temperature, topP: q.TopP,
		frequencyPenalty: q.FrequencyPenalty, presencePenalty: q.PresencePenalty, parallel: q.ParallelToolCalls,
	}
	for _, check := range []func(*prompt, *chatRequest) *refusal{
		s.chatModel, s.chatMessages, s.chatTools, s.chatChoice, s.chatOutput, s.chatSampling,
	} {
		if problem := check(p, &q); problem != nil {
			return nil, nil, problem
		}
	}
	return p, &q, nil
}

func isTrue(b *bool) bool { return b != nil && *b }

// openAIPath makes "messages[0].content" of "/messages/0/content".
func openAIPath(pointer string) string {
	var path strings.Builder
	for step := range strings.SplitSeq(strings.TrimPrefix(pointer, "/"), "/") {
		switch {
		case step != "" && step[0] >= '0' && step[0] <= '9':
			path.WriteString("[" + step + "]")
		case path.Len() > 0:
			path.WriteString("." + step)
		default:
			path.WriteString(step)
		}
	}
	return path.String()
}

func (s *Server) chatModel(p *prompt, q *chatRequest) *refusal {
	switch {
	case q.Model == "":
		return bad("model", "you must provide a model parameter")
	case !s.known(q.Model):
		return &refusal{
			status: http.StatusNotFound, code: "model_not_found",
			message: fmt.Sprintf("The model `%s` does not exist or you do not have access to it.", q.Model),
		}
	}
	thinks := reasoningModel(q.Model) || s.kind == OpenAIChat
	p.mayThink = thinks && q.ReasoningEffort != "none"
	p.asked = q.ReasoningEffort != "" && q.ReasoningEffort != "none"
	p.mustThink = p.asked
	p.showsIt = s.kind == OpenAIChat
	if !slices.Contains([]string{"", "none", "minimal", "low", "medium", "high", "xhigh"}, q.ReasoningEffort) {
		return bad("reasoning_effort", "Invalid value: '%s'", q.ReasoningEffort)
	}
	if q.ReasoningEffort != "" && !thinks {
		return bad("reasoning_effort", "Unrecognized request argument supplied: reasoning_effort")
	}
	return nil
}

func (s *Server) chatMessages(p *prompt, q *chatRequest) *refusal {
	if len(q.Messages) == 0 {
		return bad("messages", "Invalid 'messages': empty array. Expected an array with minimum length 1, but got an empty array instead.")
	}
	var waiting []string // calls that have no result yet
	for i := range q.Messages {
		m := &q.Messages[i]
		at := fmt.Sprintf("messages[%d]", i)
		if m.Role != "tool" && len(waiting) > 0 {
			return unanswered(waiting)
		}
		if s.kind == OpenAI && (m.ReasoningContent != nil || !absent(m.ReasoningDetails)) {
			return bad(at, "Unknown parameter: '%s.reasoning_content'.", at)
		}
		var problem *refusal
		switch m.Role {
		case "system", "developer":
			problem = s.chatContent(p, m.Content, "system", at, "text")
		case "user":
			problem = s.chatContent(p, m.Content, "user", at, "text", "image_url", "input_audio", "file")
		case "assistant":
			problem = s.chatAssistant(p, m, at)
			for _, c := range m.ToolCalls {
				waiting = append(waiting, c.ID)
			}
		case "tool":
			n := slices.Index(waiting, m.ToolCallID)
			if n < 0 {
				return bad(at+".role", "Invalid parameter: messages with role 'tool' must be a response to a preceding message with 'tool_calls'.")
			}
			waiting = slices.Delete(waiting, n, n+1)
			problem = s.chatResult(p, m, at)
		default:
			return bad(at+".role", "Invalid value: '%s'. Supported values are: 'system', 'assistant', 'user', 'function', 'tool', and 'developer'.", m.Role)
		}
		if problem != nil {
			return problem
		}
	}
	if len(waiting) > 0 {
		return unanswered(waiting)
	}
	return nil
}

func unanswered(ids []string) *refusal {
	return bad("messages", "An assistant message with 'tool_calls' must be followed by tool messages responding to each 'tool_call_id'. "+
		"The following tool_call_ids did not have response messages: %s", strings.Join(ids, ", "))
}

// chatContent reads text or parts of the types a role may have.
func (s *Server) chatContent(p *prompt, content raw, role, at string, types ...string) *refusal {
	if text, ok := isText(content); ok {
		p.items = append(p.items, Item{Role: role, Kind: kindText, Text: text})
		return nil
	}
	if content.Kind() != '[' {
		return bad(at+".content", "Invalid value for 'content': expected a string, got null.")
	}
	var parts []chatPart
	if path, err := strictly(content, &parts); err != nil {
		return bad(at+".content"+openAIPath(path), "Unknown or invalid parameter: %v", err)
	}
	if len(parts) == 0 {
		return bad(at+".content", "Invalid '%s.content': empty array.", at)
	}
	for i := range parts {
		part, at := &parts[i], fmt.Sprintf("%s.content[%d]", at, i)
		if s.kind == OpenAI && !absent(part.CacheControl) {
			return bad(at+".cache_control", "Unknown parameter: '%s.cache_control'.", at)
		}
		if !slices.Contains(types, part.Type) {
			return bad(at+".type", "Invalid value: '%s'. Supported values are: '%s'.", part.Type, strings.Join(types, "', '"))
		}
		it, problem := part.item(at)
		if problem != nil {
			return problem
		}
		it.Role = role
		p.items = append(p.items, it)
	}
	return nil
}

func (c *chatPart) item(at string) (Item, *refusal) {
	switch {
	case c.Type == "text" && c.Text != nil:
		return Item{Kind: kindText, Text: *c.Text}, nil
	case c.Type == "refusal" && c.Refusal != nil:
		return Item{Kind: kindText, Text: *c.Refusal}, nil
	case c.Type == "image_url" && c.ImageURL != nil:
		if !slices.Contains([]string{"", "auto", "low", "high", "original"}, c.ImageURL.Detail) {
			return Item{}, bad(at+".image_url.detail", "Invalid value: '%s'.", c.ImageURL.Detail)
		}
		return imageItem(c.ImageURL.URL, at+".image_url.url")
	case c.Type == "input_audio" && c.InputAudio != nil:
		mime := "audio/" + c.InputAudio.Format
		n, err := media(mime, c.InputAudio.Data)
		if err != nil {
			return Item{}, bad(at+".input_audio.data", "Invalid audio: %v", err)
		}
		return Item{Kind: "audio", MIME: mime, Bytes: n}, nil
	case c.Type == "file" && c.File != nil && c.File.FileID != "":
		return Item{}, bad(at+".file.file_id", "No file with id '%s'.", c.File.FileID)
	case c.Type == "file" && c.File != nil:
		if c.File.Filename == "" {
			return Item{}, bad(at+".file.filename", "Missing required parameter: '%s.file.filename'.", at)
		}
		return documentItem(c.File.FileData, at+".file.file_data")
	}
	return Item{}, bad(at, "Missing required parameter: '%s.%s'.", at, c.Type)
}

// imageItem reads an image's URL as OpenAI takes it.
func imageItem(url, at string) (Item, *refusal) {
	if mime, data, ok := dataURL(url); ok {
		n, err := media(mime, data)
		if err != nil || !strings.HasPrefix(mime, "image/") {
			return Item{}, bad(at, "You uploaded an unsupported image: %v", err)
		}
		return Item{Kind: "image", MIME: mime, Bytes: n}, nil
	}
	if strings.HasPrefix(url, "https://") || strings.HasPrefix(url, "http://") {
		return Item{Kind: "image", URL: url}, nil
	}
	return Item{}, bad(at, "Invalid image URL: '%s'.", at)
}

// documentItem reads a file's data URL as OpenAI takes it.
func documentItem(url, at string) (Item, *refusal) {
	mime, data, ok := dataURL(url)
	n, err := media(mime, data)
	if !ok || err != nil || mime != "application/pdf" {
		return Item{}, bad(at, "Invalid file data: expected a base64-encoded data URL with an application/pdf MIME type: %v", err)
	}
	return Item{Kind: "document", MIME: mime, Bytes: n}, nil
}

func (s *Server) chatAssistant(p *prompt, m *chatMessage, at string) *refusal {
	if !absent(m.Content) {
		if problem := s.chatContent(p, m.Content, "assistant", at, "text", "refusal"); problem != nil {
			return problem
		}
	} else if len(m.ToolCalls) == 0 && m.Refusal == nil {
		return bad(at+".content", "Invalid value for 'content': expected a string, got null.")
	}
	if m.Refusal != nil {
		p.items = append(p.items, Item{Role: "assistant", Kind: kindText, Text: *m.Refusal})
	}
	for j, c := range m.ToolCalls {
		at := fmt.Sprintf("%s.tool_calls[%d]", at, j)
		it := Item{Role: "assistant", Kind: kindCall, id: c.ID}
		switch {
		case c.ID == "":
			return bad(at+".id", "Missing required parameter: '%s.id'.", at)
		case len(c.ID) > 40:
			return &refusal{
				status: http.StatusBadRequest, param: at + ".id", code: "string_above_max_length",
				message: fmt.Sprintf("Invalid '%s.id': string too long. Expected a string with maximum length 40, but got a string with length %d instead.", at, len(c.ID)),
			}
		case c.Type == "function" && c.Function != nil:
			if !toolName.MatchString(c.Function.Name) {
				return bad(at+".function.name", "Invalid '%s.function.name': string does not match pattern '^[a-zA-Z0-9_-]+$'.", at)
			}
			it.Tool, it.Arguments = c.Function.Name, anyOf(raw(c.Function.Arguments))
		case c.Type == "custom" && c.Custom != nil:
			it.Tool, it.Arguments = c.Custom.Name, c.Custom.Input
		default:
			return bad(at+".type", "Invalid value: '%s'. Supported values are: 'function' and 'custom'.", c.Type)
		}
		p.items = append(p.items, it)
	}
	return nil
}

func (s *Server) chatResult(p *prompt, m *chatMessage, at string) *refusal {
	begin := len(p.items)
	if problem := s.chatContent(p, m.Content, "tool", at, "text"); problem != nil {
		return problem
	}
	it := Item{Role: "tool", Kind: kindResult, id: m.ToolCallID, Tool: toolOf(p.items, m.ToolCallID)}
	for _, piece := range p.items[begin:] {
		it.Text += piece.Text
	}
	p.items = append(p.items[:begin], it)
	return nil
}

// toolOf is the name of the tool that a call calls.
func toolOf(items []Item, id string) string {
	for _, it := range items {
		if it.Kind == kindCall && it.id == id {
			return it.Tool
		}
	}
	return ""
}

func (s *Server) chatTools(p *prompt, q *chatRequest) *refusal {
	for i, t := range q.Tools {
		at := fmt.Sprintf("tools[%d]", i)
		if s.kind == OpenAI && !absent(t.CacheControl) {
			return bad(at+".cache_control", "Unknown parameter: '%s.cache_control'.", at)
		}
		switch {
		case t.Type == "custom" && t.Custom != nil:
			p.tools = append(p.tools, Tool{Name: t.Custom.Name, Description: t.Custom.Description})
		case t.Type != "function" || t.Function == nil:
			return bad(at+".type", "Invalid value: '%s'. Supported values are: 'function' and 'custom'.", t.Type)
		default:
			f := t.Function
			tool, problem := functionTool(f.Name, f.Description, f.Parameters, isTrue(f.Strict), at+".function")
			if problem != nil {
				return problem
			}
			p.tools = append(p.tools, tool)
		}
	}
	return nil
}

func functionTool(name, description string, parameters raw, strict bool, at string) (Tool, *refusal) {
	if !toolName.MatchString(name) {
		return Tool{}, bad(at+".name", "Invalid '%s.name': string does not match pattern. Expected a string that matches the pattern '^[a-zA-Z0-9_-]+$'.", at)
	}
	schema := anyOf(parameters)
	if schema != nil {
		o, ok := schema.(map[string]any)
		if !ok || o["type"] != "object" {
			return Tool{}, bad(at+".parameters", "Invalid schema for function '%s': schema must be a JSON Schema of 'type: \"object\"', got 'type: \"%v\"'.", name, o["type"])
		}
		if problem := strictSchema(schema, name); strict && problem != "" {
			return Tool{}, bad(at+".parameters", "Invalid schema for function '%s': %s", name, problem)
		}
	}
	return Tool{Name: name, Description: description, Parameters: schema}, nil
}

// strictSchema says what keeps a schema from being obeyed strictly.
func strictSchema(schema any, path string) string {
	o, _ := schema.(map[string]any)
	properties, _ := o["properties"].(map[string]any)
	if o["type"] == "object" {
		if o["additionalProperties"] != false {
			return fmt.Sprintf("In context=(%s), 'additionalProperties' is required to be supplied and to be false.", path)
		}
		required, _ := o["required"].([]any)
		for name := range properties {
			if !slices.Contains(required, any(name)) {
				return fmt.Sprintf("In context=(%s), 'required' is required to be supplied and to be an array including every key in properties. Missing '%s'.", path, name)
			}
		}
	}
	for name, property := range properties {
		if problem := strictSchema(property, path+"."+name); problem != "" {
			return problem
		}
	}
	return strictItems(o, path)
}

func strictItems(o map[string]any, path string) string {
	if items, ok := o["items"]; ok {
		return strictSchema(items, path+".items")
	}
	return ""
}

func (s *Server) chatChoice(p *prompt, q *chatRequest) *refusal {
	if len(q.Tools) == 0 {
		switch {
		case !absent(q.ToolChoice):
			return bad("tool_choice", "Invalid value for 'tool_choice': 'tool_choice' is only allowed when 'tools' are specified.")
		case q.ParallelToolCalls != nil:
			return bad("parallel_tool_calls", "Invalid value for 'parallel_tool_calls': 'parallel_tool_calls' is only allowed when 'tools' are specified.")
		}
		return nil
	}
	if absent(q.ToolChoice) {
		return nil
	}
	if mode, ok := isText(q.ToolChoice); ok {
		p.mode = mode
		if mode != "auto" && mode != "none" && mode != "required" {
			return bad("tool_choice", "Invalid value: '%s'. Supported values are: 'none', 'auto', and 'required'.", mode)
		}
		return nil
	}
	type named struct {
		Type     string `json:"type"`
		Function *struct {
			Name string `json:"name"`
		} `json:"function"`
		Custom *struct {
			Name string `json:"name"`
		} `json:"custom"`
	}
	var choice struct {
		named
		AllowedTools *struct {
			Mode  string  `json:"mode"`
			Tools []named `json:"tools"`
		} `json:"allowed_tools"`
	}
	if _, err := strictly(q.ToolChoice, &choice); err != nil {
		return bad("tool_choice", "Unknown or invalid parameter: %v", err)
	}
	tools := []named{choice.named}
	p.mode = "required"
	if choice.Type == "allowed_tools" && choice.AllowedTools != nil {
		p.mode, tools = choice.AllowedTools.Mode, choice.AllowedTools.Tools
	}
	for _, t := range tools {
		switch {
		case t.Type == "function" && t.Function != nil:
			p.allowed = append(p.allowed, t.Function.Name)
		case t.Type == "custom" && t.Custom != nil:
			p.allowed = append(p.allowed, t.Custom.Name)
		default:
			return bad("tool_choice", "Invalid value: '%s'.", t.Type)
		}
	}
	return offered(p, "tool_choice")
}

// offered checks that the tools of a choice exist.
func offered(p *prompt, at string) *refusal {
	for _, name := range p.allowed {
		if !slices.ContainsFunc(p.tools, func(t Tool) bool { return t.Name == name }) {
			return bad(at, "Tool choice '%s' not found in 'tools' parameter.", name)
		}
	}
	return nil
}

func (s *Server) chatOutput(p *prompt, q *chatRequest) *refusal {
	f := q.ResponseFormat
	switch {
	case f == nil || f.Type == "text":
	case f.Type == "json_object":
		p.output = &Output{Kind: "json"}
	case f.Type == "json_schema" && f.JSONSchema != nil:
		return outputSchema(p, *f.JSONSchema, "response_format.json_schema")
	default:
		return bad("response_format.type", "Invalid value: '%s'.", f.Type)
	}
	return nil
}

// outputSchema reads the schema of an answer.
func outputSchema(p *prompt, f chatSchema, at string) *refusal {
	if !toolName.MatchString(f.Name) {
		return bad(at+".name", "Missing required parameter: '%s.name'.", at)
	}
	schema := anyOf(f.Schema)
	if o, ok := schema.(map[string]any); !ok || o["type"] != "object" {
		return bad(at+".schema", "Invalid schema for response_format '%s': schema must be a JSON Schema of 'type: \"object\"'.", f.Name)
	}
	if problem := strictSchema(schema, ""); isTrue(f.Strict) && problem != "" {
		return bad(at+".schema", "Invalid schema for response_format '%s': %s", f.Name, problem)
	}
	p.output = &Output{Kind: "schema", Schema: schema}
	return nil
}

func (s *Server) chatSampling(p *prompt, q *chatRequest) *refusal {
	if q.MaxTokens != nil && q.MaxCompletionTokens != nil {
		return bad("max_tokens", "Setting 'max_tokens' and 'max_completion_tokens' at the same time is not supported.")
	}
	for _, limit := range []*int64{q.MaxTokens, q.MaxCompletionTokens} {
		if limit != nil {
			if p.maxTokens = *limit; *limit < 1 {
				return bad("max_tokens", "Invalid 'max_tokens': integer below minimum value.")
			}
		}
	}
	stop, problem := stops(q.Stop)
	if problem != nil {
		return problem
	}
	p.stop = stop
	if p.n = 1; q.N != nil {
		p.n = *q.N
	}
	p.logprobs = isTrue(q.LogProbs)
	if q.TopLogProbs != nil {
		p.topLogprobs = *q.TopLogProbs
	}
	switch {
	case p.n < 1 || p.n > 128:
		return bad("n", "Invalid 'n': out of range.")
	case outside(q.Temperature, 0, 2):
		return bad("temperature", "Invalid 'temperature': decimal above maximum value. Expected a value <= 2.")
	case outside(q.TopP, 0, 1):
		return bad("top_p", "Invalid 'top_p': decimal above maximum value. Expected a value <= 1.")
	case outside(q.FrequencyPenalty, -2, 2) || outside(q.PresencePenalty, -2, 2):
		return bad("frequency_penalty", "Invalid penalty: out of range.")
	case q.TopLogProbs != nil && (!p.logprobs || p.topLogprobs < 0 || p.topLogprobs > 20):
		return bad("top_logprobs", "Invalid 'top_logprobs': it needs 'logprobs' and a value from 0 to 20.")
	case q.StreamOptions != nil && !p.stream:
		return bad("stream_options", "The 'stream_options' parameter is only allowed when 'stream' is enabled.")
	case s.kind == OpenAI && len(q.Metadata) > 0 && !isTrue(q.Store):
		return bad("metadata", "The 'metadata' parameter is only allowed when 'store' is enabled.")
	case s.kind == OpenAI && reasoningModel(q.Model):
		return reasoningLimits(q)
	}
	return nil
}

// reasoningLimits checks what OpenAI's reasoning models do not take.
func reasoningLimits(q *chatRequest) *refusal {
	switch {
	case q.MaxTokens != nil:
		return &refusal{
			status: http.StatusBadRequest, param: "max_tokens", code: "unsupported_parameter",
			message: "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.",
		}
	case q.Temperature != nil && *q.Temperature != 1:
		return &refusal{
			status: http.StatusBadRequest, param: "temperature", code: "unsupported_value",
			message: "Unsupported value: 'temperature' does not support this value with this model. Only the default (1) value is supported.",
		}
	case !absent(q.Stop):
		return &refusal{
			status: http.StatusBadRequest, param: "stop", code: "unsupported_parameter",
			message: "Unsupported parameter: 'stop' is not supported with this model.",
		}
	}
	return nil
}

func outside(v *float64, low, high float64) bool { return v != nil && (*v < low || *v > high) }

// stops reads one stop sequence or up to four.
func stops(v raw) ([]string, *refusal) {
	if absent(v) {
		return nil, nil
	}
	if one, ok := isText(v); ok {
		return []string{one}, nil
	}
	var several []string
	if _, err := strictly(v, &several); err != nil || len(several) > 4 {
		return nil, bad("stop", "Invalid 'stop': expected a string or an array of at most 4 strings.")
	}
	return several, nil
}
