package fakes

import (
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
)

// anthropicRequest is the body of a message.
// https://docs.anthropic.com/en/api/messages
type anthropicRequest struct {
	Model         string             `json:"model"`
	Messages      []anthropicMessage `json:"messages"`
	MaxTokens     *int64             `json:"max_tokens"`
	System        raw                `json:"system"`
	Stream        *bool              `json:"stream"`
	Temperature   *float64           `json:"temperature"`
	TopP          *float64           `json:"top_p"`
	TopK          *int64             `json:"top_k"`
	StopSequences []string           `json:"stop_sequences"`
	Tools         []anthropicTool    `json:"tools"`
	ToolChoice    *struct {
		Type                   string `json:"type"`
		Name                   string `json:"name"`
		DisableParallelToolUse *bool  `json:"disable_parallel_tool_use"`
	} `json:"tool_choice"`
	Thinking *struct {
		Type         string `json:"type"`
		BudgetTokens *int64 `json:"budget_tokens"`
		Display      string `json:"display"`
	} `json:"thinking"`
	OutputConfig *struct {
		Format *anthropicFormat `json:"format"`
		Effort string           `json:"effort"`
	} `json:"output_config"`
	OutputFormat *anthropicFormat `json:"output_format"` // as the first beta had it
	Metadata     *struct {
		UserID *string `json:"user_id"`
	} `json:"metadata"`
	ServiceTier  string        `json:"service_tier"`
	CacheControl *cacheControl `json:"cache_control"`
	InferenceGeo string        `json:"inference_geo"`
	Container    raw           `json:"container"`
	Thread       *struct {
		Type              string `json:"type"`
		PreviousMessageID string `json:"previous_message_id"`
	} `json:"thread"`
}

type anthropicFormat struct {
	Type   string `json:"type"`
	Schema raw    `json:"schema"`
}

type cacheControl struct {
	Type string `json:"type"`
	TTL  string `json:"ttl"`
}

type anthropicMessage struct {
	Role    string `json:"role"`
	Content raw    `json:"content"`
}

type anthropicTool struct {
	Type         string        `json:"type"`
	Name         string        `json:"name"`
	Description  string        `json:"description"`
	InputSchema  raw           `json:"input_schema"`
	Strict       *bool         `json:"strict"`
	CacheControl *cacheControl `json:"cache_control"`
}

// anthropicBlock has the members of all types of blocks; [blockMembers] says
// whose is which.
type anthropicBlock struct {
	Type         string           `json:"type"`
	Text         *string          `json:"text"`
	Citations    raw              `json:"citations"`
	Source       *anthropicSource `json:"source"`
	Title        *string          `json:"title"`
	Context      *string          `json:"context"`
	ID           string           `json:"id"`
	Name         string           `json:"name"`
	Input        raw              `json:"input"`
	Caller       raw              `json:"caller"`
	ToolUseID    string           `json:"tool_use_id"`
	Content      raw              `json:"content"`
	IsError      *bool            `json:"is_error"`
	Thinking     *string          `json:"thinking"`
	Signature    *string          `json:"signature"`
	Data         *string          `json:"data"`
	CacheControl *cacheControl    `json:"cache_control"`
}

type anthropicSource struct {
	Type      string `json:"type"`
	MediaType string `json:"media_type"`
	Data      string `json:"data"`
	URL       string `json:"url"`
	FileID    string `json:"file_id"`
	Content   raw    `json:"content"`
}

var (
	anthropicID   = regexp.MustCompile(`^[a-zA-Z0-9_-]+$`)
	anthropicName = regexp.MustCompile(`^[a-zA-Z0-9_-]{1,128}$`)
	blockMembers  = map[string][]string{
		"text":              {"text", "citations", "cache_control"},
		"image":             {"source", "cache_control"},
		"document":          {"source", "title", "context", "citations", "cache_control"},
		"tool_use":          {"id", "name", "input", "caller", "cache_control"},
		"tool_result":       {"tool_use_id", "content", "is_error", "cache_control"},
		"thinking":          {"thinking", "signature"},
		"redacted_thinking": {"data"},
	}
	roleBlocks = map[string][]string{
		"user":      {"text", "image", "document", "tool_result"},
		"assistant": {"text", "tool_use", "thinking", "redacted_thinking"},
		"result":    {"text", "image", "document"},
		"system":    {"text"},
	}
)

