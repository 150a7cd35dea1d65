package llm

// Usage counts the tokens of one upstream attempt in disjoint buckets: no token
// stands in two of them, so prices multiply straight through and sums are
// totals. Codecs convert a provider's inclusive counts ("prompt tokens, of which
// cached") on the way in and clamp what does not add up; no bucket is negative.
//
// The fields are those of [pricing.Tokens], in its order, so that one converts
// to the other without copying by hand.
type Usage struct {
	Input        int64 // text read at the full price: neither cached nor written to a cache
	CacheRead    int64 // text read from a prompt cache
	CacheWrite5m int64 // text written to a cache kept for five minutes (or for the provider's only lifetime)
	CacheWrite1h int64 // text written to a cache kept for an hour
	Output       int64 // text generated, without reasoning
	Reasoning    int64 // thinking, where the provider tells it apart

	InputAudio  int64 // audio read at the full price
	CachedAudio int64 // audio read from a prompt cache
	OutputAudio int64 // audio generated

	InputImage  int64 // image tokens read at the full price
	CachedImage int64 // image tokens read from a prompt cache
	OutputImage int64 // image tokens generated

	InputVideo  int64 // video tokens read
	OutputVideo int64 // video tokens generated
}

// InputTotal is everything read: the `input_tokens` of rows and of the API.
func (u Usage) InputTotal() int64 {
	return u.Input + u.CacheRead + u.CacheWrite5m + u.CacheWrite1h +
		u.InputAudio + u.CachedAudio + u.InputImage + u.CachedImage + u.InputVideo
}

// OutputTotal is everything generated, reasoning included: the `output_tokens`
// of rows and of the API.
func (u Usage) OutputTotal() int64 {
	return u.Output + u.Reasoning + u.OutputAudio + u.OutputImage + u.OutputVideo
}

// Plus gives the sums of two usages.
func (u Usage) Plus(v Usage) Usage {
	return Usage{
		Input: u.Input + v.Input, CacheRead: u.CacheRead + v.CacheRead,
		CacheWrite5m: u.CacheWrite5m + v.CacheWrite5m, CacheWrite1h: u.CacheWrite1h + v.CacheWrite1h,
		Output: u.Output + v.Output, Reasoning: u.Reasoning + v.Reasoning,
		InputAudio: u.InputAudio + v.InputAudio, CachedAudio: u.CachedAudio + v.CachedAudio, OutputAudio: u.OutputAudio + v.OutputAudio,
		InputImage: u.InputImage + v.InputImage, CachedImage: u.CachedImage + v.CachedImage, OutputImage: u.OutputImage + v.OutputImage,
		InputVideo: u.InputVideo + v.InputVideo, OutputVideo: u.OutputVideo + v.OutputVideo,
	}
}

// Cached is the part of the input that came from a prompt cache.
func (u Usage) Cached() int64 { return u.CacheRead + u.CachedAudio + u.CachedImage }

// CacheWrite is the part of the input that was written to a prompt cache.
func (u Usage) CacheWrite() int64 { return u.CacheWrite5m + u.CacheWrite1h }

// UsageSource says where the numbers of a usage record come from.
type UsageSource string

// The sources of a record's token counts.
const (
	// UsageProvider: every number is the provider's own.
	UsageProvider UsageSource = "provider"
	// UsageEstimated: the provider reported none; all are estimates.
	UsageEstimated UsageSource = "estimated"
	// UsageMixed: the provider reported some (say, the input of a stream that
	// was then cut); the rest are estimates.
	UsageMixed UsageSource = "mixed"
)
