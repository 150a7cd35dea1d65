package llm

// Request is a model call in no particular dialect: what a codec decodes a
// client's body into when client and upstream speak different formats.
type Request struct {
	Model       string
	Messages    []Message
	Temperature *float64 // nil: the provider's default
	MaxTokens   int64    // most tokens to generate; 0: the provider's default
	Stream      bool
}

// Role says who speaks a message.
type Role string

// The roles. Instructions of developer and operator alike are RoleSystem.
const (
	RoleSystem    Role = "system"
	RoleUser      Role = "user"
	RoleAssistant Role = "assistant"
)

// Message is one turn of a conversation.
type Message struct {
	Role  Role
	Parts []Part
}

// Part is one piece of a message's content. The set is closed: a codec that
// cannot say a part must refuse it, never drop it.
type Part interface{ part() }

// Text is plain text.
type Text string

func (Text) part() {}

// TextMessage is a message with one text part.
func TextMessage(role Role, text string) Message {
	return Message{Role: role, Parts: []Part{Text(text)}}
}
