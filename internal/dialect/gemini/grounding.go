package gemini

import (
	"unicode/utf8"

	"github.com/go-json-experiment/json"

	"github.com/financecommander/tollgate/internal/llm"
)

// groundingMetadata says where an answer's text comes from.
// Source: https://ai.google.dev/api/generate-content#GroundingMetadata.
type groundingMetadata struct {
	GroundingChunks   []groundingChunk   `json:"groundingChunks"`
	GroundingSupports []groundingSupport `json:"groundingSupports,omitempty"`
}

type groundingChunk struct {
	Web              *source `json:"web,omitzero"`
	RetrievedContext *source `json:"retrievedContext,omitzero"`
	Maps             *source `json:"maps,omitzero"`
}

type source struct {
	URI   string `json:"uri,omitzero"`
	Title string `json:"title,omitzero"`
}

type groundingSupport struct {
	Segment               segment `json:"segment"`
	GroundingChunkIndices []int   `json:"groundingChunkIndices"`
}

// segment is a piece of a part's text; its indices count bytes.
type segment struct {
	PartIndex  int    `json:"partIndex,omitzero"`
	StartIndex int    `json:"startIndex,omitzero"`
	EndIndex   int    `json:"endIndex,omitzero"`
	Text       string `json:"text,omitzero"`
}

// citationMetadata is of text that recites something.
type citationMetadata struct {
	Citations []struct {
		source
		StartIndex int `json:"startIndex"`
		EndIndex   int `json:"endIndex"`
	} `json:"citations,case:ignore"`
}

func (c *groundingChunk) source() *source {
	for _, s := range []*source{c.Web, c.RetrievedContext, c.Maps} {
		if s != nil {
			return s
		}
	}
	return &source{}
}

// citations are what a candidate's members say of its text's sources.
func citations(c *choice) (all []llm.Citation) {
	for _, m := range c.members {
		switch string(m.name) {
		case "groundingMetadata":
			var g groundingMetadata
			if json.Unmarshal(m.value, &g, writing) == nil {
				all = append(all, g.citations(c.text)...)
			}
		case "citationMetadata":
			var r citationMetadata
			if json.Unmarshal(m.value, &r, writing) != nil {
				continue
			}
			for _, cite := range r.Citations {
				at := segment{StartIndex: cite.StartIndex, EndIndex: cite.EndIndex}
				all = append(all, at.citation(&cite.source, c.text))
			}
		}
	}
	return all
}

func (g *groundingMetadata) citations(text []byte) (all []llm.Citation) {
	for i := range g.GroundingSupports {
		s := &g.GroundingSupports[i]
		for _, index := range s.GroundingChunkIndices {
			if index >= 0 && index < len(g.GroundingChunks) {
				all = append(all, s.Segment.citation(g.GroundingChunks[index].source(), text))
			}
		}
	}
	if len(g.GroundingSupports) > 0 {
		return all
	}
	for i := range g.GroundingChunks {
		if s := g.GroundingChunks[i].source(); s.URI != "" {
			all = append(all, llm.Citation{URL: s.URI, Title: s.Title})
		}
	}
	return all
}

func (s *segment) citation(from *source, text []byte) llm.Citation {
	c := llm.Citation{URL: from.URI, Title: from.Title, Quote: s.Text}
	if s.PartIndex == 0 && 0 <= s.StartIndex && s.StartIndex < s.EndIndex && s.EndIndex <= len(text) {
		c.Start = int64(utf8.RuneCount(text[:s.StartIndex]))
		c.End = c.Start + int64(utf8.RuneCount(text[s.StartIndex:s.EndIndex]))
		if c.Quote == "" {
			c.Quote = string(text[s.StartIndex:s.EndIndex])
		}
	}
	return c
}

// grounding says citations of another format's answer.
func grounding(cites []llm.Citation, text []byte) *groundingMetadata {
	var g groundingMetadata
	numbers := make(map[source]int)
	for _, c := range cites {
		if c.URL == "" && c.Title == "" {
			continue
		}
		from := source{URI: c.URL, Title: c.Title}
		number, known := numbers[from]
		if !known {
			number = len(g.GroundingChunks)
			numbers[from] = number
			g.GroundingChunks = append(g.GroundingChunks, groundingChunk{Web: &from})
		}
		at := segment{StartIndex: byteOffset(text, c.Start), EndIndex: byteOffset(text, c.End)}
		if c.End > c.Start || c.Quote != "" {
			at.Text = c.Quote
			g.GroundingSupports = append(g.GroundingSupports, groundingSupport{at, []int{number}})
		}
	}
	if g.GroundingChunks == nil {
		return nil
	}
	return &g
}

// byteOffset is where the n-th character begins.
func byteOffset(text []byte, n int64) int {
	offset := 0
	for ; n > 0 && offset < len(text); n-- {
		_, size := utf8.DecodeRune(text[offset:])
		offset += size
	}
	return offset
}
