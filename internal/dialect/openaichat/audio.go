package openaichat

import (
	"encoding/base64"

	"github.com/financecommander/tollgate/internal/jsonedit"
	"github.com/financecommander/tollgate/internal/llm"
)

// audio is what a model speaks, of which a stream sends pieces.
//
// Source: https://platform.openai.com/docs/guides/audio.
type audio struct {
	data       []byte // decoded; pieces are encoded each for itself
	transcript []byte
	rest       members
}

func (c *choice) addAudio(raw []byte) {
	if len(raw) == 0 || raw[0] != '{' {
		return
	}
	if c.audio == nil {
		c.audio = &audio{}
	}
	s := jsonedit.NewScanner(raw)
	for name := range s.Members {
		switch string(name) {
		case "data":
			piece, err := base64.StdEncoding.DecodeString(string(s.Text(nil)))
			if err == nil {
				c.audio.data = append(c.audio.data, piece...)
			}
		case "transcript":
			c.audio.transcript = s.Text(c.audio.transcript)
		default:
			c.audio.rest.set(name, s.Skip())
		}
	}
}

// part is the audio as one part. What was said beside the sound is in its Extra,
// under "audio".
func (a *audio) part() llm.Part {
	if len(a.transcript) > 0 {
		a.rest.set([]byte("transcript"), jsonedit.AppendQuote(nil, a.transcript))
	}
	var outer members
	outer.set([]byte("audio"), a.rest.rest().JSON())
	return &llm.Media{
		Common: llm.Common{Extra: outer.extra()},
		Kind:   llm.MediaAudio, Data: base64.StdEncoding.EncodeToString(a.data),
	}
}
