package egress

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// A public name may lead to a private address, and do so only at the second look.
func TestTransportReachesPublicAddressesOnly(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	t.Cleanup(server.Close)
	_, port, _ := strings.Cut(strings.TrimPrefix(server.URL, "http://"), ":")
	looks := 0
	p := policy{
		public: Public,
		resolve: func(context.Context, string) ([]netip.Addr, error) {
			looks++
			return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
		},
	}
	for _, url := range []string{server.URL, "http://public.example:" + port, "http://[::ffff:127.0.0.1]:" + port} {
		transport := newTransport(p)
		_, err := transport.RoundTrip(httptest.NewRequestWithContext(t.Context(), http.MethodGet, url, nil))
		require.ErrorContains(t, err, "cannot be reached", url)
	}
	require.NotZero(t, looks)

	p.public = func(netip.Addr) bool { return true }
	transport := newTransport(p)
	t.Cleanup(transport.CloseIdleConnections)
	resp, err := transport.RoundTrip(httptest.NewRequestWithContext(t.Context(), http.MethodGet, "http://public.example:"+port, nil))
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
}
