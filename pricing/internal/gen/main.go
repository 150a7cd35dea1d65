// Command gen makes the embedded price table from the collected one: what the
// gateway needs of it, one model a line. It copies numbers as they are written,
// so that no price passes through a float.
package main

import (
	"bytes"
	"flag"
	"fmt"
	"log"
	"os"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

func main() {
	in := flag.String("in", "", "the collected price table")
	out := flag.String("out", "", "the file to write")
	flag.Parse()
	collected, err := os.ReadFile(*in)
	if err != nil {
		log.Fatal(err)
	}
	table, err := generate(collected)
	if err != nil {
		log.Fatal(err)
	}
	if err := os.WriteFile(*out, table, 0o644); err != nil { //nolint:gosec // a source file, as public as the others
		log.Fatal(err)
	}
}

// model is what is kept of a model, in the order it is written.
type model struct {
	Provider      string         `json:"provider"`
	Model         string         `json:"model"`
	Kind          string         `json:"kind,omitempty"`
	Prices        jsontext.Value `json:"prices"`
	Tiers         jsontext.Value `json:"tiers,omitzero"`
	Modes         jsontext.Value `json:"modes,omitzero"`
	TimeOfDay     jsontext.Value `json:"time_of_day,omitzero"`
	From          jsontext.Value `json:"from,omitzero"`
	PerCallUSD    jsontext.Value `json:"per_call_usd,omitzero"`
	Regional      jsontext.Value `json:"regional,omitzero"`
	ContextWindow jsontext.Value `json:"context_window,omitzero"`
	MaxOutput     jsontext.Value `json:"max_output,omitzero"`
	Modalities    jsontext.Value `json:"modalities,omitzero"`
	Deprecated    bool           `json:"deprecated,omitzero"`
}

// notPerToken are models whose collected "prices" count something else than
// tokens. Left in, they would make calls cost nothing or thousands; left out,
// they are unpriced, which is true.
var notPerToken = map[string]string{
	"openai/whisper-1":                      "per minute of audio",
	"openai/tts-1":                          "per character",
	"openai/tts-1-1106":                     "per character",
	"openai/tts-1-hd":                       "per character",
	"openai/tts-1-hd-1106":                  "per character",
	"mistral/mistral-ocr-4":                 "per page",
	"mistral/mistral-ocr-4-0":               "per page",
	"mistral/mistral-ocr-latest":            "per page",
	"google/gemini-2.5-flash-image-preview": "its output price is that of one image",
}

// generate turns the collected table into the embedded one.
func generate(collected []byte) ([]byte, error) {
	var source struct {
		AsOf   string  `json:"as_of"`
		Models []model `json:"models"`
	}
	if err := json.Unmarshal(collected, &source); err != nil {
		return nil, fmt.Errorf("read the collected table: %w", err)
	}
	var out bytes.Buffer
	fmt.Fprintf(&out, "{\"as_of\":%q,\n\"models\":[", source.AsOf)
	separator := "\n"
	for _, m := range source.Models {
		if notPerToken[m.Provider+"/"+m.Model] != "" {
			continue
		}
		line, err := json.Marshal(m)
		if err != nil {
			return nil, fmt.Errorf("write model %s/%s: %w", m.Provider, m.Model, err)
		}
		out.WriteString(separator)
		out.Write(line)
		separator = ",\n"
	}
	out.WriteString("\n]}\n")
	return out.Bytes(), nil
}
