package caddymodule

import (
	"cmp"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/fileserver"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/rewrite"
	"go.uber.org/zap"

	"github.com/financecommander/tollgate/internal/gateway"
	"github.com/financecommander/tollgate/internal/portal"
)

// apiPaths are what the gateway answers; callers need a token there, but for what
// the matcher llm_open says.
var apiPaths = append(slices.Clone(gateway.Paths), portal.Paths...)

// gatewayOptions are what `llm_gateway` can be told.
type gatewayOptions struct {
	zones     []Zone // on calls that cost money
	reads     string // limit of all other API calls
	login     string // limit of sign-ins per IP address
	origins   []string
	anonymous bool
	portalDir string
}

// The limits of calls that cost nothing: generous, since the frontend polls,
// and small, since nobody signs in often.
const (
	defaultReads = "600/m"
	defaultLogin = "60/h"
)

// parseGateway expands the shorthand into the usual routes, in one subroute so
// that they cannot be put in the wrong order, and an error route that says
// errors in the caller's dialect:
//
//	llm_gateway [<matcher>] {
//	    rate_limit       [<limit>]
//	    zone             <name> <limit> [<key>]
//	    read_rate_limit  <limit>
//	    login_rate_limit <limit>
//	    cors             <origin...>
//	    anonymous
//	    portal_dir       [<folder>]
//	}
func parseGateway(h httpcaddyfile.Helper) ([]httpcaddyfile.ConfigValue, error) {
	h.Next() // the directive's name
	matcher, err := h.ExtractMatcherSet()
	if err != nil {
		return nil, err
	}
	options, err := parseGatewayOptions(h)
	if err != nil {
		return nil, err
	}
	routes := options.routes(h)
	errors := caddyhttp.RouteList{route(nil, handler(ErrorResponder{}, "llm_error"))}
	values := h.NewRoute(matcher, &caddyhttp.Subroute{Routes: routes})
	return append(values, httpcaddyfile.ConfigValue{
		Class: "error_route",
		Value: &caddyhttp.Subroute{Routes: caddyhttp.RouteList{{
			MatcherSetsRaw: matcherSets(matcher),
			HandlersRaw: []json.RawMessage{
				caddyconfig.JSONModuleObject(caddyhttp.Subroute{Routes: errors}, "handler", "subroute", nil),
			},
		}}},
	}), nil
}

func parseGatewayOptions(h httpcaddyfile.Helper) (*gatewayOptions, error) {
	o := &gatewayOptions{reads: defaultReads, login: defaultLogin}
	d := h.Dispenser
	d.Next() // the directive's name again: taking the matcher out starts over
	if err := none(d); err != nil {
		return nil, err
	}
	err := block(d, func(option string) (err error) {
		switch option {
		case "rate_limit": // an unset variable is the default
			limit := cmp.Or(strings.Join(d.RemainingArgs(), " "), defaultLimit)
			o.zones = append(o.zones, Zone{Name: defaultZone, Limit: limit})
		case "zone":
			var zone Zone
			zone, err = parseZone(d)
			o.zones = append(o.zones, zone)
		case "read_rate_limit":
			err = one(d, &o.reads)
		case "login_rate_limit":
			err = one(d, &o.login)
		case "cors":
			err = some(d, &o.origins)
		case "anonymous":
			o.anonymous, err = true, none(d)
		case "portal_dir":
			o.portalDir = ""
			if d.NextArg() { // an unset variable is no folder
				o.portalDir, err = d.Val(), none(d)
			}
		default:
			err = d.Errf("unrecognized option: %s", option)
		}
		return err
	}, "zone", "cors")
	if err != nil {
		return nil, err
	}
	if len(o.zones) == 0 {
		o.zones = []Zone{{Name: defaultZone, Limit: defaultLimit}}
	}
	return o, nil
}

