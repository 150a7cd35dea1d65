package login

import (
	"bytes"
	"cmp"
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"github.com/financecommander/tollgate/internal/identity"
	"github.com/financecommander/tollgate/internal/identity/session"
	"github.com/financecommander/tollgate/internal/llm"
)

// claims are what the provider says of a person, verified.
func (p *OIDC) claims(ctx context.Context, found *found, code string, s oidcState) (map[string]any, error) {
	ctx = oidc.ClientContext(ctx, p.client)
	token, err := p.config(found).Exchange(ctx, code, oauth2.VerifierOption(s.Verifier))
	if err != nil {
		return nil, p.exchangeError(err)
	}
	raw, ok := token.Extra("id_token").(string)
	if !ok {
		return nil, p.invalid(errors.New("there is no id_token in the answer"))
	}
	// Its algorithms are those that the provider names, and among them only ones
	// with public keys: neither "none" nor HMAC.
	idToken, err := found.provider.Verifier(&oidc.Config{ClientID: p.o.ClientID}).Verify(ctx, raw)
	if err != nil {
		return nil, p.invalid(err)
	}
	if subtle.ConstantTimeCompare([]byte(idToken.Nonce), []byte(s.Nonce)) != 1 {
		return nil, p.refuse("the answer of "+p.o.Name+" belongs to another sign-in; start again", errors.New("the nonce is another one"))
	}
	claims, err := decodeClaims(idToken.Claims)
	if err != nil {
		return nil, p.invalid(err)
	}
	if party, _ := claims["azp"].(string); party != p.o.ClientID && (party != "" || len(idToken.Audience) > 1) {
		return nil, p.invalid(errors.New("the id_token was made for another client (azp)"))
	}
	return p.withUserInfo(ctx, found.provider, token, idToken.Subject, claims)
}

// exchangeError sorts out why the provider gave no token for a code. What it says
// in free words is left out: it may name the person.
func (p *OIDC) exchangeError(err error) error {
	refused, ok := errors.AsType[*oauth2.RetrieveError](err)
	switch {
	case !ok:
		return p.down(err)
	case refused.ErrorCode == "invalid_grant":
		return p.refuse("the code of "+p.o.Name+" is wrong, was used already, or is too old; start again", errors.New("invalid_grant"))
	case refused.Response != nil && refused.Response.StatusCode >= http.StatusInternalServerError:
		return p.down(fmt.Errorf("the token endpoint answers %d", refused.Response.StatusCode))
	}
	status := 0
	if refused.Response != nil {
		status = refused.Response.StatusCode
	}
	return &llm.Error{
		Cause: llm.CauseUpstreamAuth, Err: fmt.Errorf("the token endpoint answers %d %.60q", status, refused.ErrorCode),
		Message: p.o.Name + " does not accept this gateway; tell your operator to check its client id, secret and redirect URL",
	}
}

// withUserInfo adds what only the userinfo endpoint tells, where the specification
// puts the address (OpenID Connect Core 1.0, 5.4); most providers have it in the
// ID token as well.
func (p *OIDC) withUserInfo(ctx context.Context, provider *oidc.Provider, token *oauth2.Token, subject string, claims map[string]any) (map[string]any, error) {
	if provider.UserInfoEndpoint() == "" || !p.lacks(claims) {
		return claims, nil
	}
	info, err := provider.UserInfo(ctx, oauth2.StaticTokenSource(token))
	if err != nil {
		return nil, p.down(errors.New("the userinfo endpoint does not answer as it should")) // err may repeat what it says of the person
	}
	if info.Subject != subject { // a must by 5.3.2, against swapped access tokens
		return nil, p.invalid(errors.New("the userinfo endpoint speaks of another person"))
	}
	more, err := decodeClaims(info.Claims)
	if err != nil {
		return nil, p.invalid(err)
	}
	addInfo(claims, more, p.o.EmailClaim)
	return claims, nil
}

// emailVerified is the claim that vouches for the address beside it.
const emailVerified = "email_verified"

// addInfo adds what the ID token does not say. What says whether an address was
// verified stays with its address.
func addInfo(claims, more map[string]any, emailClaim string) {
	address, stated := claims[emailClaim].(string)
	other, _ := more[emailClaim].(string)
	switch {
	case !stated:
		delete(claims, emailVerified)
	case address != other:
		delete(more, emailVerified)
	}
	for name, value := range more {
		if _, stated := claims[name]; !stated {
			claims[name] = value
		}
	}
}

// lacks tells whether something that is needed is not among the claims.
func (p *OIDC) lacks(claims map[string]any) bool {
	if p.o.EmailClaim == defaultEmailClaim && claims[emailVerified] == nil || claims[p.o.EmailClaim] == nil {
		return true
	}
	return slices.ContainsFunc(p.o.Roles, func(rule RoleRule) bool {
		object, _, _ := strings.Cut(rule.Claim, ".")
		return claims[rule.Claim] == nil && claims[object] == nil
	})
}

// person reads claims.
func (p *OIDC) person(claims map[string]any) (session.Person, error) {
	text, _ := claims[p.o.EmailClaim].(string)
	address, ok := identity.ParseAddress(text)
	if !ok {
		return session.Person{}, p.refuse(p.o.Name+" does not say your e-mail address in a form that can be used here; ask your operator",
			fmt.Errorf("the claim %q is missing or no address", p.o.EmailClaim))
	}
	if !p.vouched(claims) {
		return session.Person{}, p.refuse(p.o.Name+" does not confirm that the e-mail address is yours; confirm it there, or ask your operator",
			errors.New("email_verified is missing or false"))
	}
	person := session.Person{Address: address, Provider: p.o.Name}
	person.Name, _ = claims["name"].(string)
	person.Avatar, _ = claims["picture"].(string)
	person.Name = cmp.Or(person.Name, address.Local())
	for _, rule := range p.o.Roles {
		if identity.ClaimSays(claims, rule.Claim, rule.Value) && !slices.Contains(person.Roles, rule.Role) {
			person.Roles = append(person.Roles, rule.Role)
		}
	}
	return person, nil
}

// vouched tells whether the address may be believed. Some providers write true as
// a text.
func (p *OIDC) vouched(claims map[string]any) bool {
	verified, stated := claims[emailVerified]
	if p.o.EmailClaim != defaultEmailClaim || !stated || verified == nil {
		return p.o.TrustEmail
	}
	return verified == true || verified == "true"
}

// decodeClaims keeps numbers as they are written.
func decodeClaims(read func(any) error) (map[string]any, error) {
	var raw json.RawMessage
	if err := read(&raw); err != nil {
		return nil, err
	}
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber()
	var claims map[string]any
	if err := decoder.Decode(&claims); err != nil {
		return nil, err
	}
	if claims == nil {
		return nil, errors.New("the claims are no object")
	}
	return claims, nil
}
