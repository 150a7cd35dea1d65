package caddymodule

import (
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

// unmarshal reads the block of `login`.
func (l *Login) unmarshal(d *caddyfile.Dispenser) error {
	if err := none(d); err != nil {
		return err
	}
	return block(d, func(option string) error {
		switch option {
		case "trusted":
			return one(d, &l.Trusted)
		case "email":
			return l.Email.unmarshal(d)
		case "oidc":
			provider := OIDCLogin{}
			if err := provider.unmarshal(d); err != nil {
				return err
			}
			l.OIDC = append(l.OIDC, provider)
			return nil
		case "public_url":
			return one(d, &l.PublicURL)
		case "admins":
			return some(d, &l.Admins)
		case "viewers":
			return some(d, &l.Viewers)
		case "refresh_lifetime":
			return duration(d, &l.RefreshLifetime)
		default:
			return d.Errf("unrecognized option of login: %s", option)
		}
	}, "oidc")
}

func (e *EmailLogin) unmarshal(d *caddyfile.Dispenser) error {
	if err := none(d); err != nil {
		return err
	}
	return block(d, func(option string) error {
		switch option {
		case "smtp":
			return one(d, &e.SMTP)
		case "from":
			return one(d, &e.From)
		default:
			return d.Errf("unrecognized option of email: %s", option)
		}
	})
}

func (o *OIDCLogin) unmarshal(d *caddyfile.Dispenser) error {
	if err := named(d, &o.Name); err != nil {
		return err
	}
	return block(d, func(option string) error {
		switch option {
		case "issuer":
			return one(d, &o.Issuer)
		case "client_id":
			return one(d, &o.ClientID)
		case "client_secret":
			return one(d, &o.ClientSecret)
		case "scopes":
			return some(d, &o.Scopes)
		case "email_claim":
			return one(d, &o.EmailClaim)
		case "trust_email":
			o.TrustEmail = true
			return none(d)
		case "redirect_url":
			return one(d, &o.RedirectURL)
		case "role":
			rule, err := roleRule(d)
			o.Roles = append(o.Roles, rule)
			return err
		default:
			return d.Errf("unrecognized option of oidc: %s", option)
		}
	}, "role")
}

// roleRule reads what stands behind `role`.
func roleRule(d *caddyfile.Dispenser) (RoleRule, error) {
	args := d.RemainingArgs()
	if len(args) != 3 {
		return RoleRule{}, d.Err("role takes a role, a claim and the value it must be or contain: role admin groups ai-admins")
	}
	return RoleRule{Role: args[0], Claim: args[1], Value: args[2]}, nil
}

// unmarshalRule reads a line that gives something for what a claim says.
func (i *Issuer) unmarshalRule(d *caddyfile.Dispenser) error {
	option, args := d.Val(), d.RemainingArgs()
	var rule IssuerRule
	switch {
	case option == "specialists" && len(args) >= 3:
		rule = IssuerRule{Claim: args[0], Value: args[1], Specialists: args[2:]}
	case option == "specialists":
		return d.Err("specialists takes a claim, its value and names: specialists groups legal legal-*")
	case len(args) != 3:
		return d.Errf("%s takes what is given, a claim and the value it must be or contain: role admin groups ai-admins", option)
	case option == "role":
		rule = IssuerRule{Role: args[0], Claim: args[1], Value: args[2]}
	default:
		rule = IssuerRule{RateLimit: args[0], Claim: args[1], Value: args[2]}
	}
	i.Rules = append(i.Rules, rule)
	return nil
}

// unmarshal reads what stands behind `conversations`.
func (c *Conversations) unmarshal(d *caddyfile.Dispenser) error {
	args := d.RemainingArgs()
	switch {
	case len(args) == 1 && args[0] == "off":
		c.Off = true
	case len(args) == 1 && args[0] == "on":
	case len(args) == 2 && args[0] == "on":
		return asDuration(d, args[1], &c.MaxAge)
	default:
		return d.Err("conversations takes on or off, and with on the longest time one is kept: conversations on 90d")
	}
	return nil
}
