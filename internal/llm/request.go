package llm

// Request is a model call in no particular dialect: what a codec decodes a
// client's body into when client and upstream speak different formats. A zero
// or nil field means that the client did not say; encoders then say nothing
// either and the provider's default holds.
//
// A Request is not changed once decoded: what an attempt needs different is
// changed on a copy ([Request.Clone]).
type Request struct {
	Model    string
	Messages []Message // in order; system and developer messages may stand anywhere
	Stream   bool
	// StreamUsage: the client asked for usage in its stream (formats that always
	// tell it have true).
	StreamUsage bool

	Tools      []Tool
	ToolChoice *ToolChoice // nil: not said
	// ParallelTools: whether several tools may be called in one turn; nil: not said.
	ParallelTools *bool

	Output *OutputFormat // nil: free text

	MaxTokens        int64 // most tokens to generate, reasoning included
	Temperature      *float64
	TopP             *float64
	TopK             *float64
	FrequencyPenalty *float64
	PresencePenalty  *float64
	Seed             *int64
	Stop             []string // stop sequences
	N                int64    // how many answers; 0: not said, 1
	LogProbs         bool     // tell the tokens' log probabilities
	TopLogProbs      *int64   // and those of so many alternatives per token
	Reasoning        *Reasoning
	Verbosity        string // "low", "medium", "high"

	// Hints do not change what is answered. An encoder whose format has no place
	// for one leaves it out and says so ([dialect.Unsaid.Leave]), but does not
	// refuse the call.
	User        string            // the end user, as the client names it
	SafetyID    string            // likewise, for abuse detection (OpenAI's safety_identifier)
	Metadata    map[string]string // labels
	CacheKey    string            // OpenAI's prompt_cache_key
	ServiceTier string            // in the client's words: "auto", "default", "flex", "priority", "standard_only"
	Store       *bool             // whether the provider may keep the answer
	PreviousID  string            // Responses: the answer this one continues; for another format the gateway resolves it first

	// Extra are the members of the body that this vocabulary has no word for.
	Extra Extra
	// Wire are members that ask nothing of another format's provider, as in
	// [Common].
	Wire Extra
}

// Clone copies a request so far that the copy's fields and messages can be
// replaced; parts are shared.
func (r *Request) Clone() *Request {
	clone := *r
	clone.Messages = append([]Message(nil), r.Messages...)
	return &clone
}

// Format names a wire format; package dialect lists them.
type Format string

// Extra is what one format said and this vocabulary has no word for: the members
// of an object, as a JSON object of their own. It goes out again in the same
// format only; for another it must be refused or reported ([dialect.Unsaid]).
type Extra struct {
	Format Format
	JSON   []byte // an object with at least one member, or nil
}

// In gives the members for a format: nil unless they came in it.
func (e Extra) In(f Format) []byte {
	if e.Format != f {
		return nil
	}
	return e.JSON
}

// Role says who speaks a message.
type Role string

// The roles. Where a format knows only one of the two kinds of instructions,
// both become that.
const (
	RoleSystem    Role = "system"
	RoleDeveloper Role = "developer"
	RoleUser      Role = "user"
	RoleAssistant Role = "assistant"
	// RoleTool is a message of tool results alone. Results may stand in a user's
	// message as well, as Anthropic and Gemini send them; encoders take both.
	RoleTool Role = "tool"
)

// Message is one turn of a conversation.
type Message struct {
	Role  Role
	Name  string // of the speaker, where the format has one
	Parts []Part
	// Pos is where the message stood in the client's body, for errors.
	Pos   Pos
	Extra Extra
	Wire  Extra // as in [Common]
}

// Pos says where something stood in the client's body: the message's index and
// the part's, both from 0; -1 where there is none.
type Pos struct{ Message, Part int32 }

// TextMessage is a message with one text part.
func TextMessage(role Role, text string) Message {
	return Message{Role: role, Parts: []Part{&Text{Text: text}}}
}

// Tool is something a model may call.
type Tool struct {
	Name        string
	Description string
	// Schema is the JSON Schema of the arguments; nil: none was given.
	Schema []byte
	Strict *bool // the arguments must fit the schema exactly; nil: not said
	// Custom: the tool takes free text in the place of JSON (OpenAI's custom
	// tools); Grammar is its "format" object, nil for none.
	Custom  bool
	Grammar []byte
	Cache   *CacheMark
	// Native: the tool is the provider's own (web search, code execution, MCP)
	// and no other format has it. All other fields but Name are empty then.
	Native *Native
	Extra  Extra
	// Index is the tool's place in the client's list, for errors.
	Index int32
}

// Native is a piece of JSON that only its own format can say: a server tool, its
// call, its result, a compaction. It passes unchanged within its format; for
// another it must be refused or reported.
type Native struct {
	Format Format
	Type   string // its "type", "web_search_call"
	JSON   []byte // the whole object
}

// ToolMode says whether tools are to be called.
type ToolMode string

// The tool modes.
const (
	ToolAuto     ToolMode = "auto"     // the model decides
	ToolNone     ToolMode = "none"     // no tool may be called
	ToolRequired ToolMode = "required" // at least one must be called
)

// ToolChoice says which tools may or must be called.
type ToolChoice struct {
	Mode ToolMode
	// Names restricts the choice: one name with ToolRequired is "this tool",
	// several are an allowed set, with ToolAuto or ToolRequired. nil: all tools.
	Names []string
	// Native is a choice only its own format has (a server tool, say); Mode is
	// empty then.
	Native *Native
}

// OutputKind says what form the answer's text must have.
type OutputKind string

// The forms of an answer's text.
const (
	OutputText       OutputKind = "text"
	OutputJSONObject OutputKind = "json_object" // any JSON object
	OutputJSONSchema OutputKind = "json_schema" // JSON that fits Schema
)

// OutputFormat asks for an answer's text in a form.
type OutputFormat struct {
	Kind        OutputKind
	Name        string // of the schema; encoders that need one make it up ("answer")
	Description string
	Schema      []byte // JSON Schema
	Strict      *bool
	Extra       Extra
}

// Reasoning says how much a model is to think before it answers.
type Reasoning struct {
	// Effort in OpenAI's words: none, minimal, low, medium, high, xhigh, max;
	// "": not said.
	Effort string
	// Budget bounds the thinking in tokens; nil: not said, 0: no thinking, -1: as
	// the model sees fit.
	Budget *int64
	// Show asks for the thoughts, or a summary of them, in the answer; nil: not
	// said.
	Show *bool
	// Summary is how OpenAI's Responses are asked for it: auto, concise,
	// detailed.
	Summary string
	// Adaptive: Anthropic's `thinking: {type: adaptive}`.
	Adaptive bool
	Extra    Extra
}

// CacheMark ends a prefix that the provider shall cache.
type CacheMark struct {
	TTL string // "5m", "1h"; "": the provider's default
}
