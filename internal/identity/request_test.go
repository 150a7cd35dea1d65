package identity

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/llm"
)

func TestTokenFromRequest(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		target  string
		headers []string // name, value, name, value, …
		want    string   // "!" for an ambiguous request
	}{
		"nothing":                        {target: "/"},
		"bearer":                         {headers: []string{"Authorization", "Bearer t"}, want: "t"},
		"bearer in another case":         {headers: []string{"authorization", "bEARER t"}, want: "t"},
		"bearer with more space":         {headers: []string{"Authorization", "  Bearer    t  "}, want: "t"},
		"bearer and nothing":             {headers: []string{"Authorization", "Bearer "}},
		"bearer without space":           {headers: []string{"Authorization", "Bearert"}},
		"basic is not ours":              {headers: []string{"Authorization", "Basic dDp0"}},
		"basic beside a key":             {headers: []string{"Authorization", "Basic dDp0", "X-Api-Key", "t"}, want: "t"},
		"anthropic":                      {headers: []string{"x-api-key", "t"}, want: "t"},
		"google":                         {headers: []string{"x-goog-api-key", " t "}, want: "t"},
		"query":                          {target: "/v1beta/models?alt=sse&key=t", want: "t"},
		"query, escaped name and value":  {target: "/?%6bey=a%2Eb", want: "a.b"},
		"query after a semicolon":        {target: "/?alt=sse;key=t", want: "t"},
		"query in capitals is another":   {target: "/?KEY=t"},
		"query with a longer name":       {target: "/?apikey=t&keys=t&key[]=t"},
		"query, empty":                   {target: "/?key=&key"},
		"the same everywhere":            {target: "/?key=t&key=t", headers: []string{"Authorization", "Bearer t", "X-Api-Key", "t", "X-Goog-Api-Key", "t"}, want: "t"},
		"two headers differ":             {headers: []string{"Authorization", "Bearer t", "X-Api-Key", "u"}, want: "!"},
		"header and query differ":        {target: "/?key=u", headers: []string{"Authorization", "Bearer t"}, want: "!"},
		"two query keys differ":          {target: "/?key=t&key=u", want: "!"},
		"one header twice, differing":    {headers: []string{"Authorization", "Bearer t", "Authorization", "Bearer u"}, want: "!"},
		"one header twice, first empty":  {headers: []string{"X-Api-Key", "", "X-Api-Key", "u"}, want: "u"},
		"two tokens in one header, kept": {headers: []string{"Authorization", "Bearer t, Bearer u"}, want: "t, Bearer u"}, // no such token can verify
		"bad escape in the value":        {target: "/?key=%zz", want: "%zz"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRequest(c.target, c.headers...)
			token, err := TokenFromRequest(r)
			if c.want == "!" {
				requireCause(t, llm.CauseUnauthenticated, err)
				require.Empty(t, token)
				return
			}
			require.NoError(t, err)
			require.Equal(t, c.want, token)
		})
	}
}

func newRequest(target string, headers ...string) *http.Request {
	r := httptest.NewRequest(http.MethodPost, "/", nil)
	if target != "" {
		r.RequestURI = target
		path, query, _ := strings.Cut(target, "?")
		r.URL = &url.URL{Path: path, RawQuery: query}
	}
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	return r
}

func TestStrip(t *testing.T) {
	t.Parallel()
	for query, want := range map[string]string{
		"":                          "",
		"key=t":                     "",
		"key":                       "",
		"key=":                      "",
		"key=t&key=u":               "",
		"alt=sse&key=t":             "alt=sse",
		"key=t&alt=sse":             "alt=sse",
		"a=1&key=t&b=2":             "a=1&b=2",
		"a=1;key=t;b=2":             "a=1;b=2",
		"a=%zz&key=t&&b=+%20&c":     "a=%zz&&b=+%20&c",
		"&&a=1&key=t&":              "&&a=1&",
		"key=t&&a=1":                "&a=1",
		"%6Bey=t&a=1":               "a=1",
		"k%65y=%zz&a=1":             "a=1",
		"monkey=1&keys=2&KEY=3":     "monkey=1&keys=2&KEY=3",
		"q=a%26key%3Dt":             "q=a%26key%3Dt",
		"q=%E4%BD%A0&q=key&key=t#x": "q=%E4%BD%A0&q=key",
	} {
		r := newRequest("/v1beta/models/x:generateContent?"+query,
			"Authorization", "Basic x", "X-Api-Key", "t", "X-Api-Key", "u", "X-Goog-Api-Key", "t", "X-Other", "kept")
		Strip(r)
		require.Equal(t, http.Header{"X-Other": {"kept"}}, r.Header)
		require.Equal(t, want, r.URL.RawQuery, query)
		wantURI := "/v1beta/models/x:generateContent?" + want
		if want == "" && query != "" {
			wantURI = "/v1beta/models/x:generateContent"
		}
		require.Equal(t, wantURI, r.RequestURI, query)
	}
}

func TestStripParsedForm(t *testing.T) {
	t.Parallel()
	r := httptest.NewRequest(http.MethodGet, "/?key=t&a=1", nil)
	require.NoError(t, r.ParseForm())
	Strip(r)
	require.Equal(t, url.Values{"a": {"1"}}, r.Form)
	require.Equal(t, "/?a=1", r.URL.String())
}

// FuzzStrip: after Strip no token is found, no "key" parameter is left by Go's
// own reading either, and every other parameter is as it was.
func FuzzStrip(f *testing.F) {
	for _, query := range []string{"", "key=t", "a=1&key=t&b=2", "%6bey=t", "a;key=1", "&&key&=", "key=%zz", "a=key=t"} {
		f.Add(query, "Bearer t", "u")
	}
	f.Fuzz(func(t *testing.T, query, authorization, key string) {
		r := newRequest("/x?"+query, "Authorization", authorization, "X-Api-Key", key)
		_, _ = TokenFromRequest(r)
		before, _ := url.ParseQuery(query)
		Strip(r)
		token, err := TokenFromRequest(r)
		require.NoError(t, err)
		require.Empty(t, token)
		require.NotContains(t, r.Header, "Authorization")
		after, _ := url.ParseQuery(r.URL.RawQuery)
		require.NotContains(t, after, "key")
		if !strings.Contains(query, ";") {
			delete(before, "key")
			require.Equal(t, before, after)
		}
	})
}
