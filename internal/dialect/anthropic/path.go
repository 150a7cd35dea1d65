package anthropic

import (
	"fmt"

	"github.com/financecommander/tollgate/internal/dialect"
	"github.com/financecommander/tollgate/internal/llm"
)

// FieldPath implements [dialect.Translator].
func (c Codec) FieldPath(f dialect.Field) string {
	switch f {
	case dialect.FieldTools, dialect.FieldToolChoice, dialect.FieldMaxTokens, dialect.FieldTemperature,
		dialect.FieldTopP, dialect.FieldTopK, dialect.FieldServiceTier, dialect.FieldCache:
		return string(f)
	case dialect.FieldParallelTools:
		return "tool_choice.disable_parallel_tool_use"
	case dialect.FieldOutput:
		return "output_config.format"
	case dialect.FieldStop:
		return "stop_sequences"
	case dialect.FieldReasoning:
		return "thinking"
	case dialect.FieldUser:
		return "metadata.user_id"
	default:
		return ""
	}
}

// PartPath implements [dialect.Translator].
func (c Codec) PartPath(p llm.Pos) string {
	path := "system"
	if p.Message != systemPos {
		path = fmt.Sprintf("messages[%d]", p.Message)
		if p.Part >= 0 {
			path += ".content"
		}
	}
	if p.Part >= 0 {
		path += fmt.Sprintf("[%d]", p.Part)
	}
	return path
}
