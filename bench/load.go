//go:build linux

package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// A client is one keep-alive connection that sends the same request again and again.
type client struct {
	conn    net.Conn
	r       *bufio.Reader
	request []byte
	expect  expectation
	buffer  []byte
}

func dial(addr string, request []byte, expect expectation) (*client, error) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	return &client{
		conn: conn, r: bufio.NewReaderSize(conn, 4<<10), request: request, expect: expect, buffer: make([]byte, 4<<10),
	}, nil
}

func (c *client) close() { c.conn.Close() }

// call sends the request, reads the whole answer and checks it.
func (c *client) call() error {
	if err := c.conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		return err
	}
	if _, err := c.conn.Write(c.request); err != nil {
		return err
	}
	resp, err := http.ReadResponse(c.r, nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	length, lines := 0, 0
	var tail []byte
	for {
		n, err := resp.Body.Read(c.buffer)
		length += n
		lines += bytes.Count(c.buffer[:n], []byte("\n"))
		tail = append(tail, c.buffer[max(0, n-32):n]...)
		tail = tail[max(0, len(tail)-32):]
		if err != nil {
			break // io.EOF, or a broken answer, which the checks below notice
		}
	}
	switch {
	case resp.StatusCode != http.StatusOK:
		return fmt.Errorf("status %d: %s", resp.StatusCode, tail)
	case c.expect.length > 0 && length != c.expect.length:
		return fmt.Errorf("%d bytes, want %d", length, c.expect.length)
	case c.expect.lines > 0 && lines != c.expect.lines:
		return fmt.Errorf("%d lines, want %d", lines, c.expect.lines)
	case !bytes.HasSuffix(tail, []byte(c.expect.ending)):
		return fmt.Errorf("answer ends with %q, want %q", tail, c.expect.ending)
	}
	return nil
}

// A load is a fixed number of calls over a fixed number of connections.
type load struct {
	addr        string
	request     []byte
	expect      expectation
	calls       int
	connections int
	spread      time.Duration // between the first calls of two connections
	rate        int           // calls per second; 0 = each connection sends as soon as it has its answer
}

// run makes the calls. With a rate it returns the latency of each call, counted from the moment it was due: a gateway that
// stalls delays the calls behind it, and those delays belong to it.
func (l load) run(ctx context.Context) ([]time.Duration, error) {
	due := make(chan time.Time, l.calls)
	var mu sync.Mutex // guards latencies
	latencies := make([]time.Duration, 0, l.calls)

	group, ctx := errgroup.WithContext(ctx)
	for i := range l.connections {
		group.Go(func() error {
			time.Sleep(time.Duration(i) * l.spread)
			c, err := dial(l.addr, l.request, l.expect)
			if err != nil {
				return err
			}
			defer c.close()
			for at := range due {
				if ctx.Err() != nil {
					return ctx.Err()
				}
				if err := c.call(); err != nil {
					return err
				}
				mu.Lock()
				latencies = append(latencies, time.Since(at))
				mu.Unlock()
			}
			return nil
		})
	}
	l.schedule(ctx, due)
	return latencies, group.Wait()
}

// schedule puts each call in the queue when it is due.
func (l load) schedule(ctx context.Context, due chan<- time.Time) {
	defer close(due)
	start := time.Now()
	for i := range l.calls {
		at := start
		if l.rate > 0 {
			at = start.Add(time.Duration(i) * time.Second / time.Duration(l.rate))
			time.Sleep(time.Until(at))
		}
		if ctx.Err() != nil {
			return
		}
		due <- at
	}
}

// percentile returns the given percentile of the values, which it sorts.
func percentile(values []time.Duration, p float64) time.Duration {
	if len(values) == 0 {
		return 0
	}
	slices.Sort(values)
	return values[min(len(values)-1, int(p/100*float64(len(values))))]
}
