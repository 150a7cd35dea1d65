// Package redisdb turns a Redis URL into a client, with settings for work that
// a request waits for: a Redis that does not answer within a fraction of a
// second counts as gone, and retrying is the caller's decision.
package redisdb

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/url"
	"runtime"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// Defaults where a URL has no option of the name. go-redis' own are meant for
// batch work: they let a request wait 2 s for a refused connection and 5 s for
// a hanging server.
const (
	dialTimeout = 200 * time.Millisecond // dial_timeout
	ioTimeout   = 100 * time.Millisecond // read_timeout, write_timeout, pool_timeout
	idleTimeout = 5 * time.Minute        // conn_max_idle_time, below usual firewalls' limits
	minPoolSize = 32                     // pool_size on small machines; else 10 per core
	bufferSize  = 4 << 10                // per connection and direction; our replies are tiny
)

// ErrURL is wrapped by all errors about a URL. They never hold any of its
// user name or password.
var ErrURL = errors.New("invalid redis URL")

// Open gives a client for the URL (see [Parse]). It does not dial: an
// unreachable server shows with the first command.
//
// It turns off go-redis' own logging, which is global, goes to standard error
// and repeats for each failed dial what callers see as errors anyway.
func Open(rawURL string) (redis.UniversalClient, error) {
	options, err := Parse(rawURL)
	if err != nil {
		return nil, err
	}
	logging.Disable()
	return redis.NewUniversalClient(options), nil
}

// Parse reads a Redis URL:
//
//	redis://[user:password@]host[:port][/database][?option=value&…]
//	redis://[user:password@]host1:port1,host2:port2,…           Redis Cluster
//	redis+sentinel://[user:password@]host1[:port1],…/master[/database]
//
// With rediss or rediss+sentinel connections are TLS. The options are those of
// go-redis (https://pkg.go.dev/github.com/redis/go-redis/v9#ParseURL), and for
// Sentinel sentinel_username and sentinel_password. The user and password are
// the data servers'; special characters in them are percent-encoded.
func Parse(rawURL string) (*redis.UniversalOptions, error) {
	parts, err := split(rawURL)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrURL, err)
	}
	options, err := parts.options()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrURL, err)
	}
	return options, nil
}

// parts of a URL. net/url cannot take several hosts, and its errors repeat the
// password.
type parts struct {
	tls        bool
	sentinel   bool
	user, pass string
	hosts      []string // host:port
	path       []string
	query      url.Values
}

func split(rawURL string) (p parts, err error) {
	scheme, rest, _ := strings.Cut(rawURL, "://")
	switch scheme {
	case "redis":
	case "rediss":
		p.tls = true
	case "redis+sentinel":
		p.sentinel = true
	case "rediss+sentinel":
		p.tls, p.sentinel = true, true
	default:
		return p, errors.New("want redis://, rediss://, redis+sentinel:// or rediss+sentinel://")
	}
	rest, query, _ := strings.Cut(rest, "?")
	authority, path, _ := strings.Cut(rest, "/")
	// What is left of a password with a bare / or ? would be quoted in errors.
	if strings.ContainsAny(path+query, "@#") || strings.Contains(authority, "#") {
		return p, errors.New("special characters in the user, password and options must be percent-encoded")
	}
	if p.query, err = url.ParseQuery(query); err != nil {
		return p, errors.New("options are not well encoded")
	}
	if path = strings.TrimSuffix(path, "/"); path != "" {
		p.path = strings.Split(path, "/")
	}
	if at := strings.LastIndexByte(authority, '@'); at >= 0 {
		if p.user, p.pass, err = credentials(authority[:at]); err != nil {
			return p, err
		}
		authority = authority[at+1:]
	}
	p.hosts, err = hosts(authority, p.defaultPort())
	return p, err
}

func (p parts) defaultPort() string {
	if p.sentinel {
		return "26379"
	}
	return "6379"
}

func credentials(text string) (user, pass string, err error) {
	user, pass, _ = strings.Cut(text, ":")
	user, errUser := url.PathUnescape(user)
	pass, errPass := url.PathUnescape(pass)
	if errUser != nil || errPass != nil {
		return "", "", errors.New("user and password are not well encoded")
	}
	return user, pass, nil
}

// hosts checks and completes a comma-separated list.
func hosts(list, defaultPort string) ([]string, error) {
	if list == "" {
		return nil, errors.New("the host is missing")
	}
	var addrs []string
	for host := range strings.SplitSeq(list, ",") {
		addr, err := completeHost(host, defaultPort)
		if err != nil {
			return nil, err
		}
		addrs = append(addrs, addr)
	}
	return addrs, nil
}

