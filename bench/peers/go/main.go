// Go's own reverse proxy, bare, with a tuned transport and pooled buffers.
package main

import (
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"sync"
	"time"
)

type pool struct{ sync.Pool }

func (p *pool) Get() []byte  { return *p.Pool.Get().(*[]byte) }
func (p *pool) Put(b []byte) { p.Pool.Put(&b) }

func proxy(port string, buffers httputil.BufferPool) http.Handler {
	target, err := url.Parse("http://127.0.0.1:" + port)
	if err != nil {
		log.Fatal(err)
	}
	p := httputil.NewSingleHostReverseProxy(target)
	p.BufferPool = buffers
	p.ErrorLog = log.New(io.Discard, "", 0)
	p.Transport = &http.Transport{
		DialContext:         (&net.Dialer{Timeout: 2 * time.Second}).DialContext,
		MaxIdleConns:        0,
		MaxIdleConnsPerHost: 256,
		IdleConnTimeout:     90 * time.Second,
		DisableCompression:  true,
	}
	return p
}

func main() {
	buffers := &pool{sync.Pool{New: func() any { b := make([]byte, 32*1024); return &b }}}
	slow := proxy(os.Getenv("SLOW_PORT"), buffers)
	mux := http.NewServeMux()
	mux.Handle("/", proxy(os.Getenv("FAST_PORT"), buffers))
	mux.Handle("/sink", slow)
	mux.Handle("/slow/", slow)
	mux.Handle("/hold", slow)
	log.Fatal((&http.Server{Addr: "127.0.0.1:" + os.Getenv("PORT"), Handler: mux}).ListenAndServe())
}
