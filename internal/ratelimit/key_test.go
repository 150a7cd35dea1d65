package ratelimit_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/ratelimit"
)

func TestRedisKey(t *testing.T) {
	t.Parallel()
	sixtyFour := strings.Repeat("k", 64)
	for key, want := range map[string]string{
		"chat:user-42":    "rate:{tollgate}chat:user-42",
		"ip:2001:db8::1":  "rate:{tollgate}ip:2001:db8::1",
		"net:10.0.0.0/24": "rate:{tollgate}net:10.0.0.0/24",
		sixtyFour:         "rate:{tollgate}" + sixtyFour,
		// printf 'chat:someone@example.com' | sha256sum
		"chat:someone@example.com": "rate:{tollgate}sha256:72bfc97baa42f1186b64360ca0bc1942dec620cc79b06514b49a770c7ca3db80",
	} {
		require.Equal(t, want, ratelimit.RedisKey(key), key)
	}
	for _, odd := range []string{sixtyFour + "k", "chat:{tag}", "a b", "line\nfeed", "émile", "\x00", "*", "key\xff"} {
		require.Regexp(t, `^rate:\{tollgate\}sha256:[0-9a-f]{64}$`, ratelimit.RedisKey(odd), odd)
	}
}
