package seal

import (
	"bytes"
	"compress/flate"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/dialect"
	"github.com/financecommander/tollgate/internal/llm"
	"github.com/financecommander/tollgate/internal/secret"
)

func newBox(t testing.TB, key, label string) *Box {
	t.Helper()
	box, err := New(secret.New(key), label)
	require.NoError(t, err)
	return box
}

func random(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b)
	return b
}

// signature is a state as Anthropic's have it, with a signature of n bytes.
func signature(n int) []byte {
	return []byte(`{"o":{"f":"anthropic_messages","m":"claude-opus-4-1-20250805","v":"` +
		base64.StdEncoding.EncodeToString(random(n)) + `"}}`)
}

func TestRoundTrip(t *testing.T) {
	t.Parallel()
	sealer := newBox(t, "key", StateLabel).ForOwner("owner")
	for name, plain := range map[string][]byte{
		"empty":          {},
		"one byte":       {0},
		"like a flag":    {1, 0, 1},
		"incompressible": random(1000),
		"compressible":   bytes.Repeat([]byte("tollgate "), 10_000),
		"signature":      signature(300),
		"the dictionary": []byte(dictionary),
		"large":          signature(100_000),
		"largest":        random(MaxState),
		"largest zeros":  make([]byte, MaxState),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			token := sealer.Seal(plain)
			require.Regexp(t, `^tgs1_[A-Za-z0-9_-]+$`, token)
			got, ok := sealer.Open(token)
			require.True(t, ok)
			require.True(t, bytes.Equal(plain, got))
		})
	}
	require.Empty(t, sealer.Seal(make([]byte, MaxState+1)), "what would not open is not sealed")
	first := sealer.Seal([]byte("x"))
	require.NotEqual(t, first, sealer.Seal([]byte("x")), "nonces are random")
}

func TestStatesThroughDialect(t *testing.T) {
	t.Parallel()
	box := newBox(t, "key", StateLabel)
	sealer := box.ForOwner("owner")
	want := dialect.State{ID: "toolu_1", Opaque: &llm.Opaque{Format: dialect.AnthropicMessages, Model: "claude", Value: "c2ln"}}
	token := dialect.SealState(sealer, want)
	require.True(t, dialect.Sealed([]byte(`{"x":"`+token+`"}`), dialect.OpenAIChat))

	got, ok := dialect.OpenState(sealer, token)
	require.True(t, ok)
	require.Equal(t, want, got)
	_, ok = dialect.OpenState(box.ForOwner("another"), token)
	require.False(t, ok)

	id, got := dialect.OpenID(sealer, dialect.SealID("call__1", token))
	require.Equal(t, "call__1", id)
	require.Equal(t, want, got)
	require.Equal(t, token, dialect.OpenBytes(dialect.SealBytes(token)))
}

func TestOpensForItsOwnOnly(t *testing.T) {
	t.Parallel()
	box := newBox(t, "key", StateLabel)
	token := box.ForOwner("owner").Seal([]byte("state"))
	for name, sealer := range map[string]Sealer{
		"another owner":  box.ForOwner("owne"),
		"no owner":       box.ForOwner(""),
		"another secret": newBox(t, "kez", StateLabel).ForOwner("owner"),
		"another label":  newBox(t, "key", "tollgate/state/v2").ForOwner("owner"),
	} {
		_, ok := sealer.Open(token)
		require.False(t, ok, name)
	}
	_, ok := newBox(t, "key", StateLabel).ForOwner("owner").Open(token)
	require.True(t, ok, "another replica opens it")
	nobody := box.ForOwner("").Seal([]byte("state"))
	_, ok = box.ForOwner("owner").Open(nobody)
	require.False(t, ok)
}

func TestTampering(t *testing.T) {
	t.Parallel()
	sealer := newBox(t, "key", StateLabel).ForOwner("owner")
	for _, plain := range [][]byte{signature(16), []byte("ab"), []byte("abc"), []byte("abcd")} {
		token := sealer.Seal(plain)
		for i := range len(token) {
			for _, c := range []byte{'A', 'B', '-', '_', '+', '\n', token[i] ^ 1, token[i] ^ 0x20} {
				if c == token[i] {
					continue
				}
				changed := []byte(token)
				changed[i] = c
				_, ok := sealer.Open(string(changed))
				require.False(t, ok, "byte %d as %q", i, c)
			}
			_, ok := sealer.Open(token[:i])
			require.False(t, ok, "cut to %d", i)
		}
		for _, changed := range []string{token + "A", token + "=", token + "\n", token[:9] + "\r\n" + token[9:], " " + token, strings.ToUpper(token)} {
			_, ok := sealer.Open(changed)
			require.False(t, ok, changed)
		}
	}
}

