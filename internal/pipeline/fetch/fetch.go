// Package fetch is the only way out of a pipeline: requests of http steps to hosts
// that the operator allows, by a client that does not reach into the operator's
// own network.
package fetch

import (
	"context"
	"net/http"
	"net/url"

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

// Client asks. It is safe for concurrent use.
type Client struct{}

// New makes a client, or says which host is wrong.
func New(o Options) (*Client, error) { panic("to be written") }

// Allowed tells whether a host (with its port, if it has one) may be asked.
func (c *Client) Allowed(host string) bool { panic("to be written") }

// Do asks. Its error is an *llm.Error whose cause tells whether another try may
// help; a status from 400 on is one. A nil Client allows nothing.
func (c *Client) Do(ctx context.Context, r Request) (*Response, error) { panic("to be written") }