func completeHost(host, defaultPort string) (string, error) {
	u, err := url.Parse("redis://" + host)
	if err != nil || u.Hostname() == "" || u.Host != host {
		return "", errors.New("want host:port, or several with commas between")
	}
	if strings.Contains(u.Hostname(), ":") && !strings.HasPrefix(host, "[") {
		return "", errors.New("want host:port, an IPv6 address in brackets")
	}
	return net.JoinHostPort(u.Hostname(), cmp.Or(u.Port(), defaultPort)), nil
}

// options has go-redis read what one server's URL may have, and adds the rest.
func (p parts) options() (*redis.UniversalOptions, error) {
	master, database, err := p.names()
	if err != nil {
		return nil, err
	}
	var sentinelUser, sentinelPass string
	if p.sentinel {
		sentinelUser, sentinelPass = p.query.Get("sentinel_username"), p.query.Get("sentinel_password")
		p.query.Del("sentinel_username")
		p.query.Del("sentinel_password")
	}
	simple := url.URL{Scheme: "redis", Host: p.hosts[0], Path: "/" + database, RawQuery: p.query.Encode()}
	if p.tls {
		simple.Scheme = "rediss"
	}
	o, err := redis.ParseURL(simple.String())
	if err != nil {
		return nil, err
	}
	if len(p.hosts) > 1 && !p.sentinel && o.DB != 0 {
		return nil, errors.New("a Redis Cluster has no database numbers")
	}
	u := universal(o)
	u.Addrs, u.MasterName = p.hosts, master
	u.Username, u.Password = p.user, p.pass
	u.SentinelUsername, u.SentinelPassword = sentinelUser, sentinelPass
	return u, nil
}

// names reads the path: a database number, after the master's name for Sentinel.
func (p parts) names() (master, database string, err error) {
	names := p.path
	if p.sentinel {
		if len(names) == 0 || names[0] == "" {
			return "", "", errors.New("the master's name is missing, as in redis+sentinel://host1,host2/master")
		}
		if master, err = url.PathUnescape(names[0]); err != nil {
			return "", "", errors.New("the master's name is not well encoded")
		}
		names = names[1:]
	}
	switch len(names) {
	case 0:
		return master, "", nil
	case 1:
		return master, names[0], nil
	default:
		return "", "", errors.New("the path has more than a database number")
	}
}

// universal carries over what a URL's options may set and fills in our defaults.
func universal(o *redis.Options) *redis.UniversalOptions {
	u := &redis.UniversalOptions{
		DB:         o.DB,
		ClientName: o.ClientName,
		TLSConfig:  o.TLSConfig,

		// Each connection would otherwise open with four more commands. RESP2
		// says all we need, and RESP3 looks for push messages on every read.
		Protocol:                 cmp.Or(o.Protocol, 2),
		DisableIdentity:          true,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},

		// A retry is the caller's decision: only it knows how long it may wait.
		MaxRetries:            cmp.Or(o.MaxRetries, -1),
		MinRetryBackoff:       o.MinRetryBackoff,
		MaxRetryBackoff:       o.MaxRetryBackoff,
		DialerRetries:         1,
		ContextTimeoutEnabled: true,

		DialTimeout:  cmp.Or(o.DialTimeout, dialTimeout),
		ReadTimeout:  cmp.Or(o.ReadTimeout, ioTimeout),
		WriteTimeout: cmp.Or(o.WriteTimeout, ioTimeout),

		PoolFIFO:              o.PoolFIFO,
		PoolSize:              cmp.Or(o.PoolSize, max(minPoolSize, 10*runtime.GOMAXPROCS(0))),
		PoolTimeout:           cmp.Or(o.PoolTimeout, ioTimeout),
		MinIdleConns:          o.MinIdleConns,
		MaxIdleConns:          o.MaxIdleConns,
		MaxActiveConns:        o.MaxActiveConns,
		MaxConcurrentDials:    o.MaxConcurrentDials,
		ConnMaxIdleTime:       cmp.Or(o.ConnMaxIdleTime, idleTimeout),
		ConnMaxLifetime:       o.ConnMaxLifetime,
		ConnMaxLifetimeJitter: o.ConnMaxLifetimeJitter,
		ReadBufferSize:        bufferSize,
		WriteBufferSize:       bufferSize,

		PipelinePoolSize:        cmp.Or(o.PipelinePoolSize, -1), // pipelines share the pool
		PipelineReadBufferSize:  o.PipelineReadBufferSize,
		PipelineWriteBufferSize: o.PipelineWriteBufferSize,
	}
	if u.Protocol == 3 {
		u.ReadBufferSize = 0 // go-redis' own: RESP3 wants more
	}
	if u.TLSConfig != nil {
		u.TLSConfig.ServerName = "" // each host is checked by its own name
	}
	return u
}
