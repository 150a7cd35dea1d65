package pricing

// Tokens are the disjoint token counts of one call, as billed: no token stands
// in two buckets. What each means is said in the fields; none may be negative.
type Tokens struct {
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
