package identity

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Rule gives something to those of an issuer's tokens that have a claim of some
// value, such as the members of a group.
type Rule struct {
	Claim string // dotted path, as in [ClaimMap]
	Value string // what the claim must be, or, where it is a list, contain

	Role     string // a role that the token gives beside those that it says
	UserRate string // the user's own limit of model calls, "100/h"; the first rule that has one decides

	// Specialists that the token is good for beside those that it says. Once any
	// rule of an issuer lists some, its tokens that say nothing of specialists
	// are good for those of their rules alone, instead of for all.
	Specialists []string
}

func (rule Rule) check() error {
	switch {
	case rule.Claim == "" || rule.Value == "":
		return errors.New("a rule needs a claim and the value it must have")
	case rule.Role == "" && rule.UserRate == "" && len(rule.Specialists) == 0:
		return fmt.Errorf("the rule for the claim %q gives nothing: say a role, a rate or specialists", rule.Claim)
	case rule.Role != strings.TrimSpace(rule.Role), rule.UserRate != strings.TrimSpace(rule.UserRate):
		return fmt.Errorf("the rule for the claim %q has a role or a rate with space around", rule.Claim)
	case slices.ContainsFunc(rule.Specialists, func(name string) bool { return strings.TrimSpace(name) == "" }):
		return fmt.Errorf("the rule for the claim %q has a specialist without a name", rule.Claim)
	}
	return nil
}

// applyRules gives the caller what the rules say.
func (i *issuer) applyRules(p *Principal, claims map[string]any) {
	if p.Specialists == nil && slices.ContainsFunc(i.config.Rules, func(rule Rule) bool { return len(rule.Specialists) > 0 }) {
		p.Specialists = []string{}
	}
	for _, rule := range i.config.Rules {
		if !ClaimSays(claims, rule.Claim, rule.Value) {
			continue
		}
		p.addRole(rule.Role)
		if p.UserRate == "" {
			p.UserRate = rule.UserRate
		}
		p.Specialists = append(p.Specialists, rule.Specialists...)
	}
}

func (p *Principal) addRole(role string) {
	if role != "" && !p.HasRole(role) {
		p.Roles = append(p.Roles, role)
	}
}

// parsePeople reads [Issuer.People]; of two roles for one address admin counts.
func parsePeople(people map[string]string) (map[Address]string, error) {
	roles := make(map[Address]string, len(people))
	for _, text := range slices.Sorted(maps.Keys(people)) {
		address, ok := ParseAddress(text)
		role := people[text]
		switch {
		case !ok:
			return nil, errors.New("a role is given to somebody whose address is not an e-mail address")
		case role != RoleAdmin && role != RoleViewer:
			return nil, fmt.Errorf("the role %.40q cannot be given to an address; there are %s and %s", role, RoleAdmin, RoleViewer)
		case roles[address] != RoleAdmin:
			roles[address] = role
		}
	}
	return roles, nil
}

// applyPeople gives the caller the role of their address. An address of another
// issuer's token counts only if that issuer states that it is verified: at some,
// people write into their account what they like.
func (i *issuer) applyPeople(p *Principal, claims map[string]any) {
	if !i.config.Own && !ClaimSays(claims, "email_verified", "true") {
		return
	}
	if address, ok := ParseAddress(p.Email()); ok {
		p.addRole(i.people[address])
	}
}
