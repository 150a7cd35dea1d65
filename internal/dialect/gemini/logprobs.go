package gemini

import (
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/financecommander/tollgate/internal/llm"
)

// logprobsResult has the chosen tokens and, in a list of the same length, the
// alternatives to each.
type logprobsResult struct {
	ChosenCandidates []logprob      `json:"chosenCandidates,omitempty"`
	TopCandidates    []topLogprobs  `json:"topCandidates,omitempty"`
	Extra            jsontext.Value `json:",embed"`
}

type topLogprobs struct {
	Candidates []logprob `json:"candidates,omitempty"`
}

type logprob struct {
	Token          string         `json:"token,omitzero"`
	LogProbability jsontext.Value `json:"logProbability,omitzero"`
	Extra          jsontext.Value `json:",embed"` // tokenId
}

func (d *decoder) logProbs(c *choice, value []byte) {
	var in logprobsResult
	if json.Unmarshal(value, &in, writing) != nil {
		c.members = setMember(c.members, member{[]byte("logprobsResult"), value})
		return
	}
	if len(in.Extra) > 0 {
		c.members = setMember(c.members, member{[]byte("logprobsResult"), in.Extra})
	}
	tokens := make([]llm.LogProb, len(in.ChosenCandidates))
	for i := range tokens {
		tokens[i] = in.ChosenCandidates[i].llm()
		if i < len(in.TopCandidates) {
			for _, alternative := range in.TopCandidates[i].Candidates {
				tokens[i].Top = append(tokens[i].Top, alternative.llm())
			}
		}
	}
	if len(tokens) == 0 {
		return
	}
	part := -1
	if !c.thought {
		part = c.open
	}
	d.say(llm.LogProbsDelta{Choice: c.index, Part: part, Tokens: tokens})
}

func (l *logprob) llm() llm.LogProb {
	p := llm.LogProb{Token: l.Token, Extra: extraOf(l.Extra)}
	_ = json.Unmarshal(l.LogProbability, &p.LogProb)
	return p
}

func newLogprob(p *llm.LogProb) logprob {
	return logprob{Token: p.Token, LogProbability: marshal(p.LogProb), Extra: membersOf(p.Extra)}
}

// newLogprobsResult says the tokens of an answer; nil: there are none.
func newLogprobsResult(tokens []llm.LogProb, extra jsontext.Value) *logprobsResult {
	if len(tokens) == 0 && len(extra) == 0 {
		return nil
	}
	out := &logprobsResult{Extra: extra}
	tops := false
	for i := range tokens {
		out.ChosenCandidates = append(out.ChosenCandidates, newLogprob(&tokens[i]))
		var top topLogprobs
		for j := range tokens[i].Top {
			top.Candidates, tops = append(top.Candidates, newLogprob(&tokens[i].Top[j])), true
		}
		out.TopCandidates = append(out.TopCandidates, top)
	}
	if !tops {
		out.TopCandidates = nil
	}
	return out
}
