// Package gemini is the wire format of Google's Gemini API, which its Developer
// API and Vertex AI share: generateContent, streamGenerateContent, countTokens
// and the calls for embeddings.
//
// The model and the method stand in the URL's path and not in the body, so a
// codec is a small value made for one call.
//
// Source: https://ai.google.dev/api/generate-content and
// https://ai.google.dev/gemini-api/docs/thought-signatures.
package gemini

import (
	"fmt"

	"github.com/financecommander/tollgate/internal/dialect"
	"github.com/financecommander/tollgate/internal/llm"
)

// Generate is the codec of generateContent and streamGenerateContent.
type Generate struct {
	Errors
	Model     string // as the path has it, without "models/"
	Streaming bool   // the method is streamGenerateContent
}

var (
	_ dialect.Translator   = Generate{}
	_ dialect.Codec        = Count{}
	_ dialect.TokenCounter = Count{}
	_ dialect.Embedder     = Embed{}
)

// Name implements [dialect.Codec].
func (Generate) Name() dialect.Name { return dialect.Gemini }

// FieldPath implements [dialect.Translator].
func (Generate) FieldPath(f dialect.Field) string { return fieldPaths[f] }

// PartPath implements [dialect.Translator].
func (Generate) PartPath(p llm.Pos) string { return partPath(p) }

// fieldPaths name the fields as the format's clients know them.
var fieldPaths = map[dialect.Field]string{
	dialect.FieldTools:            "tools",
	dialect.FieldToolChoice:       "toolConfig.functionCallingConfig",
	dialect.FieldOutput:           "generationConfig.responseMimeType",
	dialect.FieldMaxTokens:        "generationConfig.maxOutputTokens",
	dialect.FieldTemperature:      "generationConfig.temperature",
	dialect.FieldTopP:             "generationConfig.topP",
	dialect.FieldTopK:             "generationConfig.topK",
	dialect.FieldFrequencyPenalty: "generationConfig.frequencyPenalty",
	dialect.FieldPresencePenalty:  "generationConfig.presencePenalty",
	dialect.FieldSeed:             "generationConfig.seed",
	dialect.FieldStop:             "generationConfig.stopSequences",
	dialect.FieldN:                "generationConfig.candidateCount",
	dialect.FieldLogProbs:         "generationConfig.responseLogprobs",
	dialect.FieldTopLogProbs:      "generationConfig.logprobs",
	dialect.FieldReasoning:        "generationConfig.thinkingConfig",
	dialect.FieldMetadata:         "labels",
	dialect.FieldServiceTier:      "serviceTier",
	dialect.FieldDimensions:       "outputDimensionality",
	dialect.FieldTask:             "taskType",
}

// inSystem is the message index of what stands in systemInstruction.
const inSystem = -1

func partPath(p llm.Pos) string {
	path := "systemInstruction"
	if p.Message != inSystem {
		path = fmt.Sprintf("contents[%d]", p.Message)
	}
	if p.Part >= 0 {
		path += fmt.Sprintf(".parts[%d]", p.Part)
	}
	return path
}
