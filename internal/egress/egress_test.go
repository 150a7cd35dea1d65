package egress

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var png = []byte("\x89PNG\r\n\x1a\n" + strings.Repeat("pixels", 100))

// site is a server on this machine that counts as public, at its own address.
// Every other address of this machine counts as inside.
type site struct {
	*httptest.Server
	port string

	mu       sync.Mutex // guards the fields below
	requests []*http.Request
	lookups  []string
	// names are the answers for each host name, one after the other; the last
	// one stays.
	names map[string][][]string
}

const (
	outside = "127.0.0.1"
	inside  = "127.0.0.2"
)

// newSite starts a server at an address.
func newSite(t *testing.T, address string, handle http.HandlerFunc) *site {
	t.Helper()
	s := &site{names: map[string][][]string{"example.com": {{outside}}}}
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.requests = append(s.requests, r)
		s.mu.Unlock()
		handle(w, r)
	}))
	if address != outside {
		listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", address+":0")
		require.NoError(t, err)
		require.NoError(t, s.Listener.Close())
		s.Listener = listener
	}
	s.StartTLS()
	t.Cleanup(s.Close)
	where, err := url.Parse(s.URL)
	require.NoError(t, err)
	s.port = where.Port()
	return s
}

// client makes one for which this machine's address [outside] is public.
func (s *site) client(o Options) *Client {
	c := newClient(o, policy{
		resolve: func(_ context.Context, host string) ([]netip.Addr, error) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.lookups = append(s.lookups, host)
			answers := s.names[host]
			if len(answers) == 0 {
				return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
			}
			if len(answers) > 1 {
				s.names[host] = answers[1:]
			}
			var addresses []netip.Addr
			for _, text := range answers[0] {
				addresses = append(addresses, netip.MustParseAddr(text))
			}
			return addresses, nil
		},
		public: func(a netip.Addr) bool { return a == netip.MustParseAddr(outside) || Public(a) },
		port:   func(string, string) bool { return true },
	})
	trusting := s.Client().Transport.(*http.Transport).TLSClientConfig
	c.http.Transport.(*http.Transport).TLSClientConfig = &tls.Config{RootCAs: trusting.RootCAs, MinVersion: tls.VersionTLS12}
	return c
}

func (s *site) asked() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.requests)
}

func (s *site) url(path string) string { return "https://example.com:" + s.port + path }

func serve(data []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(data) }
}

func TestFetch(t *testing.T) {
	s := newSite(t, outside, serve(png))
	mime, data, err := s.client(Options{}).Fetch(t.Context(), s.url("/a.png?w=1"))
	require.NoError(t, err)
	require.Equal(t, "image/png", mime)
	require.Equal(t, png, data)
	require.Equal(t, []string{"example.com"}, s.lookups, "once")
	r := s.requests[0]
	require.Equal(t, "/a.png?w=1", r.RequestURI)
	require.Equal(t, http.Header{
		"User-Agent": {"Tollgate"}, "Accept": {"image/*, application/pdf, audio/*, text/plain"}, "Accept-Encoding": {"identity"}, "Connection": {"close"},
	}, r.Header, "nothing of ours")
}

// No proxy is asked, whatever the environment says. (It is read once in a
// process, so that a test cannot set it.)
func TestNoProxy(t *testing.T) {
	require.Nil(t, New(Options{}).http.Transport.(*http.Transport).Proxy)
	require.Nil(t, New(Options{}).http.Jar)
}

// Whatever a name leads to inside, nothing is asked there, and the caller does
// not learn whether anything is.
func TestNothingInsideIsAsked(t *testing.T) {
	for name, answers := range map[string][][]string{
		"an address inside":                    {{inside}},
		"loopback of IPv6":                     {{"::1"}},
		"metadata":                             {{"169.254.169.254"}},
		"several addresses inside":             {{"10.0.0.1", inside, "fd00::1"}},
		"mapped":                               {{"::ffff:127.0.0.2"}},
		"no such name":                         {},
		"nobody there (public, but no server)": {{outside}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, inside, serve(png))
			s.names["example.com"] = answers
			_, _, err := s.client(Options{}).Fetch(t.Context(), s.url("/"))
			require.EqualError(t, err, "its host cannot be reached")
			require.Zero(t, s.asked())
		})
	}
}

