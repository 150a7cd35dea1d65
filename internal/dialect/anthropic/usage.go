package anthropic

import (
	"github.com/financecommander/tollgate/internal/jsonedit"
	"github.com/financecommander/tollgate/internal/llm"
)

// counts are the numbers of an answer's usage objects. A stream sends several,
// each cumulative; of every number the last that is one counts.
type counts struct {
	input, cacheRead, cacheWrite int64 // disjoint
	write5m, write1h             int64 // parts of cacheWrite, where it is told apart
	output, thinking             int64 // thinking is part of output
	// Compaction is what summarising the conversation took, which the numbers
	// above leave out though it is billed.
	compaction *counts
	reported   bool
}

// maxCount is more tokens than any answer has; it keeps sums from overflowing.
const maxCount = 1 << 40

// read takes a usage object. It returns the service tier, if the object names
// it.
func (c *counts) read(s *jsonedit.Scanner) (tier string) {
	for name := range s.Members {
		switch string(name) {
		case "service_tier":
			tier = string(s.Text(nil))
		case "iterations":
			c.iterations(s)
		default:
			c.member(s, name)
		}
	}
	return tier
}

func (c *counts) member(s *jsonedit.Scanner, name []byte) {
	switch string(name) {
	case "input_tokens":
		c.reported = count(s, &c.input) || c.reported
	case "output_tokens":
		c.reported = count(s, &c.output) || c.reported
	case "cache_read_input_tokens":
		count(s, &c.cacheRead)
	case "cache_creation_input_tokens":
		count(s, &c.cacheWrite)
	case "cache_creation":
		for inner := range s.Members {
			switch string(inner) {
			case "ephemeral_5m_input_tokens":
				count(s, &c.write5m)
			case "ephemeral_1h_input_tokens":
				count(s, &c.write1h)
			}
		}
	case "output_tokens_details":
		for inner := range s.Members {
			if string(inner) == "thinking_tokens" {
				count(s, &c.thinking)
			}
		}
	}
}

// iterations takes the passes of an answer. Those over the messages add up to
// the top level, an advisor is another model's and no part of this model's
// usage, and a compaction is this model's but in no other number.
func (c *counts) iterations(s *jsonedit.Scanner) {
	var sum counts
	for range s.Elements {
		var pass counts
		compaction := false
		for name := range s.Members {
			if string(name) == "type" {
				compaction = string(s.Text(nil)) == "compaction"
				continue
			}
			pass.member(s, name)
		}
		if compaction {
			sum.add(pass)
		}
	}
	if sum.reported {
		c.compaction = &sum
	}
}

func (c *counts) add(o counts) {
	c.input, c.cacheRead, c.cacheWrite = c.input+o.input, c.cacheRead+o.cacheRead, c.cacheWrite+o.cacheWrite
	c.write5m, c.write1h = c.write5m+o.write5m, c.write1h+o.write1h
	c.output, c.thinking = c.output+o.output, c.thinking+o.thinking
	c.reported = c.reported || o.reported
}

// usage sorts the counts into buckets. The total of the cache writes moves in
// some streams after they were told apart, and what it moves by is of the usual
// lifetime.
func (c *counts) usage() llm.Usage {
	written := c.cacheWrite
	if written == 0 {
		written = c.write5m + c.write1h
	}
	write1h := min(c.write1h, written)
	thinking := min(c.thinking, c.output)
	return llm.Usage{
		Input: c.input, CacheRead: c.cacheRead,
		CacheWrite5m: written - write1h, CacheWrite1h: write1h,
		Output: c.output - thinking, Reasoning: thinking,
	}
}

// besides is what was billed beside the usage.
func (c *counts) besides() llm.Usage {
	if c.compaction == nil {
		return llm.Usage{}
	}
	return c.compaction.usage()
}

// count takes a number of tokens into n, if it is one.
func count(s *jsonedit.Scanner, n *int64) bool {
	v, ok := s.Int()
	if ok {
		*n = min(max(v, 0), maxCount)
	}
	return ok
}
