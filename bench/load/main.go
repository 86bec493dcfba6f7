// Load and upstream of the bench, in one thread. It talks JSON lines: first `{"port":N}`, where the upstream listens,
// then one line for each job (job.go). It ends when stdin does.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"syscall"
)

type commands struct{ rest []byte }

func reply(fields map[string]any) {
	line, err := json.Marshal(fields)
	must(err)
	fmt.Println(string(line))
	// Not while something is measured.
	runtime.GC()
}

func (c *commands) ready(uint32) {
	n, err := syscall.Read(0, scratch)
	if err == syscall.EAGAIN {
		return
	}
	if n <= 0 {
		os.Exit(0)
	}
	c.rest = append(c.rest, scratch[:n]...)
	for {
		line, rest, found := bytes.Cut(c.rest, []byte("\n"))
		if !found {
			return
		}
		j := &job{}
		must(json.Unmarshal(line, j))
		c.rest = append([]byte{}, rest...)
		run(j)
	}
}

func run(j *job) {
	switch j.Kind {
	case "abort":
		startStorm(j)
	case "release":
		release()
		reply(map[string]any{"id": j.ID})
	case "inflight":
		reply(map[string]any{"id": j.ID, "inflight": inFlight})
	default:
		j.start()
	}
}

func main() {
	debug.SetGCPercent(-1)
	debug.SetMemoryLimit(1 << 30)
	runtime.LockOSThread()
	openLoop()
	_ = syscall.SetNonblock(0, true)
	port := listen()
	must(watch(0, readable, &commands{}))
	reply(map[string]any{"port": port})
	loop()
}
