package gemini

import (
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/financecommander/tollgate/internal/dialect"
	"github.com/financecommander/tollgate/internal/jsonedit"
	"github.com/financecommander/tollgate/internal/llm"
)

// The types here are the format's own. Google's parser takes each member by its
// name in camel case and in snake case, so reading does too; writing is always
// in camel case. What is in no field is kept in Extra.

// How bodies are read and written. Text with broken UTF-8 is not ours to lose a
// request over. What a provider sends is not checked for members that come
// twice. Equal requests are written with equal bytes.
var (
	reading = json.JoinOptions(jsontext.AllowInvalidUTF8(true))
	writing = json.JoinOptions(jsontext.AllowInvalidUTF8(true), jsontext.AllowDuplicateNames(true), json.Deterministic(true))
)

// list is a repeated field: Google takes a single object for a list of one.
type list[T any] []T

// UnmarshalJSONFrom implements [json.UnmarshalerFrom].
func (l *list[T]) UnmarshalJSONFrom(d *jsontext.Decoder) error {
	if k := d.PeekKind(); k == '[' || k == 'n' {
		return json.UnmarshalDecode(d, (*[]T)(l))
	}
	var one T
	if err := json.UnmarshalDecode(d, &one); err != nil {
		return err
	}
	*l = list[T]{one}
	return nil
}

// integer is a whole number, which may also come as a string.
type integer int64

// UnmarshalJSONFrom implements [json.UnmarshalerFrom].
func (n *integer) UnmarshalJSONFrom(d *jsontext.Decoder) error {
	value, err := d.ReadValue()
	if err != nil || value.Kind() == 'n' {
		return err
	}
	digits := []byte(value)
	if value.Kind() == '"' {
		digits = digits[1 : len(digits)-1]
	}
	v, ok := jsonedit.ParseInt(digits)
	if !ok {
		return errNotInteger
	}
	*n = integer(v)
	return nil
}

type request struct {
	Contents          list[content]     `json:"contents,omitzero"`
	SystemInstruction *content          `json:"systemInstruction,omitzero,case:ignore"`
	Tools             list[tool]        `json:"tools,omitempty"`
	ToolConfig        *toolConfig       `json:"toolConfig,omitzero,case:ignore"`
	GenerationConfig  *generationConfig `json:"generationConfig,omitzero,case:ignore"`
	Labels            map[string]string `json:"labels,omitempty"`
	ServiceTier       string            `json:"serviceTier,omitzero,case:ignore"`
	Extra             jsontext.Value    `json:",embed"`
}

type content struct {
	Role  string         `json:"role,omitzero"`
	Parts list[part]     `json:"parts,omitzero"`
	Extra jsontext.Value `json:",embed"`
}

// part has one of the members from Text to ToolResponse.
type part struct {
	Text                *string           `json:"text,omitzero"`
	InlineData          *blob             `json:"inlineData,omitzero,case:ignore"`
	FileData            *fileData         `json:"fileData,omitzero,case:ignore"`
	FunctionCall        *functionCall     `json:"functionCall,omitzero,case:ignore"`
	FunctionResponse    *functionResponse `json:"functionResponse,omitzero,case:ignore"`
	ExecutableCode      jsontext.Value    `json:"executableCode,omitzero,case:ignore"`
	CodeExecutionResult jsontext.Value    `json:"codeExecutionResult,omitzero,case:ignore"`
	ToolCall            jsontext.Value    `json:"toolCall,omitzero,case:ignore"`
	ToolResponse        jsontext.Value    `json:"toolResponse,omitzero,case:ignore"`
	Thought             bool              `json:"thought,omitzero"`
	ThoughtSignature    string            `json:"thoughtSignature,omitzero,case:ignore"`
	Extra               jsontext.Value    `json:",embed"`
}

type blob struct {
	MIMEType    string         `json:"mimeType,omitzero,case:ignore"`
	Data        string         `json:"data,omitzero"`
	DisplayName string         `json:"displayName,omitzero,case:ignore"`
	Extra       jsontext.Value `json:",embed"`
}

type fileData struct {
	MIMEType    string         `json:"mimeType,omitzero,case:ignore"`
	FileURI     string         `json:"fileUri,omitzero,case:ignore"`
	DisplayName string         `json:"displayName,omitzero,case:ignore"`
	Extra       jsontext.Value `json:",embed"`
}

type functionCall struct {
	ID    string         `json:"id,omitzero"`
	Name  string         `json:"name,omitzero"`
	Args  jsontext.Value `json:"args,omitzero"`
	Extra jsontext.Value `json:",embed"`
	only  member         // the only one of Args, if it has but one
}

type functionResponse struct {
	ID       string             `json:"id,omitzero"`
	Name     string             `json:"name,omitzero"`
	Response jsontext.Value     `json:"response,omitzero"`
	Parts    list[responsePart] `json:"parts,omitempty"`
	Extra    jsontext.Value     `json:",embed"`
	only     member             // the only one of Response, if it has but one
	result   *result            // written as Response in its place
}

