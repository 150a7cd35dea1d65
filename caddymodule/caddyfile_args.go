package caddymodule

import (
	"encoding/json"
	"strings"

	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/financecommander/tollgate/internal/specialist"
)

// one reads the option's only argument.
func one(d *caddyfile.Dispenser, to *string) error {
	option := d.Val()
	if !d.NextArg() {
		return d.Errf("%s needs a value", option)
	}
	*to = d.Val()
	return none(d)
}

// none says that there are no more arguments.
func none(d *caddyfile.Dispenser) error {
	if d.NextArg() {
		return d.Errf("unexpected %s", d.Val())
	}
	return nil
}

// named reads the name that stands before a block.
func named(d *caddyfile.Dispenser, to *string) error {
	option := d.Val()
	if !d.NextArg() {
		return d.Errf("%s needs a name", option)
	}
	*to = d.Val()
	if d.NextArg() {
		return d.Errf("unexpected %s", d.Val())
	}
	return nil
}

// some reads one or more arguments.
func some(d *caddyfile.Dispenser, to *[]string) error {
	option := d.Val()
	args := d.RemainingArgs()
	if len(args) == 0 {
		return d.Errf("%s needs a value", option)
	}
	*to = append(*to, args...)
	return nil
}

// pair reads a name and its value into a map.
func pair(d *caddyfile.Dispenser, to *map[string]string) error {
	option := d.Val()
	args := d.RemainingArgs()
	if len(args) != 2 {
		return d.Errf("%s takes a name and a value", option)
	}
	if _, set := (*to)[args[0]]; set {
		return d.Errf("%s %s is set twice", option, args[0])
	}
	if *to == nil {
		*to = make(map[string]string)
	}
	(*to)[args[0]] = args[1]
	return nil
}

// onOff reads a switch.
func onOff(d *caddyfile.Dispenser, to **bool) error {
	var text string
	if err := one(d, &text); err != nil {
		return err
	}
	value := text == "on"
	if !value && text != "off" {
		return d.Errf("%s is neither on nor off", text)
	}
	*to = &value
	return nil
}

// target reads the next argument as `provider/model`.
func target(d *caddyfile.Dispenser, to *specialist.Target) error {
	if !d.NextArg() {
		return d.ArgErr()
	}
	provider, model, ok := strings.Cut(d.Val(), "/")
	if !ok || provider == "" || model == "" {
		return d.Errf("%s is no provider/model", d.Val())
	}
	*to = specialist.Target{Provider: provider, Model: model}
	return nil
}

// transport reads a transport module's name and its block.
func transport(d *caddyfile.Dispenser, to *json.RawMessage) error {
	if !d.NextArg() {
		return d.ArgErr()
	}
	name := d.Val()
	module, err := caddyfile.UnmarshalModule(d, "http.reverse_proxy.transport."+name)
	if err != nil {
		return err
	}
	*to = caddyconfig.JSONModuleObject(module, "protocol", name, nil)
	return nil
}
