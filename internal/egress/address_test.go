package egress

import (
	"net/netip"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestPublic(t *testing.T) {
	public := []string{
		"1.1.1.1", "8.8.8.8", "9.255.255.255", "11.0.0.0", "93.184.216.34", "100.63.255.255", "100.128.0.0", "126.255.255.255", "128.0.0.0",
		"168.63.129.15", "169.253.255.255", "169.255.0.0", "172.15.255.255", "172.32.0.0", "192.0.1.0", "192.0.3.0", "192.167.255.255",
		"192.169.0.0", "198.17.255.255", "198.20.0.0", "198.51.99.255", "203.0.112.255", "203.0.114.0", "223.255.255.255",
		"2001:200::1", "2606:4700:4700::1111", "2a00:1450:4001:80b::200e", "2003::1", "3ffe::1",
	}
	secret := []string{
		"0.0.0.0", "0.1.2.3", "10.0.0.1", "10.255.255.255", "100.64.0.1", "100.100.100.200", "100.127.255.255", "127.0.0.1", "127.255.255.254",
		"168.63.129.16", "169.254.0.1", "169.254.169.254", "172.16.0.1", "172.31.255.255", "192.0.0.1", "192.0.0.192", "192.0.2.1",
		"192.88.99.1", "192.168.1.1", "198.18.0.1", "198.19.255.255", "198.51.100.7", "203.0.113.9", "224.0.0.1", "239.255.255.255",
		"240.0.0.1", "255.255.255.255",
		"::", "::1", "::127.0.0.1", "::8.8.8.8", "::ffff:127.0.0.1", "::ffff:8.8.8.8", "::ffff:0:8.8.8.8", "64:ff9b::8.8.8.8", "64:ff9b::10.0.0.1",
		"64:ff9b:1::1", "100::1", "2001::1", "2001:0:4136:e378:8000:63bf:3fff:fdd2", "2001:1ff::1", "2001:db8::1", "2002:7f00:1::1",
		"2002:808:808::1", "3fff::1", "3fff:fff::1", "4000::1", "5f00::1", "fc00::1", "fd00:ec2::254", "fe80::1", "fe80::1%eth0",
		"2606:4700::1%eth0", "fec0::1", "ff02::1",
	}
	for _, text := range public {
		require.True(t, Public(netip.MustParseAddr(text)), text)
	}
	for _, text := range secret {
		require.False(t, Public(netip.MustParseAddr(text)), text)
	}
	require.False(t, Public(netip.Addr{}))
}

func TestURLs(t *testing.T) {
	for _, tt := range []struct {
		o   Options
		url string
		ok  bool
	}{
		{Options{}, "https://pictures.example/a.png", true},
		{Options{}, "https://pictures.example:443/a.png?w=1#top", true},
		{Options{}, "HTTPS://Pictures.Example/a.png", true},
		{Options{}, "https://8.8.8.8/a.png", true},
		{Options{}, "https://[2606:4700:4700::1111]/a.png", true},
		{Options{}, "http://pictures.example/a.png", false},
		{Options{AllowHTTP: true}, "http://pictures.example/a.png", true},
		{Options{AllowHTTP: true}, "http://pictures.example:80/a.png", true},
		{Options{AllowHTTP: true}, "http://pictures.example:443/a.png", false},
		{Options{}, "https://pictures.example:80/a.png", false},
		{Options{}, "https://pictures.example:8443/a.png", false},
		{Options{}, "https://pictures.example:22/", false},
		{Options{}, "https://user:secret@pictures.example/a.png", false},
		{Options{}, "https://pictures.example@127.0.0.1/", false},
		{Options{}, "https://127.0.0.1/", false},
		{Options{}, "https://127.0.0.1./", false},
		{Options{}, "https://[::1]/", false},
		{Options{}, "https://[::ffff:8.8.8.8]/", false},
		{Options{}, "https://[fe80::1%25eth0]/", false},
		{Options{}, "https://169.254.169.254/latest/meta-data/", false},
		{Options{}, "https:///etc/passwd", false},
		{Options{}, "https:pictures.example/a", false},
		{Options{}, "//pictures.example/a", false},
		{Options{}, "file:///etc/passwd", false},
		{Options{}, "gopher://pictures.example/1", false},
		{Options{}, "ftp://pictures.example/a", false},
		{Options{}, "data:image/png;base64,AAAA", false},
		{Options{}, "https://pictures.example/\r\nHost: inside", false},
		{Options{}, "https://pictures.example /", false},
		{Options{}, "https://pictures.example/" + strings.Repeat("a", maxURL), false},
		{Options{}, "", false},
		{Options{Hosts: []string{"a.example", "*.B.example"}}, "https://a.example/", true},
		{Options{Hosts: []string{"a.example", "*.B.example"}}, "https://A.example./", true},
		{Options{Hosts: []string{"a.example", "*.B.example"}}, "https://x.b.example/", true},
		{Options{Hosts: []string{"a.example", "*.B.example"}}, "https://y.x.b.example/", true},
		{Options{Hosts: []string{"a.example", "*.B.example"}}, "https://b.example/", false},
		{Options{Hosts: []string{"a.example", "*.B.example"}}, "https://evilb.example/", false},
		{Options{Hosts: []string{"a.example", "*.B.example"}}, "https://x.a.example/", false},
		{Options{Hosts: []string{"a.example"}}, "https://a.example.evil.example/", false},
	} {
		_, err := New(tt.o).check(tt.url)
		require.Equal(t, tt.ok, err == nil, "%s %v", tt.url, err)
	}
}

func FuzzURL(f *testing.F) {
	for _, seed := range []string{
		"https://pictures.example/a.png", "https://127.0.0.1/", "https://[::ffff:7f00:1]/", "https://0x7f.1/", "https://2130706433/",
		"https://a@b/", "https://①②⑦.⓪.⓪.①/", "https://a.example\\@127.0.0.1/", "https://a.example#@127.0.0.1/", "https://a.example:443:80/",
		"https://[::1%25a]/", "https://%31%32%37.0.0.1/", "https://localhost/", "https://a.example/%00", "https://a.example?x@127.0.0.1/",
	} {
		f.Add(seed)
	}
	open, closed := New(Options{}), New(Options{Hosts: []string{"a.example", "*.b.example"}})
	f.Fuzz(func(t *testing.T, raw string) {
		if u, err := open.check(raw); err == nil {
			require.Equal(t, "https", u.Scheme)
			require.Nil(t, u.User)
			require.Contains(t, []string{"", "443"}, u.Port())
			// What is asked is what was checked.
			again, err := url.Parse(u.String())
			require.NoError(t, err)
			require.Equal(t, u.Host, again.Host)
			if a, err := netip.ParseAddr(u.Hostname()); err == nil {
				require.True(t, Public(a))
			}
		}
		if u, err := closed.check(raw); err == nil {
			host := strings.ToLower(strings.TrimSuffix(u.Hostname(), "."))
			require.True(t, host == "a.example" || strings.HasSuffix(host, ".b.example"), host)
		}
	})
}

func FuzzAddress(f *testing.F) {
	for _, seed := range []string{"8.8.8.8", "10.0.0.1", "::1", "2606:4700::1111", "::ffff:10.0.0.1", "64:ff9b::a00:1", "2002:a00:1::1"} {
		f.Add(netip.MustParseAddr(seed).AsSlice())
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		a, ok := netip.AddrFromSlice(raw)
		if !ok || !Public(a) {
			return
		}
		require.True(t, a.IsGlobalUnicast(), a)
		require.False(t, a.IsPrivate() || a.IsLoopback() || a.IsLinkLocalUnicast() || a.IsMulticast() || a.IsUnspecified() || a.Is4In6(), a)
		if a.Is6() {
			for _, translated := range []string{"64:ff9b::/96", "::/96", "2002::/16", "2001::/32"} {
				require.False(t, netip.MustParsePrefix(translated).Contains(a), a)
			}
		}
	})
}