// wrong is Anthropic's refusal of a body. Its errors name the path in the text.
func wrong(format string, args ...any) *refusal {
	return &refusal{status: http.StatusBadRequest, kind: "invalid_request_error", message: fmt.Sprintf(format, args...)}
}

// anthropicReader reads one request.
type anthropicReader struct {
	s      *Server
	p      *prompt
	q      *anthropicRequest
	marks  int // cache breakpoints
	called []string
	ids    map[string]bool
}

func (s *Server) anthropicPrompt(body []byte, version string, counts bool) (*prompt, *anthropicRequest, *refusal) {
	q := &anthropicRequest{}
	if path, err := strictly(body, q); err != nil {
		return nil, nil, wrong("%s: Extra inputs are not permitted, or of a wrong type: %v", dotted(path), err)
	}
	if version == latestVersion && (q.Temperature != nil || q.TopP != nil || q.TopK != nil) {
		return nil, nil, wrong("temperature: Extra inputs are not permitted (API version %s)", version)
	}
	if problem := s.resume(q); problem != nil {
		return nil, nil, problem
	}
	p := &prompt{
		model: q.Model, stream: isTrue(q.Stream), temperature: q.Temperature, topP: q.TopP, topK: q.TopK, stop: q.StopSequences, n: 1,
	}
	a := &anthropicReader{s: s, p: p, q: q, ids: map[string]bool{}}
	checks := []func() *refusal{a.limits, a.thinking, a.sampling, a.system, a.messages, a.tools, a.choice, a.output}
	if counts { // counting takes no limits
		checks = checks[1:]
		if q.MaxTokens != nil || q.Stream != nil || q.Temperature != nil || q.StopSequences != nil || q.Metadata != nil {
			return nil, nil, wrong("max_tokens: Extra inputs are not permitted")
		}
		limit := int64(1 << 40)
		q.MaxTokens = &limit
	}
	for _, check := range checks {
		if problem := check(); problem != nil {
			return nil, nil, problem
		}
	}
	if a.marks > 4 {
		return nil, nil, wrong("A maximum of 4 blocks with cache_control may be provided. Found %d.", a.marks)
	}
	if !s.known(q.Model) {
		return nil, nil, &refusal{status: http.StatusNotFound, kind: "not_found_error", message: "model: " + q.Model}
	}
	return p, q, nil
}

// resume puts what a thread holds before the request's own messages.
// https://platform.claude.com/docs/en/build-with-claude/message-threads
func (s *Server) resume(q *anthropicRequest) *refusal {
	if q.Thread == nil || q.Thread.Type == "create" {
		return nil
	}
	s.mu.Lock()
	held, ok := s.threads[q.Thread.PreviousMessageID]
	s.mu.Unlock()
	if q.Thread.Type != "continue" || !ok {
		return &refusal{status: http.StatusBadRequest, kind: "invalid_request_error", code: "thread_not_found", message: "thread.previous_message_id: not found"}
	}
	q.System, q.Tools = held.System, held.Tools
	q.Messages = append(slices.Clone(held.Messages), q.Messages...)
	return nil
}

// hold keeps a conversation under its answer's id, if asked to.
func (s *Server) hold(q *anthropicRequest, answer object) {
	if q.Thread == nil {
		return
	}
	held := *q
	held.Messages = append(slices.Clone(q.Messages), anthropicMessage{Role: "assistant", Content: raw(canonical(answer["content"]))})
	s.mu.Lock()
	defer s.mu.Unlock()
	s.threads[answer["id"].(string)] = held
}

func dotted(pointer string) string {
	return strings.ReplaceAll(strings.TrimPrefix(pointer, "/"), "/", ".")
}

func (a *anthropicReader) limits() *refusal {
	switch {
	case a.q.MaxTokens == nil:
		return wrong("max_tokens: Field required")
	case *a.q.MaxTokens < 1:
		return wrong("max_tokens: Input should be greater than or equal to 1")
	}
	a.p.maxTokens = *a.q.MaxTokens
	return nil
}

