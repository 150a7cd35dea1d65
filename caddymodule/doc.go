// Package caddymodule is Tollgate's face to Caddy, and the only package that
// imports it: the app `llm`, which holds what all handlers share, the handlers,
// the authentication provider, the admin routes, the command line and the
// Caddyfile grammar of each. Everything else works without Caddy.
//
//	app                                     llm
//	authentication provider                 http.authentication.providers.llm_jwt
//	handlers                                http.handlers.llm_rate_limit, llm_proxy, llm_portal, llm_cors, llm_error
//	admin routes                            admin.api.llm: GET /llm/status
//	shorthand directive for the usual site  llm_gateway
package caddymodule

// Version is Tollgate's version, as /health says it.
const Version = "0.1.0"
