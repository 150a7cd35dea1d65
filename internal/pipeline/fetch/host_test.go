package fetch

import (
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/secret"
)

func client(t *testing.T, hosts ...Host) *Client {
	t.Helper()
	c, err := New(Options{Hosts: hosts})
	require.NoError(t, err)
	t.Cleanup(c.Close)
	return c
}

func TestNewRefusesHosts(t *testing.T) {
	t.Parallel()
	for _, name := range []string{
		"", " ", "*", "*.", "a.*.example.com", "*example.com", "api.*", "**.example.com", "*.*.example.com", "https://api.example.com", "api.example.com/",
		"api.example.com/v1", "user@api.example.com", "api.example.com.", ".example.com", "api..example.com", "-a.example.com", "a-.example.com",
		"api.example.com:", "api.example.com:0", "api.example.com:65536", "api.example.com:http", "api.example.com:080", "api.example.com:443:1",
		"аpi.example.com", "münchen.example", "api example.com", "api.example.com\r\n", "[::1", "::1", "[::1]x", "[::1%eth0]", "[api.example.com]", "*.127.0.0.1",
		"*.10", "0x7f.1", "2130706433", "127.1", "256.0.0.1", "[1.2.3.4]", strings.Repeat("a", 64) + ".example.com", strings.Repeat("a.", 127) + "com",
	} {
		_, err := New(Options{Hosts: []Host{{Name: name}}})
		require.Error(t, err, name)
	}
	for _, names := range [][]string{{"a.example", "A.example"}, {"[::1]", "[0:0::1]"}, {"*.a.example", "*.A.example"}} {
		_, err := New(Options{Hosts: []Host{{Name: names[0]}, {Name: names[1]}}})
		require.ErrorContains(t, err, "twice", names)
	}
	for name, value := range map[string]string{
		"Host": "a", "connection": "a", "Transfer-Encoding": "chunked", "X-Forwarded-For": "1.2.3.4", "Proxy-Authorization": "a", "X Y": "a", "": "a", "X-A": "a\r\nX-B: c",
		"X-Nul": "\x00",
	} {
		_, err := New(Options{Hosts: []Host{{Name: "a.example", Headers: map[string]secret.Secret{name: secret.New(value)}}}})
		require.ErrorContains(t, err, "header", name)
		require.NotContains(t, err.Error(), "chunked")
	}
}

func TestAllowed(t *testing.T) {
	t.Parallel()
	c := client(t, Host{Name: "api.example.com"}, Host{Name: "*.Sub.example.com"}, Host{Name: "ports.example.com:8443"}, Host{Name: "plain.example.com", Plain: true},
		Host{Name: "own.example.com:443"}, Host{Name: "10.1.2.3", Private: true}, Host{Name: "[2001:db8::1]:9000", Private: true}, Host{Name: "redis_host", Private: true})
	for host, want := range map[string]bool{
		"api.example.com": true, "API.Example.COM": true, "api.example.com:443": true, "api.example.com:80": false, "api.example.com:8443": false, "api.example.com:": false,
		"api.example.com.": false, "xapi.example.com": false, "x.api.example.com": false, "example.com": false, "api.example.com.evil.example": false,
		"a.sub.example.com": true, "b.a.SUB.example.com": true, "sub.example.com": false, ".sub.example.com": false, "evilsub.example.com": false, "a..sub.example.com": false,
		"ports.example.com": false, "ports.example.com:8443": true, "ports.example.com:443": false,
		"plain.example.com": true, "plain.example.com:80": true, "plain.example.com:443": true, "plain.example.com:81": false,
		"own.example.com": true, "own.example.com:443": true, "own.example.com:444": false,
		"10.1.2.3": true, "10.1.2.4": false, "[::ffff:10.1.2.3]": true, "0x0a.1.2.3": false, "167838211": false, "010.1.2.3": false,
		"[2001:db8::1]:9000": true, "[2001:DB8:0::1]:9000": true, "[2001:db8::1]": false, "2001:db8::1": false, "[2001:db8::1%eth0]:9000": false,
		"redis_host": true, "": false, "аpi.example.com": false, "ａpi.example.com": false, "api。example.com": false, "user@api.example.com": false, "api.example.com/x": false,
	} {
		require.Equal(t, want, c.Allowed(host), host)
	}
	require.False(t, client(t).Allowed("api.example.com"))
	require.False(t, (*Client)(nil).Allowed("api.example.com"))
}

