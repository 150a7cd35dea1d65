package openaichat

import (
	"strconv"
	"strings"

	"github.com/financecommander/tollgate/internal/jsonedit"
	"github.com/financecommander/tollgate/internal/llm"
)

// Usage is a provider's own report of what an answer cost.
type Usage struct {
	Tokens  llm.Usage
	CostUSD string // a decimal; "" where the provider states none
}

// counts are a usage object's numbers as sent, with the names of chat
// completions ("prompt") and of responses ("input") taken for the same. Where a
// provider says one number in two places, the larger is kept.
type counts struct {
	prompt, completion, total int64

	cached, cacheWrite               int64 // parts of prompt
	cachedAudio, cachedImage         int64 // parts of cached
	cacheWrite1h                     int64 // part of cacheWrite
	audioIn, imageIn, videoIn        int64
	reasoning                        int64 // part of completion, but see usage
	audioOut, imageOut, videoOut     int64
	hasPrompt, hasCompletion, hasSum bool
	cost                             string
}

// maxCount is more tokens than any answer has; it keeps sums from overflowing.
const maxCount = 1 << 40

// ParseUsage reads a usage object of chat completions, completions, embeddings
// or responses. ok is false for what is none: null, another type, or an object
// without any token count.
func ParseUsage(s *jsonedit.Scanner) (u Usage, ok bool) {
	var c counts
	for name := range s.Members {
		c.member(s, string(name))
	}
	if !c.hasPrompt && !c.hasCompletion && !c.hasSum {
		return Usage{}, false
	}
	return Usage{Tokens: c.usage(), CostUSD: c.cost}, true
}

func (c *counts) member(s *jsonedit.Scanner, name string) {
	switch name {
	case "prompt_tokens", "input_tokens":
		c.hasPrompt = count(s, &c.prompt) || c.hasPrompt
	case "completion_tokens", "output_tokens":
		c.hasCompletion = count(s, &c.completion) || c.hasCompletion
	case "total_tokens":
		c.hasSum = count(s, &c.total) || c.hasSum
	case "cached_tokens", "prompt_cache_hit_tokens": // Moonshot, DeepSeek
		count(s, &c.cached)
	case "prompt_tokens_details", "input_tokens_details":
		for detail := range s.Members {
			c.inputDetail(s, string(detail))
		}
	case "completion_tokens_details", "output_tokens_details":
		for detail := range s.Members {
			c.outputDetail(s, string(detail))
		}
	case "cost":
		c.readCost(s)
	case "cost_in_usd_ticks": // xAI
		if ticks, ok := s.Int(); ok && ticks >= 0 {
			c.cost = ticksToUSD(ticks)
		}
	}
}

func (c *counts) inputDetail(s *jsonedit.Scanner, name string) {
	switch name {
	case "cached_tokens":
		count(s, &c.cached)
	case "cache_write_tokens", "cache_creation_tokens":
		count(s, &c.cacheWrite)
	case "cache_write_1h_tokens": // ours
		count(s, &c.cacheWrite1h)
	case "cached_tokens_details": // as in OpenAI's realtime answers
		for detail := range s.Members {
			switch string(detail) {
			case "audio_tokens":
				count(s, &c.cachedAudio)
			case "image_tokens":
				count(s, &c.cachedImage)
			}
		}
	case "audio_tokens":
		count(s, &c.audioIn)
	case "image_tokens":
		count(s, &c.imageIn)
	case "video_tokens":
		count(s, &c.videoIn)
	}
}

func (c *counts) outputDetail(s *jsonedit.Scanner, name string) {
	switch name {
	case "reasoning_tokens":
		count(s, &c.reasoning)
	case "audio_tokens":
		count(s, &c.audioOut)
	case "image_tokens":
		count(s, &c.imageOut)
	case "video_tokens":
		count(s, &c.videoOut)
	}
}

// readCost takes OpenRouter's number or Perplexity's object.
func (c *counts) readCost(s *jsonedit.Scanner) {
	if s.Kind() == jsonedit.KindNumber {
		c.cost = decimal(s.Skip())
		return
	}
	for name := range s.Members {
		if string(name) == "total_cost" && s.Kind() == jsonedit.KindNumber {
			c.cost = decimal(s.Skip())
		}
	}
}

// usage sorts the counts into disjoint buckets.
//
// Providers differ in whether reasoning is part of the completion: it is for
// most; xAI counts it beside the completion, and Gemini's compatible endpoint
// shows it nowhere but in the total. A total above prompt plus completion tells
// which, so no knowledge of the provider is needed: what the total has more is
// generated, and is reasoning.
func (c *counts) usage() llm.Usage {
	if !c.hasPrompt && !c.hasCompletion {
		c.prompt = c.total // embeddings of some providers have the total only
	}
	beside := max(0, c.total-c.prompt-c.completion)
	left := c.prompt
	take := func(n int64) int64 {
		n = min(n, left)
		left -= n
		return n
	}
	var u llm.Usage
	u.CachedAudio = take(min(c.cachedAudio, c.cached, c.audioIn))
	u.CachedImage = take(min(c.cachedImage, c.cached-u.CachedAudio, c.imageIn))
	u.CacheRead = take(c.cached - u.CachedAudio - u.CachedImage)
	if c.cacheWrite <= left { // more than that are the tokens read, named a second time
		u.CacheWrite1h = take(min(c.cacheWrite1h, c.cacheWrite))
		u.CacheWrite5m = take(c.cacheWrite - u.CacheWrite1h)
	}
	u.InputAudio = take(c.audioIn - u.CachedAudio)
	u.InputImage = take(c.imageIn - u.CachedImage)
	u.InputVideo = take(c.videoIn)
	u.Input = left

	left = c.completion + beside
	u.Reasoning = take(max(c.reasoning, beside))
	u.OutputAudio = take(c.audioOut)
	u.OutputImage = take(c.imageOut)
	u.OutputVideo = take(c.videoOut)
	u.Output = left
	return u
}

// count takes a number of tokens into n, if it is one.
func count(s *jsonedit.Scanner, n *int64) bool {
	v, ok := s.Int()
	if ok {
		*n = max(*n, min(v, maxCount))
	}
	return ok
}

// decimal writes a JSON number of dollars without an exponent; "" for one that
// can be no price.
func decimal(number []byte) string {
	f, err := strconv.ParseFloat(string(number), 64)
	if err != nil || f < 0 || f > 1e9 {
		return ""
	}
	return strconv.FormatFloat(f, 'f', -1, 64)
}

// ticksToUSD writes ticks, of which ten thousand million are a dollar.
func ticksToUSD(ticks int64) string {
	const perUSD = 1e10
	fraction := strconv.FormatInt(ticks%perUSD+perUSD, 10)[1:]
	return strings.TrimSuffix(strconv.FormatInt(ticks/perUSD, 10)+"."+strings.TrimRight(fraction, "0"), ".")
}
