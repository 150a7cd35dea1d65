package caddymodule

import (
	"encoding/json"
	"net/http"
	"slices"
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
		d.Next() // so that the error says where
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
//	            role        <role> <path> <value>
//	            rate_limit  <limit> <path> <value>
//	            specialists <path> <value> <name...>
//	        }
//	    }
//	    login {
//	        trusted          loopback|anywhere|off
//	        email {
//	            smtp <url>
//	            from <address>
//	        }
//	        oidc <name> {
//	            issuer        <url>
//	            client_id     <id>
//	            client_secret <secret>
//	            scopes        <scope...>
//	            email_claim   <claim>
//	            trust_email
//	            redirect_url  <url>
//	            role          <role> <claim> <value>
//	        }
//	        public_url       <url>
//	        admins           <address...>
//	        viewers          <address...>
//	        refresh_lifetime <duration>
//	    }
//	    allowed_domains <domain...>
//	    conversations   on|off [<longest age>]
//	    content_secret  <secret>
//	    triage_model    <specialist or provider/model>
//	    pipelines       [off] {
//	        dir               [<folder>]
//	        examples          on|off
//	        http_host <name> {
//	            header  <name> <value>
//	            private
//	            plain
//	        }
//	        max_runs          <number>
//	        max_runs_per_user <number>
//	        max_calls         <number>
//	        retention         <duration>
//	    }
//	    pepper          <secret>
//	    provider <name> {
//	        key         <secret> [<secret if that is empty>...]
//	        base_url    <url> [<url if that is empty>...]
//	        preset      <name>
//	        auth        bearer|x-api-key|x-goog-api-key|api-key|none
//	        formats     openai_chat|openai_responses|anthropic_messages|gemini...
//	        models      <model...>
//	        deployment  <model> <the provider's name of it>
//	        api_version <version>
//	        project     <id>
//	        location    <name>
//	        credentials <json>
//	        header      <name> <value>
//	        timeout     first_byte|between_bytes|total <duration>
//	        transport   <name> { … }
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
//	    unsupported     refuse|drop
//	    fetch_media     on|off {
//	        max_size   <size>
//	        timeout    <duration>
//	        hosts      <name or *.name...>
//	        allow_http on|off
//	    }
//	    forward_headers <name...>
//	    spool_max_size  <size>
//	    metrics_listen  <address>
//	}
func (a *App) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the option's name
	if err := none(d); err != nil {
		return err
	}
	return block(d, func(option string) error { return a.unmarshalOption(d, option) },
		"provider", "specialist", "alias")
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
	case "content_secret":
		return one(d, &a.ContentSecret)
	case "triage_model":
		return one(d, &a.TriageModel)
	case "pipelines":
		return a.Pipelines.unmarshal(d)
	case "conversations":
		return a.Conversations.unmarshal(d)
	case "metrics_listen":
		return one(d, &a.MetricsListen)
	case "auto_migrate":
		return onOff(d, &a.AutoMigrate)
	case "jwt":
		return a.JWT.unmarshal(d)
	case "login":
		return a.Login.unmarshal(d)
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
	case "unsupported":
		return one(d, &a.Unsupported)
	case "fetch_media":
		return a.unmarshalFetchMedia(d)
	case "spool_max_size":
		return size(d, &a.SpoolMaxBytes)
	case "on_disconnect":
		args := d.RemainingArgs()
		if len(args) != 1 && len(args) != 2 {
			return d.Err("on_disconnect takes cancel or drain, and for drain a time")
		}
		a.OnDisconnect = args[0]
		if len(args) == 2 {
			return asDuration(d, args[1], &a.DrainTimeout)
		}
		return nil
	default:
		return d.Errf("unrecognized option of llm: %s", option)
	}
}

func (j *JWT) unmarshal(d *caddyfile.Dispenser) error {
	if err := none(d); err != nil {
		return err
	}
	return block(d, func(option string) error {
		switch option {
		case "secret":
			return one(d, &j.Secret)
		case "lifetime":
			return duration(d, &j.Lifetime)
		case "issuer":
			issuer := Issuer{}
			if err := issuer.unmarshal(d); err != nil {
				return err
			}
			j.Issuers = append(j.Issuers, issuer)
			return nil
		default:
			return d.Errf("unrecognized option of jwt: %s", option)
		}
	}, "issuer")
}

