package wire_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/dialect/wire"
	"github.com/financecommander/tollgate/internal/jsonedit"
)

func TestUnquote(t *testing.T) {
	for quoted, want := range map[string]string{
		``: "", `""`: "", `5`: "", `"a"`: "a",
		`"a\n\t\r\b\f\/\\\"z"`: "a\n\t\r\b\f/\\\"z",
		`"\u00e9\u20AC"`:       "é€",
		`"\ud83d\ude00!"`:      "😀!",
		`"\ud83d"`:             "\uFFFD",
		`"\ud83dx"`:            "\uFFFDx",
		`"\ude00\ud83d"`:       "\uFFFD\uFFFD",
		`"\ud83d\u0041"`:       "\uFFFDA",
		`"\n` + "\xff" + `"`:   "\n\uFFFD",
	} {
		require.Equal(t, want, wire.Unquote([]byte(quoted)), quoted)
	}
}

func FuzzUnquote(f *testing.F) {
	for _, s := range []string{`"a"`, `"\n"`, `"\ud83d\ude00"`, `"\ud83d"`, `"\u00e9"`, `"\`, `"\u1"`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, quoted []byte) {
		got := wire.Unquote(quoted) // whatever it is, it must not panic
		s := jsonedit.NewScanner(quoted)
		if s.Kind() != jsonedit.KindString || s.Pos() != 0 || len(s.Skip()) != len(quoted) || s.End() != nil {
			return
		}
		require.Equal(t, string(jsonedit.AppendText(nil, quoted)), got)
	})
}
