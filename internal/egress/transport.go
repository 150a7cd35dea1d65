package egress

import (
	"net/http"
	"time"
)

// NewTransport makes what carries requests to places that somebody named who may
// not reach what the gateway can: public addresses only, each name resolved once
// for a connection and its address checked. It uses no proxy, which would do the
// resolving, and follows no redirects.
func NewTransport() *http.Transport {
	return newTransport(policy{resolve: resolve, public: Public, port: isUsualPort})
}

func newTransport(p policy) *http.Transport {
	return &http.Transport{
		DialContext:           newClient(Options{}, p).dial,
		DisableCompression:    true, // answers pass through as they are
		ForceAttemptHTTP2:     true,
		MaxIdleConnsPerHost:   32,
		IdleConnTimeout:       90 * time.Second,
		TLSHandshakeTimeout:   10 * time.Second,
		ExpectContinueTimeout: time.Second,
	}
}
