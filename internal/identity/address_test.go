package identity

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestParseAddress(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"ada@example.com":                "ada@example.com",
		" \tADA@Example.COM\n":           "ada@example.com",
		"a.d.a+tag@example.com":          "a.d.a+tag@example.com", // another mailbox than without the tag
		"o'hara!#$%&*/=?^_`{|}~-@a.de":   "o'hara!#$%&*/=?^_`{|}~-@a.de",
		"1@2.3":                          "1@2.3",
		"ada@xn--bcher-kva.example":      "ada@xn--bcher-kva.example",
		"ada@a-b.c-d.example":            "ada@a-b.c-d.example",
		strings.Repeat("a", 64) + "@b.c": strings.Repeat("a", 64) + "@b.c",
	} {
		got, ok := ParseAddress(text)
		require.True(t, ok, text)
		require.Equal(t, want, got.Reveal())
		local, domain, _ := strings.Cut(want, "@")
		require.Equal(t, local, got.Local())
		require.Equal(t, domain, got.Domain())
		for _, verb := range []string{"%v", "%s", "%+v", "%#v", "%q", "%x", "%d"} {
			require.Equal(t, "…@"+domain, fmt.Sprintf(verb, got))
		}
	}
	require.Empty(t, Address{}.Reveal())
	for name, text := range map[string]string{
		"empty":                 "",
		"no at":                 "ada.example.com",
		"no local part":         "@example.com",
		"no domain":             "ada@",
		"one label":             "ada@localhost",
		"two ats":               "ada@evil.example@example.com",
		"quoted at":             `"ada@evil.example"@example.com`,
		"quoted":                `"ada"@example.com`,
		"comment":               "ada(x)@example.com",
		"comment in the domain": "ada@example.com(evil.example)",
		"display name":          "Ada <ada@example.com>",
		"list":                  "ada@example.com,bob@example.com",
		"list with a semicolon": "ada@example.com;bob@example.com",
		"address literal":       "ada@[127.0.0.1]",
		"route":                 "@evil.example:ada@example.com",
		"percent route":         "ada%evil.example@",
		"bang only":             "example.com!ada",
		"source of a header":    "ada@example.com\r\nBcc: bob@evil.example",
		"line break inside":     "ada\n@example.com",
		"nul":                   "ada@example.com\x00.evil.example",
		"space inside":          "ad a@example.com",
		"no-break space inside": "ad\u00a0a@example.com",
		"zero width space":      "ada\u200b@example.com",
		"right to left mark":    "ada\u202e@example.com",
		"trailing dot":          "ada@example.com.",
		"leading dot":           "ada@.example.com",
		"double dot":            "ada@example..com",
		"dot before the at":     "ada.@example.com",
		"dot first":             ".ada@example.com",
		"dots in a row":         "a..da@example.com",
		"hyphen first":          "ada@-example.com",
		"hyphen last":           "ada@example-.com",
		"underscore":            "ada@exa_mple.com",
		"wildcard":              "ada@*.example.com",
		"cyrillic a":            "\u0430da@example.com",
		"cyrillic domain":       "ada@ex\u0430mple.com",
		"full-width at":         "ada\uff20example.com",
		"small at":              "ada\ufe6bexample.com",
		"full-width dot":        "ada@example\uff0ecom",
		"ideographic dot":       "ada@example\u3002com",
		"kelvin sign":           "\u212aate@example.com",
		"dotted capital i":      "\u0130da@example.com",
		"long s":                "ada@example.\u017fe",
		"roman numeral":         "ada@examp\u217ce.com",
		"unicode domain":        "ada@bücher.example",
		"invalid utf-8":         "ada@example.com\xff",
		"label too long":        "ada@" + strings.Repeat("a", 64) + ".com",
		"local part too long":   strings.Repeat("a", 65) + "@example.com",
		"too long":              "ada@" + strings.Repeat("a.", 130) + "com",
		"url":                   "mailto:ada@example.com",
		"backslash":             `ada\@example.com`,
	} {
		got, ok := ParseAddress(text)
		require.False(t, ok, name)
		require.Equal(t, Address{}, got, name)
	}
}

