package dialect

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"strings"

	"github.com/financecommander/tollgate/internal/llm"
)

// Sealer turns state of a provider into a token that a client of another format
// carries in a field of its own, and back. Tokens are encrypted and
// authenticated; what does not open was not made by this gateway, or not for
// this caller, and counts as no state at all.
type Sealer interface {
	// Seal gives a token of letters, digits, `-` and `_` that begins with
	// [SealPrefix].
	Seal(plain []byte) string
	// Open reverses Seal.
	Open(token string) ([]byte, bool)
}

// SealPrefix is how every token begins, so that a body can be searched for them.
const SealPrefix = "tgs1_"

// NoSeal seals and opens nothing.
type NoSeal struct{}

// Seal implements [Sealer].
func (NoSeal) Seal([]byte) string { return "" }

// Open implements [Sealer].
func (NoSeal) Open(string) ([]byte, bool) { return nil, false }

// State is what one token holds: the provider's state of a part, and, where the
// client's format has no place for thinking at all (a chat client that returns
// tool calls only), the thinking that came before the part.
type State struct {
	Opaque   *llm.Opaque     `json:"o,omitempty"`
	Thinking []ThinkingState `json:"t,omitempty"`
	// ID is the provider's own id of a tool call, where the client was told
	// another.
	ID string `json:"id,omitempty"`
}

// ThinkingState is a part of thinking in a [State].
type ThinkingState struct {
	Text     string      `json:"t,omitempty"`
	Redacted bool        `json:"r,omitempty"`
	Opaque   *llm.Opaque `json:"o,omitempty"`
}

// Part gives the thinking back as a part.
func (t ThinkingState) Part() *llm.Thinking {
	return &llm.Thinking{Common: llm.Common{Opaque: t.Opaque}, Text: t.Text, Redacted: t.Redacted}
}

// SealThinking is the state of a part of thinking.
func SealThinking(p *llm.Thinking) ThinkingState {
	return ThinkingState{Text: p.Text, Redacted: p.Redacted, Opaque: p.Opaque}
}

// SealState gives the token of a state; "" for an empty one.
func SealState(s Sealer, state State) string {
	if state.Opaque == nil && len(state.Thinking) == 0 && state.ID == "" {
		return ""
	}
	plain, _ := json.Marshal(state)
	return s.Seal(plain)
}

// OpenState opens a token.
func OpenState(s Sealer, token string) (State, bool) {
	if !strings.HasPrefix(token, SealPrefix) {
		return State{}, false
	}
	plain, ok := s.Open(token)
	if !ok {
		return State{}, false
	}
	var state State
	if json.Unmarshal(plain, &state) != nil {
		return State{}, false
	}
	return state, true
}

// idMark stands between a tool call's id and the token behind it. Ids may have
// only letters, digits, `-` and `_` in some formats.
const idMark = "__" + SealPrefix

// SealID puts a token behind a tool call's id.
func SealID(id, token string) string {
	if token == "" {
		return id
	}
	return id + "__" + token
}

// OpenID takes a tool call's id apart: the id itself and the state behind it.
// A token that does not open is cut off all the same, since no provider would
// take it.
func OpenID(s Sealer, id string) (string, State) {
	at := strings.LastIndex(id, idMark)
	if at < 0 {
		return id, State{}
	}
	state, _ := OpenState(s, id[at+len("__"):])
	return id[:at], state
}

// SealBytes is a token as the standard base64 of its bytes, for formats whose
// field must be that (Gemini's thoughtSignature).
func SealBytes(token string) string {
	if token == "" {
		return ""
	}
	return base64.StdEncoding.EncodeToString([]byte(token))
}

// OpenBytes reverses SealBytes; "" for what is no token.
func OpenBytes(field string) string {
	token, err := base64.StdEncoding.DecodeString(field)
	if err != nil || !strings.HasPrefix(string(token), SealPrefix) {
		return ""
	}
	return string(token)
}

// sealBytesPrefix is how every [SealBytes] begins.
var sealBytesPrefix = base64.StdEncoding.EncodeToString([]byte(SealPrefix)[:3])

// Sealed says whether a body of a format may hold tokens, so that it must not
// pass through to a provider as it is. Every body is looked through, so the
// search is for the rarest letter of what a token begins with.
func Sealed(body []byte, format Name) bool {
	if contains(body, SealPrefix, len(SealPrefix)-1) {
		return true
	}
	return format == Gemini && contains(body, sealBytesPrefix+"MV", len(sealBytesPrefix)+1)
}

// contains looks for a text by its letter at a place.
func contains(body []byte, text string, rare int) bool {
	for from := rare; from < len(body); {
		i := bytes.IndexByte(body[from:], text[rare])
		if i < 0 {
			return false
		}
		from += i + 1
		if start := from - 1 - rare; bytes.HasPrefix(body[start:], []byte(text)) {
			return true
		}
	}
	return false
}
