package fetch

import (
	"context"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/llm"
	"github.com/financecommander/tollgate/internal/secret"
)

// service is a web service on this machine.
type service struct {
	*httptest.Server
	asked atomic.Int64
}

func newService(t *testing.T, handler http.HandlerFunc) *service {
	t.Helper()
	s := &service{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.asked.Add(1)
		handler(w, r)
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *service) host() string { return strings.TrimPrefix(s.URL, "http://") }

func (s *service) request(t *testing.T, path string) Request {
	t.Helper()
	return Request{Method: http.MethodGet, URL: parse(t, s.URL+path)}
}

func parse(t *testing.T, raw string) *url.URL {
	t.Helper()
	u, err := url.Parse(raw)
	require.NoError(t, err)
	return u
}

// fails asks and wants an error, which tells nothing of the request but its host.
func fails(t *testing.T, c *Client, r Request) *llm.Error {
	t.Helper()
	response, err := c.Do(t.Context(), r)
	require.Nil(t, response)
	told, ok := errors.AsType[*llm.Error](err)
	require.True(t, ok, "%v", err)
	for _, text := range []string{told.Message, told.Error(), told.LogValue().String()} {
		require.NotContains(t, strings.ToLower(text), "secret")
	}
	return told
}

func TestDo(t *testing.T) {
	t.Parallel()
	var got *http.Request
	var body []byte
	s := newService(t, func(w http.ResponseWriter, r *http.Request) {
		got = r
		body, _ = io.ReadAll(r.Body)
		w.Header().Set("X-Answer", "a")
		w.WriteHeader(http.StatusCreated)
		_, _ = io.WriteString(w, `{"b": 1}`)
	})
	c := client(t, Host{Name: s.host(), Private: true, Plain: true, Headers: map[string]secret.Secret{"x-api-key": secret.New("key")}})
	r := s.request(t, "/path?q=a%26b#fragment")
	r.Method, r.Body = http.MethodPost, `{"a": 1}`
	r.Header = http.Header{"x-own": {"b", "c"}, "Authorization": {"Bearer own"}}
	response, err := c.Do(t.Context(), r)
	require.NoError(t, err)
	require.Equal(t, http.StatusCreated, response.Status)
	require.Equal(t, "a", response.Header.Get("X-Answer"))
	require.JSONEq(t, `{"b": 1}`, string(response.Body))

	require.Equal(t, http.MethodPost, got.Method)
	require.Equal(t, "/path?q=a%26b", got.RequestURI)
	require.Equal(t, s.host(), got.Host)
	require.JSONEq(t, `{"a": 1}`, string(body))
	delete(got.Header, "Content-Length")
	require.Equal(t, http.Header{
		"X-Own": {"b", "c"}, "Authorization": {"Bearer own"}, "X-Api-Key": {"key"}, "User-Agent": {"Tollgate"},
		"Content-Type": {"application/json"}, "Accept-Encoding": {"identity"},
	}, got.Header)

	// A text is told as one, and a definition may say otherwise.
	r.Body = "a"
	_, err = c.Do(t.Context(), r)
	require.NoError(t, err)
	require.Equal(t, "text/plain; charset=utf-8", got.Header.Get("Content-Type"))
	r.Header = http.Header{"content-type": {"text/csv"}, "User-Agent": {"Mine"}}
	_, err = c.Do(t.Context(), r)
	require.NoError(t, err)
	require.Equal(t, []string{"text/csv"}, got.Header["Content-Type"])
	require.Equal(t, []string{"Mine"}, got.Header["User-Agent"])

	// What the operator has set wins, however it is written.
	r.Header = http.Header{"x-api-key": {"other"}, "X-API-KEY": {"another"}}
	_, err = c.Do(t.Context(), r)
	require.NoError(t, err)
	require.Equal(t, []string{"key"}, got.Header["X-Api-Key"])
	require.NotContains(t, got.Header, "x-api-key")
}

func TestHeadersThatAreRefused(t *testing.T) {
	t.Parallel()
	s := newService(t, func(http.ResponseWriter, *http.Request) {})
	c := client(t, Host{Name: s.host(), Private: true, Plain: true})
	for name, value := range map[string]string{
		"X-A":                    "a\r\nX-Secret: b",
		"X-B":                    "a\nb secret",
		"X-C":                    "a\x00secret",
		"X-D":                    "secret\x7f",
		"X-Secret\r\nX-Smuggled": "a",
		"X Secret":               "a",
		"X-Secret:":              "a",
		"":                       "secret",
		"Host":                   "secret",
		"host":                   "secret",
		"Content-Length":         "0",
		"Transfer-Encoding":      "chunked",
		"connection":             "X-Api-Key",
		"Keep-Alive":             "1",
		"TE":                     "trailers",
		"Trailer":                "X",
		"Upgrade":                "websocket",
		"Expect":                 "100-continue",
		"Proxy-Authorization":    "secret",
		"X-Forwarded-For":        "127.0.0.1",
		"Forwarded":              "for=127.0.0.1",
		"Accept-Encoding":        "gzip",
		"X-Long":                 strings.Repeat("a", maxRequestHeader),
	} {
		r := s.request(t, "/secret?secret")
		r.Header = http.Header{name: {value}}
		require.Equal(t, llm.CauseInvalidRequest, fails(t, c, r).Cause, name)
	}
	require.Zero(t, s.asked.Load())
}

func TestRequestsThatAreRefused(t *testing.T) {
	t.Parallel()
	s := newService(t, func(http.ResponseWriter, *http.Request) {})
	c := client(t, Host{Name: s.host(), Private: true, Plain: true}, Host{Name: "tls.example.com"})
	for raw, cause := range map[string]llm.Cause{
		s.URL + "/" + strings.Repeat("a", maxURL): llm.CauseInvalidRequest,
		"http://user:secret@" + s.host() + "/":    llm.CauseForbidden,
		"https://secret.example.com/":             llm.CauseForbidden,
		"http://tls.example.com/secret":           llm.CauseForbidden,
		"https://tls.example.com:8443/secret":     llm.CauseForbidden,
		"https://tls.example.com./secret":         llm.CauseForbidden,
		"https://ｔls.example.com/secret":          llm.CauseForbidden,
		"http://127.0.0.1/secret":                 llm.CauseForbidden,
		"http://[::1]/secret":                     llm.CauseForbidden,
		"file:///etc/secret":                      llm.CauseForbidden,
		"/secret":                                 llm.CauseForbidden,
	} {
		told := &llm.Error{}
		_, err := c.Do(t.Context(), Request{Method: http.MethodGet, URL: parse(t, raw)})
		require.ErrorAs(t, err, &told, raw)
		require.Equal(t, cause, told.Cause, raw)
		require.False(t, told.Cause.Retryable())
		require.NotContains(t, told.Error(), "user")
	}
	for _, r := range []Request{
		{Method: http.MethodGet},
		{Method: "CONNECT", URL: parse(t, s.URL)},
		{Method: "get", URL: parse(t, s.URL)},
		{Method: "", URL: parse(t, s.URL)},
		{Method: "GET /secret", URL: parse(t, s.URL)},
		{Method: http.MethodPost, URL: parse(t, s.URL), Body: strings.Repeat("a", MaxBody+1)},
	} {
		require.Equal(t, llm.CauseInvalidRequest, fails(t, c, r).Cause)
	}
	require.Equal(t, llm.CauseForbidden, fails(t, nil, s.request(t, "/")).Cause)
	require.Equal(t, llm.CauseForbidden, fails(t, client(t), s.request(t, "/")).Cause)
	require.Zero(t, s.asked.Load())
}

// A host that may not be private is not reached at a private address, be it named
// or found by the resolver.
func TestPrivateAddresses(t *testing.T) {
	t.Parallel()
	s := newService(t, func(http.ResponseWriter, *http.Request) {})
	_, port, err := net.SplitHostPort(s.host())
	require.NoError(t, err)
	for _, name := range []string{"127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "169.254.169.254", "[fd00:ec2::254]"} {
		c := client(t, Host{Name: name + ":" + port, Plain: true})
		told := fails(t, c, Request{Method: http.MethodGet, URL: parse(t, "http://"+name+":"+port+"/secret")})
		require.Equal(t, llm.CauseForbidden, told.Cause, name)
		require.Contains(t, told.Message, "no public address")
	}
	require.Zero(t, s.asked.Load())

	// That one host may be private makes no other so.
	c := client(t, Host{Name: s.host(), Plain: true, Private: true}, Host{Name: "localhost:" + port, Plain: true})
	_, err = c.Do(t.Context(), s.request(t, "/"))
	require.NoError(t, err)
	require.Equal(t, llm.CauseForbidden, fails(t, c, Request{Method: http.MethodGet, URL: parse(t, "http://localhost:"+port)}).Cause)
	require.EqualValues(t, 1, s.asked.Load())
}

func TestStatuses(t *testing.T) {
	t.Parallel()
	other := newService(t, func(http.ResponseWriter, *http.Request) {})
	s := newService(t, func(w http.ResponseWriter, r *http.Request) {
		query := r.URL.Query()
		for _, name := range []string{"Retry-After", "Location", "Content-Encoding"} {
			if value := query.Get(name); value != "" {
				w.Header().Set(name, value)
			}
		}
		status := 0
		for _, digit := range query.Get("status") {
			status = 10*status + int(digit-'0')
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, "secret")
	})
	c := client(t, Host{Name: s.host(), Private: true, Plain: true}, Host{Name: other.host(), Private: true, Plain: true})
	for query, want := range map[string]struct {
		cause llm.Cause
		after time.Duration
	}{
		"status=400":                           {llm.CauseUpstreamRejected, 0},
		"status=401":                           {llm.CauseUpstreamRejected, 0},
		"status=403&Retry-After=3":             {llm.CauseUpstreamRejected, 0},
		"status=404":                           {llm.CauseUpstreamRejected, 0},
		"status=422":                           {llm.CauseUpstreamRejected, 0},
		"status=408":                           {llm.CauseUpstreamTimeout, 0},
		"status=429&Retry-After=3":             {llm.CauseUpstreamRateLimited, 3 * time.Second},
		"status=429&Retry-After=99999":         {llm.CauseUpstreamRateLimited, maxRetryAfter},
		"status=429&Retry-After=-1":            {llm.CauseUpstreamRateLimited, 0},
		"status=429&Retry-After=soon":          {llm.CauseUpstreamRateLimited, 0},
		"status=500":                           {llm.CauseUpstreamError, 0},
		"status=502":                           {llm.CauseUpstreamError, 0},
		"status=503&Retry-After=7":             {llm.CauseUpstreamOverloaded, 7 * time.Second},
		"status=504":                           {llm.CauseUpstreamTimeout, 0},
		"status=599":                           {llm.CauseUpstreamError, 0},
		"status=301&Location=/":                {llm.CauseUpstreamRejected, 0},
		"status=302&Location=" + other.URL:     {llm.CauseUpstreamRejected, 0},
		"status=307&Location=http://127.0.0.1": {llm.CauseUpstreamRejected, 0},
		"status=304":                           {llm.CauseUpstreamRejected, 0},
		"status=300":                           {llm.CauseUpstreamRejected, 0},
		"status=200&Content-Encoding=gzip":     {llm.CauseUpstreamRejected, 0},
	} {
		told := fails(t, c, s.request(t, "/secret?"+query))
		require.Equal(t, want.cause, told.Cause, query)
		require.Equal(t, want.after, told.RetryAfter, query)
		require.Contains(t, told.Message, s.host())
		require.Equal(t, strings.Contains(query, "status=3"), strings.Contains(told.Message, "redirect"), query)
	}
	require.Zero(t, other.asked.Load())
	_, err := c.Do(t.Context(), s.request(t, "/?status=299"))
	require.NoError(t, err)
	response, err := c.Do(t.Context(), s.request(t, "/?status=204"))
	require.NoError(t, err)
	require.Empty(t, response.Body)
}

func TestRetryAfterDate(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	require.Equal(t, 10*time.Second, retryAfter(now.Add(10*time.Second).Format(http.TimeFormat), now))
	require.Zero(t, retryAfter(now.Add(-time.Second).Format(http.TimeFormat), now))
	require.Equal(t, maxRetryAfter, retryAfter(now.Add(9*time.Hour).Format(http.TimeFormat), now))
}

func TestAnswersThatAreNone(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		handler http.HandlerFunc
		cause   llm.Cause
	}{
		"too large": {func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, strings.Repeat("a", MaxResponse+1))
		}, llm.CauseTooLarge},
		"endless": {func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				if _, err := io.WriteString(w, strings.Repeat("a", 4096)); err != nil {
					return
				}
			}
		}, llm.CauseTooLarge},
		"cut": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			_, _ = io.WriteString(w, "secret")
		}, llm.CauseUpstreamCut},
		"no answer":  {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, llm.CauseUpstreamUnreachable},
		"no HTTP":    {raw("secret: this is not HTTP\r\n\r\n"), llm.CauseUpstreamUnreachable},
		"bad header": {raw("HTTP/1.1 200 OK\r\nsecret header\r\n\r\n"), llm.CauseUpstreamUnreachable},
		"large headers": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-Large", strings.Repeat("a", 2*maxHeader))
		}, llm.CauseUpstreamUnreachable},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newService(t, tt.handler)
			c := client(t, Host{Name: s.host(), Private: true, Plain: true})
			require.Equal(t, tt.cause, fails(t, c, s.request(t, "/secret?secret")).Cause)
		})
	}
	s := newService(t, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, strings.Repeat("a", MaxResponse))
	})
	response, err := client(t, Host{Name: s.host(), Private: true, Plain: true}).Do(t.Context(), s.request(t, "/"))
	require.NoError(t, err)
	require.Len(t, response.Body, MaxResponse)
}

