package fakes

import (
	"cmp"
	"encoding/base64"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// geminiRequest is the body of generateContent.
// https://ai.google.dev/api/generate-content
type geminiRequest struct {
	Contents          []geminiContent `json:"contents"`
	SystemInstruction *geminiContent  `json:"systemInstruction"`
	Tools             []geminiTool    `json:"tools"`
	ToolConfig        *struct {
		FunctionCallingConfig *struct {
			Mode                 string   `json:"mode"`
			AllowedFunctionNames []string `json:"allowedFunctionNames"`
		} `json:"functionCallingConfig"`
	} `json:"toolConfig"`
	SafetySettings   raw               `json:"safetySettings"`
	GenerationConfig *geminiGeneration `json:"generationConfig"`
	CachedContent    string            `json:"cachedContent"`
	ServiceTier      string            `json:"serviceTier"`
	Labels           raw               `json:"labels"`
	Store            *bool             `json:"store"`
	Model            string            `json:"model"` // in countTokens' generateContentRequest
}

type geminiGeneration struct {
	StopSequences      []string `json:"stopSequences"`
	ResponseMIMEType   string   `json:"responseMimeType"`
	ResponseSchema     raw      `json:"responseSchema"`
	ResponseJSONSchema raw      `json:"responseJsonSchema"`
	ResponseModalities []string `json:"responseModalities"`
	CandidateCount     *int     `json:"candidateCount"`
	MaxOutputTokens    *int64   `json:"maxOutputTokens"`
	Temperature        *float64 `json:"temperature"`
	TopP               *float64 `json:"topP"`
	TopK               *float64 `json:"topK"`
	Seed               *int64   `json:"seed"`
	PresencePenalty    *float64 `json:"presencePenalty"`
	FrequencyPenalty   *float64 `json:"frequencyPenalty"`
	ResponseLogprobs   *bool    `json:"responseLogprobs"`
	Logprobs           *int     `json:"logprobs"`
	ThinkingConfig     *struct {
		IncludeThoughts *bool  `json:"includeThoughts"`
		ThinkingBudget  *int64 `json:"thinkingBudget"`
		ThinkingLevel   string `json:"thinkingLevel"`
	} `json:"thinkingConfig"`
	MediaResolution string `json:"mediaResolution"`
	SpeechConfig    raw    `json:"speechConfig"`
	ImageConfig     raw    `json:"imageConfig"`
}

type geminiContent struct {
	Role  string       `json:"role"`
	Parts []geminiPart `json:"parts"`
}

type geminiPart struct {
	Text             *string     `json:"text"`
	Thought          *bool       `json:"thought"`
	ThoughtSignature *string     `json:"thoughtSignature"`
	InlineData       *geminiBlob `json:"inlineData"`
	FileData         *struct {
		MIMEType string `json:"mimeType"`
		FileURI  string `json:"fileUri"`
	} `json:"fileData"`
	FunctionCall *struct {
		ID   string `json:"id"`
		Name string `json:"name"`
		Args raw    `json:"args"`
	} `json:"functionCall"`
	FunctionResponse *struct {
		ID       string `json:"id"`
		Name     string `json:"name"`
		Response raw    `json:"response"`
		Parts    []struct {
			InlineData *geminiBlob `json:"inlineData"`
		} `json:"parts"`
	} `json:"functionResponse"`
	VideoMetadata   raw `json:"videoMetadata"`
	MediaResolution raw `json:"mediaResolution"`
}

type geminiBlob struct {
	MIMEType    string `json:"mimeType"`
	Data        string `json:"data"`
	DisplayName string `json:"displayName"`
}

type geminiTool struct {
	FunctionDeclarations []struct {
		Name                 string `json:"name"`
		Description          string `json:"description"`
		Parameters           raw    `json:"parameters"`
		ParametersJSONSchema raw    `json:"parametersJsonSchema"`
		Response             raw    `json:"response"`
		ResponseJSONSchema   raw    `json:"responseJsonSchema"`
		Behavior             string `json:"behavior"`
	} `json:"functionDeclarations"`
}

var geminiName = regexp.MustCompile(`^[a-zA-Z_][a-zA-Z0-9_.:-]{0,127}$`)

// geminiSchema are the members of the subset of OpenAPI that `parameters` and
// `responseSchema` take.
var geminiSchema = []string{
	"type", "format", "title", "description", "nullable", "enum", "maxItems", "minItems", "properties", "required",
	"minProperties", "maxProperties", "minLength", "maxLength", "pattern", "example", "anyOf", "propertyOrdering",
	"default", "items", "minimum", "maximum",
}

// dummySignatures are the documented ways to bring calls that Gemini did not make.
// https://ai.google.dev/gemini-api/docs/thought-signatures
var dummySignatures = []string{"context_engineering_is_the_way_to_go", "skip_thought_signature_validator"}

func invalid(format string, args ...any) *refusal {
	return &refusal{status: http.StatusBadRequest, kind: "INVALID_ARGUMENT", message: fmt.Sprintf(format, args...)}
}

// geminiReader reads one request.
type geminiReader struct {
	p *prompt
	q *geminiRequest
}

func (s *Server) geminiPrompt(model string, body []byte, stream bool) (*prompt, *geminiRequest, *refusal) {
	q := &geminiRequest{}
	if path, err := strictly(body, q); err != nil {
		return nil, nil, invalid("Invalid JSON payload received at '%s': %v", dotted(path), err)
	}
	if !s.known(model) {
		return nil, nil, &refusal{
			status: http.StatusNotFound, kind: "NOT_FOUND",
			message: fmt.Sprintf("models/%s is not found for API version v1beta, or is not supported for generateContent.", model),
		}
	}
	g := &geminiReader{p: &prompt{model: model, stream: stream, n: 1}, q: q}
	for _, check := range []func() *refusal{g.system, g.contents, g.tools, g.choice, g.generation, g.signatures} {
		if problem := check(); problem != nil {
			return nil, nil, problem
		}
	}
	return g.p, q, nil
}

func (g *geminiReader) system() *refusal {
	if g.q.SystemInstruction == nil {
		return nil
	}
	if len(g.q.SystemInstruction.Parts) == 0 {
		return invalid("* GenerateContentRequest.system_instruction.parts: must not be empty")
	}
	for _, part := range g.q.SystemInstruction.Parts {
		if part.Text == nil {
			return invalid("System instruction should only contain text.")
		}
		g.p.items = append(g.p.items, Item{Role: "system", Kind: kindText, Text: *part.Text})
	}
	return nil
}

func (g *geminiReader) contents() *refusal {
	if len(g.q.Contents) == 0 {
		return invalid("* GenerateContentRequest.contents: contents is not specified")
	}
	var waiting []Item // calls of the turn before
	g.q.Contents = turns(g.q.Contents)
	for i, c := range g.q.Contents {
		if c.Role != "user" && c.Role != "model" && c.Role != "function" {
			return invalid("Please use a valid role: user, model.")
		}
		if len(c.Parts) == 0 {
			return invalid("* GenerateContentRequest.contents[%d].parts: contents.parts must not be empty.", i)
		}
		begin := len(g.p.items)
		results, calls := 0, 0
		for j := range c.Parts {
			at := fmt.Sprintf("contents[%d].parts[%d]", i, j)
			it, problem := g.part(&c.Parts[j], c.Role, at)
			if problem != nil {
				return problem
			}
			switch it.Kind {
			case "": // a thought, or nothing
				continue
			case kindCall:
				calls++
				it.id = cmp.Or(it.id, fmt.Sprintf("%d-%d", i, calls))
			case kindResult:
				if results >= len(waiting) || it.id != "" && it.id != waiting[results].id && !hasID(waiting, it.id) {
					return unequal()
				}
				it.id = cmp.Or(it.id, waiting[results].id)
				if call := callOf(waiting, it.id); call.Tool != it.Tool {
					return invalid("The function response '%s' does not answer the call of '%s'.", it.Tool, call.Tool)
				}
				results++
			}
			g.p.items = append(g.p.items, it)
		}
		if results != len(waiting) {
			return unequal()
		}
		if calls > 0 && (i == 0 || g.q.Contents[i-1].Role == "model") {
			return invalid("Please ensure that function call turn comes immediately after a user turn or after a function response turn.")
		}
		waiting = waiting[:0:0]
		for _, it := range g.p.items[begin:] {
			if it.Kind == kindCall {
				waiting = append(waiting, it)
			}
		}
	}
	if len(waiting) > 0 {
		return invalid("Please ensure that function response turn comes immediately after a function call turn.")
	}
	return nil
}

// turns joins contents of one role: a client that keeps a stream's chunks sends
// each back as a content of its own.
func turns(contents []geminiContent) []geminiContent {
	var all []geminiContent
	for _, c := range contents {
		c.Role = cmp.Or(c.Role, "user")
		if n := len(all); n > 0 && all[n-1].Role == c.Role && len(c.Parts) > 0 {
			all[n-1].Parts = append(slices.Clip(all[n-1].Parts), c.Parts...)
			continue
		}
		all = append(all, c)
	}
	return all
}

func unequal() *refusal {
	return invalid("Please ensure that the number of function response parts is equal to the number of function call parts of the function call turn.")
}

func hasID(items []Item, id string) bool {
	return slices.ContainsFunc(items, func(it Item) bool { return it.id == id })
}

func callOf(items []Item, id string) Item {
	n := slices.IndexFunc(items, func(it Item) bool { return it.id == id })
	if n < 0 {
		return Item{}
	}
	return items[n]
}

func (g *geminiReader) part(c *geminiPart, role, at string) (Item, *refusal) {
	set := 0
	for _, there := range []bool{c.Text != nil, c.InlineData != nil, c.FileData != nil, c.FunctionCall != nil, c.FunctionResponse != nil} {
		if there {
			set++
		}
	}
	if set > 1 || set == 0 && c.ThoughtSignature == nil {
		return Item{}, invalid("* GenerateContentRequest.%s.data: required oneof field 'data' must have one initialized field", at)
	}
	speaker := "user"
	if role == "model" {
		speaker = "assistant"
	}
	switch {
	case isTrue(c.Thought):
		return Item{}, g.signed(c, "text", at)
	case c.InlineData != nil:
		return inline(c.InlineData, speaker, at)
	case c.FileData != nil:
		if !strings.Contains(c.FileData.FileURI, "://") {
			return Item{}, invalid("Invalid file_uri at %s", at)
		}
		return Item{Role: speaker, Kind: kindOfMIME(c.FileData.MIMEType), URL: c.FileData.FileURI, MIME: c.FileData.MIMEType}, nil
	case c.FunctionCall != nil:
		return g.functionCall(c, speaker, at)
	case c.FunctionResponse != nil:
		return functionResponse(c, speaker, at)
	case c.Text == nil || *c.Text == "":
		return Item{}, g.signed(c, "text", at)
	}
	return Item{Role: speaker, Kind: kindText, Text: *c.Text}, g.signed(c, "text", at)
}

// signed checks a signature on a part of text, if there is one.
func (g *geminiReader) signed(c *geminiPart, what, at string) *refusal {
	if c.ThoughtSignature == nil || slices.Contains(dummySignatures, *c.ThoughtSignature) {
		return nil
	}
	if problem := verify(Gemini, g.p.model, what, "", standard(*c.ThoughtSignature)); problem != "" {
		return invalid("Corrupted thought signature at %s: %s", at, problem)
	}
	g.p.states++
	return nil
}

// standard is base64 in the standard alphabet: the API takes both.
func standard(b string) string {
	b = strings.NewReplacer("-", "+", "_", "/").Replace(strings.TrimRight(b, "="))
	return b + strings.Repeat("=", (4-len(b)%4)%4)
}

func inline(b *geminiBlob, role, at string) (Item, *refusal) {
	n, err := media(b.MIMEType, standard(b.Data))
	if b.MIMEType == "text/plain" {
		var text []byte
		text, err = base64.StdEncoding.DecodeString(b.Data)
		n = len(text)
	}
	if err != nil {
		return Item{}, invalid("Unable to process input %s at %s: %v", kindOfMIME(b.MIMEType), at, err)
	}
	return Item{Role: role, Kind: kindOfMIME(b.MIMEType), MIME: b.MIMEType, Bytes: n}, nil
}

func kindOfMIME(mime string) string {
	switch kind, _, _ := strings.Cut(mime, "/"); kind {
	case "image", "audio", "video":
		return kind
	default:
		return "document"
	}
}

func (g *geminiReader) functionCall(c *geminiPart, role, at string) (Item, *refusal) {
	f := c.FunctionCall
	switch {
	case role != "assistant":
		return Item{}, invalid("Function call parts must be in a model's turn: %s", at)
	case !geminiName.MatchString(f.Name):
		return Item{}, invalid("* GenerateContentRequest.%s.function_call.name: Invalid function name", at)
	case !absent(f.Args) && f.Args.Kind() != '{':
		return Item{}, invalid("Invalid value at '%s.function_call.args' (type.googleapis.com/google.protobuf.Struct)", at)
	}
	args := anyOf(f.Args)
	if args == nil {
		args = map[string]any{}
	}
	if s := c.ThoughtSignature; s != nil && !slices.Contains(dummySignatures, *s) {
		if problem := verify(Gemini, g.p.model, "call", f.Name+canonical(args), standard(*s)); problem != "" {
			return Item{}, invalid("Corrupted thought signature at %s: %s", at, problem)
		}
		g.p.states++
	}
	return Item{Role: role, Kind: kindCall, Tool: f.Name, Arguments: args, id: f.ID}, nil
}

func functionResponse(c *geminiPart, role, at string) (Item, *refusal) {
	f := c.FunctionResponse
	response, ok := anyOf(f.Response).(map[string]any)
	if role != "user" || !ok {
		return Item{}, invalid("Invalid value at '%s.function_response.response' (type.googleapis.com/google.protobuf.Struct)", at)
	}
	it := Item{Role: "tool", Kind: kindResult, Tool: f.Name, id: f.ID}
	it.Text, it.IsError = responseText(response)
	for j, part := range f.Parts {
		if part.InlineData == nil {
			return Item{}, invalid("%s.function_response.parts[%d]: required", at, j)
		}
		m, problem := inline(part.InlineData, "tool", at)
		if problem != nil {
			return Item{}, problem
		}
		it.Content = append(it.Content, m)
	}
	if it.Content != nil && it.Text != "" {
		it.Content = append([]Item{{Role: "tool", Kind: kindText, Text: it.Text}}, it.Content...)
	}
	return it, nil
}

// responseText is what a tool said: by convention under "output", "result" or
// "error".
func responseText(response map[string]any) (string, bool) {
	for _, member := range []string{"output", "result", "error"} {
		if v, ok := response[member]; ok && len(response) == 1 {
			if text, ok := v.(string); ok {
				return text, member == "error"
			}
			return canonical(v), member == "error"
		}
	}
	return canonical(response), false
}

func (g *geminiReader) tools() *refusal {
	for i, t := range g.q.Tools {
		if len(t.FunctionDeclarations) == 0 {
			return invalid("* GenerateContentRequest.tools[%d].tool_type: required one_of 'tool_type' must have one initialized field", i)
		}
		for j, f := range t.FunctionDeclarations {
			at := fmt.Sprintf("tools[%d].function_declarations[%d]", i, j)
			switch {
			case !geminiName.MatchString(f.Name):
				return invalid("* GenerateContentRequest.%s.name: Invalid function name. Must start with a letter or an underscore.", at)
			case !absent(f.Parameters) && !absent(f.ParametersJSONSchema):
				return invalid("%s: parameters and parameters_json_schema are mutually exclusive", at)
			}
			schema := anyOf(f.ParametersJSONSchema)
			if !absent(f.Parameters) {
				schema = lowered(anyOf(f.Parameters))
				if problem := openAPI(schema, at+".parameters"); problem != nil {
					return problem
				}
			}
			g.p.tools = append(g.p.tools, Tool{Name: f.Name, Description: f.Description, Parameters: schema})
		}
	}
	return nil
}

// openAPI checks that a schema keeps to Gemini's subset of OpenAPI.
func openAPI(schema any, at string) *refusal {
	o, ok := schema.(map[string]any)
	if !ok {
		return invalid("Invalid value at '%s'", at)
	}
	for name := range o {
		if !slices.Contains(geminiSchema, name) {
			return invalid("Invalid JSON payload received. Unknown name \"%s\" at '%s': Cannot find field.", name, at)
		}
	}
	if _, ok := o["type"].([]any); ok {
		return invalid("Invalid value at '%s.type': Proto field is not repeating, cannot start list.", at)
	}
	properties, _ := o["properties"].(map[string]any)
	for name, property := range properties {
		if problem := openAPI(property, at+".properties."+name); problem != nil {
			return problem
		}
	}
	if items, ok := o["items"]; ok {
		return openAPI(items, at+".items")
	}
	return nil
}

// lowered writes the types of a schema small, as JSON Schema does.
func lowered(schema any) any {
	switch v := schema.(type) {
	case map[string]any:
		for name, member := range v {
			if text, ok := member.(string); ok && name == "type" {
				v[name] = strings.ToLower(text)
				continue
			}
			v[name] = lowered(member)
		}
	case []any:
		for i := range v {
			v[i] = lowered(v[i])
		}
	}
	return schema
}

func (g *geminiReader) choice() *refusal {
	if g.q.ToolConfig == nil || g.q.ToolConfig.FunctionCallingConfig == nil {
		return nil
	}
	c := g.q.ToolConfig.FunctionCallingConfig
	if len(g.p.tools) == 0 {
		return invalid("Function calling config is set without function_declarations.")
	}
	switch c.Mode {
	case "AUTO", "", "VALIDATED":
		g.p.mode = "auto"
	case "ANY":
		g.p.mode = "required"
	case "NONE":
		g.p.mode = "none"
	default:
		return invalid("Invalid value at 'tool_config.function_calling_config.mode', \"%s\"", c.Mode)
	}
	if len(c.AllowedFunctionNames) > 0 && c.Mode != "ANY" && c.Mode != "VALIDATED" {
		return invalid("Function calling config: allowed_function_names should only be set when mode is ANY or VALIDATED.")
	}
	g.p.allowed = c.AllowedFunctionNames
	if problem := offered(g.p, ""); problem != nil {
		return invalid("allowed_function_names should be a subset of the provided functions. %s", problem.message)
	}
	return nil
}

func (g *geminiReader) generation() *refusal {
	c := g.q.GenerationConfig
	if c == nil || c.ThinkingConfig == nil {
		if problem := g.thinks(nil, nil, ""); problem != nil || c == nil {
			return problem
		}
	}
	p := g.p
	p.stop, p.temperature, p.topP, p.seed = c.StopSequences, c.Temperature, c.TopP, c.Seed
	p.presencePenalty, p.frequencyPenalty, p.logprobs = c.PresencePenalty, c.FrequencyPenalty, isTrue(c.ResponseLogprobs)
	if c.TopK != nil {
		p.topK = new(int64(*c.TopK))
	}
	if c.CandidateCount != nil {
		p.n = *c.CandidateCount
	}
	if c.MaxOutputTokens != nil {
		p.maxTokens = *c.MaxOutputTokens
	}
	if c.Logprobs != nil {
		p.topLogprobs = *c.Logprobs
	}
	if t := c.ThinkingConfig; t != nil {
		if problem := g.thinks(t.IncludeThoughts, t.ThinkingBudget, t.ThinkingLevel); problem != nil {
			return problem
		}
	}
	switch {
	case len(c.StopSequences) > 5:
		return invalid("The number of stop sequences must be at most 5.")
	case outside(c.Temperature, 0, 2):
		return invalid("* GenerateContentRequest.generation_config.temperature: temperature must be in the range [0.0, 2.0].")
	case outside(c.TopP, 0, 1):
		return invalid("* GenerateContentRequest.generation_config.top_p: top_p must be in the range [0.0, 1.0].")
	case p.n < 1 || p.n > 8:
		return invalid("* GenerateContentRequest.generation_config.candidate_count: must be in the range [1, 8].")
	case c.MaxOutputTokens != nil && *c.MaxOutputTokens < 1:
		return invalid("* GenerateContentRequest.generation_config.max_output_tokens: max_output_tokens must be positive.")
	case c.Logprobs != nil && !p.logprobs:
		return invalid("Logprobs is set but response_logprobs is not.")
	}
	return g.output(c)
}

// thinks decides whether and how the model thinks.
func (g *geminiReader) thinks(include *bool, budget *int64, level string) *refusal {
	three := strings.HasPrefix(g.p.model, "gemini-3")
	able := three || strings.HasPrefix(g.p.model, "gemini-2.5")
	switch {
	case !able && (include != nil || budget != nil || level != ""):
		return invalid("Thinking is not supported by this model.")
	case budget != nil && level != "":
		return invalid("You can only set only one of thinking budget and thinking level.")
	case level != "" && !three:
		return invalid("Thinking level is not supported for this model.")
	case level != "" && !slices.Contains([]string{"minimal", "low", "medium", "high"}, strings.ToLower(level)):
		return invalid("Invalid value at 'generation_config.thinking_config.thinking_level', \"%s\"", level)
	case budget != nil && (*budget < -1 || *budget > 32768):
		return invalid("The thinking budget %d is invalid. Please choose a value between 0 and 32768.", *budget)
	}
	g.p.mayThink = able && (budget == nil || *budget != 0)
	g.p.showsIt = isTrue(include)
	g.p.asked = g.p.mayThink && (isTrue(include) || budget != nil || level != "")
	g.p.mustThink = g.p.asked
	return nil
}

func (g *geminiReader) output(c *geminiGeneration) *refusal {
	schema := anyOf(c.ResponseJSONSchema)
	if !absent(c.ResponseSchema) {
		if schema != nil {
			return invalid("response_schema and response_json_schema are mutually exclusive.")
		}
		schema = lowered(anyOf(c.ResponseSchema))
		if problem := openAPI(schema, "generation_config.response_schema"); problem != nil {
			return problem
		}
	}
	switch {
	case c.ResponseMIMEType == "application/json" && schema != nil:
		g.p.output = &Output{Kind: "schema", Schema: schema}
	case c.ResponseMIMEType == "application/json":
		g.p.output = &Output{Kind: "json"}
	case schema != nil:
		return invalid("* GenerateContentRequest.generation_config.response_schema: only allowed when mime_type is application/json")
	case c.ResponseMIMEType != "" && c.ResponseMIMEType != "text/plain":
		return invalid("Unsupported response mime type %s", c.ResponseMIMEType)
	}
	return nil
}

// signatures checks that each step of the turn under way has kept its thoughts:
// Gemini 3 wants a signature on the first call of each.
func (g *geminiReader) signatures() *refusal {
	if !strings.HasPrefix(g.p.model, "gemini-3") {
		return nil
	}
	begin := 0
	for i, c := range g.q.Contents {
		if c.Role != "model" && slices.ContainsFunc(c.Parts, func(p geminiPart) bool { return p.FunctionResponse == nil }) {
			begin = i
		}
	}
	for i := begin; i < len(g.q.Contents); i++ {
		for j, part := range g.q.Contents[i].Parts {
			if part.FunctionCall == nil {
				continue
			}
			if part.ThoughtSignature == nil {
				return invalid("Function call is missing a thought_signature in functionCall parts. This is required for tools to work correctly, "+
					"and missing thought_signature may lead to degraded model performance. Additional data, function call `default_api:%s`, position %s.",
					part.FunctionCall.Name, strconv.Itoa(i)+"."+strconv.Itoa(j))
			}
			break // of parallel calls only the first has one
		}
	}
	return nil
}