func (a *anthropicReader) thinking() *refusal {
	t := a.q.Thinking
	effort := ""
	if a.q.OutputConfig != nil {
		effort = a.q.OutputConfig.Effort
	}
	if !slices.Contains([]string{"", "low", "medium", "high", "xhigh", "max"}, effort) {
		return wrong("output_config.effort: Input should be 'low', 'medium', 'high', 'xhigh' or 'max'")
	}
	if t == nil {
		return nil
	}
	switch t.Type {
	case "disabled":
		return nil
	case "adaptive":
		if t.BudgetTokens != nil {
			return wrong("thinking.adaptive.budget_tokens: Extra inputs are not permitted")
		}
	case "enabled":
		switch {
		case t.BudgetTokens == nil:
			return wrong("thinking.enabled.budget_tokens: Field required")
		case *t.BudgetTokens < 1024:
			return wrong("thinking.enabled.budget_tokens: Input should be greater than or equal to 1024")
		case *a.q.MaxTokens <= *t.BudgetTokens:
			return wrong("`max_tokens` must be greater than `thinking.budget_tokens`. Please consult our documentation at https://docs.claude.com/en/docs/build-with-claude/extended-thinking#max-tokens-and-context-window-size")
		}
		a.p.mustThink = true
	default:
		return wrong("thinking: Input tag '%s' found using 'type' does not match any of the expected tags: 'adaptive', 'disabled', 'enabled'", t.Type)
	}
	a.p.mayThink, a.p.asked, a.p.showsIt = true, true, t.Display != "omitted"
	if c := a.q.ToolChoice; c != nil && (c.Type == "any" || c.Type == "tool") {
		return wrong("Thinking may not be enabled when tool_choice forces tool use.")
	}
	if a.q.Temperature != nil && *a.q.Temperature != 1 {
		return wrong("`temperature` may only be set to 1 when thinking is enabled.")
	}
	if a.q.TopK != nil {
		return wrong("`top_k` must be unset when thinking is enabled.")
	}
	return nil
}

func (a *anthropicReader) sampling() *refusal {
	switch {
	case outside(a.q.Temperature, 0, 1):
		return wrong("temperature: range: 0..1")
	case outside(a.q.TopP, 0, 1):
		return wrong("top_p: range: 0..1")
	case a.q.TopK != nil && *a.q.TopK < 0:
		return wrong("top_k: Input should be greater than or equal to 0")
	case !slices.Contains([]string{"", "auto", "standard_only"}, a.q.ServiceTier):
		return wrong("service_tier: Input should be 'auto' or 'standard_only'")
	}
	for _, s := range a.q.StopSequences {
		if strings.TrimSpace(s) == "" {
			return wrong("stop_sequences: each stop sequence must contain non-whitespace")
		}
	}
	return a.mark(a.q.CacheControl, "cache_control")
}

// mark counts a cache breakpoint.
func (a *anthropicReader) mark(c *cacheControl, at string) *refusal {
	if c == nil {
		return nil
	}
	a.marks++
	if c.Type != "ephemeral" {
		return wrong("%s.type: Input should be 'ephemeral'", at)
	}
	if c.TTL != "" && c.TTL != "5m" && c.TTL != "1h" {
		return wrong("%s.ttl: Input should be '5m' or '1h'", at)
	}
	return nil
}

func (a *anthropicReader) system() *refusal {
	if absent(a.q.System) {
		return nil
	}
	_, problem := a.content(a.q.System, "system", "system")
	return problem
}

