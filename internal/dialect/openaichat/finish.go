package openaichat

import "github.com/financecommander/tollgate/internal/llm"

// finishReason reads a provider's finish_reason. It knows every word met.
func finishReason(reason string) llm.FinishReason {
	switch reason {
	case "":
		return llm.FinishUnknown
	case "stop", "eos", "eos_token", "stop_sequence", "end_turn":
		return llm.FinishStop
	case "length", "max_tokens", "model_length": // the last: Mistral
		return llm.FinishLength
	case "tool_calls", "function_call", "tool_use":
		return llm.FinishToolCalls
	case "content_filter", "refusal", "sensitive": // the last: Z.ai
		return llm.FinishFilter
	case "error", "network_error", "insufficient_system_resource": // Mistral and OpenRouter, Z.ai, DeepSeek
		return llm.FinishError
	default:
		return llm.FinishOther
	}
}

// finishWord says a reason as clients know it. A turn that is only paused looks
// done to them: they cannot go on with it otherwise than by asking again.
//
// Source: https://platform.openai.com/docs/api-reference/chat/object.
func finishWord(reason llm.FinishReason) string {
	switch reason {
	case llm.FinishLength:
		return "length"
	case llm.FinishToolCalls:
		return "tool_calls"
	case llm.FinishFilter:
		return "content_filter"
	case llm.FinishError:
		return "error"
	default: // done, paused, or for a reason without a word
		return "stop"
	}
}
