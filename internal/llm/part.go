package llm

// Part is one piece of a message's content, or of an answer's. The set is
// closed, and every part is a pointer: a codec that cannot say a part must
// refuse it ([dialect.Unsaid]), never drop it unsaid.
type Part interface {
	// Base gives what all parts have.
	Base() *Common
}

// Common is what every part may have.
type Common struct {
	Pos   Pos        // where it stood in the client's body
	Cache *CacheMark // the part ends a prefix to cache; nil: it does not
	// Opaque is state of the provider's that belongs to the part and must come
	// back to the same model unchanged; nil: none.
	Opaque *Opaque
	Extra  Extra
	// Wire is what the part's own format says of it that means nothing to any
	// other: ids and states of items. Encoders of other formats pass over it.
	Wire Extra
}

// Base implements [Part].
func (c *Common) Base() *Common { return c }

// Text is plain text. In an assistant's message it is what the model said.
type Text struct {
	Common
	Text      string
	Citations []Citation
}

// Refusal is text by which a model declines (OpenAI's `refusal`). Formats
// without such a thing say it as text.
type Refusal struct {
	Common
	Text string
}

// Thinking is a model's visible reasoning, or a summary of it. Opaque, if any,
// is what proves it to the provider (a signature, encrypted content); text
// without it is for people.
type Thinking struct {
	Common
	Text string
	// Redacted: there is no text; Opaque is all there is (Anthropic's
	// redacted_thinking).
	Redacted bool
}

// MediaKind is the kind of a [Media] part.
type MediaKind string

// The kinds of media.
const (
	MediaImage    MediaKind = "image"
	MediaDocument MediaKind = "document" // PDF and other files that a model reads
	MediaAudio    MediaKind = "audio"
	MediaVideo    MediaKind = "video"
)

// Media is content that is no text. Exactly one of Data, URL and FileID is set.
type Media struct {
	Common
	Kind   MediaKind
	MIME   string // "image/png"; "" where only a URL is known
	Data   string // standard base64 with padding, checked on the way in
	URL    string // http(s), or another scheme that the provider knows (gs://)
	FileID string // a file uploaded to the provider: good in its own format only
	Name   string // file name or title
	Detail string // OpenAI's image detail: low, high, auto, original
	// Text is set, and Data empty, for a document given as plain text.
	Text string
	// OrText: whoever cannot be sent the document itself gets the text in it,
	// which the gateway reads when it must.
	OrText bool
}

// ToolCall is a model's wish to have a tool run.
type ToolCall struct {
	Common
	ID   string
	Name string
	// Arguments is JSON text as the model wrote it (an object, if the model kept
	// to it), or free text for a Custom call. Empty means no arguments.
	Arguments string
	Custom    bool
}

// ToolResult is what came of a tool call.
type ToolResult struct {
	Common
	CallID  string
	Name    string // the tool's, where the client said it; encoders look it up by CallID else
	Parts   []Part // Text and Media
	IsError bool
	Custom  bool
}

// NativePart is a piece of content that only its own format can say.
type NativePart struct {
	Common
	Native
}

// Citation says where a piece of an answer's text comes from. Fields that a
// format did not say are zero; what it says beyond them is in Extra.
type Citation struct {
	URL   string
	Title string
	Quote string // the text cited
	// Start and End are the place in the answer's text that the citation is for,
	// in characters; both 0: not said.
	Start, End int64
	Extra      Extra
}

// Opaque is a provider's own state, such as a signature over its thinking. It is
// good for the model that made it and for no other.
type Opaque struct {
	Format Format `json:"f"` // of the upstream
	Model  string `json:"m"` // as the upstream names it
	// Value is the state itself: a signature, encrypted content, redacted data.
	Value string `json:"v,omitempty"`
	// ItemID is the provider's id of the item that the state belongs to, where it
	// has one beside the call's id (Responses: "rs_…", "fc_…").
	ItemID string `json:"i,omitempty"`
}

// From says whether the state is of the model of a format. nil is of none.
func (o *Opaque) From(f Format, model string) bool {
	return o != nil && o.Format == f && o.Model == model
}

// TextOf joins the text parts of a list, as formats that know only one string
// take them.
func TextOf(parts []Part) string {
	if len(parts) == 1 {
		if t, ok := parts[0].(*Text); ok {
			return t.Text
		}
	}
	var all []byte
	for _, p := range parts {
		if t, ok := p.(*Text); ok {
			all = append(all, t.Text...)
		}
	}
	return string(all)
}
