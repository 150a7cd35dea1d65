// Package egress fetches what callers name by URL, without letting them reach
// anything that they could not reach themselves: public addresses only, each
// name resolved once and its address checked and kept, again at every redirect,
// all of it bounded in size and time.
package egress

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"time"
)

// The defaults of [Options].
const (
	// DefaultMaxSize is as much as providers take in one request.
	DefaultMaxSize = 20 << 20
	// DefaultTimeout is for all of a fetch: a caller waits for it, and for a
	// model's answer after it.
	DefaultTimeout = 10 * time.Second
)

const (
	maxRedirects = 3
	maxHeader    = 64 << 10
	maxTrust     = 1 << 20 // as much memory as is made ready for what a server promises
	dialTimeout  = 5 * time.Second
)

// Options bound what a [Client] does. The zero value means the defaults.
type Options struct {
	MaxSize int64
	Timeout time.Duration
	// Hosts are the only ones that are asked: a name, or `*.` and a name for all
	// that are below it. None: any public host.
	Hosts []string
	// AllowHTTP lets URLs be http, too.
	AllowHTTP bool
}

// Client fetches URLs of unknown origin. It is safe for concurrent use.
type Client struct {
	o      Options
	http   *http.Client
	policy policy
}

// policy is what tests on one machine must change.
type policy struct {
	resolve func(ctx context.Context, host string) ([]netip.Addr, error)
	public  func(netip.Addr) bool
	port    func(scheme, port string) bool
}

// New makes a Client.
func New(o Options) *Client {
	return newClient(o, policy{resolve: resolve, public: Public, port: isUsualPort})
}

func newClient(o Options, p policy) *Client {
	o.MaxSize = cmp.Or(o.MaxSize, DefaultMaxSize)
	o.Timeout = cmp.Or(o.Timeout, DefaultTimeout)
	c := &Client{o: o, policy: p}
	c.http = &http.Client{
		CheckRedirect: c.checkRedirect,
		Transport: &http.Transport{
			DialContext:            c.dial,
			Proxy:                  nil,  // a proxy would do the resolving
			DisableKeepAlives:      true, // nothing of one caller's is there for another
			DisableCompression:     true, // what arrives is what is counted
			MaxResponseHeaderBytes: maxHeader,
		},
	}
	return c
}

// Error is why a URL was not fetched, in words that a caller may read: they tell
// nothing of what there is behind the gateway. What happened underneath is for
// logs.
type Error struct {
	Message string
	Err     error
}

// Error implements error.
func (e *Error) Error() string { return e.Message }

// Unwrap gives what happened underneath.
func (e *Error) Unwrap() error { return e.Err }

// A name that is not there, one whose address is not public and a server that
// does not answer are the same to a caller, who would learn of names and ports
// inside otherwise.
func unreachable(err error) *Error { return &Error{Message: "its host cannot be reached", Err: err} }

// Fetch gets what a URL leads to, and its content type as the content itself
// shows it. Errors are [*Error].
func (c *Client) Fetch(ctx context.Context, rawURL string) (mime string, data []byte, err error) {
	u, err := c.check(rawURL)
	if err != nil {
		return "", nil, err
	}
	bounded, cancel := context.WithTimeout(ctx, c.o.Timeout)
	defer cancel()
	request, err := http.NewRequestWithContext(bounded, http.MethodGet, u.String(), nil)
	if err != nil {
		return "", nil, &Error{Message: badURL, Err: err}
	}
	request.Header.Set("User-Agent", "Tollgate")
	request.Header.Set("Accept", "image/*, application/pdf, audio/*, text/plain")
	request.Header.Set("Accept-Encoding", "identity")
	response, err := c.http.Do(request)
	if err == nil {
		defer response.Body.Close()
		data, err = c.read(response)
	}
	if err != nil {
		return "", nil, asError(bounded, err)
	}
	mime = sniff(data)
	if mime == "" {
		return "", nil, &Error{Message: "it leads to something that is neither an image, a PDF, audio nor plain text"}
	}
	return mime, data, nil
}

// read takes in an answer.
func (c *Client) read(response *http.Response) ([]byte, error) {
	tooLarge := &Error{Message: "it leads to something too large"}
	encoding := response.Header.Get("Content-Encoding")
	switch {
	case response.StatusCode != http.StatusOK:
		return nil, &Error{Message: "its host answers with status " + strconv.Itoa(response.StatusCode)}
	case encoding != "" && encoding != "identity":
		return nil, &Error{Message: "its host answers with compressed content, though asked not to"}
	case response.ContentLength > c.o.MaxSize:
		return nil, tooLarge
	}
	var content bytes.Buffer
	content.Grow(int(min(max(response.ContentLength, 0), maxTrust)) + bytes.MinRead)
	switch n, err := content.ReadFrom(io.LimitReader(response.Body, c.o.MaxSize+1)); {
	case err != nil:
		return nil, &Error{Message: "its host broke off", Err: err}
	case n > c.o.MaxSize:
		return nil, tooLarge
	}
	return content.Bytes(), nil
}

// asError makes any error one that a caller may read.
func asError(bounded context.Context, err error) *Error {
	if bounded.Err() != nil {
		return &Error{Message: "its host takes too long", Err: err}
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	return unreachable(err)
}

// checkRedirect checks where an answer leads on to, as the first URL was.
func (c *Client) checkRedirect(next *http.Request, before []*http.Request) error {
	next.Header.Del("Referer") // may say what is for the first host only
	if len(before) > maxRedirects {
		return &Error{Message: "it leads on too often"}
	}
	_, err := c.check(next.URL.String())
	return err
}

// dial resolves a name, once, and connects to one of its addresses that is
// public.
func (c *Client) dial(ctx context.Context, network, address string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, unreachable(err)
	}
	addresses, err := c.lookUp(ctx, host)
	if err != nil {
		return nil, unreachable(err)
	}
	dialer := net.Dialer{Timeout: dialTimeout, ControlContext: c.control}
	failed := ErrNotPublic
	for _, a := range addresses {
		if !c.policy.public(a) {
			continue
		}
		connection, err := dialer.DialContext(ctx, network, net.JoinHostPort(a.String(), port))
		if err == nil {
			return connection, nil
		}
		failed = err
	}
	return nil, unreachable(failed)
}
