package openaichat

import (
	"strconv"

	"github.com/financecommander/tollgate/internal/dialect"
	"github.com/financecommander/tollgate/internal/dialect/wire"
	"github.com/financecommander/tollgate/internal/jsonedit"
	"github.com/financecommander/tollgate/internal/llm"
)

// logProbs reads a choice's log probabilities. Those of a refusal, and what some
// servers say in another shape, are kept as they are.
func (c *choice) logProbs(raw []byte) {
	if len(raw) == 0 || raw[0] != '{' {
		return
	}
	var rest members
	s := jsonedit.NewScanner(raw)
	for name := range s.Members {
		if string(name) != "content" {
			rest.set(name, s.Skip())
			continue
		}
		tokens := readLogProbs(s.Skip())
		if len(tokens) == 0 {
			continue
		}
		part := -1
		if c.open.what == openText {
			part = c.open.part
		}
		c.d.emit(llm.LogProbsDelta{Choice: c.index, Part: part, Tokens: tokens})
	}
	c.extra.set([]byte("logprobs"), rest.rest().JSON())
}

func readLogProbs(raw []byte) []llm.LogProb {
	var tokens []llm.LogProb
	s := jsonedit.NewScanner(raw)
	for range s.Elements {
		var token llm.LogProb
		var rest wire.Rest
		for name := range s.Members {
			switch string(name) {
			case "token":
				token.Token = string(s.Text(nil))
			case "logprob":
				token.LogProb, _ = strconv.ParseFloat(string(s.Skip()), 64)
			case "bytes":
				token.Bytes = readBytes(s.Skip())
			case "top_logprobs":
				token.Top = readLogProbs(s.Skip())
			default:
				rest.Add(name, s.Skip())
			}
		}
		token.Extra = rest.Extra(dialect.OpenAIChat)
		tokens = append(tokens, token)
	}
	return tokens
}

// readBytes takes an array of numbers; nil for null.
func readBytes(raw []byte) []byte {
	if len(raw) == 0 || raw[0] != '[' {
		return nil
	}
	all := []byte{}
	s := jsonedit.NewScanner(raw)
	for range s.Elements {
		if n, ok := s.Int(); ok && n >= 0 && n < 256 {
			all = append(all, byte(n))
		}
	}
	return all
}

// appendLogProbs writes the value of a choice's "logprobs". extra is the
// choice's, for what of it the vocabulary has no word for.
func appendLogProbs(w *wire.Writer, tokens []llm.LogProb, extra []byte) {
	rest := memberOf(extra, "logprobs")
	if len(tokens) == 0 && rest == nil {
		w.Null()
		return
	}
	w.Object().Name("content")
	if len(tokens) == 0 {
		w.Null()
	} else {
		appendTokens(w, tokens, true)
	}
	if memberOf(rest, "refusal") == nil {
		w.Name("refusal").Null()
	}
	w.Members(rest)
	w.End()
}

func appendTokens(w *wire.Writer, tokens []llm.LogProb, top bool) {
	w.Array()
	for _, t := range tokens {
		w.Object().Name("token").Text(t.Token)
		w.Name("logprob").Float(t.LogProb)
		w.Name("bytes")
		if t.Bytes == nil {
			w.Null()
		} else {
			w.Array()
			for _, b := range t.Bytes {
				w.Int(int64(b))
			}
			w.EndArray()
		}
		if top {
			w.Name("top_logprobs")
			appendTokens(w, t.Top, false)
		}
		w.Members(t.Extra.In(dialect.OpenAIChat))
		w.End()
	}
	w.EndArray()
}
