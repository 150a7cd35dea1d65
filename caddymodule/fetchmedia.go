package caddymodule

import (
	"errors"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/financecommander/tollgate/internal/egress"
)

// FetchMedia lets the gateway fetch images, documents and audio that callers
// give by URL, where the upstream takes content only. Only public addresses are
// asked.
type FetchMedia struct {
	// Most bytes of one item. Default: 20971520 (20 MiB).
	MaxSize int64 `json:"max_size,omitempty"`
	// Longest time for one item. Default: 10s.
	Timeout caddy.Duration `json:"timeout,omitempty"`
	// The only hosts that are asked: names, or `*.` and a name for all below
	// it. Default: any.
	Hosts []string `json:"hosts,omitempty"`
	// Whether http is allowed, too. Default: false, https only.
	AllowHTTP bool `json:"allow_http,omitempty"`
}

// fetcher makes the client that fetches media; nil: it is off.
func (a *App) fetcher() *egress.Client {
	f := a.FetchMedia
	if f == nil {
		return nil
	}
	return egress.New(egress.Options{
		MaxSize: f.MaxSize, Timeout: time.Duration(f.Timeout), Hosts: f.Hosts, AllowHTTP: f.AllowHTTP,
	})
}

func (f *FetchMedia) validate() error {
	if f.MaxSize < 0 || f.Timeout < 0 {
		return errors.New("fetch_media: max_size and timeout cannot be negative")
	}
	for _, host := range f.Hosts {
		if name := strings.TrimPrefix(host, "*."); name == "" || strings.ContainsAny(name, "*/:@ ") {
			return errors.New("fetch_media: hosts are names, such as a.example, or *.a.example for all below it")
		}
	}
	return nil
}

func (a *App) unmarshalFetchMedia(d *caddyfile.Dispenser) error {
	if !d.NextArg() {
		return d.Err("fetch_media needs on or off")
	}
	state := d.Val()
	if state != "on" && state != "off" {
		return d.Errf("%s is neither on nor off", state)
	}
	if d.NextArg() {
		return d.Errf("unexpected %s", d.Val())
	}
	f := &FetchMedia{}
	err := block(d, func(option string) error {
		switch option {
		case "max_size":
			return size(d, &f.MaxSize)
		case "timeout":
			return duration(d, &f.Timeout)
		case "hosts":
			return some(d, &f.Hosts)
		case "allow_http":
			var allow *bool
			err := onOff(d, &allow)
			f.AllowHTTP = allow != nil && *allow
			return err
		default:
			return d.Errf("unrecognized option of fetch_media: %s", option)
		}
	})
	if state == "on" {
		a.FetchMedia = f
	}
	return err
}