// A name that had a public address when it was looked up is not looked up again,
// so that it cannot have another one when it is asked.
func TestRebinding(t *testing.T) {
	hidden := newSite(t, inside, serve(png))
	s := newSite(t, outside, serve(png))
	s.names["example.com"] = [][]string{{outside}, {inside}}
	c := s.client(Options{})
	_, _, err := c.Fetch(t.Context(), s.url("/"))
	require.NoError(t, err)
	require.Len(t, s.lookups, 1)
	_, _, err = c.Fetch(t.Context(), "https://example.com:"+hidden.port+"/")
	require.EqualError(t, err, "its host cannot be reached", "the second lookup leads inside")
	require.Zero(t, hidden.asked())
}

// Of several addresses those inside are passed over.
func TestMixedAddresses(t *testing.T) {
	s := newSite(t, outside, serve(png))
	s.names["example.com"] = [][]string{{"10.0.0.1", "::1", outside}}
	_, _, err := s.client(Options{}).Fetch(t.Context(), s.url("/"))
	require.NoError(t, err)
}

// Should an address get past the first check, the socket is not connected.
func TestTheSocketIsChecked(t *testing.T) {
	hidden := newSite(t, inside, serve(png))
	c := hidden.client(Options{})
	hidden.names["example.com"] = [][]string{{inside}}
	checks := 0
	c.policy.public = func(netip.Addr) bool { checks++; return checks == 1 }
	_, _, err := c.Fetch(t.Context(), hidden.url("/"))
	require.EqualError(t, err, "its host cannot be reached")
	require.Equal(t, 2, checks)
	require.Zero(t, hidden.asked())
}

func TestRedirects(t *testing.T) {
	hidden := newSite(t, inside, serve(png))
	steps := func(n int) string { return fmt.Sprintf("/step/%d", n) }
	s := newSite(t, outside, func(w http.ResponseWriter, r *http.Request) {
		var left int
		if _, err := fmt.Sscanf(r.URL.Path, "/step/%d", &left); err == nil && left > 0 {
			http.Redirect(w, r, steps(left-1), http.StatusFound)
			return
		}
		if to := r.URL.Query().Get("to"); to != "" {
			w.Header().Set("Set-Cookie", "id=1")
			w.Header().Set("Location", to)
			w.WriteHeader(http.StatusTemporaryRedirect)
			return
		}
		_, _ = w.Write(png)
	})
	s.names["inside.example.com"] = [][]string{{inside}}
	s.names["other.example.com"] = [][]string{{outside}}
	to := func(target string) string { return "/?to=" + url.QueryEscape(target) }
	for name, tt := range map[string]struct {
		path, want string
	}{
		"three":                {steps(3), ""},
		"four":                 {steps(4), "it leads on too often"},
		"another host":         {to("https://other.example.com:" + s.port + "/"), ""},
		"a host inside":        {to("https://inside.example.com:" + hidden.port + "/"), "its host cannot be reached"},
		"an address inside":    {to("https://" + inside + ":" + hidden.port + "/"), badURL},
		"metadata":             {to("http://169.254.169.254/latest/meta-data/"), badURL},
		"no TLS":               {to("http://other.example.com:" + s.port + "/"), badURL},
		"another scheme":       {to("file:///etc/passwd"), badURL},
		"a user":               {to("https://a:b@other.example.com:" + s.port + "/"), badURL},
		"nowhere":              {to("https://nowhere.example.com/"), "its host cannot be reached"},
		"a redirect to itself": {to("/?to=%2F%3Fto%3D%252F"), ""},
	} {
		t.Run(name, func(t *testing.T) {
			before := s.asked()
			_, _, err := s.client(Options{}).Fetch(t.Context(), s.url(tt.path))
			if tt.want == "" {
				require.NoError(t, err)
			} else {
				require.EqualError(t, err, tt.want)
			}
			for _, r := range s.requests[before:] {
				require.Empty(t, r.Header["Referer"])
				require.Empty(t, r.Header["Cookie"])
			}
		})
	}
	require.Zero(t, hidden.asked())
	_, _, err := s.client(Options{Hosts: []string{"example.com"}}).Fetch(t.Context(), s.url(to("https://other.example.com:"+s.port+"/")))
	require.EqualError(t, err, "its host is not among those that are fetched from")
}

