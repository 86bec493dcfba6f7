// The event loop: one thread, epoll, and a timerfd (Go's own timers round to a millisecond, which would be most of
// what is measured here).
package main

import (
	"container/heap"
	"syscall"
	"time"
	"unsafe"
)

const (
	readable = syscall.EPOLLIN
	writable = syscall.EPOLLOUT
	gone     = syscall.EPOLLRDHUP | syscall.EPOLLHUP | syscall.EPOLLERR
)

// A socket's owner.
type owner interface{ ready(events uint32) }

type timer struct {
	at  int64
	run func()
}

type timers []timer

func (t timers) Len() int           { return len(t) }
func (t timers) Less(i, j int) bool { return t[i].at < t[j].at }
func (t timers) Swap(i, j int)      { t[i], t[j] = t[j], t[i] }
func (t *timers) Push(x any)        { *t = append(*t, x.(timer)) }
func (t *timers) Pop() any {
	old := *t
	last := old[len(old)-1]
	*t = old[:len(old)-1]
	return last
}

var (
	epfd, timerfd int
	owners        []owner
	pending       timers
	armed         int64
	begun         = time.Now()
	scratch       = make([]byte, 256*1024)
)

// Nanoseconds, monotonic.
func now() int64 { return int64(time.Since(begun)) }

func after(d time.Duration, run func()) { at(now()+int64(d), run) }

func at(when int64, run func()) { heap.Push(&pending, timer{when, run}) }

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func openLoop() {
	var err error
	epfd, err = syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	must(err)
	const clockMonotonic, nonblock = 1, 0o4000
	fd, _, errno := syscall.Syscall(syscall.SYS_TIMERFD_CREATE, clockMonotonic, nonblock, 0)
	if errno != 0 {
		panic(errno)
	}
	timerfd = int(fd)
	must(syscall.EpollCtl(epfd, syscall.EPOLL_CTL_ADD, timerfd, &syscall.EpollEvent{Events: readable, Fd: int32(timerfd)}))
}

func watch(fd int, events uint32, o owner) error {
	for len(owners) <= fd {
		owners = append(owners, nil)
	}
	owners[fd] = o
	return syscall.EpollCtl(epfd, syscall.EPOLL_CTL_ADD, fd, &syscall.EpollEvent{Events: events, Fd: int32(fd)})
}

func rewatch(fd int, events uint32) {
	_ = syscall.EpollCtl(epfd, syscall.EPOLL_CTL_MOD, fd, &syscall.EpollEvent{Events: events, Fd: int32(fd)})
}

func shut(fd int) {
	owners[fd] = nil
	_ = syscall.Close(fd)
}

// Arms the timerfd for the earliest timer. The interval of zero makes it fire once.
func arm() {
	if len(pending) == 0 || pending[0].at == armed {
		return
	}
	armed = pending[0].at
	wait := armed - now()
	if wait < 1 {
		wait = 1
	}
	spec := [4]int64{0, 0, wait / 1e9, wait % 1e9}
	_, _, _ = syscall.RawSyscall6(syscall.SYS_TIMERFD_SETTIME, uintptr(timerfd), 0, uintptr(unsafe.Pointer(&spec)), 0, 0, 0)
}

func loop() {
	events := make([]syscall.EpollEvent, 512)
	for {
		for len(pending) > 0 && pending[0].at <= now() {
			heap.Pop(&pending).(timer).run()
		}
		arm()
		n, err := syscall.EpollWait(epfd, events, -1)
		if err == syscall.EINTR {
			continue
		}
		must(err)
		for _, event := range events[:n] {
			fd := int(event.Fd)
			if fd == timerfd {
				var ticks [8]byte
				_, _ = syscall.Read(timerfd, ticks[:])
				armed = 0
				continue
			}
			// Closed by an earlier event of this same turn. A number taken again meanwhile reads EAGAIN, which harms nobody.
			if o := owners[fd]; o != nil {
				o.ready(event.Events)
			}
		}
	}
}

// Writes as much as the socket takes. @returns what is left, and false if the peer is gone.
func push(fd int, data []byte) ([]byte, bool) {
	for len(data) > 0 {
		n, err := syscall.Write(fd, data)
		if err == syscall.EAGAIN {
			return data, true
		}
		if err != nil {
			return nil, false
		}
		data = data[n:]
	}
	return nil, true
}