// A token of ours that was made to hold much more than it should does not fill
// the memory.
func TestInflatingIsBounded(t *testing.T) { // alone, since it measures
	var bomb bytes.Buffer
	bomb.WriteByte(deflated)
	w, err := flate.NewWriterDict(&bomb, flate.BestSpeed, []byte(dictionary))
	require.NoError(t, err)
	zeros := make([]byte, 1<<20)
	for range 64 {
		_, err = w.Write(zeros)
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	require.Less(t, bomb.Len(), 1<<20)

	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, ok := unpack(bomb.Bytes(), MaxState)
	runtime.ReadMemStats(&after)
	require.False(t, ok)
	require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(5*MaxState))

	for name, packed := range map[string][]byte{
		"nothing": {}, "unknown kind": {7, 1}, "no deflate": {deflated, 0xff}, "cut": bomb.Bytes()[:bomb.Len()/2],
	} {
		_, ok := unpack(packed, 1<<30)
		require.False(t, ok, name)
	}
	_, ok = unpack([]byte{stored, 1, 2, 3}, 2)
	require.False(t, ok)
}

func TestNewWantsASecret(t *testing.T) {
	t.Parallel()
	_, err := New(secret.Secret{}, StateLabel)
	require.Error(t, err)
}

func TestParallelUse(t *testing.T) {
	t.Parallel()
	box := newBox(t, "key", StateLabel)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			sealer := box.ForOwner(fmt.Sprint(i))
			for n := range 200 {
				plain := signature(n * 7)
				got, ok := sealer.Open(sealer.Seal(plain))
				if !ok || !bytes.Equal(plain, got) {
					t.Errorf("owner %d, %d bytes: %v", i, n, ok)
				}
			}
		})
	}
	wg.Wait()
}

// Tokens stand in ids and bodies that clients send again in each turn, so their
// size matters.
func TestTokenSizes(t *testing.T) {
	t.Parallel()
	sealer := newBox(t, "key", StateLabel).ForOwner("owner")
	for _, test := range []struct{ signature, most int }{{16, 135}, {150, 350}, {300, 550}, {2000, 2820}, {20_000, 27_100}} {
		state := signature(test.signature)
		token := sealer.Seal(state)
		t.Logf("signature of %d bytes, state %d: token %d", test.signature, len(state), len(token))
		require.LessOrEqual(t, len(token), test.most)
	}
}

func FuzzOpen(f *testing.F) {
	box := newBox(f, "key", StateLabel)
	sealer := box.ForOwner("owner")
	own := sealer.Seal([]byte("state"))
	f.Add(own)
	f.Add(own[:len(own)-1])
	f.Add(box.ForOwner("another").Seal(signature(100)))
	f.Add(dialect.SealPrefix)
	f.Add("")
	f.Fuzz(func(t *testing.T, token string) {
		if plain, ok := sealer.Open(token); ok && string(plain) != "state" {
			t.Errorf("%q opened as %q", token, plain)
		}
		if again, ok := sealer.Open(sealer.Seal([]byte(token))); !ok || string(again) != token {
			t.Errorf("%q came back as %q", token, again)
		}
	})
}

// FuzzUnpack reads what only somebody with the key could have made.
func FuzzUnpack(f *testing.F) {
	f.Add([]byte{stored, 1, 2})
	packed := pack(signature(100))
	f.Add(bytes.Clone(packed.data))
	packed.release()
	f.Fuzz(func(t *testing.T, packed []byte) {
		if plain, ok := unpack(packed, 1<<16); ok && len(plain) > 1<<16 {
			t.Errorf("%d bytes", len(plain))
		}
	})
}

func BenchmarkSeal(b *testing.B) {
	sealer := newBox(b, "key", StateLabel).ForOwner("owner")
	for _, size := range []int{16, 300, 2000, 20_000} {
		plain := signature(size)
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				sealer.Seal(plain)
			}
		})
	}
}

func BenchmarkOpen(b *testing.B) {
	sealer := newBox(b, "key", StateLabel).ForOwner("owner")
	for _, size := range []int{16, 300, 2000, 20_000} {
		token := sealer.Seal(signature(size))
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				sealer.Open(token)
			}
		})
	}
}

func BenchmarkForOwner(b *testing.B) {
	box := newBox(b, "key", StateLabel)
	var s dialect.Sealer
	b.ReportAllocs()
	for b.Loop() {
		s = box.ForOwner("0123456789abcdef")
	}
	_ = s
}