func TestBounds(t *testing.T) {
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	_, _ = z.Write(bytes.Repeat([]byte{0}, 10<<20))
	_ = z.Close()
	const most = 1000
	for name, tt := range map[string]struct {
		answer http.HandlerFunc
		want   string // "": fetched
	}{
		"as large as may be": {serve(bytes.Repeat([]byte("a"), most)), ""},
		"one byte more":      {serve(bytes.Repeat([]byte("a"), most+1)), "it leads to something too large"},
		"larger, in chunks": {func(w http.ResponseWriter, r *http.Request) {
			for range 10 {
				_, _ = w.Write(bytes.Repeat([]byte("a"), most/5))
				w.(http.Flusher).Flush()
			}
		}, "it leads to something too large"},
		"compressed": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			_, _ = w.Write(zipped.Bytes()[:most/2])
		}, "its host answers with compressed content, though asked not to"},
		"not there": {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotFound) }, "its host answers with status 404"},
		"a large header": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-Filler", strings.Repeat("a", 2*maxHeader))
			_, _ = w.Write(png)
		}, "its host cannot be reached"},
		"cut": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "900")
			_, _ = w.Write(png[:100])
		}, "its host broke off"},
		"no header": {func(_ http.ResponseWriter, r *http.Request) {
			<-r.Context().Done()
			panic(http.ErrAbortHandler)
		}, "its host takes too long"},
		"no end": {func(w http.ResponseWriter, r *http.Request) {
			_, _ = w.Write(png)
			w.(http.Flusher).Flush()
			<-r.Context().Done()
			panic(http.ErrAbortHandler) // else the end, and a proper one, may still reach a client that is just leaving
		}, "its host takes too long"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, outside, tt.answer)
			s.Config.ErrorLog = nil
			began := time.Now()
			_, _, err := s.client(Options{MaxSize: most, Timeout: 500 * time.Millisecond}).Fetch(t.Context(), s.url("/"))
			require.Less(t, time.Since(began), 10*time.Second)
			if tt.want == "" {
				require.NoError(t, err)
				return
			}
			require.EqualError(t, err, tt.want)
			_, ok := errors.AsType[*Error](err)
			require.True(t, ok)
		})
	}
}

// A server that cannot prove its name is not asked.
func TestCertificates(t *testing.T) {
	s := newSite(t, outside, serve(png))
	s.names["elsewhere.test"] = [][]string{{outside}}
	s.Config.ErrorLog = nil
	_, _, err := s.client(Options{}).Fetch(t.Context(), "https://elsewhere.test:"+s.port+"/")
	require.EqualError(t, err, "its host cannot be reached")
	require.Zero(t, s.asked())
}

func TestSniff(t *testing.T) {
	for want, contents := range map[string][]string{
		"image/png":       {string(png)},
		"image/jpeg":      {"\xFF\xD8\xFF\xE0"},
		"image/gif":       {"GIF89a"},
		"image/webp":      {"RIFF\x00\x00\x00\x00WEBPVP8 "},
		"image/heic":      {"\x00\x00\x00\x18ftypheic\x00"},
		"image/avif":      {"\x00\x00\x00\x18ftypavif\x00"},
		"application/pdf": {"%PDF-1.7\n"},
		"audio/mpeg":      {"ID3\x03\x00", "\xFF\xFB\x90\x64", "\xFF\xF3\x40\xC4"},
		"audio/wave":      {"RIFF\x00\x00\x00\x00WAVEfmt "},
		"audio/flac":      {"fLaC\x00"},
		"audio/ogg":       {"OggS\x00"},
		"audio/aac":       {"\xFF\xF1\x50\x80"},
		"audio/mp4":       {"\x00\x00\x00\x18ftypM4A \x00"},
		"text/plain":      {"hello", `{"a": 1}`, "a,b\n1,2\n", "grüße"},
		"": {
			"", "<!DOCTYPE html><html>", "  <html>", "<?xml version=\"1.0\"?><svg/>", "\x7fELF\x02", "PK\x03\x04", "\x1f\x8b\x08", "\x00\x01\x02",
			"\x00\x00\x00\x18ftypmp42\x00", "\xFF\xFEh\x00", "\xFE\xFF\x00h", "ends badly \xff" + strings.Repeat("a", 600),
			strings.Repeat("a", 600) + "\xff",
		},
	} {
		for _, content := range contents {
			require.Equal(t, want, sniff([]byte(content)), "%q", content)
		}
	}
}
