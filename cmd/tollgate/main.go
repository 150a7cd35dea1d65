// Command tollgate is Caddy with the Tollgate modules built in.
package main

import (
	caddycmd "github.com/caddyserver/caddy/v2/cmd"

	_ "time/tzdata"

	_ "github.com/caddyserver/caddy/v2/modules/standard"

	_ "github.com/financecommander/tollgate"
)

func main() {
	caddycmd.Main()
}