// raw answers with bytes of its own.
func raw(answer string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		connection, _, err := http.NewResponseController(w).Hijack()
		if err == nil {
			_, _ = io.WriteString(connection, answer)
			_ = connection.Close()
		}
	}
}

func TestUnreachable(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	host := listener.Addr().String()
	require.NoError(t, listener.Close())
	c := client(t, Host{Name: host, Private: true, Plain: true}, Host{Name: "nowhere.invalid"})
	told := fails(t, c, Request{Method: http.MethodGet, URL: parse(t, "http://"+host+"/secret?secret")})
	require.Equal(t, llm.CauseUpstreamUnreachable, told.Cause)
	require.True(t, told.Cause.Retryable())
	require.Equal(t, host+" cannot be reached", told.Message)
	require.Equal(t, llm.CauseUpstreamUnreachable, fails(t, c, Request{Method: http.MethodGet, URL: parse(t, "https://nowhere.invalid/secret")}).Cause)
}

// https is for those who can prove their name, private or not.
func TestCertificates(t *testing.T) {
	t.Parallel()
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	s.Config.ErrorLog = nil
	s.EnableHTTP2 = true
	s.StartTLS()
	t.Cleanup(s.Close)
	host := strings.TrimPrefix(s.URL, "https://")
	r := Request{Method: http.MethodGet, URL: parse(t, s.URL+"/secret")}
	c := client(t, Host{Name: host, Private: true})
	told := fails(t, c, r)
	require.Equal(t, llm.CauseUpstreamUnreachable, told.Cause)
	require.Equal(t, host+" cannot prove its name", told.Message)

	trusting := client(t, Host{Name: host, Private: true})
	pool := x509.NewCertPool()
	pool.AddCert(s.Certificate())
	trusting.open.TLSClientConfig = s.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
	trusting.open.TLSClientConfig.RootCAs = pool
	_, err := trusting.Do(t.Context(), r)
	require.NoError(t, err)
}

