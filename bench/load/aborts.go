// The abort storm: clients that leave, and when the upstream learns of it. Both ends live here, so that one clock times
// them.
package main

import (
	"fmt"
	"syscall"
	"time"
)

type storm struct {
	job     *job
	nextID  int
	leftAt  map[int]int64 // clients that left, by id; the upstream has not seen it yet
	reached map[int]bool
	seen    int
	ran     int // the upstream worked to the end for nobody
	unseen  int // left before the upstream had the request
	early   int // the upstream was closed before the client left
	lags    []int64
}

var aborts = &storm{leftAt: map[int]int64{}, reached: map[int]bool{}}

type leaver struct {
	fd   int
	id   int
	data []byte
	sent bool
}

func startStorm(j *job) {
	j.why = map[string]int{}
	j.begun = now()
	j.until = j.begun + int64(j.Ms)*1e6
	aborts = &storm{job: j, nextID: aborts.nextID, leftAt: map[int]int64{}, reached: map[int]bool{}}
	aborts.tick()
}

func (s *storm) tick() {
	if now() >= s.job.until {
		after(1500*time.Millisecond, s.finish)
		return
	}
	s.nextID++
	s.job.issued++
	s.leave(s.nextID)
	at(s.job.begun+int64(s.job.issued)*1e9/int64(s.job.Rate), s.tick)
}

func (s *storm) leave(id int) {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		s.job.failed("socket: " + err.Error())
		return
	}
	l := &leaver{fd: fd, id: id, data: request(s.job.Port, fmt.Sprintf("%s?id=%d", s.job.Path, id), 0, false)}
	err = syscall.Connect(fd, &syscall.SockaddrInet4{Port: s.job.Port, Addr: [4]byte{127, 0, 0, 1}})
	if err != nil && err != syscall.EINPROGRESS {
		_ = syscall.Close(fd)
		s.job.failed("connect: " + err.Error())
		return
	}
	must(watch(fd, writable, l))
}

func (l *leaver) ready(events uint32) {
	if l.sent {
		return
	}
	l.sent = true
	if events&(syscall.EPOLLERR|syscall.EPOLLHUP) != 0 {
		shut(l.fd)
		aborts.job.failed("connect failed")
		return
	}
	push(l.fd, l.data)
	_ = syscall.EpollCtl(epfd, syscall.EPOLL_CTL_DEL, l.fd, nil)
	s := aborts
	after(time.Duration(s.job.Leave)*time.Millisecond, func() {
		// Whatever came back is read first: a close with unread bytes would send a RST instead of a FIN.
		n, _ := syscall.Read(l.fd, scratch)
		if n > 0 {
			s.job.failed("answered before it left: " + string(scratch[:min(n, 12)]))
		}
		s.leftAt[l.id] = now()
		shut(l.fd)
	})
}

func min(a, b int) int {
	if a < b {
		return a
	}
	return b
}

func (s *storm) arrived(id int) {
	if id != 0 {
		s.reached[id] = true
	}
}

func (s *storm) closed(id int) {
	left, found := s.leftAt[id]
	if !found {
		s.early++
		return
	}
	delete(s.leftAt, id)
	s.seen++
	s.lags = append(s.lags, now()-left)
}

func (s *storm) ranToItsEnd(id int) {
	delete(s.leftAt, id)
	s.ran++
}

func (s *storm) finish() {
	j := s.job
	for id := range s.leftAt {
		if !s.reached[id] {
			s.unseen++
		}
	}
	reply(map[string]any{
		"id": j.ID, "aborts": j.issued, "closed": s.seen, "ranToItsEnd": s.ran, "neverReached": s.unseen,
		"closedEarly": s.early, "pending": len(s.leftAt) - s.unseen, "errors": j.errors, "why": j.why,
		"p50": quantile(s.lags, 0.5), "p99": quantile(s.lags, 0.99), "max": quantile(s.lags, 1),
	})
}
