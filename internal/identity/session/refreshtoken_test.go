package session

import (
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/secret"
)

// newKeys makes a manager that only knows its keys.
func newKeys(t testing.TB, key string) *Manager {
	t.Helper()
	type store struct{ Store }
	type signer struct{ Minter }
	type revoker struct{ Revoker }
	m, err := New(Options{Store: store{}, Signer: signer{}, Revocations: revoker{}, Secret: secret.New(key)})
	require.NoError(t, err)
	return m
}

func TestRefreshTokens(t *testing.T) {
	t.Parallel()
	m := newKeys(t, "key")
	for range 100 {
		for _, generation := range []int64{1, 2, 255, 256, math.MaxInt64} {
			want := refreshToken{session: newSessionID(), generation: generation}
			token, ok := m.refreshToken(want.session, generation)
			require.True(t, ok)
			require.Regexp(t, `^tgr_[A-Za-z0-9_-]{75}$`, token)
			again, _ := m.refreshToken(want.session, generation)
			require.Equal(t, token, again, "two tabs end with one token")

			got, ok := m.parseRefreshToken(token)
			require.True(t, ok)
			require.Equal(t, want, got)
			_, ok = newKeys(t, "kez").parseRefreshToken(token)
			require.False(t, ok, "another gateway's")
		}
	}
	for _, id := range []string{"", "x", strings.Repeat("A", 22) + "A", "===="} {
		_, ok := m.refreshToken(id, 1)
		require.False(t, ok, id)
	}
}

func TestForgedRefreshTokens(t *testing.T) {
	t.Parallel()
	m := newKeys(t, "key")
	token, _ := m.refreshToken(newSessionID(), 7)
	other, _ := m.refreshToken(newSessionID(), 7)
	for i := range len(token) {
		for _, c := range []byte{'A', 'B', '-', '_', '+', '/', '=', '\n', 0, token[i] ^ 1, token[i] ^ 0x20} {
			if c == token[i] {
				continue
			}
			changed := []byte(token)
			changed[i] = c
			_, ok := m.parseRefreshToken(string(changed))
			require.False(t, ok, "byte %d as %q", i, c)
		}
		_, ok := m.parseRefreshToken(token[:i])
		require.False(t, ok, "cut to %d", i)
	}
	for _, forged := range []string{
		"", refreshPrefix, token + "A", token + "=", token + "\n", " " + token, "tgr_" + token, strings.ToUpper(token),
		token[:9] + "\r\n" + token[9:], token[:26] + other[26:], token[:40] + other[40:], token[:70] + "\r\n" + token[72:],
		refreshPrefix + strings.Repeat("A", 75), strings.Repeat("A", 79),
	} {
		_, ok := m.parseRefreshToken(forged)
		require.False(t, ok, forged)
	}
}

func FuzzParseRefreshToken(f *testing.F) {
	m := newKeys(f, "key")
	own, _ := m.refreshToken("AAECAwQFBgcICQoLDA0ODw", 3) // the same in every process
	f.Add(own)
	f.Add(own[:len(own)-1])
	f.Add(refreshPrefix + strings.Repeat("_", 75))
	f.Add("")
	f.Fuzz(func(t *testing.T, token string) {
		got, ok := m.parseRefreshToken(token)
		if !ok {
			return
		}
		if again, _ := m.refreshToken(got.session, got.generation); again != token || token != own {
			t.Errorf("%q was taken for %+v", token, got)
		}
	})
}
