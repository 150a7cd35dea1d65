package identity

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/llm"
)

// keyServer is an issuer's JWKS endpoint that can be made to fail. It is used
// over a real connection, or, where time matters, as a transport without one.
type keyServer struct {
	mu      sync.Mutex
	answer  http.HandlerFunc
	fetches atomic.Int32
}

func (s *keyServer) set(answer http.HandlerFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer = answer
}

func (s *keyServer) serve(keys ...map[string]any) {
	body := must(json.Marshal(map[string]any{"keys": keys}))
	s.set(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(body) })
}

func (s *keyServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.fetches.Add(1)
	s.mu.Lock()
	answer := s.answer
	s.mu.Unlock()
	answer(w, r)
}

func (s *keyServer) RoundTrip(r *http.Request) (*http.Response, error) {
	recorder := httptest.NewRecorder()
	done := make(chan struct{})
	go func() { defer close(done); s.ServeHTTP(recorder, r) }()
	select {
	case <-done:
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
	if recorder.Code == 0 || recorder.Header().Get("X-Reset") != "" {
		return nil, errors.New("connection reset")
	}
	return recorder.Result(), nil
}

func reset(w http.ResponseWriter, _ *http.Request) { w.Header().Set("X-Reset", "1") }

// jwk is a public key as JSON.
func jwk(id string, key crypto.Signer, more map[string]any) map[string]any {
	facts := map[string]any{"kid": id}
	switch public := key.Public().(type) {
	case *rsa.PublicKey:
		facts["kty"], facts["n"], facts["e"] = "RSA", encode(string(public.N.Bytes())), encode(string(big.NewInt(int64(public.E)).Bytes()))
	case *ecdsa.PublicKey:
		point := must(public.Bytes())[1:]
		facts["kty"], facts["crv"] = "EC", public.Params().Name
		facts["x"], facts["y"] = encode(string(point[:len(point)/2])), encode(string(point[len(point)/2:]))
	case ed25519.PublicKey:
		facts["kty"], facts["crv"], facts["x"] = "OKP", "Ed25519", encode(string(public))
	}
	maps.Copy(facts, more)
	return facts
}

func jwksIssuer(address string) Issuer {
	return Issuer{Name: "idp", Issuer: "https://idp", Audience: []string{"tollgate"}, JWKS: address}
}

// remote makes a verifier whose only issuer's keys come from the server, inside
// a synctest bubble.
func remote(t *testing.T, server *keyServer) *Verifier {
	t.Helper()
	v, err := New([]Issuer{jwksIssuer("https://idp.example/keys")}, Options{Transport: server})
	require.NoError(t, err)
	t.Cleanup(v.Close)
	return v
}

func token(method jwt.SigningMethod, key any, kid string) string {
	header := map[string]any{}
	if kid != "" {
		header["kid"] = kid
	}
	return signed(method, key, header, goodClaims("https://idp", map[string]any{"exp": time.Now().Add(72 * time.Hour).Unix()}))
}

func TestJWKSOverTheNetwork(t *testing.T) {
	t.Parallel()
	keys := keyring()
	server := &keyServer{}
	server.serve(
		jwk("r", keys.rsa, map[string]any{"use": "sig", "alg": "RS256"}), jwk("p", keys.otherRSA, map[string]any{"alg": "PS512"}),
		jwk("e", keys.p384, nil), jwk("d", keys.ed, map[string]any{"key_ops": []string{"verify"}}),
		map[string]any{"kty": "oct", "kid": "o", "k": encode(testSecret)},
		map[string]any{"kty": "PQC", "kid": "?"}, map[string]any{"kty": 7}, map[string]any{},
		jwk("enc", keys.p256, map[string]any{"use": "enc"}))
	web := httptest.NewServer(server)
	defer web.Close()
	v := newVerifier(t, jwksIssuer(web.URL))
	v.Start(t.Context())
	for kid, good := range map[string]string{
		"r": token(jwt.SigningMethodRS256, keys.rsa, "r"), "p": token(jwt.SigningMethodPS512, keys.otherRSA, "p"),
		"e": token(jwt.SigningMethodES384, keys.p384, "e"), "d": token(jwt.SigningMethodEdDSA, keys.ed, "d"),
		"no kid": token(jwt.SigningMethodES384, keys.p384, ""),
	} {
		_, err := v.Verify(t.Context(), good)
		require.NoError(t, err, kid)
	}
	for name, bad := range map[string]string{
		"published hmac secret":    token(jwt.SigningMethodHS256, []byte(testSecret), "o"),
		"hs256 with an rsa key id": token(jwt.SigningMethodHS256, keys.rsa.N.Bytes(), "r"),
		"key for encryption":       token(jwt.SigningMethodES256, keys.p256, "enc"),
		"rs512 with an rs256 key":  token(jwt.SigningMethodRS512, keys.rsa, "r"),
		"ps256 with an rs256 key":  token(jwt.SigningMethodPS256, keys.rsa, "r"),
		"rs512 with a ps512 key":   token(jwt.SigningMethodRS512, keys.otherRSA, "p"),
		"another key's id":         token(jwt.SigningMethodRS256, keys.rsa, "p"),
		"a path as id":             token(jwt.SigningMethodRS256, keys.rsa, "../r"),
		"unknown id":               token(jwt.SigningMethodRS256, keys.rsa, "x"),
	} {
		_, err := v.Verify(t.Context(), bad)
		require.Error(t, err, name)
		requireCause(t, llm.CauseUnauthenticated, err)
	}
	require.LessOrEqual(t, server.fetches.Load(), int32(2))
}

// TestJWKSBadAnswers: whatever the endpoint does wrong, tokens are 503 until it
// is mended, and then good, without a restart.
func TestJWKSBadAnswers(t *testing.T) {
	keys := keyring()
	good := must(json.Marshal(map[string]any{"keys": []any{jwk("r", keys.rsa, nil)}}))
	answers := map[string]http.HandlerFunc{
		"reset":    reset,
		"404":      func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotFound) },
		"500":      func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) },
		"201":      func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusCreated); _, _ = w.Write(good) },
		"html":     func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>sign in</html>") },
		"empty":    func(http.ResponseWriter, *http.Request) {},
		"cut":      func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(good[:len(good)-9]) },
		"trailing": func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(append(good, "x"...)) },
		"list":     func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "[]") },
		"no keys":  func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"keys":[]}`) },
		"null":     func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `null`) },
		"giant": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, `{"pad":"`+strings.Repeat("A", maxJWKSBytes)+`",`+string(good[1:]))
		},
		"too many keys": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, `{"keys":[`+strings.Repeat(`{},`, maxJWKSKeys)+`{}]}`)
		},
		"slow": func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
		"redirect to another host": func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Host == "evil.example" {
				_, _ = w.Write(good)
				return
			}
			http.Redirect(w, r, "https://evil.example/keys", http.StatusFound)
		},
		"redirect to http": func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Scheme == "http" {
				_, _ = w.Write(good)
				return
			}
			http.Redirect(w, r, "http://idp.example/keys", http.StatusFound)
		},
		"redirect for ever": func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/keys", http.StatusFound) },
	}
	for name, answer := range answers {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server := &keyServer{}
				server.set(answer)
				v := remote(t, server)
				v.Start(t.Context())
				begin := time.Now()
				text := token(jwt.SigningMethodRS256, keys.rsa, "r")
				_, err := v.Verify(t.Context(), text)
				requireCause(t, llm.CauseUnavailable, err)
				require.LessOrEqual(t, time.Since(begin), fetchTimeout)

				server.serve(jwk("r", keys.rsa, nil))
				time.Sleep(minFetchGap + time.Second)
				_, err = v.Verify(t.Context(), text)
				require.NoError(t, err)
				v.Close()
			})
		})
	}
}

func TestJWKSRedirectOnTheSameHost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		keys := keyring()
		good := must(json.Marshal(map[string]any{"keys": []any{jwk("r", keys.rsa, nil)}}))
		server := &keyServer{}
		server.set(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/keys" {
				http.Redirect(w, r, "/v2/keys", http.StatusFound)
				return
			}
			_, _ = w.Write(good)
		})
		v := remote(t, server)
		_, err := v.Verify(t.Context(), token(jwt.SigningMethodRS256, keys.rsa, "r"))
		require.NoError(t, err)
	})
}

func TestJWKSRotation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		keys := keyring()
		server := &keyServer{}
		server.serve(jwk("old", keys.rsa, nil))
		v := remote(t, server)
		v.Start(t.Context())
		old, fresh := token(jwt.SigningMethodRS256, keys.rsa, "old"), token(jwt.SigningMethodRS256, keys.otherRSA, "new")
		verify := func(text string) error { _, err := v.Verify(t.Context(), text); return err }
		require.NoError(t, verify(old))
		requireCause(t, llm.CauseUnauthenticated, verify(fresh))

		// A new key is found at once when its id first turns up.
		server.serve(jwk("old", keys.rsa, nil), jwk("new", keys.otherRSA, nil))
		time.Sleep(minFetchGap)
		fetches := server.fetches.Load()
		require.NoError(t, verify(fresh))
		require.Equal(t, fetches+1, server.fetches.Load())

		// Unknown ids do not make us fetch again and again.
		for range 100 {
			requireCause(t, llm.CauseUnauthenticated, verify(token(jwt.SigningMethodRS256, keys.rsa, "x")))
		}
		require.Equal(t, fetches+1, server.fetches.Load())

		// A withdrawn key stops working after one refresh and the cache's trust.
		server.serve(jwk("new", keys.otherRSA, nil))
		time.Sleep(DefaultRefreshInterval + jwksTrust)
		requireCause(t, llm.CauseUnauthenticated, verify(old))
		require.NoError(t, verify(fresh))
		v.Close()
	})
}

func TestJWKSOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		keys := keyring()
		server := &keyServer{}
		server.serve(jwk("r", keys.rsa, nil))
		v := remote(t, server)
		v.Start(t.Context())
		verify := func(kid string) error {
			_, err := v.Verify(t.Context(), token(jwt.SigningMethodRS256, keys.rsa, kid))
			return err
		}
		require.NoError(t, verify("r"))
		server.set(reset)
		time.Sleep(DefaultMaxKeyAge - time.Minute)
		require.NoError(t, verify("r"))
		// An id we do not know may be the issuer's newest: not ours to refuse.
		requireCause(t, llm.CauseUnavailable, verify("x"))
		// What is wrong whatever the keys is refused all the same.
		_, err := v.Verify(t.Context(), signed(jwt.SigningMethodRS256, keys.rsa, nil, goodClaims("https://elsewhere", nil)))
		requireCause(t, llm.CauseUnauthenticated, err)

		time.Sleep(2 * time.Minute)
		requireCause(t, llm.CauseUnavailable, verify("r"))
		server.serve(jwk("r", keys.rsa, nil))
		time.Sleep(minFetchGap)
		require.NoError(t, verify("r"))
		v.Close()
	})
}

// TestJWKSMaxKeyAge: how long an outage may last is the operator's choice.
func TestJWKSMaxKeyAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &keyServer{}
		server.serve(jwk("r", keyring().rsa, nil))
		issuer := jwksIssuer("https://idp.example/keys")
		issuer.RefreshInterval, issuer.MaxKeyAge = time.Minute, 2*time.Hour
		v, err := New([]Issuer{issuer}, Options{Transport: server})
		require.NoError(t, err)
		v.Start(t.Context())
		text := token(jwt.SigningMethodRS256, keyring().rsa, "r")
		verify := func() error { _, err := v.Verify(t.Context(), text); return err }
		require.NoError(t, verify())
		server.set(reset)
		time.Sleep(2*time.Hour - 2*time.Minute)
		require.NoError(t, verify())
		time.Sleep(2*time.Minute + jwksTrust)
		requireCause(t, llm.CauseUnavailable, verify())
		v.Close()
	})
}

// TestJWKSOfSeveralIssuers: one whose keys cannot be had holds up nobody else's
// tokens, nor those of its own that are not new.
func TestJWKSOfSeveralIssuers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		keys := keyring()
		hanging := &keyServer{}
		transport := byHost{"idp.example": hanging}
		issuers := []Issuer{secretIssuer(), jwksIssuer("https://idp.example/keys")}
		for i := range 3 {
			name := fmt.Sprint("idp", i)
			server := &keyServer{}
			server.serve(jwk("r", keys.rsa, nil))
			transport[name+".example"] = server
			issuers = append(issuers, Issuer{Name: name, Issuer: "https://" + name, AnyAudience: true, JWKS: "https://" + name + ".example/keys"})
		}
		hanging.serve(jwk("old", keys.rsa, nil))
		v, err := New(issuers, Options{Transport: transport})
		require.NoError(t, err)
		v.Start(t.Context())
		quick := func(text string) {
			t.Helper()
			began := time.Now()
			_, err := v.Verify(t.Context(), text)
			require.NoError(t, err)
			require.Zero(t, time.Since(began))
		}
		of := func(issuer, kid string, more int64) string {
			return signed(jwt.SigningMethodRS256, keys.rsa, map[string]any{"kid": kid}, goodClaims(issuer, map[string]any{"exp": time.Now().Unix() + 3600 + more}))
		}
		synctest.Wait()
		quick(of("https://idp", "old", 0))

		hanging.set(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
		time.Sleep(minFetchGap)
		var waiting sync.WaitGroup
		for range 50 {
			waiting.Go(func() {
				_, err := v.Verify(t.Context(), of("https://idp", "new", 0))
				requireCause(t, llm.CauseUnavailable, err)
			})
		}
		synctest.Wait() // all of them wait for the one fetch
		for i := range 3 {
			quick(of(fmt.Sprint("https://idp", i), "r", 1))
		}
		quick(signed(jwt.SigningMethodHS256, []byte(testSecret), nil, goodClaims("https://own", nil)))
		quick(of("https://idp", "old", 2))
		waiting.Wait()
		require.EqualValues(t, 2, hanging.fetches.Load())

		// The same id at another issuer is another key.
		_, err = v.Verify(t.Context(), signed(jwt.SigningMethodRS256, keys.otherRSA, map[string]any{"kid": "r"}, goodClaims("https://idp1", nil)))
		requireCause(t, llm.CauseUnauthenticated, err)
		v.Close()
	})
}

// byHost is a transport to several servers.
type byHost map[string]*keyServer

func (b byHost) RoundTrip(r *http.Request) (*http.Response, error) { return b[r.URL.Host].RoundTrip(r) }

func TestJWKSFetchIsShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		keys := keyring()
		server := &keyServer{}
		server.serve(jwk("r", keys.rsa, nil))
		quick := server.answer
		server.set(func(w http.ResponseWriter, r *http.Request) { time.Sleep(time.Second); quick(w, r) })
		v := remote(t, server)
		text := token(jwt.SigningMethodRS256, keys.rsa, "r")

		// The first caller leaves; its fetch goes on for the others.
		impatient, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		_, err := v.Verify(impatient, text)
		requireCause(t, llm.CauseUnavailable, err)
		var calls sync.WaitGroup
		for range 20 {
			calls.Go(func() {
				_, err := v.Verify(t.Context(), text)
				require.NoError(t, err)
			})
		}
		calls.Wait()
		require.EqualValues(t, 1, server.fetches.Load())
	})
}

func TestJWKSClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &keyServer{}
		server.set(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
		v := remote(t, server)
		v.Start(t.Context())
		synctest.Wait()
		v.Close() // cuts the fetch under way and waits for its end
		require.Nil(t, v.issuers["https://idp"].keys.(*remoteKeys).inFlight)
		v.Close()
		v.Start(t.Context()) // too late: nothing starts
		_, err := v.Verify(t.Context(), token(jwt.SigningMethodRS256, keyring().rsa, "r"))
		requireCause(t, llm.CauseUnavailable, err)
		require.EqualValues(t, 1, server.fetches.Load())
	})
}

func TestJWKSAlgorithmList(t *testing.T) {
	t.Parallel()
	keys := keyring()
	plain, named := must(json.Marshal(jwk("r", keys.rsa, nil))), must(json.Marshal(jwk("r", keys.rsa, map[string]any{"alg": "PS256"})))
	for name, c := range map[string]struct {
		raw    []byte
		listed []string
		want   []string
	}{
		"default":              {plain, nil, []string{"RS256"}},
		"listed":               {plain, []string{"PS256", "RS512", "ES256"}, []string{"RS512", "PS256"}},
		"named":                {named, nil, []string{"PS256"}},
		"named and listed":     {named, []string{"PS256", "RS256"}, []string{"PS256"}},
		"named but not listed": {named, []string{"RS256"}, nil},
		"of another kind":      {plain, []string{"ES256"}, nil},
	} {
		key, ok := parseJWK(c.raw, c.listed)
		require.Equal(t, len(c.want) > 0, ok, name)
		require.ElementsMatch(t, c.want, key.algorithms, name)
	}
}

// TestJWKSTokenWithoutKeyID: which of two keys is meant is not for us to guess.
func TestJWKSTokenWithoutKeyID(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		keys := keyring()
		server := &keyServer{}
		server.serve(jwk("a", keys.rsa, nil), jwk("b", keys.otherRSA, nil), jwk("c", keys.p256, nil))
		v := remote(t, server)
		_, err := v.Verify(t.Context(), token(jwt.SigningMethodES256, keys.p256, ""))
		require.NoError(t, err)
		for range 3 {
			_, err = v.Verify(t.Context(), token(jwt.SigningMethodRS256, keys.otherRSA, ""))
			requireCause(t, llm.CauseUnauthenticated, err)
		}
		require.EqualValues(t, 1, server.fetches.Load())
	})
}

func TestJWKSFailureIsLogged(t *testing.T) {
	t.Parallel()
	web := httptest.NewServer(http.NotFoundHandler())
	defer web.Close()
	var log strings.Builder
	v, err := New([]Issuer{jwksIssuer(web.URL)}, Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	require.NoError(t, err)
	_, err = v.Verify(t.Context(), token(jwt.SigningMethodRS256, keyring().rsa, "r"))
	requireCause(t, llm.CauseUnavailable, err)
	v.Close()
	require.Contains(t, log.String(), "issuer=idp")
	require.Contains(t, log.String(), "status 404")
}

func FuzzParseJWKS(f *testing.F) {
	f.Add(must(json.Marshal(map[string]any{"keys": []any{jwk("r", keyring().rsa, nil), jwk("e", keyring().p256, nil)}})))
	f.Add([]byte(`{"keys":[{"kty":"RSA","n":"AQ","e":"AQAB"},{"kty":"EC","crv":"P-256","x":"","y":""}]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		keys, err := parseJWKS(body, nil)
		require.Equal(t, err != nil, len(keys) == 0)
		for _, key := range keys {
			require.NoError(t, checkKey(key.key))
			require.NotEmpty(t, key.algorithms)
		}
	})
}
