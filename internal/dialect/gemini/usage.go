package gemini

import (
	"github.com/go-json-experiment/json/jsontext"

	"github.com/financecommander/tollgate/internal/jsonedit"
	"github.com/financecommander/tollgate/internal/llm"
)

// counts are the numbers of a usageMetadata object as sent.
//
// The prompt includes what was cached; what server tools put into the context
// comes on top of it. Candidates are what was generated without the thoughts.
// Source: https://ai.google.dev/api/generate-content#UsageMetadata.
type counts struct {
	known                                        bool // it has any count
	prompt, cached, toolUse, candidates, thought int64
	total                                        int64
	// By modality.
	promptBy, cachedBy, toolUseBy, candidatesBy modalityCounts

	tier, traffic string
}

type modalityCounts struct{ audio, image, video int64 }

// maxCount is more tokens than any answer has; it keeps sums from overflowing.
const maxCount = 1 << 40

// readCounts reads a usageMetadata object.
func readCounts(s *jsonedit.Scanner) (c counts) {
	for name := range s.Members {
		switch string(name) {
		case "promptTokenCount":
			c.count(s, &c.prompt)
		case "cachedContentTokenCount":
			c.count(s, &c.cached)
		case "toolUsePromptTokenCount":
			c.count(s, &c.toolUse)
		case "candidatesTokenCount", "responseTokenCount": // the latter: the Live API
			c.count(s, &c.candidates)
		case "thoughtsTokenCount":
			c.count(s, &c.thought)
		case "totalTokenCount":
			c.count(s, &c.total)
		case "promptTokensDetails", "promptTokenDetails": // the latter: embeddings
			c.promptBy.read(s)
		case "cacheTokensDetails":
			c.cachedBy.read(s)
		case "toolUsePromptTokensDetails":
			c.toolUseBy.read(s)
		case "candidatesTokensDetails", "responseTokensDetails":
			c.candidatesBy.read(s)
		case "serviceTier":
			c.tier = string(s.Text(nil))
		case "trafficType":
			c.traffic = string(s.Text(nil))
		}
	}
	return c
}

func (c *counts) count(s *jsonedit.Scanner, n *int64) {
	if v, ok := s.Int(); ok {
		*n, c.known = max(0, min(v, maxCount)), true
	}
}

func (m *modalityCounts) read(s *jsonedit.Scanner) {
	for range s.Elements {
		var modality []byte
		n := int64(0)
		for name := range s.Members {
			switch string(name) {
			case "modality":
				modality = s.Skip()
			case "tokenCount":
				n, _ = s.Int()
				n = max(0, min(n, maxCount))
			}
		}
		switch string(modality) {
		case `"AUDIO"`:
			m.audio += n
		case `"IMAGE"`:
			m.image += n
		case `"VIDEO"`:
			m.video += n
		}
	}
}

// usage sorts the counts into disjoint buckets.
func (c *counts) usage() llm.Usage {
	left := c.prompt + c.toolUse
	take := func(n int64) int64 {
		n = min(max(n, 0), left)
		left -= n
		return n
	}
	var u llm.Usage
	cached := take(c.cached)
	u.CachedAudio = min(c.cachedBy.audio, cached)
	u.CachedImage = min(c.cachedBy.image, cached-u.CachedAudio)
	u.CacheRead = cached - u.CachedAudio - u.CachedImage
	u.InputAudio = take(c.promptBy.audio + c.toolUseBy.audio - u.CachedAudio)
	u.InputImage = take(c.promptBy.image + c.toolUseBy.image - u.CachedImage)
	u.InputVideo = take(c.promptBy.video + c.toolUseBy.video - min(c.cachedBy.video, u.CacheRead))
	u.Input = left

	left = c.candidates
	u.OutputAudio = take(c.candidatesBy.audio)
	u.OutputImage = take(c.candidatesBy.image)
	u.OutputVideo = take(c.candidatesBy.video)
	u.Output, u.Reasoning = left, c.thought
	return u
}

// serviceTier is how the call was processed, in the words of the Developer API;
// Vertex AI says it by the kind of traffic.
func (c *counts) serviceTier() string {
	switch {
	case c.tier != "":
		return c.tier
	case c.traffic == "ON_DEMAND_FLEX":
		return "flex"
	case c.traffic == "ON_DEMAND_PRIORITY":
		return "priority"
	}
	return ""
}

// usageMetadata is the report as the format's clients get it.
type usageMetadata struct {
	PromptTokenCount        int64           `json:"promptTokenCount"`
	CachedContentTokenCount int64           `json:"cachedContentTokenCount,omitzero"`
	CandidatesTokenCount    int64           `json:"candidatesTokenCount"`
	ThoughtsTokenCount      int64           `json:"thoughtsTokenCount,omitzero"`
	TotalTokenCount         int64           `json:"totalTokenCount"`
	PromptTokensDetails     []modalityCount `json:"promptTokensDetails,omitempty"`
	CacheTokensDetails      []modalityCount `json:"cacheTokensDetails,omitempty"`
	CandidatesTokensDetails []modalityCount `json:"candidatesTokensDetails,omitempty"`
	ServiceTier             string          `json:"serviceTier,omitzero"`
	Extra                   jsontext.Value  `json:",embed"`
}

type modalityCount struct {
	Modality   string `json:"modality"`
	TokenCount int64  `json:"tokenCount"`
}

// newUsageMetadata reverses what readCounts and usage do. What the format
// itself said beyond the counts is said again; for another's counts the
// modalities are.
func newUsageMetadata(u llm.Usage, tier string, extra llm.Extra) *usageMetadata {
	m := &usageMetadata{
		PromptTokenCount: u.InputTotal(), CachedContentTokenCount: u.Cached(),
		CandidatesTokenCount: u.OutputTotal() - u.Reasoning, ThoughtsTokenCount: u.Reasoning,
		TotalTokenCount: u.InputTotal() + u.OutputTotal(), ServiceTier: tier,
	}
	if own := membersOf(extra); len(own) > 0 {
		m.keep(own)
		return m
	}
	m.PromptTokensDetails = byModality(m.PromptTokenCount, u.InputAudio+u.CachedAudio, u.InputImage+u.CachedImage, u.InputVideo)
	m.CacheTokensDetails = byModality(m.CachedContentTokenCount, u.CachedAudio, u.CachedImage, 0)
	m.CandidatesTokensDetails = byModality(m.CandidatesTokenCount, u.OutputAudio, u.OutputImage, u.OutputVideo)
	return m
}

// keep takes the members of the format's own report.
func (m *usageMetadata) keep(own jsontext.Value) {
	s := jsonedit.NewScanner(own)
	c := readCounts(&s)
	m.PromptTokenCount = max(0, m.PromptTokenCount-c.toolUse)
	if c.traffic != "" {
		m.ServiceTier = "" // it was told by the traffic
	}
	total, rest := take(own, "totalTokenCount")
	if total != nil {
		m.TotalTokenCount = c.total
	}
	m.Extra = rest
}

// byModality splits a count; nil where all is text.
func byModality(all, audio, image, video int64) (counts []modalityCount) {
	for _, c := range []modalityCount{{"TEXT", all - audio - image - video}, {"AUDIO", audio}, {"IMAGE", image}, {"VIDEO", video}} {
		if c.TokenCount > 0 {
			counts = append(counts, c)
		}
	}
	if audio+image+video == 0 {
		return nil
	}
	return counts
}
