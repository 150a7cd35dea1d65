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

// bucket is a field of [Tokens], by its place.
type bucket int

const (
	input bucket = iota
	cacheRead
	cacheWrite5m
	cacheWrite1h
	output
	reasoning
	inputAudio
	cachedAudio
	outputAudio
	inputImage
	cachedImage
	outputImage
	inputVideo
	outputVideo
	bucketCount
)

// buckets gives the counts by bucket; what is negative counts as nothing, so
// that a provider's wrong count can never become a credit.
func (t *Tokens) buckets() [bucketCount]int64 {
	return [bucketCount]int64{
		input: max(t.Input, 0), cacheRead: max(t.CacheRead, 0),
		cacheWrite5m: max(t.CacheWrite5m, 0), cacheWrite1h: max(t.CacheWrite1h, 0),
		output: max(t.Output, 0), reasoning: max(t.Reasoning, 0),
		inputAudio: max(t.InputAudio, 0), cachedAudio: max(t.CachedAudio, 0), outputAudio: max(t.OutputAudio, 0),
		inputImage: max(t.InputImage, 0), cachedImage: max(t.CachedImage, 0), outputImage: max(t.OutputImage, 0),
		inputVideo: max(t.InputVideo, 0), outputVideo: max(t.OutputVideo, 0),
	}
}

// inputTotal is everything read, which is what long-context tiers go by.
func inputTotal(counts *[bucketCount]int64) int64 {
	var total int64
	for _, b := range [...]bucket{
		input, cacheRead, cacheWrite5m, cacheWrite1h,
		inputAudio, cachedAudio, inputImage, cachedImage, inputVideo,
	} {
		total = addSaturating(total, counts[b])
	}
	return total
}
