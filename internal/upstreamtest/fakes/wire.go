package fakes

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// object is a JSON object to be written.
type object map[string]any

// raw is JSON kept as it came.
type raw = jsontext.Value

// strictly reads JSON into a value whose type names every member that may be
// there. The error says which is wrong.
func strictly(data []byte, into any) (path string, err error) {
	err = jsonv2.Unmarshal(data, into, jsonv2.RejectUnknownMembers(true))
	if semantic, ok := errors.AsType[*jsonv2.SemanticError](err); ok {
		return string(semantic.JSONPointer), err
	}
	return "", err
}

// absent says whether a member was not there, or null.
func absent(v raw) bool { return len(v) == 0 || string(v) == "null" }

// anyOf gives JSON as maps and lists.
func anyOf(v raw) any {
	if absent(v) {
		return nil
	}
	var out any
	_ = json.Unmarshal(v, &out)
	return out
}

// isText reads a string.
func isText(v raw) (string, bool) {
	if v.Kind() != '"' {
		return "", false
	}
	var s string
	return s, json.Unmarshal(v, &s) == nil
}

func canonical(v any) string {
	text, _ := json.Marshal(v)
	return string(text)
}

func isObject(text string) bool {
	var o map[string]any
	return json.Unmarshal([]byte(text), &o) == nil
}

// magic are the first bytes of media, by their type.
var magic = map[string]string{
	"image/png": "\x89PNG\r\n", "image/jpeg": "\xff\xd8\xff", "image/gif": "GIF8", "image/webp": "RIFF",
	"application/pdf": "%PDF-", "audio/wav": "RIFF", "audio/mp3": "",
}

// media decodes base64 and checks that it is what it says.
func media(mime, data string) (int, error) {
	content, err := base64.StdEncoding.DecodeString(data)
	if err != nil {
		return 0, fmt.Errorf("invalid base64: %w", err)
	}
	begin, ok := magic[mime]
	switch {
	case !ok:
		return 0, fmt.Errorf("unsupported media type %q", mime)
	case len(content) == 0 || !bytes.HasPrefix(content, []byte(begin)):
		return 0, fmt.Errorf("the content is not %s", mime)
	}
	return len(content), nil
}

// dataURL takes a data URL apart.
func dataURL(url string) (mime, data string, ok bool) {
	rest, ok := strings.CutPrefix(url, "data:")
	if !ok {
		return "", "", false
	}
	return strings.Cut(rest, ";base64,")
}

// frame is one event of a stream, as bytes.
type frame struct {
	text    string
	content bool // carries a piece of what the model wrote
}

// event is a frame with a name and JSON data.
func event(name string, data any) frame {
	return frame{text: "event: " + name + "\ndata: " + canonical(data) + "\n\n"}
}

// data is a frame without a name.
func data(v any) frame { return frame{text: "data: " + canonical(v) + "\n\n"} }

// asContent marks a frame as one that carries content.
func (f frame) asContent() frame { f.content = true; return f }

// afterFewWords is how many pieces of content come before a scripted fault.
const afterFewWords = 2

// play sends a stream, with the faults the reply has. failure gives the frames
// that end a stream after so many.
func play(w http.ResponseWriter, r *http.Request, answer *reply, frames []frame, failure func(sent int) []frame) {
	w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
	w.Header().Set("Cache-Control", "no-cache")
	faulty := answer.midstream || answer.cut != ""
	seen, sent := 0, 0
	for _, f := range frames {
		if answer.pause > 0 {
			select {
			case <-time.After(answer.pause):
			case <-r.Context().Done():
				return
			}
		}
		if faulty && seen == afterFewWords {
			break
		}
		if f.content {
			seen++
		}
		if !send(w, f.text) {
			return
		}
		sent++
	}
	if answer.midstream {
		for _, f := range failure(sent) {
			send(w, f.text)
		}
	}
	if answer.cut == "reset" {
		panic(http.ErrAbortHandler)
	}
}

// always is a failure that is the same after any number of frames.
func always(f frame) func(int) []frame { return func(int) []frame { return []frame{f} } }

func send(w http.ResponseWriter, text string) bool {
	if _, err := io.WriteString(w, text); err != nil {
		return false
	}
	return http.NewResponseController(w).Flush() == nil
}

// whole sends an answer that is no stream; one that is to break off does so half
// way.
func whole(w http.ResponseWriter, r *http.Request, answer *reply, body any) {
	if answer.pause > 0 {
		select {
		case <-time.After(answer.pause):
		case <-r.Context().Done():
			return
		}
	}
	text := canonical(body)
	w.Header().Set("Content-Type", "application/json")
	if answer.cut != "" {
		send(w, text[:len(text)/2])
		panic(http.ErrAbortHandler)
	}
	w.WriteHeader(http.StatusOK)
	_, _ = io.WriteString(w, text)
}

func write(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, canonical(body))
}

// words cuts text as a model's tokens would.
func words(text string) []string { return strings.SplitAfter(text, " ") }

// pieces cuts text into pieces of n bytes or little more, between characters.
func pieces(text string, n int) []string {
	var all []string
	var one strings.Builder
	for _, c := range text {
		one.WriteRune(c)
		if one.Len() >= n {
			all = append(all, one.String())
			one.Reset()
		}
	}
	if one.Len() > 0 {
		all = append(all, one.String())
	}
	return all
}

// each makes an object of each name.
func each(names []string, describe func(string) object) []object {
	all := make([]object, 0, len(names))
	for _, name := range names {
		all = append(all, describe(name))
	}
	return all
}
