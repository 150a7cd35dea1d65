// Command tollgate is Caddy with the Tollgate modules built in.
package main

import (
	"cmp"

	"github.com/caddyserver/caddy/v2"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"

	_ "time/tzdata"

	_ "github.com/caddyserver/caddy/v2/modules/standard"

	_ "github.com/financecommander/tollgate"
)

// help is what "tollgate help" says first.
const help = `Tollgate is a gateway for language models, made of Caddy modules. Caddy's
commands and configuration are its own, too.

	- 'tollgate run' runs it with the Caddyfile of this folder; it needs no key
	  and no database
	- 'tollgate validate' checks a configuration, 'tollgate reload' changes that
	  of a running gateway
	- 'tollgate token' makes a token for a user or a program, 'tollgate revoke'
	  withdraws one, 'tollgate user' blocks or forgets a user
	- 'tollgate migrate' brings the database's schema up to date
	- 'tollgate prices' shows the price table
	- 'tollgate pipeline' checks, draws and runs pipelines
`

func init() {
	caddy.CustomBinaryName = cmp.Or(caddy.CustomBinaryName, "tollgate")
	caddy.CustomLongDescription = help
}

func main() {
	caddycmd.Main()
}
