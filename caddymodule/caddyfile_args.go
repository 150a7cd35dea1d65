package caddymodule

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/financecommander/tollgate/internal/specialist"
)

// block reads the lines of a block, if there is one. Each option may be set once,
// unless it is one of many.
func block(d *caddyfile.Dispenser, read func(option string) error, many ...string) error {
	seen := make(map[string]bool)
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		option := d.Val()
		if seen[option] && !slices.Contains(many, option) {
			return d.Errf("%s is set twice", option)
		}
		seen[option] = true
		if err := read(option); err != nil {
			return err
		}
	}
	return nil
}

// bare says that a directive or option takes no block.
func bare(d *caddyfile.Dispenser) error {
	return block(d, func(option string) error { return d.Errf("unrecognized option: %s", option) })
}

// one reads the option's only argument.
func one(d *caddyfile.Dispenser, to *string) error {
	option := d.Val()
	if !d.NextArg() {
		return d.Errf("%s needs a value", option)
	}
	*to = d.Val()
	return none(d)
}

// none says that there are no more arguments on the line.
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

// alternatives reads arguments of which the first that is not empty counts.
func alternatives(d *caddyfile.Dispenser, to *string) error {
	var args []string
	err := some(d, &args)
	*to = strings.Join(args, " ")
	return err
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

// target reads `provider/model`.
func target(d *caddyfile.Dispenser, text string) (specialist.Target, error) {
	provider, model, ok := strings.Cut(text, "/")
	if !ok || provider == "" || model == "" {
		return specialist.Target{}, d.Errf("%s is no provider/model", text)
	}
	return specialist.Target{Provider: provider, Model: model}, nil
}

// transport reads a transport module's name and its block.
func transport(d *caddyfile.Dispenser, to *json.RawMessage) error {
	if !d.NextArg() {
		return d.Err("transport needs the name of a module, such as http")
	}
	name := d.Val()
	module, err := caddyfile.UnmarshalModule(d, "http.reverse_proxy.transport."+name)
	if err != nil {
		return err
	}
	*to = caddyconfig.JSONModuleObject(module, "protocol", name, nil)
	return nil
}