// content reads a string or a list of blocks and gives the blocks.
func (a *anthropicReader) content(content raw, role, at string) ([]anthropicBlock, *refusal) {
	if text, ok := isText(content); ok {
		if text == "" && role != "result" {
			return nil, wrong("%s: text content blocks must be non-empty", at)
		}
		a.p.items = append(a.p.items, Item{Role: role, Kind: kindText, Text: text})
		return []anthropicBlock{{Type: "text", Text: &text}}, nil
	}
	var blocks []anthropicBlock
	if path, err := strictly(content, &blocks); err != nil {
		return nil, wrong("%s%s: Extra inputs are not permitted, or of a wrong type: %v", at, strings.ReplaceAll(path, "/", "."), err)
	}
	var members []map[string]raw
	_, _ = strictly(content, &members)
	for i := range blocks {
		b, at := &blocks[i], fmt.Sprintf("%s.%d", at, i)
		if !slices.Contains(roleBlocks[role], b.Type) {
			return nil, wrong("%s: Input tag '%s' found using 'type' does not match any of the expected tags: '%s'", at, b.Type, strings.Join(roleBlocks[role], "', '"))
		}
		for name := range members[i] {
			if name != "type" && !slices.Contains(blockMembers[b.Type], name) {
				return nil, wrong("%s.%s.%s: Extra inputs are not permitted", at, b.Type, name)
			}
		}
		if problem := a.mark(b.CacheControl, at+".cache_control"); problem != nil {
			return nil, problem
		}
		if problem := a.block(b, role, at); problem != nil {
			return nil, problem
		}
	}
	return blocks, nil
}

func (a *anthropicReader) block(b *anthropicBlock, role, at string) *refusal {
	say := func(it Item) { it.Role = role; a.p.items = append(a.p.items, it) }
	switch b.Type {
	case "text":
		if b.Text == nil {
			return wrong("%s.text.text: Field required", at)
		}
		if *b.Text == "" {
			return wrong("%s: text content blocks must be non-empty", at)
		}
		say(Item{Kind: kindText, Text: *b.Text})
	case "image", "document":
		it, problem := a.media(b, at)
		if problem != nil {
			return problem
		}
		say(it)
	case "tool_use":
		return a.toolUse(b, at)
	case "tool_result":
		return a.toolResult(b, at)
	case "thinking":
		if b.Thinking == nil || b.Signature == nil {
			return wrong("%s.thinking.signature: Field required", at)
		}
		if problem := verify(Anthropic, a.q.Model, "thinking", *b.Thinking, *b.Signature); problem != "" {
			return wrong("%s: Invalid `signature` in `thinking` block: %s", at, problem)
		}
		a.p.states++
	case "redacted_thinking":
		if b.Data == nil {
			return wrong("%s.redacted_thinking.data: Field required", at)
		}
		if problem := verify(Anthropic, a.q.Model, "redacted", "", *b.Data); problem != "" {
			return wrong("%s: Invalid `data` in `redacted_thinking` block: %s", at, problem)
		}
		a.p.states++
	}
	return nil
}

func (a *anthropicReader) media(b *anthropicBlock, at string) (Item, *refusal) {
	src := b.Source
	if src == nil {
		return Item{}, wrong("%s.%s.source: Field required", at, b.Type)
	}
	switch {
	case src.Type == "url" && strings.HasPrefix(src.URL, "http"):
		return Item{Kind: b.Type, URL: src.URL}, nil
	case src.Type == "text" && b.Type == "document" && src.MediaType == "text/plain":
		return Item{Kind: b.Type, MIME: src.MediaType, Bytes: len(src.Data), Text: src.Data}, nil
	case src.Type == "base64" && (b.Type == "document") == (src.MediaType == "application/pdf") && !strings.HasPrefix(src.MediaType, "audio/"):
		n, err := media(src.MediaType, src.Data)
		if err != nil {
			return Item{}, wrong("%s.%s.source.base64.data: %v", at, b.Type, err)
		}
		return Item{Kind: b.Type, MIME: src.MediaType, Bytes: n}, nil
	case src.Type == "file":
		return Item{}, &refusal{status: http.StatusNotFound, kind: "not_found_error", message: "File not found: " + src.FileID}
	}
	return Item{}, wrong("%s.%s.source: Input does not match any of the expected sources", at, b.Type)
}

func (a *anthropicReader) toolUse(b *anthropicBlock, at string) *refusal {
	switch {
	case !anthropicID.MatchString(b.ID):
		return wrong("%s.tool_use.id: String should match pattern '^[a-zA-Z0-9_-]+$'", at)
	case !anthropicName.MatchString(b.Name):
		return wrong("%s.tool_use.name: String should match pattern '^[a-zA-Z0-9_-]{1,128}$'", at)
	case b.Input.Kind() != '{':
		return wrong("%s.tool_use.input: Input should be a valid dictionary", at)
	case a.ids[b.ID]:
		return wrong("%s: `tool_use` ids must be unique", at)
	}
	a.ids[b.ID] = true
	a.p.items = append(a.p.items, Item{Role: "assistant", Kind: kindCall, id: b.ID, Tool: b.Name, Arguments: anyOf(b.Input)})
	return nil
}

