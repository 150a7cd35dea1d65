package openaichat

import (
	"sync"
	"sync/atomic"

	"github.com/financecommander/tollgate/internal/jsonedit"
)

// maxSystemMessages bounds what systemMessages remembers. Prompts are the
// operator's, one per specialist and version, so there are few.
const maxSystemMessages = 1024

// systemMessages remembers system prompts as the messages they become, since
// the same few go into call after call and quoting them takes a while.
var systemMessages struct {
	sync.Map // prompt → string: the message, with a comma behind it
	size     atomic.Int64
}

// systemMessage gives a prompt as a message, with a comma behind it.
func systemMessage(prompt string) string {
	if message, ok := systemMessages.Load(prompt); ok {
		return message.(string)
	}
	message := string(jsonedit.AppendQuote([]byte(`{"role":"system","content":`), prompt)) + `},`
	if systemMessages.size.Add(1) > maxSystemMessages {
		systemMessages.Clear()
		systemMessages.size.Store(1)
	}
	systemMessages.Store(prompt, message)
	return message
}
