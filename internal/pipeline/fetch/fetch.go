// Package fetch is the only way out of a pipeline: requests of http steps to hosts
// that the operator allows, by a client that does not reach into the operator's
// own network.
package fetch

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/financecommander/tollgate/internal/egress"
	"github.com/financecommander/tollgate/internal/llm"
	"github.com/financecommander/tollgate/internal/secret"
)

// Options say what may be asked.
type Options struct {
	// Hosts that may be asked. None: no http step is possible.
	Hosts []Host
}

// Host is a host that http steps may ask.
type Host struct {
	// Name, as in "api.example.com", or "*.example.com" for those below it; with a
	// port, if it is not the scheme's own.
	Name string
	// Headers that are sent to it and that no definition can see or replace: keys.
	Headers map[string]secret.Secret
	// Private: it may be in the operator's own network. Default: it may not.
	Private bool
	// Plain: it may be asked by http. Default: by https alone.
	Plain bool
}

// Request is one request of a step.
type Request struct {
	Method string
	URL    *url.URL
	Header http.Header
	Body   string
}

// Response is what came back, whole.
type Response struct {
	Status int
	Header http.Header
	Body   []byte
}

// The bounds.
const (
	// MaxResponse is how long a response may be, in bytes.
	MaxResponse = 1 << 20
	// MaxBody is how long a request's body may be, in bytes.
	MaxBody = 1 << 20
	// Timeout is for a request and its response, whole.
	Timeout = 60 * time.Second

	maxURL           = 8 << 10
	maxHeader        = 64 << 10 // of a response
	maxRequestHeader = 16 << 10
)

// Client asks. It is safe for concurrent use.
type Client struct {
	rules []*rule
	// guarded reaches public addresses alone; open is for hosts that are private.
	guarded, open *http.Transport
}

// New makes a client, or says which host is wrong.
func New(o Options) (*Client, error) {
	c := &Client{guarded: egress.NewTransport(), open: openTransport()}
	c.guarded.MaxResponseHeaderBytes = maxHeader
	seen := map[string]bool{}
	for _, h := range o.Hosts {
		r, err := newRule(h)
		if err != nil {
			return nil, err
		}
		key := r.name + " " + r.port
		if seen[key] {
			return nil, fmt.Errorf("host %q is there twice", h.Name)
		}
		seen[key] = true
		c.rules = append(c.rules, r)
	}
	return c, nil
}

// openTransport is like [egress.NewTransport]'s, and asks any address.
func openTransport() *http.Transport {
	return &http.Transport{
		Proxy:                  nil, // the environment's is not meant for pipelines
		DisableCompression:     true,
		ForceAttemptHTTP2:      true,
		MaxIdleConnsPerHost:    32,
		IdleConnTimeout:        90 * time.Second,
		TLSHandshakeTimeout:    10 * time.Second,
		MaxResponseHeaderBytes: maxHeader,
	}
}

// Close gives back idle connections.
func (c *Client) Close() {
	if c != nil {
		c.guarded.CloseIdleConnections()
		c.open.CloseIdleConnections()
	}
}

// Allowed tells whether a host (with its port, if it has one) may be asked.
func (c *Client) Allowed(host string) bool {
	name, port, ok := splitPort(strings.ToLower(host))
	return c != nil && ok && c.find(name, func(r *rule) bool { return r.takes("https", port) || r.takes("http", port) }) != nil
}

// Do asks. Its error is an *llm.Error whose cause tells whether another try may
// help; a status from 400 on is one. Redirects are not followed, and are errors.
// Errors name the host, and nothing else of the request. A nil Client allows nothing.
func (c *Client) Do(ctx context.Context, r Request) (*Response, error) {
	request, rule, refused := c.prepare(r)
	if refused != nil {
		return nil, refused
	}
	host := display(request.URL)
	bounded, cancel := context.WithTimeout(ctx, Timeout)
	defer cancel()
	transport := c.guarded
	if rule.private {
		transport = c.open
	}
	response, err := transport.RoundTrip(request.WithContext(bounded))
	if err != nil {
		return nil, transportError(ctx, bounded, host, err)
	}
	defer response.Body.Close()
	if refused := statusError(host, response); refused != nil {
		return nil, refused
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, MaxResponse+1))
	switch {
	case err != nil:
		return nil, readError(ctx, bounded, host)
	case len(body) > MaxResponse:
		return nil, &llm.Error{Cause: llm.CauseTooLarge, Message: fmt.Sprintf("%s answers with more than %d bytes", host, MaxResponse)}
	}
	return &Response{Status: response.StatusCode, Header: response.Header, Body: body}, nil
}
