package pipeline

import (
	"encoding/json"
	"time"

	"github.com/financecommander/tollgate/pricing"
)

// EventType is a kind of message on a run's WebSocket.
type EventType string

// The events of a run, in about their order. A run has exactly one [EventComplete]
// or [EventError], which is its last.
const (
	EventStart         EventType = "pipeline_start"
	EventAgentStart    EventType = "agent_start"
	EventAgentToken    EventType = "agent_token"
	EventAgentComplete EventType = "agent_complete"
	EventAgentError    EventType = "agent_error"
	EventRetry         EventType = "retry"
	EventComplete      EventType = "complete"
	EventError         EventType = "error"
)

// Event is something that happened in a run. Data is one of the types below.
type Event struct {
	Type EventType
	Time time.Time
	Data any
}

// Started is the data of [EventStart].
type Started struct {
	Agents []string `json:"agents"` // the steps' names, in the definition's order
	Query  string   `json:"query"`
}

// AgentStarted is the data of [EventAgentStart].
type AgentStarted struct {
	Agent string `json:"agent"`
}

// AgentToken is the data of [EventAgentToken]: a piece of a step's output. The
// pieces since the step's start, or its latest [EventRetry], are its output.
type AgentToken struct {
	Agent   string `json:"agent"`
	Content string `json:"content"`
}

// AgentCompleted is the data of [EventAgentComplete]. A step that was skipped has
// no [EventAgentStart], unless another's stop condition cut it off.
type AgentCompleted struct {
	Agent      string        `json:"agent"`
	DurationMS int64         `json:"duration_ms"`
	Output     string        `json:"output"` // whole
	Tokens     Tokens        `json:"tokens"`
	Cost       pricing.Money `json:"cost"` // USD, of all tries
	Skipped    bool          `json:"skipped,omitempty"`
}

// Tokens of all tries of a step.
type Tokens struct {
	Input  int64 `json:"input"`
	Output int64 `json:"output"`
}

// AgentFailed is the data of [EventAgentError]: the step has failed for good.
type AgentFailed struct {
	Agent   string `json:"agent"`
	Message string `json:"message"`
}

// Retried is the data of [EventRetry]: what the step has put out so far is void.
type Retried struct {
	Agent   string `json:"agent"`
	Attempt int    `json:"attempt"` // that begins now, from 2
	Reason  string `json:"reason"`
}

// Completed is the data of [EventComplete].
type Completed struct {
	Output         string        `json:"output"`
	TotalTokens    int64         `json:"total_tokens"`
	TotalCost      pricing.Money `json:"total_cost"`
	DurationMS     int64         `json:"duration_ms"`
	AgentBreakdown []AgentUsage  `json:"agent_breakdown"`
}

// Failed is the data of [EventError].
type Failed struct {
	Message string `json:"message"`
}

// AgentUsage is what one step used: the sum of its rows in the usage log.
type AgentUsage struct {
	Agent        string        `json:"agent"`
	Model        string        `json:"model"` // of the last call; empty: none was made
	InputTokens  int64         `json:"input_tokens"`
	OutputTokens int64         `json:"output_tokens"`
	TotalTokens  int64         `json:"total_tokens"`
	Cost         pricing.Money `json:"cost"`
	Calls        int64         `json:"calls"` // rows, with tries that failed
}

// StoredEvent is an event as it is kept and sent. Its JSON is the socket's message.
type StoredEvent struct {
	Seq       int64           `json:"-"` // from 1, without gaps
	Type      EventType       `json:"type"`
	RunID     string          `json:"pipeline_id"`
	Timestamp time.Time       `json:"timestamp"`
	Data      json.RawMessage `json:"data"`
}
