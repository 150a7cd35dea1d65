package identity

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/secret"
)

func TestPrincipalPrintsNoPerson(t *testing.T) {
	t.Parallel()
	v := newVerifier(t, secretIssuer())
	signer := must(NewSigner(secret.New(testSecret), "https://own", "tollgate"))
	p, err := v.Verify(t.Context(), must(signer.Mint(Claims{Subject: "ada@example.com", Email: "ada@example.com", Name: "Ada Lovelace", Roles: []string{"admin"}})))
	require.NoError(t, err)
	require.Equal(t, "ada@example.com", p.Email())

	var out strings.Builder
	// Here fmt calls no methods; a pointer prints as an address of memory.
	hidden := struct{ p *Principal }{p}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		fmt.Fprintf(&out, verb+"\n", p)
		fmt.Fprintf(&out, verb+"\n", *p)
		fmt.Fprintf(&out, verb+"\n", []*Principal{p})
	}
	fmt.Fprintf(&out, "%v %+v %#v\n", hidden, hidden, hidden)
	out.Write(must(json.Marshal(p)))
	out.Write(must(json.Marshal(map[string]any{"p": *p})))
	slog.New(slog.NewJSONHandler(&out, nil)).Info("x", slog.Any("principal", p), slog.Any("list", []Principal{*p}))
	slog.New(slog.NewTextHandler(&out, nil)).Info("x", slog.Any("principal", *p))
	require.Contains(t, out.String(), p.UserHash)
	for _, personal := range []string{"ada@", "Ada", "example.com", fmt.Sprintf("%x", "ada@")} {
		require.NotContains(t, out.String(), personal)
	}
	require.Equal(t, fmt.Sprint(p), p.String())
}

func TestMayUse(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		list []string
		name string
		want bool
	}{
		{nil, "x", true},
		{[]string{}, "x", false},
		{[]string{"code-reviewer"}, "code-reviewer", true},
		{[]string{"code-reviewer"}, "code-reviewer-2", false},
		{[]string{"code-reviewer"}, "Code-Reviewer", false},
		{[]string{"openai/*"}, "openai/gpt-4o", true},
		{[]string{"openai/*"}, "openai/", true},
		{[]string{"openai/*"}, "openai", false},
		{[]string{"openai/*"}, "xopenai/gpt-4o", false},
		{[]string{"openai/*"}, "openai/*", true},
		{[]string{"a", "gpt-4o*"}, "gpt-4o-mini", true},
		{[]string{"*"}, "anything", true},
		{[]string{"*mini"}, "gpt-mini", false},
		{[]string{"a*c"}, "abc", false},
		{[]string{""}, "x", false},
	} {
		p := &Principal{Specialists: c.list}
		require.Equal(t, c.want, p.MayUse(c.name), "%v %q", c.list, c.name)
	}
}

func TestContext(t *testing.T) {
	t.Parallel()
	_, ok := FromContext(context.Background())
	require.False(t, ok)
	_, ok = FromContext(NewContext(context.Background(), nil))
	require.False(t, ok)
	want := &Principal{Subject: "x"}
	got, ok := FromContext(NewContext(context.Background(), want))
	require.True(t, ok)
	require.Same(t, want, got)
	require.Empty(t, want.Email())
	require.Nil(t, want.Claims())
}

func TestHashEmail(t *testing.T) {
	t.Parallel()
	const plain = "b4c9a289323b21a01c3e940f150eb9b8c542587f1abfd8f0e1cc1ffc5e475514" // printf user@example.com | sha256sum
	require.Equal(t, plain, HashEmail("user@example.com"))
	require.Equal(t, plain, HashEmail(" \tUser@EXAMPLE.com\n"))
	require.NotEqual(t, HashEmail("kate@example.com"), HashEmail("\u212aate@example.com"), "the Kelvin sign is not a k")
	require.NotEqual(t, HashEmail("ida@example.com"), HashEmail("\u0130da@example.com"), "a dotted capital I is not an i")
	require.Equal(t, HashEmail("élan@example.com"), HashEmail("ÉLAN@example.com"))

	peppered := Hasher{Pepper: secret.New("pepper")}
	require.Equal(t, "6e37857e3fc0b2c373c3801a42252da972a214d18d392ec069c3f05f0859473c", peppered.HashEmail("user@example.com")) // printf user@example.com | openssl dgst -sha256 -hmac pepper
	require.Equal(t, peppered.HashEmail("user@example.com"), peppered.HashEmail("USER@example.com "))
	require.NotEqual(t, plain, peppered.HashEmail("user@example.com"))
	require.NotEqual(t, peppered.HashEmail("user@example.com"), Hasher{Pepper: secret.New("other")}.HashEmail("user@example.com"))
	require.NotEqual(t, Hasher{}.hashSubject("a", "bc"), Hasher{}.hashSubject("ab", "c"))
}

func TestSignerAndVerifierAgree(t *testing.T) {
	t.Parallel()
	signer := must(NewSigner(secret.New(testSecret), "https://own", "tollgate", "portal"))
	v := newVerifier(t, secretIssuer())
	token := must(signer.Mint(Claims{Subject: "u", Email: "a@b.example", Name: "A", Roles: []string{"admin"}, Specialists: []string{"x", "openai/*"}, Lifetime: time.Minute}))
	p, err := v.Verify(t.Context(), token)
	require.NoError(t, err)
	require.Equal(t, []string{"admin"}, p.Roles)
	require.Equal(t, []string{"x", "openai/*"}, p.Specialists)
	require.Equal(t, "a@b.example", p.Email())
	require.Equal(t, "A", p.Name)
	require.Equal(t, time.Minute, p.ExpiresAt.Sub(p.IssuedAt))
	require.GreaterOrEqual(t, len(p.TokenID), 26) // 128 bits
	again, err := v.Verify(t.Context(), must(signer.Mint(Claims{Subject: "u"})))
	require.NoError(t, err)
	require.NotEqual(t, p.TokenID, again.TokenID)
	require.Equal(t, DefaultLifetime, again.ExpiresAt.Sub(again.IssuedAt))
	require.True(t, again.MayUse("anything"))

	for _, bad := range []Claims{{}, {Subject: " "}, {Subject: "u", Lifetime: -1}} {
		_, err := signer.Mint(bad)
		require.Error(t, err)
	}
	_, err = NewSigner(secret.New("short"), "x")
	require.ErrorContains(t, err, "openssl rand -base64 48")
}

// An API token belongs to whom its maker's token named, whoever issued that one.
func TestAPITokensKeepTheirMakersHash(t *testing.T) {
	t.Parallel()
	own := secretIssuer()
	own.Own = true
	maker, err := newVerifier(t, keyIssuer("other", keyring().ed)).Verify(t.Context(),
		signed(jwt.SigningMethodEdDSA, keyring().ed, nil, goodClaims("https://other", nil)))
	require.NoError(t, err)
	require.Empty(t, maker.EmailHash)

	signer := must(NewSigner(secret.New(testSecret), "https://own", "tollgate"))
	token := must(signer.Mint(Claims{Kind: KindAPI, Subject: maker.UserHash}))
	p, err := newVerifier(t, own).Verify(t.Context(), token)
	require.NoError(t, err)
	require.Equal(t, maker.UserHash, p.UserHash)

	own.Own = false // a stranger's claim of a kind says nothing
	p, err = newVerifier(t, own).Verify(t.Context(), token)
	require.NoError(t, err)
	require.NotEqual(t, maker.UserHash, p.UserHash)
}
