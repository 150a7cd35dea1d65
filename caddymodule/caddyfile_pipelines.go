package caddymodule

import (
	"strconv"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

// unmarshal reads the block of `pipelines`.
func (p *Pipelines) unmarshal(d *caddyfile.Dispenser) error {
	switch args := d.RemainingArgs(); {
	case len(args) == 1 && args[0] == "off":
		p.Off = true
	case len(args) > 0:
		return d.Err("pipelines takes off, or a block")
	}
	return block(d, func(option string) error {
		switch option {
		case "dir":
			if !d.NextArg() { // an unset variable is no folder
				return nil
			}
			p.Dir = d.Val()
			return none(d)
		case "examples":
			var on *bool
			err := onOff(d, &on)
			p.NoExamples = on != nil && !*on
			return err
		case "http_host":
			host := HTTPHost{}
			if err := host.unmarshal(d); err != nil {
				return err
			}
			p.HTTPHosts = append(p.HTTPHosts, host)
			return nil
		case "max_runs":
			return count(d, &p.MaxRuns)
		case "max_runs_per_user":
			return count(d, &p.MaxRunsPerUser)
		case "max_calls":
			return count(d, &p.MaxCalls)
		case "retention":
			return duration(d, &p.Retention)
		default:
			return d.Errf("unrecognized option of pipelines: %s", option)
		}
	}, "http_host")
}

func (h *HTTPHost) unmarshal(d *caddyfile.Dispenser) error {
	if err := named(d, &h.Name); err != nil {
		return err
	}
	return block(d, func(option string) error {
		switch option {
		case "header":
			return pair(d, &h.Headers)
		case "private":
			h.Private = true
			return none(d)
		case "plain":
			h.Plain = true
			return none(d)
		default:
			return d.Errf("unrecognized option of http_host: %s", option)
		}
	}, "header")
}

// count reads the option's only argument as a number from 1.
func count(d *caddyfile.Dispenser, to *int) error {
	var text string
	if err := one(d, &text); err != nil {
		return err
	}
	value, err := strconv.Atoi(text)
	if err != nil || value < 1 {
		return d.Errf("%s is no number from 1", text)
	}
	*to = value
	return nil
}
