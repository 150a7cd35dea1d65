package openaichat

import (
	"strconv"

	"github.com/financecommander/tollgate/internal/dialect"
	"github.com/financecommander/tollgate/internal/llm"
)

// FieldPath implements [dialect.Translator]. The vocabulary's names are this
// format's, but for a few it does not have.
func (ChatCodec) FieldPath(f dialect.Field) string {
	switch f {
	case dialect.FieldPreviousID, dialect.FieldTask, dialect.FieldDimensions:
		return ""
	default:
		return string(f)
	}
}

// callPart is the Pos.Part of a message's first tool call; those after it count
// down. Tool calls stand beside a message's content, not in it.
const callPart = -2

// PartPath implements [dialect.Translator].
func (ChatCodec) PartPath(p llm.Pos) string {
	if p.Message < 0 {
		return "messages"
	}
	path := "messages[" + strconv.Itoa(int(p.Message)) + "]"
	switch {
	case p.Part <= callPart:
		return path + ".tool_calls[" + strconv.Itoa(int(callPart-p.Part)) + "]"
	case p.Part >= 0:
		return path + ".content[" + strconv.Itoa(int(p.Part)) + "]"
	}
	return path
}
