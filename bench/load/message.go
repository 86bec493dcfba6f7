// As much HTTP/1.1 as a bench needs: heads, Content-Length, chunked bodies.
package main

import (
	"bytes"
	"strconv"
)

// Finds the end of each message in a stream of bytes that holds one message at a time.
type message struct {
	head    []byte
	inBody  bool
	left    int64 // of a body with a length
	chunked bool
	tail    [5]byte // the last bytes of a chunked body
	close   bool
}

var (
	endOfHead  = []byte("\r\n\r\n")
	lastChunk  = []byte("0\r\n\r\n")
	lengthName = []byte("\r\ncontent-length:")
	chunkName  = []byte("\r\ntransfer-encoding: chunked")
	closeName  = []byte("\r\nconnection: close")
)

func (m *message) reset() {
	m.head, m.inBody, m.left, m.chunked, m.close = m.head[:0], false, 0, false, false
	m.tail = [5]byte{}
}

// @returns true when the message is complete
func (m *message) feed(data []byte) bool {
	if !m.inBody {
		from := len(m.head) - 3
		if from < 0 {
			from = 0
		}
		m.head = append(m.head, data...)
		end := bytes.Index(m.head[from:], endOfHead)
		if end < 0 {
			return false
		}
		end += from + 4
		data = m.head[end:]
		m.head = m.head[:end]
		m.readHead()
		m.inBody = true
	}
	if !m.chunked {
		m.left -= int64(len(data))
		return m.left <= 0
	}
	if len(data) >= 5 {
		copy(m.tail[:], data[len(data)-5:])
	} else {
		keep := append(append([]byte{}, m.tail[len(data):]...), data...)
		copy(m.tail[:], keep)
	}
	return bytes.Equal(m.tail[:], lastChunk)
}

func (m *message) readHead() {
	if value, found := m.find(lengthName); found {
		m.left, _ = strconv.ParseInt(string(bytes.TrimSpace(value)), 10, 64)
	}
	_, m.chunked = m.find(chunkName)
	_, m.close = m.find(closeName)
}

// Case-insensitive, without a copy of the head.
func (m *message) find(name []byte) ([]byte, bool) {
	for i := 0; i+len(name) <= len(m.head); {
		next := bytes.IndexByte(m.head[i:], '\r')
		if next < 0 || i+next+len(name) > len(m.head) {
			return nil, false
		}
		i += next
		if bytes.EqualFold(m.head[i:i+len(name)], name) {
			rest := m.head[i+len(name):]
			end := bytes.IndexByte(rest, '\r')
			return rest[:end], true
		}
		i++
	}
	return nil, false
}

// The status of a response; 0 if it is none.
func (m *message) status() int {
	if len(m.head) < 12 {
		return 0
	}
	status, _ := strconv.Atoi(string(m.head[9:12]))
	return status
}

// The target of a request.
func (m *message) target() string {
	parts := bytes.SplitN(m.head, []byte(" "), 3)
	if len(parts) < 3 {
		return ""
	}
	return string(parts[1])
}
