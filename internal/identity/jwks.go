package identity

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/MicahParks/jwkset"
)

// How a JWKS is fetched.
const (
	fetchTimeout = 5 * time.Second
	maxJWKSBytes = 1 << 20
	maxJWKSKeys  = 64
	maxRedirects = 3

	// minFetchGap bounds how often tokens with unknown key ids can make us
	// fetch, and is the pause after a failure.
	minFetchGap = 10 * time.Second
	// jwksTrust is how long a verification by a JWKS key is remembered, so that
	// a withdrawn key stops working soon after we see that it is gone.
	jwksTrust = time.Minute
)

// remoteKeys is a JSON Web Key Set kept up to date. It keeps the last good set
// through an outage, and tells "this key does not exist" (401) from "I cannot
// know" (503), which is why it does its own fetching around jwkset's parser.
type remoteKeys struct {
	address    string
	listed     []string // algorithms the configuration allows; none: each key's own
	interval   time.Duration
	maxAge     time.Duration // of keys that cannot be fetched again
	client     *http.Client
	logger     *slog.Logger
	ctx        context.Context // ends all fetching; a fetch serves many requests and must outlive each
	cancel     context.CancelFunc
	goroutines sync.WaitGroup

	mu       sync.Mutex
	closed   bool
	keys     []verificationKey
	fetched  time.Time     // when keys were read; zero: never
	tried    time.Time     // when the last fetch ended
	err      error         // how it ended
	inFlight chan struct{} // closed when the running fetch ends; nil: none runs
}

func newRemoteKeys(issuer Issuer, options Options) (*remoteKeys, error) {
	address, err := url.Parse(issuer.JWKS)
	if err != nil {
		return nil, errors.New("the JWKS address is not a URL")
	}
	secure := address.Scheme == "https" || address.Scheme == "http" && isLoopback(address.Hostname())
	if !secure || address.Host == "" || address.User != nil {
		return nil, errors.New("the JWKS address must be https:// (or http:// on this machine) and hold no password")
	}
	interval := cmp.Or(issuer.RefreshInterval, DefaultRefreshInterval)
	if interval < time.Second {
		return nil, fmt.Errorf("a JWKS cannot be refreshed every %v; at least 1s", interval)
	}
	maxAge := cmp.Or(issuer.MaxKeyAge, DefaultMaxKeyAge)
	if maxAge < interval {
		return nil, fmt.Errorf("keys that are good for %v and fetched every %v would run out in between", maxAge, interval)
	}
	transport := options.Transport
	if transport == nil {
		transport = defaultTransport()
	}
	ctx, cancel := context.WithCancel(context.Background())
	return &remoteKeys{
		address:  issuer.JWKS,
		listed:   issuer.Algorithms,
		interval: interval,
		maxAge:   maxAge,
		client:   &http.Client{Transport: transport, CheckRedirect: sameHostOnly},
		logger:   cmp.Or(options.Logger, slog.New(slog.DiscardHandler)).With(slog.String("issuer", issuer.Name)),
		ctx:      ctx,
		cancel:   cancel,
	}, nil
}

// defaultTransport keeps no connections: minutes pass between two fetches.
func defaultTransport() *http.Transport {
	return &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DisableKeepAlives:      true,
		ForceAttemptHTTP2:      true,
		MaxResponseHeaderBytes: 64 << 10,
	}
}

func isLoopback(host string) bool {
	return host == "localhost" || net.ParseIP(host).IsLoopback()
}

func sameHostOnly(r *http.Request, via []*http.Request) error {
	if len(via) > maxRedirects {
		return errors.New("too many redirects")
	}
	if first := via[0].URL; r.URL.Host != first.Host || r.URL.Scheme != first.Scheme {
		return errors.New("a redirect to another host or scheme is not followed")
	}
	return nil
}

func (*remoteKeys) trust() time.Duration { return jwksTrust }

// key implements [keySource]. An unknown key id makes one fetch, shared by all
// who wait for it, and not more often than every minFetchGap.
func (s *remoteKeys) key(ctx context.Context, alg, kid string) (any, error) {
	key, known := s.find(alg, kid)
	if !known {
		if err := s.refresh(ctx); err != nil {
			return nil, outage(err)
		}
		key, known = s.find(alg, kid)
	}
	switch {
	case !known:
		return nil, refuse(messageSignature, errors.New("the issuer has no such key"))
	case key == nil:
		return nil, refuse(messageSignature, fmt.Errorf("the issuer's key may not be used with alg %.16q", alg))
	}
	return key, nil
}

