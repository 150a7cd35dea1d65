package openairesponses

import (
	"math"

	"github.com/financecommander/tollgate/internal/dialect"
	"github.com/financecommander/tollgate/internal/llm"
)

// Where messages and parts stand in a body, as [llm.Pos] has it. Message is the
// item's index in the input; two things that are no items have places of their
// own, by which they are known when the body is written again.
const (
	posInstructions = math.MinInt32     // the member `instructions`
	posInput        = math.MinInt32 + 1 // an input that is one string
	// Parts of a tool's output stand in `output`, not in `content`.
	posOutput = 1 << 20
)

// PartPath implements [dialect.Translator].
func (Codec) PartPath(p llm.Pos) string {
	switch p.Message {
	case posInstructions:
		return "instructions"
	case posInput:
		return "input"
	}
	at := place{list: "input", index: int(p.Message)}
	switch {
	case p.Part >= posOutput:
		at.inner, at.at = "output", int(p.Part-posOutput)
	case p.Part >= 0:
		at.inner, at.at = "content", int(p.Part)
	}
	return at.String()
}

// FieldPath implements [dialect.Translator].
func (Codec) FieldPath(f dialect.Field) string {
	switch f {
	case dialect.FieldTools, dialect.FieldToolChoice, dialect.FieldParallelTools,
		dialect.FieldTemperature, dialect.FieldTopP, dialect.FieldTopLogProbs,
		dialect.FieldUser, dialect.FieldSafetyID, dialect.FieldMetadata, dialect.FieldCacheKey,
		dialect.FieldServiceTier, dialect.FieldStore, dialect.FieldPreviousID:
		return string(f)
	case dialect.FieldOutput:
		return "text.format"
	case dialect.FieldVerbosity:
		return "text.verbosity"
	case dialect.FieldMaxTokens:
		return "max_output_tokens"
	case dialect.FieldReasoning:
		return "reasoning"
	case dialect.FieldLogProbs:
		return "include"
	case dialect.FieldCache:
		return "prompt_cache_breakpoint"
	default: // the format has no such field
		return ""
	}
}
