package dialect_test

import (
	"encoding/base64"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/dialect"
	"github.com/financecommander/tollgate/internal/llm"
)

// openSeal is a Sealer whose tokens are the state itself, with a mark of whose
// they are.
type openSeal struct{ owner string }

func (s openSeal) Seal(plain []byte) string {
	return dialect.SealPrefix + base64.RawURLEncoding.EncodeToString(append([]byte(s.owner+":"), plain...))
}

func (s openSeal) Open(token string) ([]byte, bool) {
	plain, err := base64.RawURLEncoding.DecodeString(strings.TrimPrefix(token, dialect.SealPrefix))
	rest, ok := strings.CutPrefix(string(plain), s.owner+":")
	return []byte(rest), ok && err == nil
}

var fullState = dialect.State{
	Opaque: &llm.Opaque{Format: dialect.Gemini, Model: "m", Value: "sig\x00\"é", ItemID: "i"},
	Thinking: []dialect.ThinkingState{
		{Text: "hm", Opaque: &llm.Opaque{Format: dialect.AnthropicMessages, Model: "c", Value: "s"}},
		{Redacted: true, Opaque: &llm.Opaque{Format: dialect.AnthropicMessages, Model: "c", Value: "r"}},
	},
	ID: "toolu_1",
}

func TestStates(t *testing.T) {
	mine, other := openSeal{"me"}, openSeal{"you"}
	for name, state := range map[string]dialect.State{
		"opaque": {Opaque: fullState.Opaque}, "thinking": {Thinking: fullState.Thinking}, "id": {ID: "x"}, "all": fullState,
	} {
		t.Run(name, func(t *testing.T) {
			token := dialect.SealState(mine, state)
			got, ok := dialect.OpenState(mine, token)
			require.True(t, ok)
			require.Equal(t, state, got)

			_, ok = dialect.OpenState(other, token)
			require.False(t, ok, "another caller's")

			id := dialect.SealID("call_1", token)
			require.Regexp(t, `^[A-Za-z0-9_-]+$`, id, "an id in every format")
			plain, got := dialect.OpenID(mine, id)
			require.Equal(t, "call_1", plain)
			require.Equal(t, state, got)
			plain, got = dialect.OpenID(other, id)
			require.Equal(t, "call_1", plain, "no provider takes the token")
			require.Zero(t, got)

			require.Equal(t, token, dialect.OpenBytes(dialect.SealBytes(token)))
			for _, body := range []string{token, id, `{"x":"` + dialect.SealBytes(token) + `"}`} {
				require.True(t, dialect.Sealed([]byte(body), dialect.Gemini), body)
			}
		})
	}
}

func TestNoState(t *testing.T) {
	require.Empty(t, dialect.SealState(openSeal{}, dialect.State{}))
	require.Equal(t, "call_1", dialect.SealID("call_1", ""))
	require.Empty(t, dialect.SealBytes(""))
	require.Empty(t, dialect.SealState(dialect.NoSeal{}, fullState))
	id, state := dialect.OpenID(openSeal{}, "call_1__x")
	require.Equal(t, "call_1__x", id)
	require.Zero(t, state)
	for _, token := range []string{"", "x", "tgs1_", "tgs1_???", dialect.SealPrefix + base64.RawURLEncoding.EncodeToString([]byte(":no json"))} {
		_, ok := dialect.OpenState(openSeal{}, token)
		require.False(t, ok, token)
	}
	for _, field := range []string{"", "?", base64.StdEncoding.EncodeToString([]byte("a signature"))} {
		require.Empty(t, dialect.OpenBytes(field))
	}
	require.False(t, dialect.Sealed([]byte(`{"model":"m","messages":[],"x":"_tgs1-"}`), dialect.Gemini))
}

func TestThinkingStates(t *testing.T) {
	for _, p := range []*llm.Thinking{
		{Text: "hm", Common: llm.Common{Opaque: fullState.Opaque}},
		{Redacted: true, Common: llm.Common{Opaque: fullState.Opaque}},
	} {
		require.Equal(t, p, dialect.SealThinking(p).Part())
	}
}
