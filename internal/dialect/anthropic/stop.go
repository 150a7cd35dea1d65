package anthropic

import "github.com/financecommander/tollgate/internal/llm"

// finishReason gives a stop_reason's meaning.
func finishReason(reason string) llm.FinishReason {
	switch reason {
	case "":
		return llm.FinishUnknown
	case "end_turn", "stop_sequence":
		return llm.FinishStop
	case "max_tokens", "model_context_window_exceeded":
		return llm.FinishLength
	case "tool_use":
		return llm.FinishToolCalls
	case "refusal":
		return llm.FinishFilter
	case "pause_turn", "compaction": // the caller sends the turn back to go on
		return llm.FinishPause
	default:
		return llm.FinishOther
	}
}

// stopReason is the word for a reason. sequence is the stop sequence met, if
// that is known.
func stopReason(reason llm.FinishReason, sequence string) string {
	switch reason {
	case llm.FinishLength:
		return "max_tokens"
	case llm.FinishToolCalls:
		return "tool_use"
	case llm.FinishFilter:
		return "refusal"
	case llm.FinishPause:
		return "pause_turn"
	case llm.FinishError:
		return "max_tokens" // the one word for a text that is not all there
	case llm.FinishStop, llm.FinishUnknown, llm.FinishOther:
	}
	if sequence != "" {
		return "stop_sequence"
	}
	return "end_turn"
}
