package secret

import (
	"encoding/json"
	"encoding/xml"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestSecretDoesNotPrint(t *testing.T) {
	t.Parallel()
	const value = "hunter2-hunter2"
	s := New(value)
	require.Equal(t, value, s.Reveal())

	var out strings.Builder
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%p", "%T %v"} {
		for _, printed := range []any{s, &s, []Secret{s}, map[string]Secret{"k": s}, struct{ S Secret }{s}, struct{ hidden Secret }{s}, &struct{ hidden *Secret }{&s}} {
			fmt.Fprintf(&out, verb+"\n", printed)
		}
	}
	fmt.Fprintln(&out, s.String(), s.GoString(), fmt.Errorf("with %w %v", fmt.Errorf("x"), s))
	for _, encoded := range []any{s, &s, map[string]any{"a": s}, struct{ S Secret }{s}, map[Secret]int{s: 1}} {
		body, err := json.Marshal(encoded)
		require.NoError(t, err)
		out.Write(body)
	}
	body, err := xml.Marshal(s)
	require.NoError(t, err)
	out.Write(body)
	slog.New(slog.NewJSONHandler(&out, nil)).Info("x", slog.Any("s", s), slog.Any("list", []Secret{s}))
	slog.New(slog.NewTextHandler(&out, nil)).Info("x", slog.Any("s", struct{ hidden Secret }{s}))
	require.Contains(t, out.String(), "REDACTED")
	require.NotContains(t, out.String(), "hunter")
	require.NotContains(t, out.String(), fmt.Sprintf("%x", "hunter"))
	require.NotContains(t, out.String(), fmt.Sprintf("%X", "hunter"))
}

func TestEqual(t *testing.T) {
	t.Parallel()
	require.True(t, New("a").Equal(New("a")))
	require.False(t, New("a").Equal(New("b")))
	require.False(t, New("a").Equal(New("aa")))
	require.False(t, New("a").Equal(Secret{}))
	require.True(t, Secret{}.Equal(New("")))
	require.True(t, New("").IsZero())
	require.False(t, New("x").IsZero())
	require.Empty(t, Secret{}.Reveal())
}