func (a *anthropicReader) toolResult(b *anthropicBlock, at string) *refusal {
	n := slices.Index(a.called, b.ToolUseID)
	if n < 0 {
		return wrong("%s: unexpected `tool_use_id` found in `tool_result` blocks: %s. Each `tool_result` block must have a corresponding `tool_use` block in the previous message.", at, b.ToolUseID)
	}
	a.called = slices.Delete(a.called, n, n+1)
	it := Item{Role: "tool", Kind: kindResult, id: b.ToolUseID, Tool: toolOf(a.p.items, b.ToolUseID), IsError: isTrue(b.IsError)}
	if !absent(b.Content) {
		begin := len(a.p.items)
		if _, problem := a.content(b.Content, "result", at+".tool_result.content"); problem != nil {
			return problem
		}
		it = withContent(it, a.p.items[begin:])
		a.p.items = a.p.items[:begin]
	}
	a.p.items = append(a.p.items, it)
	return nil
}

// withContent gives a tool's result what the tool said: text alone is its Text.
func withContent(it Item, content []Item) Item {
	for _, c := range content {
		it.Text += c.Text
		if c.Kind != kindText {
			for _, c := range content {
				c.Role = "tool"
				it.Content = append(it.Content, c)
			}
			it.Text = textIn(content)
			return it
		}
	}
	return it
}

func textIn(content []Item) string {
	var text strings.Builder
	for _, c := range content {
		if c.Kind == kindText {
			text.WriteString(c.Text)
		}
	}
	return text.String()
}

func (a *anthropicReader) messages() *refusal {
	if len(a.q.Messages) == 0 {
		return wrong("messages: at least one message is required")
	}
	for i, m := range a.q.Messages {
		at := fmt.Sprintf("messages.%d", i)
		switch {
		case m.Role != "user" && m.Role != "assistant":
			return wrong("%s.role: Input should be 'user' or 'assistant'", at)
		case i == 0 && m.Role != "user":
			return wrong("messages: first message must use the \"user\" role")
		}
		waiting := len(a.called) > 0
		begin := len(a.p.items)
		blocks, problem := a.content(m.Content, m.Role, at+".content")
		if problem == nil {
			problem = a.order(blocks, m.Role, at, waiting, i)
		}
		if problem != nil {
			return problem
		}
		if m.Role == "assistant" {
			for _, it := range a.p.items[begin:] {
				if it.Kind == kindCall {
					a.called = append(a.called, it.id)
				}
			}
		}
	}
	if len(a.called) > 0 {
		return wrong("messages.%d: `tool_use` ids were found without `tool_result` blocks immediately after: %s. Each `tool_use` block must have a corresponding `tool_result` block in the next message.", len(a.q.Messages)-1, strings.Join(a.called, ", "))
	}
	return nil
}

// order checks what stands where in a message. waiting says that the message
// before it called tools.
func (a *anthropicReader) order(blocks []anthropicBlock, role, at string, waiting bool, i int) *refusal {
	last := i == len(a.q.Messages)-1
	if len(blocks) == 0 && (!last || role != "assistant") {
		return wrong("%s: all messages must have non-empty content except for the optional final assistant message", at)
	}
	if waiting && len(a.called) > 0 {
		return wrong("messages.%d: `tool_use` ids were found without `tool_result` blocks immediately after: %s. Each `tool_use` block must have a corresponding `tool_result` block in the next message.", i-1, strings.Join(a.called, ", "))
	}
	other := false
	for _, b := range blocks {
		if b.Type == "tool_result" && other {
			return wrong("%s: `tool_result` blocks must come first in the content", at)
		}
		other = other || b.Type != "tool_result"
	}
	if role == "assistant" && last && len(blocks) > 0 {
		if end := blocks[len(blocks)-1]; end.Text != nil && strings.TrimRight(*end.Text, " \n\t") != *end.Text {
			return wrong("messages: final assistant content cannot end with trailing whitespace")
		}
		if a.p.asked {
			return wrong("messages: prefilling assistant messages is not supported when thinking is enabled")
		}
	}
	return a.loop(blocks, at, i)
}