func (i *Issuer) unmarshal(d *caddyfile.Dispenser) error {
	if err := named(d, &i.Name); err != nil {
		return err
	}
	return block(d, func(option string) error {
		switch option {
		case "iss":
			return one(d, &i.Issuer)
		case "audience":
			if err := some(d, &i.Audience); err != nil {
				return err
			}
			if slices.Equal(i.Audience, []string{"any"}) {
				i.Audience, i.AnyAudience = nil, true
			}
			return nil
		case "secret":
			return one(d, &i.Secret)
		case "public_keys":
			return one(d, &i.PublicKeys)
		case "jwks":
			return one(d, &i.JWKS)
		case "refresh":
			return duration(d, &i.Refresh)
		case "leeway":
			return duration(d, &i.Leeway)
		case "algorithms":
			return some(d, &i.Algorithms)
		case "claim":
			return pair(d, &i.Claims)
		case "require":
			return pair(d, &i.Require)
		case "role", "rate_limit", "specialists":
			return i.unmarshalRule(d)
		default:
			return d.Errf("unrecognized option of issuer: %s", option)
		}
	}, "claim", "require", "role", "rate_limit", "specialists")
}

func (a *App) unmarshalProvider(d *caddyfile.Dispenser) error {
	p := Provider{}
	if err := named(d, &p.Name); err != nil {
		return err
	}
	err := block(d, func(option string) error {
		switch option {
		case "key":
			var key string
			err := alternatives(d, &key)
			p.Keys = append(p.Keys, key)
			return err
		case "base_url":
			return alternatives(d, &p.BaseURL)
		case "preset":
			return one(d, &p.Preset)
		case "auth":
			return one(d, &p.Auth)
		case "formats":
			return some(d, &p.Formats)
		case "deployment":
			return pair(d, &p.Deployments)
		case "api_version":
			return alternatives(d, &p.APIVersion)
		case "project":
			return alternatives(d, &p.Project)
		case "location":
			return alternatives(d, &p.Location)
		case "credentials":
			return one(d, &p.Credentials)
		case "models":
			return some(d, &p.Models)
		case "header":
			return p.unmarshalHeader(d)
		case "timeout":
			return p.unmarshalTimeout(d)
		case "transport":
			return transport(d, &p.TransportRaw)
		default:
			return d.Errf("unrecognized option of provider: %s", option)
		}
	}, "key", "deployment", "header", "timeout")
	a.Providers = append(a.Providers, p)
	return err
}

func (p *Provider) unmarshalHeader(d *caddyfile.Dispenser) error {
	args := d.RemainingArgs()
	if len(args) != 2 {
		return d.Err("header takes a name and a value")
	}
	if p.Headers == nil {
		p.Headers = make(http.Header)
	}
	p.Headers.Add(args[0], args[1])
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
	err := block(d, func(option string) error { return unmarshalSpecialistOption(d, &s, option) })
	if s.Name == "" {
		s.Name = s.ID
	}
	a.Specialists = append(a.Specialists, s)
	return err
}

func unmarshalSpecialistOption(d *caddyfile.Dispenser, s *specialist.Specialist, option string) error {
	switch option {
	case "name":
		return one(d, &s.Name)
	case "description":
		return one(d, &s.Description)
	case "model":
		var text string
		if err := one(d, &text); err != nil {
			return err
		}
		to, err := target(d, text)
		s.Provider, s.Model = to.Provider, to.Model
		return err
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
		var args []string
		if err := some(d, &args); err != nil {
			return err
		}
		for _, text := range args {
			to, err := target(d, text)
			if err != nil {
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
	if *to != 0 {
		return d.Errf("%s is set twice", d.Val())
	}
	var text string
	if err := one(d, &text); err != nil {
		return err
	}
	return asDuration(d, text, to)
}

func asDuration(d *caddyfile.Dispenser, text string, to *caddy.Duration) error {
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
