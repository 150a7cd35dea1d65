// Package tollgate is a gateway for language models, built of Caddy modules. A
// blank import adds them to a Caddy build:
//
//	xcaddy build --with github.com/financecommander/tollgate
//
// Package caddymodule holds the modules and documents their configuration;
// cmd/tollgate is a Caddy with all of them.
package tollgate

import (
	_ "github.com/financecommander/tollgate/caddymodule" // registers the modules
)
