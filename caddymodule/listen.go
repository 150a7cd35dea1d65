package caddymodule

import (
	"os"

	"github.com/caddyserver/caddy/v2"
)

// A Caddyfile's site address takes a port and its `bind` a host, while LISTEN
// holds both. So that the default Caddyfile can read it, its halves are put
// into LISTEN_HOST and LISTEN_PORT, unless those are set themselves.
func init() { splitListen(os.LookupEnv, os.Setenv) }

func splitListen(lookup func(string) (string, bool), set func(string, string) error) {
	listen, _ := lookup("LISTEN")
	if listen == "" {
		return
	}
	network, host, port, err := caddy.SplitNetworkAddress(listen)
	if err != nil {
		return // the Caddyfile's own error says more
	}
	if host == "" {
		host = "::" // every address, of both families
	}
	if network != "" {
		host = network + "/" + host
	}
	for name, value := range map[string]string{"LISTEN_HOST": host, "LISTEN_PORT": port} {
		if _, given := lookup(name); !given && value != "" {
			_ = set(name, value)
		}
	}
}