// result is what a response is made of.
type result struct {
	text    string
	isError bool
}

type responsePart struct {
	InlineData *blob          `json:"inlineData,omitzero,case:ignore"`
	FileData   *fileData      `json:"fileData,omitzero,case:ignore"`
	Extra      jsontext.Value `json:",embed"`
}

// tool is a list of functions, or tools of Google's own in Extra, or both.
type tool struct {
	FunctionDeclarations list[functionDeclaration] `json:"functionDeclarations,omitempty,case:ignore"`
	Extra                jsontext.Value            `json:",embed"`
}

type functionDeclaration struct {
	Name                 string         `json:"name,omitzero"`
	Description          *string        `json:"description,omitzero"`
	Parameters           jsontext.Value `json:"parameters,omitzero"`
	ParametersJSONSchema jsontext.Value `json:"parametersJsonSchema,omitzero,case:ignore"`
	Extra                jsontext.Value `json:",embed"`
}

type toolConfig struct {
	FunctionCallingConfig *functionCallingConfig `json:"functionCallingConfig,omitzero,case:ignore"`
	Extra                 jsontext.Value         `json:",embed"`
}

type functionCallingConfig struct {
	Mode                 string         `json:"mode,omitzero"`
	AllowedFunctionNames list[string]   `json:"allowedFunctionNames,omitempty,case:ignore"`
	Extra                jsontext.Value `json:",embed"`
}

type generationConfig struct {
	StopSequences      list[string]    `json:"stopSequences,omitempty,case:ignore"`
	CandidateCount     integer         `json:"candidateCount,omitzero,case:ignore"`
	MaxOutputTokens    integer         `json:"maxOutputTokens,omitzero,case:ignore"`
	Temperature        *float64        `json:"temperature,omitzero"`
	TopP               *float64        `json:"topP,omitzero,case:ignore"`
	TopK               *float64        `json:"topK,omitzero,case:ignore"`
	Seed               *integer        `json:"seed,omitzero"`
	PresencePenalty    *float64        `json:"presencePenalty,omitzero,case:ignore"`
	FrequencyPenalty   *float64        `json:"frequencyPenalty,omitzero,case:ignore"`
	ResponseLogprobs   bool            `json:"responseLogprobs,omitzero,case:ignore"`
	Logprobs           *integer        `json:"logprobs,omitzero"`
	ResponseMIMEType   string          `json:"responseMimeType,omitzero,case:ignore"`
	ResponseSchema     jsontext.Value  `json:"responseSchema,omitzero,case:ignore"`
	ResponseJSONSchema jsontext.Value  `json:"responseJsonSchema,omitzero,case:ignore"` // _responseJsonSchema too
	ResponseModalities list[string]    `json:"responseModalities,omitempty,case:ignore"`
	ThinkingConfig     *thinkingConfig `json:"thinkingConfig,omitzero,case:ignore"`
	Extra              jsontext.Value  `json:",embed"`
}

type thinkingConfig struct {
	IncludeThoughts *bool          `json:"includeThoughts,omitzero,case:ignore"`
	ThinkingBudget  *integer       `json:"thinkingBudget,omitzero,case:ignore"`
	ThinkingLevel   string         `json:"thinkingLevel,omitzero,case:ignore"`
	Extra           jsontext.Value `json:",embed"`
}

// extraOf keeps members that have no field.
func extraOf(members jsontext.Value) llm.Extra {
	if len(members) == 0 || string(members) == "{}" {
		return llm.Extra{}
	}
	return llm.Extra{Format: dialect.Gemini, JSON: members}
}

// membersOf gives them back.
func membersOf(e llm.Extra) jsontext.Value { return e.In(dialect.Gemini) }

// object builds an object of members.
type object []byte

// add appends a member whose value is JSON.
func (o *object) add(name string, value []byte) {
	if len(*o) == 0 {
		*o = append(*o, '{')
	} else {
		(*o)[len(*o)-1] = ','
	}
	*o = jsonedit.AppendQuote(*o, name)
	*o = append(*o, ':')
	*o = append(*o, value...)
	*o = append(*o, '}')
}

// addAll appends the members of an object, each with a prefix to its name.
func (o *object) addAll(prefix string, members []byte) {
	s := jsonedit.NewScanner(members)
	for name := range s.Members {
		o.add(prefix+string(name), s.Skip())
	}
}

// take gives the member of a name, and the object without it.
func take(members []byte, name string) (value []byte, rest jsontext.Value) {
	var others object
	s := jsonedit.NewScanner(members)
	for n := range s.Members {
		if string(n) == name {
			value = s.Skip()
		} else {
			others.add(string(n), s.Skip())
		}
	}
	return value, jsontext.Value(others)
}
