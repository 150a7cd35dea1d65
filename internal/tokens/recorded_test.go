package tokens

import (
	"bytes"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Recorded answers whose text is not what the provider counted, and why.
var notCountable = map[string]string{
	"anthropic/anthropic.messages/duplicate-message-start-stream": "its numbers are made up",
	"openai/openai.responses/shell-container-stream":              "its numbers are made up",
	"anthropic/anthropic.messages/fallback-iterations-stream":     "a pass of another model, refused, is counted and not shown",
	"anthropic/anthropic.messages/redacted-thinking-stream":       "its thinking is encrypted",
}

// Features of answers in which more was generated than the text shows.
var hiddenOutput = []string{
	"citations", "code_exec", "compaction", "file_search", "image_gen", "iterations", "mcp", "n_choices", "web_search",
}

type recording struct {
	Case     string
	Model    string
	Provider string
	Status   int
	Features []string
	Response struct{ File string }
	Usage    *struct {
		Output    int64  `json:"output_tokens"`
		Reasoning *int64 `json:"reasoning_tokens"`
		Audio     int64  `json:"output_audio_tokens"`
	}
}

// Answers of 20 tokens and more that are text alone: Count must come near what
// the provider reported, and be right on average within each family.
func TestRecordedAnswers(t *testing.T) {
	t.Parallel()
	type total struct {
		answers            int
		reported, ours     int64
		sumError, maxError float64
	}
	families := make(map[string]*total)
	for _, r := range recordings(t) {
		reported, text := r.answer(t)
		if reported < 20 || text == "" {
			continue
		}
		count, estimate := CountString(r.Model, text), Estimate(r.Model, []byte(text))
		name := familyOf(r.Model).name
		if familyOf(r.Model).encoding != nil {
			name = "tiktoken"
			assert.InEpsilon(t, reported, estimate, 0.35, "estimate for %s", r.Case)
		}
		off := math.Abs(float64(count-reported)) / float64(reported)
		t.Logf("%-9s reported %4d, count %4d (%+5.1f %%), estimate %4d: %s",
			name, reported, count, 100*float64(count-reported)/float64(reported), estimate, r.Case)
		assert.Less(t, off, 0.25, r.Case)
		sum := families[name]
		if sum == nil {
			sum = new(total)
			families[name] = sum
		}
		sum.answers++
		sum.reported += reported
		sum.ours += count
		sum.sumError += off
		sum.maxError = max(sum.maxError, off)
	}
	require.GreaterOrEqual(t, len(families), 6, "families with recordings")
	var all total
	for name, sum := range families {
		all.answers += sum.answers
		all.sumError += sum.sumError
		t.Logf("%-9s %2d answers, %4d tokens: total %+.1f %%, mean error %.1f %%, worst %.1f %%", name, sum.answers, sum.reported,
			100*float64(sum.ours-sum.reported)/float64(sum.reported), 100*sum.sumError/float64(sum.answers), 100*sum.maxError)
		assert.InEpsilon(t, sum.reported, sum.ours, 0.1, name)
	}
	t.Logf("all       %2d answers: mean error %.1f %%", all.answers, 100*all.sumError/float64(all.answers))
}

// answer gives the text of an answer and its tokens; no text if more than the
// text was counted.
func (r *recording) answer(t *testing.T) (reported int64, text string) {
	if r.Status != 200 || r.Usage == nil || r.Usage.Audio > 0 || notCountable[r.Case] != "" {
		return 0, ""
	}
	for _, feature := range r.Features {
		if slices.Contains(hiddenOutput, feature) || strings.Contains(feature, "tool_call") {
			return 0, ""
		}
	}
	thinks := slices.Contains(r.Features, "thinking") || slices.Contains(r.Features, "thinking_tokens")
	if thinks && (r.Usage.Reasoning == nil || r.Provider == "openai" || r.Provider == "azure") {
		return 0, "" // OpenAI rounds reasoning tokens to multiples of 64
	}
	reported = r.Usage.Output
	if r.Usage.Reasoning != nil {
		reported -= *r.Usage.Reasoning
	}
	body, err := os.ReadFile(filepath.Join(traces(t), filepath.FromSlash(r.Case), r.Response.File))
	require.NoError(t, err)
	documents := [][]byte{body}
	if strings.HasSuffix(r.Response.File, ".sse") {
		documents = nil
		for line := range bytes.Lines(body) {
			if data, ok := bytes.CutPrefix(line, []byte("data:")); ok {
				documents = append(documents, data)
			}
		}
	}
	for _, document := range documents {
		var answer generated
		if json.Unmarshal(document, &answer) == nil { // [DONE] is no JSON
			piece, whole := answer.text()
			if !whole {
				return 0, ""
			}
			text += piece
		}
	}
	return reported, text
}

// generated is where the dialects have the text of an answer or of a chunk.
type generated struct {
	Type    string
	Delta   json.RawMessage
	Content []struct{ Type, Text string } // Anthropic
	Output  []struct {                    // OpenAI Responses
		Type    string
		Content []struct{ Text string }
	}
	Choices []struct {
		Text           string
		Message, Delta struct {
			Content   string
			ToolCalls json.RawMessage `json:"tool_calls"`
		}
	}
	Candidates []struct {
		Content struct {
			Parts []struct {
				Text    *string
				Thought bool
			}
		}
	}
}

func (g *generated) text() (text string, whole bool) {
	switch g.Type {
	case "response.output_text.delta":
		return text, json.Unmarshal(g.Delta, &text) == nil
	case "content_block_delta":
		var delta struct{ Text string }
		return delta.Text, json.Unmarshal(g.Delta, &delta) == nil && delta.Text != ""
	}
	whole = true
	for _, part := range g.Content {
		text += part.Text
		whole = whole && part.Type == "text"
	}
	for _, item := range g.Output {
		whole = whole && item.Type == "message"
		for _, part := range item.Content {
			text += part.Text
		}
	}
	for _, choice := range g.Choices {
		text += choice.Text + choice.Message.Content + choice.Delta.Content
		whole = whole && len(choice.Message.ToolCalls) == 0 && len(choice.Delta.ToolCalls) == 0
	}
	for _, candidate := range g.Candidates {
		for _, part := range candidate.Content.Parts {
			whole = whole && part.Text != nil
			if part.Text != nil && !part.Thought {
				text += *part.Text
			}
		}
	}
	return text, whole
}

func traces(t *testing.T) string {
	t.Helper()
	root, err := filepath.Abs(filepath.Join("..", ".."))
	require.NoError(t, err)
	return filepath.Join(filepath.Dir(root), "shared", "traces")
}

func recordings(t *testing.T) []recording {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(traces(t), "*", "*", "*", "meta.json"))
	require.NoError(t, err)
	if len(files) == 0 {
		if os.Getenv("CI") == "true" {
			t.Fatal("the recorded traffic, ../shared/traces, is absent")
		}
		t.Skip("the recorded traffic, ../shared/traces, is absent")
	}
	all := make([]recording, len(files))
	for i, file := range files {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		require.NoError(t, json.Unmarshal(text, &all[i]), file)
	}
	return all
}
