package upstreamtest

import (
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// Replay serves recorded answers: every case under a prefix of its own, any
// method and any path below it. The prefix is thus a base URL for the case.
type Replay struct {
	journal
	server *httptest.Server
	cases  map[string]Case
	split  Split
}

// NewReplay starts a server for cases that flushes after each piece of the
// split.
func NewReplay(t testing.TB, cases []Case, split Split) *Replay {
	r := &Replay{cases: make(map[string]Case, len(cases)), split: split}
	for _, c := range cases {
		r.cases[c.Name] = c
	}
	r.server = httptest.NewServer(r)
	t.Cleanup(r.server.Close)
	return r
}

// URL is the base URL of a case.
func (r *Replay) URL(c Case) string { return r.server.URL + "/" + c.Name }

// ServeHTTP answers as recorded. What has no case is a 404 in plain text, which
// no recorded answer is.
func (r *Replay) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	end := r.begin(req)
	defer end()
	name := strings.Join(firstSegments(req.URL.Path, 3), "/")
	c, ok := r.cases[name]
	if !ok {
		http.Error(w, "no such case", http.StatusNotFound)
		return
	}
	maps.Copy(w.Header(), c.Header)
	w.WriteHeader(c.Status)
	send(w, r.split.Pieces(c.Body)...)
}

func firstSegments(path string, n int) []string {
	segments := strings.Split(strings.TrimPrefix(path, "/"), "/")
	return segments[:min(n, len(segments))]
}

// send writes pieces and flushes each; it reports false where the peer is gone.
func send(w http.ResponseWriter, pieces ...[]byte) bool {
	rc := http.NewResponseController(w)
	for _, piece := range pieces {
		if _, err := w.Write(piece); err != nil {
			return false
		}
		if err := rc.Flush(); err != nil {
			return false
		}
	}
	return true
}
