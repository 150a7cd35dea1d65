//go:build linux

package main

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"time"
)

// An upstream is the mock provider. It answers each request with the bytes of the answer that is set, so that it costs little
// and the packets are the same in every round.
type upstream struct {
	listener net.Listener
	answer   atomic.Pointer[answer]

	rewritten atomic.Int64 // requests that name a model instead of the specialist, and carry the provider's key
	verbatim  atomic.Int64 // requests as the client wrote them
}

func startUpstream() (*upstream, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	u := &upstream{listener: listener}
	go u.accept()
	return u, nil
}

func (u *upstream) addr() string { return u.listener.Addr().String() }

func (u *upstream) accept() {
	for {
		conn, err := u.listener.Accept()
		if err != nil {
			return // closed
		}
		go u.serve(conn)
	}
}

// serve answers the requests of one connection until it is closed or something fails; the load then sees a broken answer.
func (u *upstream) serve(conn net.Conn) {
	defer conn.Close()
	r := bufio.NewReaderSize(conn, 16<<10)
	var body bytes.Buffer
	for {
		req, err := http.ReadRequest(r)
		if err != nil {
			return
		}
		body.Reset()
		if _, err := io.Copy(&body, req.Body); err != nil {
			return
		}
		a, writes := u.inspect(req, body.Bytes())
		if send(conn, writes, a.pause) != nil {
			return
		}
	}
}

// inspect counts the request as rewritten or not and picks the writes that answer it.
func (u *upstream) inspect(req *http.Request, body []byte) (*answer, [][]byte) {
	named := bytes.Contains(body, []byte(`"model":"`+specialistID+`"`))
	if !named && req.Header.Get("Authorization") == "Bearer "+upstreamKey && bytes.Contains(body, []byte(`"system"`)) {
		u.rewritten.Add(1)
	} else {
		u.verbatim.Add(1)
	}
	a := u.answer.Load()
	if bytes.Contains(body, []byte(`"include_usage":true`)) {
		return a, a.usage
	}
	return a, a.plain
}

// send writes at fixed times from the start, so that a late write does not delay the ones after it.
func send(conn net.Conn, writes [][]byte, pause time.Duration) error {
	start := time.Now()
	for i, b := range writes {
		if i > 0 && pause > 0 {
			time.Sleep(time.Until(start.Add(time.Duration(i) * pause)))
		}
		if _, err := conn.Write(b); err != nil {
			return err
		}
	}
	return nil
}
