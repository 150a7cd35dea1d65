package openairesponses

import (
	"math"
	"strconv"

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

// place is where an object stands in a body, written out only for an error:
// "input[3].content[0]". The zero value is the body itself.
type place struct {
	list  string // "input", "tools"; "" for the body
	index int    // -1: the list is no list but an object, "text"
	inner string // "content", "output"; "" for the element itself
	at    int
}

// String is the place as a path.
func (p place) String() string {
	if p.list == "" {
		return ""
	}
	path := p.list
	if p.index >= 0 {
		path += "[" + strconv.Itoa(p.index) + "]"
	}
	if p.inner != "" {
		path += "." + p.inner + "[" + strconv.Itoa(p.at) + "]"
	}
	return path
}

// member is the path of a member of what stands at the place; "" for itself.
func (p place) member(name string) string {
	switch path := p.String(); {
	case path == "":
		return name
	case name == "":
		return path
	default:
		return path + "." + name
	}
}

// element is the first element of a list that stands at the place.
func (p place) element(list string) place {
	switch {
	case p.list == "":
		return place{list: list}
	case p.inner == "" && p.index >= 0:
		p.inner, p.at = list, 0
		return p
	default:
		return place{list: p.member(list)}
	}
}

// last is the index of the element, and next goes on to the one after it.
func (p *place) last() int {
	if p.inner != "" {
		return p.at
	}
	return p.index
}

func (p *place) next() {
	if p.inner != "" {
		p.at++
	} else {
		p.index++
	}
}
