package seal

import (
	"encoding/base64"
	"strings"

	"github.com/financecommander/tollgate/internal/dialect"
)

// StateLabel is the label of the box for states that clients carry.
const StateLabel = "tollgate/state/v1"

// MaxState is the most a token may hold, in bytes. The largest states there are,
// a turn's encrypted reasoning, have some hundred KiB.
const MaxState = 4 << 20

// Sealer makes tokens of one owner's states and opens them; see
// [dialect.Sealer].
type Sealer struct {
	box   *Box
	owner string
}

var _ dialect.Sealer = Sealer{}

// ForOwner gives the sealer of a caller, named by the hash that stands for it. A
// token opens for that caller only.
func (b *Box) ForOwner(owner string) Sealer { return Sealer{box: b, owner: owner} }

// encoding has one text only for each content, so that a changed token never
// opens.
var encoding = base64.RawURLEncoding.Strict()

// Seal implements [dialect.Sealer]. A state larger than MaxState, which would
// not open, gives "".
func (s Sealer) Seal(plain []byte) string {
	if len(plain) > MaxState {
		return ""
	}
	sealed := s.box.Seal(plain, s.owner)
	token := make([]byte, 0, len(dialect.SealPrefix)+encoding.EncodedLen(len(sealed)))
	token = append(token, dialect.SealPrefix...)
	return string(encoding.AppendEncode(token, sealed))
}

// Open implements [dialect.Sealer].
func (s Sealer) Open(token string) ([]byte, bool) {
	text, ok := strings.CutPrefix(token, dialect.SealPrefix)
	if !ok || strings.ContainsAny(text, "\r\n") { // which the decoder would pass over
		return nil, false
	}
	sealed, err := encoding.DecodeString(text)
	if err != nil {
		return nil, false
	}
	return s.box.Open(sealed, s.owner, MaxState)
}