// loop checks that a tool loop under way keeps its thoughts: the assistant's turn
// before the last tool results must begin with them while thinking is on.
func (a *anthropicReader) loop(blocks []anthropicBlock, at string, i int) *refusal {
	if !a.p.mustThink || i != len(a.q.Messages)-2 || a.q.Messages[i].Role != "assistant" || len(blocks) == 0 {
		return nil
	}
	calls := slices.ContainsFunc(blocks, func(b anthropicBlock) bool { return b.Type == "tool_use" })
	if first := blocks[0].Type; calls && first != "thinking" && first != "redacted_thinking" {
		return wrong("%s.content.0.type: Expected `thinking` or `redacted_thinking`, but found `%s`. When `thinking` is enabled, a final `assistant` message must start with a thinking block (preceding the lastmost set of `tool_use` and `tool_result` blocks).", at, first)
	}
	return nil
}

func (a *anthropicReader) tools() *refusal {
	for i, t := range a.q.Tools {
		at := fmt.Sprintf("tools.%d", i)
		if t.Type != "" && t.Type != "custom" {
			return wrong("%s: Input tag '%s' found using 'type' does not match any of the expected tags: 'custom'", at, t.Type)
		}
		if !anthropicName.MatchString(t.Name) {
			return wrong("%s.custom.name: String should match pattern '^[a-zA-Z0-9_-]{1,128}$'", at)
		}
		schema, ok := anyOf(t.InputSchema).(map[string]any)
		if !ok || schema["type"] != "object" {
			return wrong("%s.custom.input_schema.type: Input should be 'object'", at)
		}
		if problem := a.mark(t.CacheControl, at+".cache_control"); problem != nil {
			return problem
		}
		if slices.ContainsFunc(a.p.tools, func(other Tool) bool { return other.Name == t.Name }) {
			return wrong("tools: Tool names must be unique.")
		}
		a.p.tools = append(a.p.tools, Tool{Name: t.Name, Description: t.Description, Parameters: schema})
	}
	return nil
}

func (a *anthropicReader) choice() *refusal {
	c := a.q.ToolChoice
	if c == nil {
		return nil
	}
	if len(a.q.Tools) == 0 {
		return wrong("tool_choice: tool_choice may only be specified while providing tools.")
	}
	if c.DisableParallelToolUse != nil {
		a.p.parallel = new(!*c.DisableParallelToolUse)
	}
	switch c.Type {
	case "auto", "none":
		a.p.mode = c.Type
	case "any":
		a.p.mode = "required"
	case "tool":
		a.p.mode, a.p.allowed = "required", []string{c.Name}
		if !slices.ContainsFunc(a.p.tools, func(t Tool) bool { return t.Name == c.Name }) {
			return wrong("tool_choice.name: Tool '%s' not found in provided tools", c.Name)
		}
	default:
		return wrong("tool_choice: Input tag '%s' found using 'type' does not match any of the expected tags: 'auto', 'any', 'tool', 'none'", c.Type)
	}
	return nil
}

func (a *anthropicReader) output() *refusal {
	f := a.q.OutputFormat
	if a.q.OutputConfig != nil && a.q.OutputConfig.Format != nil {
		f = a.q.OutputConfig.Format
	}
	if f == nil {
		return nil
	}
	schema, ok := anyOf(f.Schema).(map[string]any)
	if f.Type != "json_schema" || !ok {
		return wrong("output_config.format.schema: Field required")
	}
	if problem := closed(schema); problem != "" {
		return wrong("output_config.format.schema: %s", problem)
	}
	a.p.output = &Output{Kind: "schema", Schema: schema}
	return nil
}

// closed says which object of a schema allows members it does not name.
func closed(schema any) string {
	o, _ := schema.(map[string]any)
	if o["type"] == "object" && o["additionalProperties"] != false {
		return "For 'object' type, 'additionalProperties' must be explicitly set to false"
	}
	properties, _ := o["properties"].(map[string]any)
	for _, property := range properties {
		if problem := closed(property); problem != "" {
			return problem
		}
	}
	if items, ok := o["items"]; ok {
		return closed(items)
	}
	return ""
}
