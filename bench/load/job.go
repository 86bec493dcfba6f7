// The jobs, one JSON line each on stdin, their results on stdout:
//
//	rate    open loop: a request is due every 1/rate s, whether or not the last was answered; latency from when it was due
//	closed  closed loop: every connection sends its next request when the last was answered
//	abort   every 1/rate s a client that leaves Leave ms after its request; see aborts.go
//	hold    Conns requests that stay open until `release`
package main

import (
	"fmt"
	"sort"
	"time"
)

type job struct {
	ID    int    `json:"id"`
	Kind  string `json:"kind"`
	Port  int    `json:"port"`
	Path  string `json:"path"`
	Many  int    `json:"many"` // paths: Path with %d from 0 to Many-1
	Conns int    `json:"conns"`
	Rate  int    `json:"rate"`
	Ms    int    `json:"ms"`    // nothing is sent after it
	Count int    `json:"count"` // closed loop: at most so many requests
	Ramp  int    `json:"ramp"`  // ms over which the connections are opened
	Body  int    `json:"body"`
	Close bool   `json:"close"`
	Leave int    `json:"leave"`

	requests [][]byte
	next     int
	samples  []int64
	issued   int
	ok       int
	bad      int
	errors   int
	why      map[string]int
	clients  map[*client]bool
	free     []*client
	due      []int64
	begun    int64
	until    int64
	finished bool
}

const grace = 5 * time.Second

func (j *job) start() {
	j.why = map[string]int{}
	j.clients = map[*client]bool{}
	if j.Many > 0 {
		for i := 0; i < j.Many; i++ {
			j.requests = append(j.requests, request(j.Port, fmt.Sprintf(j.Path, i), j.Body, j.Close))
		}
	} else {
		j.requests = [][]byte{request(j.Port, j.Path, j.Body, j.Close)}
	}
	j.samples = make([]int64, 0, 1<<16)
	j.begun = now()
	j.until = j.begun + int64(j.Ms)*1e6
	for i := 0; i < j.Conns; i++ {
		after(time.Duration(j.Ramp)*time.Millisecond*time.Duration(i)/time.Duration(j.Conns), j.open)
	}
	if j.Kind == "rate" {
		const settle = 100 * time.Millisecond
		j.until += int64(settle)
		j.begun += int64(settle)
		at(j.begun, j.tick)
		at(j.until, j.drain)
	}
	at(j.until+int64(grace), j.finish)
}

func (j *job) open() {
	if j.finished {
		return
	}
	c := dial(j)
	if c.closed {
		return
	}
	j.clients[c] = true
	if j.Kind != "rate" {
		j.again(c)
	}
}

func (j *job) request() []byte {
	j.issued++
	j.next++
	return j.requests[j.next%len(j.requests)]
}

func (j *job) tick() {
	if j.finished {
		return
	}
	due := j.begun + int64(j.issued+len(j.due))*1e9/int64(j.Rate)
	if due >= j.until {
		return
	}
	if last := len(j.free) - 1; last >= 0 {
		c := j.free[last]
		j.free = j.free[:last]
		if c.closed {
			j.tick()
			return
		}
		c.send(j.request(), due)
	} else {
		j.due = append(j.due, due)
	}
	at(j.begun+int64(j.issued+len(j.due))*1e9/int64(j.Rate), j.tick)
}

// A connection that may send its next request.
func (j *job) idle(c *client) {
	if j.finished {
		return
	}
	if c.closed {
		delete(j.clients, c)
		if j.Kind == "rate" || j.more() {
			j.open()
		} else {
			j.drain()
		}
		return
	}
	if j.Kind != "rate" {
		j.again(c)
		return
	}
	if len(j.due) > 0 {
		due := j.due[0]
		j.due = j.due[1:]
		c.send(j.request(), due)
		return
	}
	j.free = append(j.free, c)
	j.drain()
}

func (j *job) more() bool {
	switch {
	case j.Kind == "hold":
		return j.issued < j.Conns
	default:
		return now() < j.until && (j.Count == 0 || j.issued < j.Count)
	}
}

func (j *job) again(c *client) {
	if j.more() {
		c.send(j.request(), now())
		return
	}
	c.leave()
	delete(j.clients, c)
	j.drain()
}

func (j *job) answered(c *client, status int) {
	j.samples = append(j.samples, now()-c.since)
	if status >= 200 && status < 300 {
		j.ok++
	} else {
		j.bad++
		j.why[fmt.Sprintf("status %d", status)]++
	}
}

func (j *job) failed(why string) {
	j.errors++
	j.why[why]++
}

// A connection went away; while there is work, another takes its place, though not in a spin.
func (j *job) lost(c *client) {
	delete(j.clients, c)
	if !j.finished && j.Kind != "hold" && (j.Kind == "rate" && now() < j.until || j.Kind == "closed" && j.more()) {
		after(10*time.Millisecond, j.open)
		return
	}
	j.drain()
}

// Ends the job once nothing is on its way any more.
func (j *job) drain() {
	if j.finished || (j.Kind == "rate" && now() < j.until) || (j.Kind != "rate" && j.more()) {
		return
	}
	for c := range j.clients {
		if c.busy {
			return
		}
	}
	j.finish()
}

func (j *job) finish() {
	if j.finished {
		return
	}
	j.finished = true
	took := now() - j.begun
	for c := range j.clients {
		if c.busy {
			j.failed("no answer in time")
		}
		c.leave()
	}
	reply(map[string]any{
		"id": j.ID, "ok": j.ok, "non2xx": j.bad, "errors": j.errors, "why": j.why, "seconds": float64(took) / 1e9,
		"p50": quantile(j.samples, 0.5), "p99": quantile(j.samples, 0.99), "max": quantile(j.samples, 1),
	})
}

// In microseconds.
func quantile(samples []int64, q float64) float64 {
	if len(samples) == 0 {
		return 0
	}
	sort.Slice(samples, func(a, b int) bool { return samples[a] < samples[b] })
	i := int(q * float64(len(samples)))
	if i >= len(samples) {
		i = len(samples) - 1
	}
	return float64(samples[i]) / 1e3
}