// find looks a key up. It is known when the set has the id, and nil when the key
// is not for this algorithm. A token without an id needs a set with exactly one
// key for its algorithm (OpenID Connect Core 1.0, 10.1).
func (s *remoteKeys) find(alg, kid string) (key any, known bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fetched.IsZero() || time.Since(s.fetched) > s.maxAge {
		return nil, false
	}
	matches := 0
	for _, k := range s.keys {
		if kid != "" && k.id != kid {
			continue
		}
		known = true
		if k.does(alg) {
			key = k.key
			matches++
		}
	}
	if matches != 1 {
		return nil, known && kid != ""
	}
	return key, true
}

// start keeps the set fresh until ctx ends or close is called.
func (s *remoteKeys) start(ctx context.Context) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.goroutines.Go(func() { s.keepFresh(ctx) })
	}
}

func (s *remoteKeys) keepFresh(ctx context.Context) {
	for {
		pause := s.interval
		if err := s.refresh(ctx); err != nil {
			pause = min(pause, minFetchGap)
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return
		case <-s.ctx.Done():
			timer.Stop()
			return
		}
	}
}

// close ends all fetching and waits for it; the keys at hand go on working.
func (s *remoteKeys) close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.cancel()
	s.goroutines.Wait()
}

// refresh waits for a fetch, its own or the one that runs, and says how it
// ended; so soon after the last one it says how that ended.
func (s *remoteKeys) refresh(ctx context.Context) error {
	s.mu.Lock()
	if s.inFlight == nil {
		tooSoon := !s.tried.IsZero() && time.Since(s.tried) < min(minFetchGap, s.interval)
		if tooSoon || s.closed {
			defer s.mu.Unlock()
			if s.closed {
				return cmp.Or(s.err, net.ErrClosed)
			}
			return s.err
		}
		s.inFlight = make(chan struct{})
		s.goroutines.Go(s.fetch)
	}
	done := s.inFlight
	s.mu.Unlock()

	select {
	case <-done:
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// fetch reads the set once and wakes who waits. A failure leaves the old keys.
func (s *remoteKeys) fetch() {
	keys, err := s.download()
	if err != nil && s.ctx.Err() == nil {
		s.logger.LogAttrs(s.ctx, slog.LevelWarn, "cannot fetch the key set", slog.Any("error", err))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tried, s.err = time.Now(), err
	if err == nil {
		s.keys, s.fetched = keys, s.tried
	}
	close(s.inFlight)
	s.inFlight = nil
}

func (s *remoteKeys) download() ([]verificationKey, error) {
	ctx, cancel := context.WithTimeout(s.ctx, fetchTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.address, nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Accept", "application/jwk-set+json, application/json")
	response, err := s.client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("status %d", response.StatusCode)
	}
	body, err := io.ReadAll(http.MaxBytesReader(nil, response.Body, maxJWKSBytes))
	if err != nil {
		return nil, err
	}
	return parseJWKS(body, s.listed)
}

// parseJWKS reads the keys of a set that we can use. Others are passed over, as
// RFC 7517, 5, asks, but a set without any usable key is an error: more likely a
// mistake on the other side than the wish to lock everybody out.
func parseJWKS(body []byte, listed []string) ([]verificationKey, error) {
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(body, &set); err != nil {
		return nil, errors.New("the answer is not a JSON Web Key Set")
	}
	if len(set.Keys) > maxJWKSKeys {
		return nil, fmt.Errorf("the set has %d keys; at most %d", len(set.Keys), maxJWKSKeys)
	}
	var keys []verificationKey
	for _, raw := range set.Keys {
		if key, ok := parseJWK(raw, listed); ok {
			keys = append(keys, key)
		}
	}
	if len(keys) == 0 {
		return nil, errors.New("the set has no key that could verify a token")
	}
	return keys, nil
}

// parseJWK reads one key; false when it is of no use to us: for encryption,
// symmetric (a published HMAC secret is none), weak, broken or of another kind.
func parseJWK(raw json.RawMessage, listed []string) (verificationKey, bool) {
	jwk, err := jwkset.NewJWKFromRawJSON(raw, jwkset.JWKMarshalOptions{}, jwkset.JWKValidateOptions{})
	if err != nil || checkKey(jwk.Key()) != nil {
		return verificationKey{}, false
	}
	facts := jwk.Marshal()
	if facts.USE != "" && facts.USE != jwkset.UseSig {
		return verificationKey{}, false
	}
	if len(facts.KEYOPS) > 0 && !slices.Contains(facts.KEYOPS, jwkset.KeyOpsVerify) {
		return verificationKey{}, false
	}
	algorithms := pin(jwk.Key(), listed)
	if own := facts.ALG.String(); own != "" {
		if len(listed) > 0 && !slices.Contains(listed, own) {
			return verificationKey{}, false
		}
		algorithms = pin(jwk.Key(), []string{own})
	}
	return verificationKey{id: facts.KID, algorithms: algorithms, key: jwk.Key()}, len(algorithms) > 0
}
