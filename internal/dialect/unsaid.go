package dialect

import (
	"fmt"
	"slices"

	"github.com/financecommander/tollgate/internal/jsonedit"
	"github.com/financecommander/tollgate/internal/llm"
)

// Field names a field of llm.Request that some formats cannot say.
type Field string

// The fields, each by its name in OpenAI's chat format where that has one.
const (
	FieldTools            Field = "tools"
	FieldToolChoice       Field = "tool_choice"
	FieldParallelTools    Field = "parallel_tool_calls"
	FieldOutput           Field = "response_format"
	FieldMaxTokens        Field = "max_tokens"
	FieldTemperature      Field = "temperature"
	FieldTopP             Field = "top_p"
	FieldTopK             Field = "top_k"
	FieldFrequencyPenalty Field = "frequency_penalty"
	FieldPresencePenalty  Field = "presence_penalty"
	FieldSeed             Field = "seed"
	FieldStop             Field = "stop"
	FieldN                Field = "n"
	FieldLogProbs         Field = "logprobs"
	FieldTopLogProbs      Field = "top_logprobs"
	FieldReasoning        Field = "reasoning_effort"
	FieldVerbosity        Field = "verbosity"
	FieldUser             Field = "user"
	FieldSafetyID         Field = "safety_identifier"
	FieldMetadata         Field = "metadata"
	FieldCacheKey         Field = "prompt_cache_key"
	FieldServiceTier      Field = "service_tier"
	FieldStore            Field = "store"
	FieldPreviousID       Field = "previous_response_id"
	FieldCache            Field = "cache_control"
	FieldDimensions       Field = "dimensions"
	FieldTask             Field = "task_type"
)

// Namer names fields as a client's format does; [Translator] is one.
type Namer interface {
	FieldPath(f Field) string
	PartPath(p llm.Pos) string
}

// Unsaid is what an encoder does with what its format cannot say: refuse the
// call with a 400 that names the client's own field, or leave it out and note
// it, so that the client is told. Nothing is left out silently.
type Unsaid struct {
	Drop   bool  // leave out instead of refusing
	Source Namer // the client's format; nil: fields have their own names
	Target Name  // the upstream's format, for the message

	// Dropped are the paths of what was left out, in the client's words, each
	// once.
	Dropped []string
}

// Field refuses or notes a field of the request. why ends the sentence "…
// cannot be sent to this model: ", such as "its API has no such parameter"; it
// may be empty.
func (u *Unsaid) Field(f Field, why string) error { return u.Path(u.Name(f), why) }

// Part refuses or notes a part, or a member of it ("cache_control"; "" for the
// part itself).
func (u *Unsaid) Part(pos llm.Pos, member, why string) error {
	path := u.At(pos)
	if member != "" {
		path += "." + member
	}
	return u.Path(path, why)
}

// Path refuses or notes what stands at a path of the client's body.
func (u *Unsaid) Path(path, why string) error {
	if u.Drop {
		u.note(path)
		return nil
	}
	if why == "" {
		why = "its API has nothing like it"
	}
	return &llm.Error{
		Cause: llm.CauseInvalidRequest, Param: path, Code: "unsupported_parameter",
		Message: fmt.Sprintf("%s cannot be sent to this model: %s (%s). Remove it, or send the header `X-Tollgate-Unsupported: drop` to have it left out", path, why, u.Target),
	}
}

// Extra refuses or notes members the vocabulary has no word for, unless they
// came in the target's own format. Members that ask for nothing (null, false,
// empty) are passed over. at is the path of the object they stand in; "" for the
// body itself.
func (u *Unsaid) Extra(e llm.Extra, at string) error {
	if len(e.JSON) == 0 || e.Format == u.Target {
		return nil
	}
	var failed error
	s := jsonedit.NewScanner(e.JSON)
	for name := range s.Members {
		if asksNothing(s.Skip()) || failed != nil {
			continue
		}
		path := string(name)
		if at != "" {
			path = at + "." + path
		}
		failed = u.Path(path, "")
	}
	return failed
}

// PartExtra is Extra for a part's or message's members.
func (u *Unsaid) PartExtra(e llm.Extra, pos llm.Pos) error {
	if len(e.JSON) == 0 || e.Format == u.Target {
		return nil
	}
	return u.Extra(e, u.At(pos))
}

// Leave notes a hint that the format has no place for; it never refuses. See
// [llm.Request].
func (u *Unsaid) Leave(f Field) { u.note(u.Name(f)) }

// maxDropped bounds the list, so that a hostile body costs no more than its
// length.
const maxDropped = 100

func (u *Unsaid) note(path string) {
	if len(u.Dropped) < maxDropped && !slices.Contains(u.Dropped, path) {
		u.Dropped = append(u.Dropped, path)
	}
}

// Name is what the client calls a field.
func (u *Unsaid) Name(f Field) string {
	if u.Source != nil {
		if path := u.Source.FieldPath(f); path != "" {
			return path
		}
	}
	return string(f)
}

// At is where a part or message stands in the client's body.
func (u *Unsaid) At(pos llm.Pos) string {
	if u.Source != nil {
		return u.Source.PartPath(pos)
	}
	if pos.Part < 0 {
		return fmt.Sprintf("messages[%d]", pos.Message)
	}
	return fmt.Sprintf("messages[%d].content[%d]", pos.Message, pos.Part)
}

// asksNothing says that a value is what not sending it would mean: so is an object
// none of whose members asks for anything.
func asksNothing(value []byte) bool {
	switch string(value) {
	case "null", "false", "[]", `""`:
		return true
	}
	if len(value) == 0 || value[0] != '{' {
		return false
	}
	nothing := true
	s := jsonedit.NewScanner(value)
	for range s.Members {
		nothing = asksNothing(s.Skip()) && nothing
	}
	return nothing
}
