package gateway_test

import (
	"errors"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/gateway"
	"github.com/financecommander/tollgate/internal/specialist"
	"github.com/financecommander/tollgate/internal/upstream"
	"github.com/financecommander/tollgate/internal/upstreamtest"
)

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// Where an admin sends a specialist's calls to through the API is reached by the
// guarded transport, what the configuration or the provider says by the usual one.
func TestSpecialistsOwnAddressesAreGuarded(t *testing.T) {
	t.Parallel()
	own, elsewhere := upstreamtest.New(t), upstreamtest.New(t)
	var guarded []string
	f := setup(t, func(o *gateway.Options) {
		o.Guarded = roundTrip(func(r *http.Request) (*http.Response, error) {
			guarded = append(guarded, r.URL.Host)
			require.Empty(t, r.Header.Get("Authorization"), "the provider's key stays here")
			return nil, upstream.DialError{Err: errors.New("not a public address")}
		})
		at := func(id, baseURL string, readOnly bool) *specialist.Specialist {
			return &specialist.Specialist{ID: id, Name: id, Provider: "openai", Model: "gpt-4o", BaseURL: baseURL, ReadOnly: readOnly}
		}
		o.Specialists = specialists{
			at("stored", elsewhere.URL(), false), at("configured", elsewhere.URL(), true), at("at-home", own.URL(), false),
		}
	}, provider(t, "openai", own.URL(), upstream.Timeouts{}))
	f.chat(`{"model":"stored","messages":[]}`).requireError(t, http.StatusBadGateway, "upstream_unreachable")
	require.Len(t, guarded, 1)
	require.Equal(t, http.StatusOK, f.chat(`{"model":"configured","messages":[]}`).Status)
	require.Equal(t, http.StatusOK, f.chat(`{"model":"at-home","messages":[]}`).Status)
	require.Len(t, guarded, 1)
	f.ledger.wait(t, 3)
}
