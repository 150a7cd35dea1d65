package caddymodule

import (
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/caddyauth"

	"github.com/caddyserver/caddy/v2"
)

// Where the directives stand among Caddy's own. Who asks and how much is settled
// with Caddy's other authentication, before `handle` and whatever answers, so
// that nothing is reached around it.
func init() {
	httpcaddyfile.RegisterHandlerDirective("llm_cors", parseHandler[CORS])
	httpcaddyfile.RegisterHandlerDirective("llm_jwt", parseAuthenticator)
	httpcaddyfile.RegisterHandlerDirective("llm_rate_limit", parseHandler[RateLimit])
	httpcaddyfile.RegisterHandlerDirective("llm_proxy", parseHandler[Proxy])
	httpcaddyfile.RegisterHandlerDirective("llm_portal", parseHandler[Portal])
	httpcaddyfile.RegisterHandlerDirective("llm_error", parseHandler[ErrorResponder])
	httpcaddyfile.RegisterDirective("llm_gateway", parseGateway)

	for _, name := range []string{"llm_cors", "llm_jwt", "llm_rate_limit"} {
		httpcaddyfile.RegisterDirectiveOrder(name, httpcaddyfile.Before, "basic_auth")
	}
	for _, name := range []string{"llm_proxy", "llm_portal", "llm_error", "llm_gateway"} {
		httpcaddyfile.RegisterDirectiveOrder(name, httpcaddyfile.Before, "reverse_proxy")
	}
}

// directive is a handler that a Caddyfile can set up.
type directive[T any] interface {
	*T
	caddyhttp.MiddlewareHandler
	caddyfile.Unmarshaler
}

func parseHandler[T any, P directive[T]](h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	handler := P(new(T))
	return handler, handler.UnmarshalCaddyfile(h.Dispenser)
}

func parseAuthenticator(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	h.Next() // the directive's name
	if err := none(h.Dispenser); err != nil {
		return nil, err
	}
	return authentication(h), bare(h.Dispenser)
}

func authentication(h httpcaddyfile.Helper) caddyauth.Authentication {
	return caddyauth.Authentication{ProvidersRaw: caddy.ModuleMap{"llm_jwt": h.JSON(Authenticator{})}}
}

// UnmarshalCaddyfile sets up the handler from Caddyfile tokens:
//
//	llm_proxy [<matcher>] {
//	    anonymous
//	}
func (p *Proxy) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the directive's name
	if err := none(d); err != nil {
		return err
	}
	return block(d, func(option string) error {
		if option != "anonymous" {
			return d.Errf("unrecognized option: %s", option)
		}
		p.Anonymous = true
		return none(d)
	})
}

// UnmarshalCaddyfile sets up the handler from Caddyfile tokens:
//
//	llm_portal [<matcher>] {
//	    last
//	    origins <origin...>
//	}
func (p *Portal) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the directive's name
	if err := none(d); err != nil {
		return err
	}
	return block(d, func(option string) error {
		switch option {
		case "last":
			p.Last = true
			return none(d)
		case "origins":
			return some(d, &p.Origins)
		default:
			return d.Errf("unrecognized option: %s", option)
		}
	})
}

// UnmarshalCaddyfile sets up the handler from Caddyfile tokens:
//
//	llm_cors [<matcher>] <origin...>
//
// A lone `*` would be the matcher: every origin is `llm_cors * *`.
func (c *CORS) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the directive's name
	if err := some(d, &c.Origins); err != nil {
		return err
	}
	return bare(d)
}

// UnmarshalCaddyfile sets up the handler from Caddyfile tokens:
//
//	llm_error [<matcher>]
func (*ErrorResponder) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the directive's name
	if err := none(d); err != nil {
		return err
	}
	return bare(d)
}

// UnmarshalCaddyfile sets up the handler from Caddyfile tokens:
//
//	llm_rate_limit [<matcher>] [<limit>] {
//	    zone <name> <limit> [<key>]
//	    per_call
//	}
//
// A limit on the directive's own line is a zone named `default` per caller.
func (l *RateLimit) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the directive's name
	if d.NextArg() {
		l.Zones = append(l.Zones, Zone{Name: defaultZone, Limit: d.Val()})
		if err := none(d); err != nil {
			return err
		}
	}
	return block(d, func(option string) error {
		switch option {
		case "zone":
			zone, err := parseZone(d)
			l.Zones = append(l.Zones, zone)
			return err
		case "per_call":
			l.PerCall = true
			return none(d)
		default:
			return d.Errf("unrecognized option: %s", option)
		}
	}, "zone")
}

// parseZone reads what stands behind `zone`.
func parseZone(d *caddyfile.Dispenser) (Zone, error) {
	args := d.RemainingArgs()
	if len(args) != 2 && len(args) != 3 {
		return Zone{}, d.Err("zone takes a name, a limit such as 60/h, and if need be a key")
	}
	zone := Zone{Name: args[0], Limit: args[1]}
	if len(args) == 3 {
		zone.Key = args[2]
	}
	return zone, nil
}
