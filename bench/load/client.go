// The clients: as many connections as a job asks for, one request at a time on each.
package main

import (
	"fmt"
	"strings"
	"syscall"
)

type client struct {
	fd        int
	job       *job
	in        message
	out       []byte
	connected bool
	busy      bool
	since     int64 // when its request was due
	closed    bool
}

func request(port int, path string, bodyBytes int, closing bool) []byte {
	method, extra := "GET", ""
	if bodyBytes > 0 {
		method, extra = "POST", fmt.Sprintf("Content-Type: application/octet-stream\r\nContent-Length: %d\r\n", bodyBytes)
	}
	if closing {
		extra += "Connection: close\r\n"
	}
	head := fmt.Sprintf("%s %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n%s\r\n", method, path, port, extra)
	return []byte(head + strings.Repeat("x", bodyBytes))
}

func dial(j *job) *client {
	c := &client{job: j, fd: -1}
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		c.fail("socket: " + err.Error())
		return c
	}
	c.fd = fd
	_ = syscall.SetsockoptInt(fd, syscall.IPPROTO_TCP, syscall.TCP_NODELAY, 1)
	err = syscall.Connect(fd, &syscall.SockaddrInet4{Port: j.Port, Addr: [4]byte{127, 0, 0, 1}})
	if err != nil && err != syscall.EINPROGRESS {
		must(watch(fd, 0, c))
		c.fail("connect: " + err.Error())
		return c
	}
	must(watch(fd, readable|writable|syscall.EPOLLRDHUP, c))
	return c
}

// Sends the job's next request. @param due when it should have been sent
func (c *client) send(data []byte, due int64) {
	c.busy, c.since, c.out = true, due, data
	c.in.reset()
	if c.connected {
		c.write()
	}
}

func (c *client) write() {
	left, alive := push(c.fd, c.out)
	if !alive {
		c.fail("write failed")
		return
	}
	if len(left) > 0 && len(c.out) == len(left) {
		rewatch(c.fd, readable|writable|syscall.EPOLLRDHUP)
	} else if len(left) > 0 {
		rewatch(c.fd, readable|writable|syscall.EPOLLRDHUP)
	}
	c.out = left
}

func (c *client) ready(events uint32) {
	if !c.connected {
		if events&(syscall.EPOLLERR|syscall.EPOLLHUP) != 0 {
			code, _ := syscall.GetsockoptInt(c.fd, syscall.SOL_SOCKET, syscall.SO_ERROR)
			c.fail("connect: " + syscall.Errno(code).Error())
			return
		}
		if events&writable == 0 {
			return
		}
		c.connected = true
		rewatch(c.fd, readable|syscall.EPOLLRDHUP)
		if c.busy {
			c.write()
		} else {
			c.job.idle(c)
		}
		return
	}
	if events&writable != 0 && len(c.out) > 0 {
		c.write()
		if len(c.out) == 0 && !c.closed {
			rewatch(c.fd, readable|syscall.EPOLLRDHUP)
		}
	}
	if c.closed || events&(readable|gone) == 0 {
		return
	}
	n, err := syscall.Read(c.fd, scratch)
	if err == syscall.EAGAIN {
		return
	}
	if n <= 0 {
		if c.busy {
			c.fail("closed before the response was complete")
		} else {
			c.leave()
			c.job.lost(c)
		}
		return
	}
	if c.busy && c.in.feed(scratch[:n]) {
		c.busy = false
		closing := c.in.close || c.job.Close
		c.job.answered(c, c.in.status())
		if closing && !c.closed {
			c.leave()
		}
		c.job.idle(c)
	}
}

func (c *client) fail(why string) {
	c.busy = false
	c.leave()
	c.job.failed(why)
	c.job.lost(c)
}

// Closes the connection, without another word.
func (c *client) leave() {
	if c.closed {
		return
	}
	c.closed = true
	if c.fd >= 0 {
		shut(c.fd)
	}
}
