package caddymodule

import (
	"encoding/json"
	"net/http"
	"strconv"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/dustin/go-humanize"

	"github.com/financecommander/tollgate/internal/specialist"
)

func init() {
	httpcaddyfile.RegisterGlobalOption("llm", parseApp)
}

func parseApp(d *caddyfile.Dispenser, existing any) (any, error) {
	if existing != nil {
		return nil, d.Err("the llm option is already set; there can be one")
	}
	app := new(App)
	if err := app.UnmarshalCaddyfile(d); err != nil {
		return nil, err
	}
	return httpcaddyfile.App{Name: "llm", Value: caddyconfig.JSON(app, nil)}, nil
}

// UnmarshalCaddyfile sets up the app from Caddyfile tokens. Every line is
// optional:
//
//	llm {
//	    data_dir        <folder>
//	    database        <url>
//	    auto_migrate    on|off
//	    redis           <url>
//	    redis_failure   local|deny|allow
//	    jwt {
//	        secret   <secret>
//	        lifetime <duration>
//	        issuer <name> {
//	            iss         <text>
//	            audience    <text...>|any
//	            secret      <secret>
//	            public_keys <pem>
//	            jwks        <url>
//	            refresh     <duration>
//	            leeway      <duration>
//	            algorithms  <alg...>
//	            claim       subject|email|name|roles|specialists <path>
//	            require     <path> <value>
//	        }
//	    }
//	    allowed_domains <domain...>
//	    pepper          <secret>
//	    provider <name> {
//	        key       <secret...>
//	        base_url  <url>
//	        preset    <name>
//	        models    <model...>
//	        header    <name> <value>
//	        timeout   first_byte|between_bytes|total <duration>
//	        transport <name> { … }
//	    }
//	    transport <name> { … }
//	    specialist <id> {
//	        name          <text>
//	        description   <text>
//	        model         <provider>/<model>
//	        system_prompt <text>
//	        temperature   <number>
//	        max_tokens    <number>
//	        alias         <name...>
//	        fallback      <provider>/<model>...
//	        base_url      <url>
//	        price         <input usd per 1m> <output usd per 1m>
//	        pinned
//	    }
//	    alias           <name> <provider/model or specialist>
//	    prices          <file>
//	    on_disconnect   cancel|drain [<timeout>]
//	    max_body        <size>
//	    forward_headers <name...>
//	    spool_max_size  <size>
//	    metrics_listen  <address>
//	}
func (a *App) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the option's name
	if d.NextArg() {
		return d.ArgErr()
	}
	seen := make(map[string]bool)
	for d.NextBlock(0) {
		option := d.Val()
		if seen[option] && option != "provider" && option != "specialist" && option != "alias" {
			return d.Errf("%s is set twice", option)
		}
		seen[option] = true
		if err := a.unmarshalOption(d, option); err != nil {
			return err
		}
	}
	return nil
}

func (a *App) unmarshalOption(d *caddyfile.Dispenser, option string) error {
	switch option {
	case "data_dir":
		return one(d, &a.DataDir)
	case "database":
		return one(d, &a.Database)
	case "redis":
		return one(d, &a.Redis)
	case "redis_failure":
		return one(d, &a.RedisFailure)
	case "pepper":
		return one(d, &a.Pepper)
	case "prices":
		return one(d, &a.Prices)
	case "metrics_listen":
		return one(d, &a.MetricsListen)
	case "auto_migrate":
		return onOff(d, &a.AutoMigrate)
	case "jwt":
		return a.JWT.unmarshal(d)
	case "allowed_domains":
		return some(d, &a.AllowedDomains)
	case "forward_headers":
		return some(d, &a.ForwardHeaders)
	case "provider":
		return a.unmarshalProvider(d)
	case "specialist":
		return a.unmarshalSpecialist(d)
	case "alias":
		return pair(d, &a.Aliases)
	case "transport":
		return transport(d, &a.TransportRaw)
	case "max_body":
		return size(d, &a.MaxBody)
	case "spool_max_size":
		return size(d, &a.SpoolMaxBytes)
	case "on_disconnect":
		if !d.NextArg() {
			return d.ArgErr()
		}
		a.OnDisconnect = d.Val()
		if d.NextArg() {
			d.Prev()
			return duration(d, &a.DrainTimeout)
		}
		return nil
	default:
		return d.Errf("unrecognized option of llm: %s", option)
	}
}