// The rule that is for a host alone wins, and then the closest.
func TestRuleOfAURL(t *testing.T) {
	t.Parallel()
	names := []string{"*.example.com", "*.b.example.com", "a.b.example.com", "a.b.example.com:8443"}
	var hosts []Host
	for _, name := range names {
		hosts = append(hosts, Host{Name: name, Headers: map[string]secret.Secret{"X-Rule": secret.New(name)}})
	}
	forward, backward := client(t, hosts...), client(t, hosts[3], hosts[2], hosts[1], hosts[0])
	for raw, want := range map[string]string{
		"https://x.example.com/":                "*.example.com",
		"https://x.b.example.com/":              "*.b.example.com",
		"https://b.example.com:443/":            "*.example.com",
		"https://a.b.example.com/?q=1":          "a.b.example.com",
		"https://A.B.example.com:8443/":         "a.b.example.com:8443",
		"https://a.b.example.com:444/":          "",
		"https://a.b.example.com:/":             "",
		"http://a.b.example.com/":               "",
		"http://a.b.example.com:443/":           "",
		"ftp://a.b.example.com/":                "",
		"//a.b.example.com/":                    "",
		"https:a.b.example.com/":                "",
		"https:///x":                            "",
		"https://user@a.b.example.com/":         "",
		"https://user:password@x.example.com/":  "",
		"https://x.example.com@127.0.0.1/":      "",
		"https://x.example.com%00.evil.test/":   "",
		"https://evil.test#.example.com":        "",
		"https://evil.test?.example.com":        "",
		"https://evil.test/.example.com":        "",
		"https://evil.test%2f.example.com/":     "",
		"https://example.com./":                 "",
		"https://x.example.com.:443/":           "",
		"https://ⓧ.example.com/":                "",
		"https://xn--tda.example.com/":          "*.example.com",
		"https://[::ffff:1.2.3.4].example.com/": "",
	} {
		u, err := url.Parse(raw)
		if err != nil {
			require.Empty(t, want, raw)
			continue
		}
		for _, c := range []*Client{forward, backward} {
			got := ""
			if r := c.rule(u); r != nil {
				got = r.headers.Get("X-Rule")
			}
			require.Equal(t, want, got, raw)
		}
	}
}

func FuzzRule(f *testing.F) {
	for _, seed := range []string{
		"https://api.example.com/", "https://x.b.example.com:443/a?b#c", "https://u@api.example.com/", "https://api.example.com\\@evil.test/", "https://[::1]/",
		"https://api.example.com:8443/", "https://%61pi.example.com/", "http://api.example.com/", "https://api.example.com./",
	} {
		f.Add(seed)
	}
	c, err := New(Options{Hosts: []Host{{Name: "api.example.com"}, {Name: "*.b.example.com"}}})
	require.NoError(f, err)
	f.Fuzz(func(t *testing.T, raw string) {
		u, err := url.Parse(raw)
		if err != nil || c.rule(u) == nil {
			return
		}
		require.Equal(t, "https", u.Scheme)
		require.Nil(t, u.User)
		require.Contains(t, []string{"", "443"}, u.Port())
		host := strings.ToLower(u.Hostname())
		require.True(t, host == "api.example.com" || strings.HasSuffix(host, ".b.example.com"), host)
		require.True(t, c.Allowed(host))
		// What is asked is what was checked.
		request, _, refused := c.prepare(Request{Method: "GET", URL: u})
		if refused == nil {
			require.Equal(t, host, request.URL.Hostname())
			require.Empty(t, request.Host[len(request.URL.Host):])
		}
	})
}