func TestDomains(t *testing.T) {
	t.Parallel()
	d, err := ParseDomains([]string{" Example.COM ", "*.example.org", "xn--bcher-kva.example", "*.a.b.example"})
	require.NoError(t, err)
	require.False(t, d.IsZero())
	require.Equal(t, "example.com, xn--bcher-kva.example, *.example.org, *.a.b.example", d.String())
	for address, want := range map[string]bool{
		"a@example.com":                  true,
		"a@EXAMPLE.com":                  true,
		"a+b@example.com":                true,
		"a@eu.example.org":               true,
		"a@x.eu.example.org":             true,
		"a@c.a.b.example":                true,
		"a@xn--bcher-kva.example":        true,
		"a@eu.example.com":               false, // only itself
		"a@example.org":                  false, // only those below
		"a@evilexample.com":              false,
		"a@evilexample.org":              false,
		"a@evil-example.org":             false,
		"a@example.com.evil.example":     false,
		"a@example.org.evil.example":     false,
		"a@x.example.org.evil.example":   false,
		"a@example.co":                   false,
		"a@xample.com":                   false,
		"a@com":                          false,
		"example.com@evil.example":       false,
		"a@xn--exmple-4nf.com":           false, // with a Cyrillic a
		"a@bcher-kva.example":            false,
		"a@b.example":                    false,
		"a@a.b.example":                  false,
		"example.org.x.example.org@b.de": false,
	} {
		parsed, ok := ParseAddress(address)
		require.Equal(t, want, ok && d.Allow(parsed.Domain()), address)
	}
	for _, domain := range []string{"", ".", ".example.org", "example.org", "*.example.org.", "EXAMPLE.com", "example.com.", " example.com"} {
		require.False(t, d.Allow(domain), "%q", domain)
	}
}

func TestNoDomainsAllowAll(t *testing.T) {
	t.Parallel()
	for _, list := range [][]string{nil, {}} {
		d, err := ParseDomains(list)
		require.NoError(t, err)
		require.True(t, d.IsZero())
		require.True(t, d.Allow("anything.example"))
		require.Empty(t, d.String())
	}
}

func TestParseDomainsRefuses(t *testing.T) {
	t.Parallel()
	for _, item := range []string{
		"", " ", "*", "*.", "*example.com", "**.example.com", "*.*.example.com", "a.*.example.com", "example.*",
		".example.com", "example.com.", "*..example.com", "com", "*.com", "localhost", "@example.com", "a@example.com",
		"https://example.com", "example.com:25", "example.com/x", "bücher.example", "ex\u0430mple.com", "exa mple.com",
		"example.com,example.org", "-example.com", "example-.com", "example..com", "\u212aelvin.example", "[127.0.0.1]",
	} {
		_, err := ParseDomains([]string{"example.org", item})
		require.Error(t, err, "%q", item)
		require.ErrorContains(t, err, "is not a domain")
	}
}

func FuzzParseAddress(f *testing.F) {
	f.Add("alice@example.com")
	f.Add(" A.B+c@Sub.Example.COM ")
	f.Add("a@b@c")
	f.Fuzz(func(t *testing.T, text string) {
		parsed, ok := ParseAddress(text)
		if !ok {
			return
		}
		again, ok := ParseAddress(parsed.Reveal())
		require.True(t, ok)
		require.Equal(t, parsed, again)
		require.Equal(t, 1, strings.Count(parsed.Reveal(), "@"))
		for _, b := range []byte(parsed.Reveal()) {
			require.True(t, b > ' ' && b < 0x7f)
		}
		// What is checked here is what is hashed there.
		require.Equal(t, HashEmail(text), HashEmail(parsed.Reveal()))
	})
}