func (j *JWT) unmarshal(d *caddyfile.Dispenser) error {
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		var err error
		switch d.Val() {
		case "secret":
			err = one(d, &j.Secret)
		case "lifetime":
			err = duration(d, &j.Lifetime)
		case "issuer":
			issuer := Issuer{}
			if err = named(d, &issuer.Name); err == nil {
				err = issuer.unmarshal(d)
			}
			j.Issuers = append(j.Issuers, issuer)
		default:
			err = d.Errf("unrecognized option of jwt: %s", d.Val())
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (i *Issuer) unmarshal(d *caddyfile.Dispenser) error {
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		var err error
		switch d.Val() {
		case "iss":
			err = one(d, &i.Issuer)
		case "audience":
			if err = some(d, &i.Audience); err == nil && len(i.Audience) == 1 && i.Audience[0] == "any" {
				i.Audience, i.AnyAudience = nil, true
			}
		case "secret":
			err = one(d, &i.Secret)
		case "public_keys":
			err = one(d, &i.PublicKeys)
		case "jwks":
			err = one(d, &i.JWKS)
		case "refresh":
			err = duration(d, &i.Refresh)
		case "leeway":
			err = duration(d, &i.Leeway)
		case "algorithms":
			err = some(d, &i.Algorithms)
		case "claim":
			err = pair(d, &i.Claims)
		case "require":
			err = pair(d, &i.Require)
		default:
			err = d.Errf("unrecognized option of issuer: %s", d.Val())
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (a *App) unmarshalProvider(d *caddyfile.Dispenser) error {
	p := Provider{}
	if err := named(d, &p.Name); err != nil {
		return err
	}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		var err error
		switch d.Val() {
		case "key":
			err = some(d, &p.Keys)
		case "base_url":
			err = one(d, &p.BaseURL)
		case "preset":
			err = one(d, &p.Preset)
		case "models":
			err = some(d, &p.Models)
		case "header":
			var headers map[string]string
			if err = pair(d, &headers); err == nil {
				if p.Headers == nil {
					p.Headers = make(http.Header)
				}
				for name, value := range headers {
					p.Headers.Add(name, value)
				}
			}
		case "timeout":
			err = p.unmarshalTimeout(d)
		case "transport":
			err = transport(d, &p.TransportRaw)
		default:
			err = d.Errf("unrecognized option of provider: %s", d.Val())
		}
		if err != nil {
			return err
		}
	}
	a.Providers = append(a.Providers, p)
	return nil
}

func (p *Provider) unmarshalTimeout(d *caddyfile.Dispenser) error {
	if !d.NextArg() {
		return d.ArgErr()
	}
	switch d.Val() {
	case "first_byte":
		return duration(d, &p.FirstByteTimeout)
	case "between_bytes":
		return duration(d, &p.BetweenBytesTimeout)
	case "total":
		return duration(d, &p.TotalTimeout)
	default:
		return d.Errf("unrecognized timeout: %s; there are first_byte, between_bytes and total (connecting is the transport's dial_timeout)", d.Val())
	}
}

func (a *App) unmarshalSpecialist(d *caddyfile.Dispenser) error {
	s := specialist.Specialist{}
	if err := named(d, &s.ID); err != nil {
		return err
	}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		if err := unmarshalSpecialistOption(d, &s, d.Val()); err != nil {
			return err
		}
	}
	if s.Name == "" {
		s.Name = s.ID
	}
	a.Specialists = append(a.Specialists, s)
	return nil
}

func unmarshalSpecialistOption(d *caddyfile.Dispenser, s *specialist.Specialist, option string) error {
	switch option {
	case "name":
		return one(d, &s.Name)
	case "description":
		return one(d, &s.Description)
	case "model":
		var to specialist.Target
		if err := target(d, &to); err != nil {
			return err
		}
		s.Provider, s.Model = to.Provider, to.Model
		return nil
	case "system_prompt":
		return one(d, &s.SystemPrompt)
	case "base_url":
		return one(d, &s.BaseURL)
	case "alias":
		return some(d, &s.Aliases)
	case "pinned":
		s.Pinned = true
		return none(d)
	case "temperature":
		var text string
		if err := one(d, &text); err != nil {
			return err
		}
		value, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return d.Errf("temperature is a number from 0 to 2, not %s", text)
		}
		s.Temperature = &value
		return nil
	case "max_tokens":
		var text string
		if err := one(d, &text); err != nil {
			return err
		}
		value, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return d.Errf("max_tokens is a whole number, not %s", text)
		}
		s.MaxTokens = value
		return nil
	case "price":
		args := d.RemainingArgs()
		if len(args) != 2 {
			return d.Err("price takes two numbers: USD per million tokens read, and generated")
		}
		s.Pricing = &specialist.Pricing{InputPer1M: json.Number(args[0]), OutputPer1M: json.Number(args[1])}
		return nil
	case "fallback":
		for d.NextArg() {
			d.Prev()
			var to specialist.Target
			if err := target(d, &to); err != nil {
				return err
			}
			s.Fallbacks = append(s.Fallbacks, to)
		}
		return nil
	default:
		return d.Errf("unrecognized option of specialist: %s", option)
	}
}

// duration reads the option's only argument as a duration.
func duration(d *caddyfile.Dispenser, to *caddy.Duration) error {
	var text string
	if err := one(d, &text); err != nil {
		return err
	}
	value, err := caddy.ParseDuration(text)
	if err != nil || value <= 0 {
		return d.Errf("%s is no duration; write one like 30s or 5m", text)
	}
	*to = caddy.Duration(value)
	return nil
}

// size reads the option's only argument as a number of bytes ("32MiB").
func size(d *caddyfile.Dispenser, to *int64) error {
	var text string
	if err := one(d, &text); err != nil {
		return err
	}
	value, err := humanize.ParseBytes(text)
	if err != nil || value == 0 || value > 1<<50 {
		return d.Errf("%s is no size; write one like 32MiB", text)
	}
	*to = int64(value)
	return nil
}