func TestCancelled(t *testing.T) {
	t.Parallel()
	s := newService(t, func(_ http.ResponseWriter, r *http.Request) {
		<-r.Context().Done()
	})
	c := client(t, Host{Name: s.host(), Private: true, Plain: true})
	gone := errors.New("the run was cancelled")
	ctx, cancel := context.WithCancelCause(t.Context())
	time.AfterFunc(20*time.Millisecond, func() { cancel(gone) })
	_, err := c.Do(ctx, s.request(t, "/"))
	told := &llm.Error{}
	require.ErrorAs(t, err, &told)
	require.Equal(t, llm.CauseClientGone, told.Cause)
	require.ErrorIs(t, err, gone)

	late, stop := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer stop()
	_, err = c.Do(late, s.request(t, "/"))
	require.ErrorAs(t, err, &told)
	require.Equal(t, llm.CauseUpstreamTimeout, told.Cause)
	require.Equal(t, s.host()+" takes too long", told.Message)
}

// A service that says nothing is left after a minute, whatever the step allows.
func TestTimeout(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, err := New(Options{Hosts: []Host{{Name: "slow.example", Private: true, Plain: true}}})
		require.NoError(t, err)
		near, far := net.Pipe()
		c.open.DialContext = func(context.Context, string, string) (net.Conn, error) { return near, nil }
		go func() { _, _ = io.Copy(io.Discard, far) }()
		began := time.Now()
		_, err = c.Do(t.Context(), Request{Method: http.MethodGet, URL: &url.URL{Scheme: "http", Host: "slow.example"}})
		told := &llm.Error{}
		require.ErrorAs(t, err, &told)
		require.Equal(t, llm.CauseUpstreamTimeout, told.Cause)
		require.Equal(t, Timeout, time.Since(began))
		c.Close()
		_ = far.Close()
	})
}

// The environment's proxy is not asked.
func TestNoProxy(t *testing.T) {
	proxy := newService(t, func(http.ResponseWriter, *http.Request) {})
	t.Setenv("HTTP_PROXY", proxy.URL)
	t.Setenv("HTTPS_PROXY", proxy.URL)
	c := client(t, Host{Name: "nowhere.invalid", Plain: true}, Host{Name: "inside.invalid", Plain: true, Private: true})
	require.Nil(t, c.guarded.Proxy)
	require.Nil(t, c.open.Proxy)
	for _, raw := range []string{"http://nowhere.invalid/", "http://inside.invalid/"} {
		require.Equal(t, llm.CauseUpstreamUnreachable, fails(t, c, Request{Method: http.MethodGet, URL: parse(t, raw)}).Cause)
	}
	require.Zero(t, proxy.asked.Load())
}
