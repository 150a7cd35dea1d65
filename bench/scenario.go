//go:build linux

package main

import "time"

// A scenario is one kind of traffic and the row (or rows) of the table it gives.
type scenario struct {
	name    string // for -only
	title   string
	measure kind
	bar     float64 // of CPU time: Tollgate's over Caddy's
	answer  *answer
	size    int  // of the request body, bytes
	stream  bool // what the request asks for
	load    load // address, request and expectation are filled in for each gateway
	units   int  // what the CPU time of one call is divided by: the events of a stream
	// translated: Tollgate translates for a client of another dialect, and stands
	// in the place of Caddy as well, passing the same answer through.
	translated bool
}

type kind int

const (
	cpuTime kind = iota
	cpuTimeAndMemory
	addedLatency
)

// The bars that are no ratio.
const (
	barP50    = 250 * time.Microsecond
	barP99    = 1500 * time.Microsecond
	barMemory = 140 << 20
)

// scenarios are the rows of the table, in its order. The counts make a round take one to six seconds.
func scenarios() []scenario {
	const pacedEvents = 250
	return []scenario{
		{
			name: "plain", title: "1 KB request, plain answer: CPU per call", bar: 1.2, units: 1,
			answer: plainAnswer(), size: 1 << 10, load: load{calls: 10000, connections: 8},
		},
		{
			name: "large", title: "100 KB request: CPU per call", bar: 1.5, units: 1,
			answer: plainAnswer(), size: 100 << 10, load: load{calls: 4000, connections: 8},
		},
		{
			name: "burst", title: "stream, 100 events at once: CPU per event", bar: 1.2, units: 100,
			answer: streamAnswer(100, 0), size: 1 << 10, stream: true, load: load{calls: 6000, connections: 8},
		},
		{
			name: "translated", title: "the burst translated (Anthropic's client), beside passed through: CPU per event", bar: 2.0, units: 100,
			answer: streamAnswer(100, 0), size: 1 << 10, stream: true, load: load{calls: 6000, connections: 8}, translated: true,
		},
		{
			name: "paced", title: "stream, events 20 ms apart, 500 at a time: CPU per event", bar: 1.0, units: pacedEvents,
			measure: cpuTimeAndMemory,
			answer:  streamAnswer(pacedEvents, 20*time.Millisecond), size: 1 << 10, stream: true,
			load: load{calls: 500, connections: 500, spread: 2 * time.Millisecond},
		},
		{
			name: "latency", title: "added latency at 500 requests/s", measure: addedLatency, units: 1,
			answer: plainAnswer(), size: 1 << 10, load: load{calls: 2500, connections: 32, rate: 500},
		},
	}
}
