package testenv

import (
	"context"
	"testing"
)

// A TestServer is a Server whose methods fail the test instead of returning
// errors. It is closed when the test ends.
type TestServer struct {
	t      testing.TB
	server *Server
	url    string
}

// URL is how clients reach the server.
func (s *TestServer) URL() string { return s.url }

// Addr is the server's host:port.
func (s *TestServer) Addr() string { return s.server.Addr }

// Stop ends the server at once; clients see connections reset, then refused.
func (s *TestServer) Stop() { s.t.Helper(); require(s.t, s.server.Stop()) }

// Start brings a stopped server back on the same address.
func (s *TestServer) Start() {
	s.t.Helper()
	require(s.t, s.server.Start(context.WithoutCancel(s.t.Context())))
}

// Pause freezes the server (SIGSTOP): clients hang. For Postgres it stops new
// connections only, since each old one has a process of its own.
func (s *TestServer) Pause() { s.t.Helper(); require(s.t, s.server.Pause()) }

// Resume wakes a paused server.
func (s *TestServer) Resume() { s.t.Helper(); require(s.t, s.server.Resume()) }