func (o *gatewayOptions) routes(h httpcaddyfile.Helper) caddyhttp.RouteList {
	var routes caddyhttp.RouteList
	if len(o.origins) > 0 {
		routes = append(routes, route(nil, handler(CORS{Origins: o.origins}, "llm_cors")))
	}
	api := handler(Portal{Last: true, Origins: o.origins}, "llm_portal")
	proxy := handler(Proxy{Anonymous: o.anonymous}, "llm_proxy")
	spend := handler(RateLimit{Zones: o.zones}, "llm_rate_limit")
	read := handler(RateLimit{Zones: []Zone{{Name: "read", Limit: o.reads}}}, "llm_rate_limit")
	login := handler(RateLimit{Zones: []Zone{{Name: "login", Limit: o.login}}}, "llm_rate_limit")
	perCall := handler(RateLimit{Zones: o.zones, PerCall: true}, "llm_rate_limit")
	spending := caddy.ModuleMap{"llm_spending": h.JSON(MatchSpending{})}
	signingIn := caddy.ModuleMap{"llm_signing_in": h.JSON(MatchSigningIn{})}
	open := caddy.ModuleMap{"llm_open": h.JSON(MatchOpen{})}

	// A subroute is compiled for every request, so there is one, and flat. Its
	// routes end with a handler that never passes on.
	routes = append(routes,
		route(spending, o.authenticated(h, spend, proxy, api)...),
		route(signingIn, login, api),
		route(paths(h, "/health", "/health/"), api), // without a limit
		route(paths(h, "/chat/ws", "/chat/ws/"), read, perCall, api),
		route(open, read, api),
		route(paths(h, apiPaths...), o.authenticated(h, read, perCall, proxy, api)...),
	)
	if o.portalDir != "" {
		routes = append(routes, o.frontend(h)...)
	}
	return append(routes, route(nil, api))
}

// authenticated puts the check of the token before handlers.
func (o *gatewayOptions) authenticated(h httpcaddyfile.Helper, handlers ...json.RawMessage) []json.RawMessage {
	if o.anonymous {
		return handlers
	}
	return append([]json.RawMessage{handler(authentication(h), "authentication")}, handlers...)
}

// frontend serves a web frontend's files: `/` leads to `/portal/`, unknown paths
// below that get its index.html, and its assets are named at the root.
func (o *gatewayOptions) frontend(h httpcaddyfile.Helper) caddyhttp.RouteList {
	root := o.portalDir
	warnNoFrontend(root)
	redirect := caddyhttp.StaticResponse{
		StatusCode: caddyhttp.WeakString(strconv.Itoa(http.StatusFound)),
		Headers:    http.Header{"Location": {"/portal/"}},
	}
	// What begins with a dot (.env, .git) got there by mistake.
	files := handler(fileserver.FileServer{Root: root, Hide: []string{".*"}}, "file_server")
	try := func(candidates ...string) caddy.ModuleMap {
		return caddy.ModuleMap{"file": h.JSON(fileserver.MatchFile{Root: root, TryFiles: candidates})}
	}
	found := handler(rewrite.Rewrite{URI: "{http.matchers.file.relative}"}, "rewrite")
	app := caddyhttp.RouteList{
		route(nil, handler(rewrite.Rewrite{StripPathPrefix: "/portal"}, "rewrite")),
		route(try("{http.request.uri.path}", "/index.html"), found),
		route(nil, files),
	}
	assets := paths(h, "/assets/*", "/images/*", "/favicon.ico")
	return caddyhttp.RouteList{
		route(paths(h, "/"), handler(redirect, "static_response")),
		route(paths(h, "/portal", "/portal/*"), handler(caddyhttp.Subroute{Routes: app}, "subroute")),
		route(assets, files),
	}
}

// warnNoFrontend says that a folder has no frontend, which would else show as a page
// that is not found. A folder named by a placeholder is not known yet.
func warnNoFrontend(root string) {
	if strings.Contains(root, "{") {
		return
	}
	if _, err := os.Stat(filepath.Join(root, "index.html")); err != nil {
		caddy.Log().Named("llm").Warn("portal_dir has no index.html, so that there is nothing at /portal/", zap.String("portal_dir", root))
	}
}

func route(matchers caddy.ModuleMap, handlers ...json.RawMessage) caddyhttp.Route {
	return caddyhttp.Route{MatcherSetsRaw: matcherSets(matchers), HandlersRaw: handlers}
}

func matcherSets(m caddy.ModuleMap) caddyhttp.RawMatcherSets {
	if m == nil {
		return nil
	}
	return caddyhttp.RawMatcherSets{m}
}

func paths(h httpcaddyfile.Helper, paths ...string) caddy.ModuleMap {
	return caddy.ModuleMap{"path": h.JSON(caddyhttp.MatchPath(paths))}
}

func handler(module any, name string) json.RawMessage {
	return caddyconfig.JSONModuleObject(module, "handler", name, nil)
}
