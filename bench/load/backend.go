// The upstream. /small, /large and /r/ answer at once, /sink when it has the whole body, /slow/MS after a while, /hold
// when told to.
package main

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"syscall"
	"time"
)

type backendConn struct {
	fd      int
	in      message
	out     []byte
	waiting bool
	abortID int // of the abort storm; 0: none
	closed  bool
}

type listener struct{ fd int }

var (
	small    = response(500)
	large    = response(256 * 1024)
	inFlight int // requests that wait for a slow answer
	holding  []*backendConn
	onArrive = func() {}
)

func response(size int) []byte {
	head := fmt.Sprintf("HTTP/1.1 200 OK\r\nServer: bench\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n", size)
	return append([]byte(head), bytes.Repeat([]byte("x"), size)...)
}

func listen() int {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC, 0)
	must(err)
	must(syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}))
	must(syscall.Listen(fd, 8192))
	name, err := syscall.Getsockname(fd)
	must(err)
	must(watch(fd, readable, &listener{fd}))
	return name.(*syscall.SockaddrInet4).Port
}

func (l *listener) ready(uint32) {
	for {
		fd, _, err := syscall.Accept4(l.fd, syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC)
		if err != nil {
			return
		}
		_ = syscall.SetsockoptInt(fd, syscall.IPPROTO_TCP, syscall.TCP_NODELAY, 1)
		must(watch(fd, readable|syscall.EPOLLRDHUP, &backendConn{fd: fd}))
	}
}

func (b *backendConn) ready(events uint32) {
	if events&gone != 0 {
		b.end()
		return
	}
	if events&writable != 0 {
		b.write()
	}
	if events&readable == 0 || b.closed {
		return
	}
	n, err := syscall.Read(b.fd, scratch)
	if err == syscall.EAGAIN {
		return
	}
	if n <= 0 {
		b.end()
		return
	}
	if b.in.feed(scratch[:n]) {
		b.serve(b.in.target())
		b.in.reset()
	}
}

func (b *backendConn) serve(target string) {
	switch {
	case strings.HasPrefix(target, "/slow/"):
		path, query, _ := strings.Cut(target[len("/slow/"):], "?id=")
		ms, _ := strconv.Atoi(path)
		b.abortID, _ = strconv.Atoi(query)
		b.wait()
		aborts.arrived(b.abortID)
		after(time.Duration(ms)*time.Millisecond, func() { b.answerSlow() })
	case strings.HasPrefix(target, "/hold"):
		b.wait()
		holding = append(holding, b)
	case strings.HasPrefix(target, "/large"):
		b.send(large)
	default:
		b.send(small)
	}
}

func (b *backendConn) wait() {
	b.waiting = true
	inFlight++
	onArrive()
}

func (b *backendConn) answerSlow() {
	if !b.waiting {
		return
	}
	b.waiting = false
	inFlight--
	if b.abortID != 0 {
		aborts.ranToItsEnd(b.abortID)
		b.abortID = 0
	}
	b.send(small)
}

func release() {
	for _, b := range holding {
		b.answerSlow()
	}
	holding = nil
}

func (b *backendConn) send(data []byte) {
	b.out = data
	b.write()
}

func (b *backendConn) write() {
	waited := len(b.out) > 0
	left, alive := push(b.fd, b.out)
	if !alive {
		b.end()
		return
	}
	b.out = left
	if len(left) > 0 {
		rewatch(b.fd, readable|writable|syscall.EPOLLRDHUP)
	} else if waited {
		rewatch(b.fd, readable|syscall.EPOLLRDHUP)
	}
}

func (b *backendConn) end() {
	if b.closed {
		return
	}
	b.closed = true
	shut(b.fd)
	if b.waiting {
		b.waiting = false
		inFlight--
		if b.abortID != 0 {
			aborts.closed(b.abortID)
		}
	}
}
