package wire_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/dialect/wire"
	"github.com/financecommander/tollgate/internal/jsonedit"
)

// Every byte at every place of a word is quoted as it must be.
func TestAppendQuote(t *testing.T) {
	for c := range 256 {
		for at := range 17 {
			text := strings.Repeat("x", at) + string([]byte{byte(c)}) + strings.Repeat("é", 9)
			quoted := wire.AppendQuote([]byte("["), text)
			require.Equal(t, strings.ToValidUTF8(text, "\uFFFD"), string(jsonedit.AppendText(nil, quoted[1:])), "%q", text)
			s := jsonedit.NewScanner(quoted[1:])
			s.Skip()
			require.NoError(t, s.End())
		}
	}
}
