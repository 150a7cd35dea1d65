package openaichat

import (
	"github.com/financecommander/tollgate/internal/dialect"
	"github.com/financecommander/tollgate/internal/dialect/wire"
	"github.com/financecommander/tollgate/internal/llm"
)

// counted says whether there is any usage to tell: no numbers are better than
// wrong ones.
func counted(u llm.Usage, reported bool) bool { return reported || u != llm.Usage{} }

// appendUsage writes a usage object: the provider's own where it was of this
// format, else one with its inclusive counts. Two members are not OpenAI's: they
// keep apart what its own do not.
//
// Source: https://platform.openai.com/docs/api-reference/chat/object.
func appendUsage(w *wire.Writer, u llm.Usage, own llm.Extra) {
	if object := own.In(dialect.OpenAIChat); object != nil {
		w.Raw(object)
		return
	}
	w.Object()
	w.Name("prompt_tokens").Int(u.InputTotal())
	w.Name("completion_tokens").Int(u.OutputTotal())
	w.Name("total_tokens").Int(u.InputTotal() + u.OutputTotal())
	w.Name("prompt_tokens_details").Object()
	w.Name("cached_tokens").Int(u.Cached())
	w.Name("audio_tokens").Int(u.InputAudio + u.CachedAudio)
	w.IntMember("cache_write_tokens", u.CacheWrite())
	w.IntMember("cache_write_1h_tokens", u.CacheWrite1h)
	if u.CachedAudio+u.CachedImage > 0 {
		w.Name("cached_tokens_details").Object()
		w.IntMember("audio_tokens", u.CachedAudio)
		w.IntMember("image_tokens", u.CachedImage)
		w.End()
	}
	w.IntMember("image_tokens", u.InputImage+u.CachedImage)
	w.IntMember("video_tokens", u.InputVideo)
	w.End()
	w.Name("completion_tokens_details").Object()
	w.Name("reasoning_tokens").Int(u.Reasoning)
	w.Name("audio_tokens").Int(u.OutputAudio)
	w.Name("accepted_prediction_tokens").Int(0)
	w.Name("rejected_prediction_tokens").Int(0)
	w.IntMember("image_tokens", u.OutputImage)
	w.IntMember("video_tokens", u.OutputVideo)
	w.End()
	w.End()
}
