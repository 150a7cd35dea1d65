package portalchat

import (
	"github.com/financecommander/tollgate/internal/dialect"
	"github.com/financecommander/tollgate/internal/dialect/wire"
	"github.com/financecommander/tollgate/internal/llm"
)

// Call is a chat request as the gateway looks at it.
type Call struct {
	*Request
	Streaming bool
}

var _ dialect.Call = Call{}

// Model implements [dialect.Call]: the specialist's id, or `provider/model`.
func (c Call) Model() string { return c.model() }

// Stream implements [dialect.Call].
func (c Call) Stream() bool { return c.Streaming }

// UsageWanted implements [dialect.Call]. The last chunk always tells usage.
func (c Call) UsageWanted() bool { return true }

// MaxTokens implements [dialect.Call]; 0: the frontend set no limit.
func (c Call) MaxTokens() int64 {
	if c.Request.MaxTokens == nil {
		return 0
	}
	return *c.Request.MaxTokens
}

// Patch implements [dialect.Call]. The format never passes through.
func (c Call) Patch(dialect.Edits) ([]byte, error) {
	return nil, &llm.Error{Cause: llm.CauseInternal, Message: "the portal's format cannot be sent to a provider"}
}

// AppendText implements [dialect.Call].
func (c Call) AppendText(dst []byte, limit int) []byte {
	t := wire.NewTextCollector(dst, limit)
	for _, turn := range c.History {
		t.Plain(turn.Content)
	}
	for i := range c.Attachments {
		t.Plain(c.Attachments[i].text)
	}
	t.Plain(c.Message)
	return t.Bytes()
}
