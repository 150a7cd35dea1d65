package caddymodule

import (
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

var welcomed sync.Once

// welcome prints, once per process, where the gateway listens and, if one may
// sign in without proof there, the two lines that get a first answer.
func (a *App) welcome() {
	welcomed.Do(func() {
		module, err := a.ctx.AppIfConfigured("http")
		if err != nil {
			return
		}
		for _, server := range module.(*caddyhttp.App).Servers {
			for _, address := range server.Listen {
				greet(os.Stdout, address, a.engine.trusted != nil && a.engine.trusted())
			}
		}
	})
}

// greet says where one listener is. With trusted, an address alone signs in there.
func greet(out io.Writer, address string, trusted bool) {
	parsed, err := caddy.ParseNetworkAddress(address)
	if err != nil || !strings.HasPrefix(parsed.Network, "tcp") {
		fmt.Fprintf(out, "Tollgate listens on %s\n", address)
		return
	}
	host := parsed.Host
	ip := net.ParseIP(host)
	if host == "" || ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	url := fmt.Sprintf("http://%s", net.JoinHostPort(host, fmt.Sprint(parsed.StartPort)))
	fmt.Fprintf(out, "Tollgate listens on %s\n", url)
	if !trusted {
		return
	}
	fmt.Fprintf(out, `
Sign in and get a first streamed answer:

  TOKEN=$(curl -s %[1]s/auth/login -H 'Content-Type: application/json' -d '{"email":"you@example.com"}' | sed 's/.*"access_token":"\([^"]*\)".*/\1/')
  curl -N %[1]s/v1/chat/completions -H "Authorization: Bearer $TOKEN" -H 'Content-Type: application/json' -d '{"model":"research-assistant","stream":true,"messages":[{"role":"user","content":"Hello!"}]}'

`, url)
}
