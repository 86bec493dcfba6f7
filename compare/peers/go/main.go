// httputil.ReverseProxy with every timeout that net/http has an option for, and with those that it has none for built on
// the deadlines of net.Conn: what a careful user of the standard library can do in a hundred lines.
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"time"
)

const (
	connectTimeout         = 500 * time.Millisecond
	requestWriteTimeout    = 800 * time.Millisecond
	responseHeadersTimeout = 800 * time.Millisecond
	bodyIdleTimeout        = 800 * time.Millisecond
	requestTimeout         = 2500 * time.Millisecond
	clientHeadersTimeout   = 1000 * time.Millisecond
	clientBodyIdleTimeout  = 1000 * time.Millisecond
	clientWriteIdleTimeout = 1000 * time.Millisecond
)

type connKey struct{}
type cancelKey struct{}

// Every write to the upstream has to get on.
type writeDeadlineConn struct{ net.Conn }

func (c writeDeadlineConn) Write(p []byte) (int, error) {
	_ = c.SetWriteDeadline(time.Now().Add(requestWriteTimeout))
	return c.Conn.Write(p)
}

// Every read of the response has to bring something; the clock rests while the client makes us wait.
type idleBody struct {
	io.ReadCloser
	cancel context.CancelFunc
}

func (b idleBody) Read(p []byte) (int, error) {
	timer := time.AfterFunc(bodyIdleTimeout, b.cancel)
	defer timer.Stop()
	return b.ReadCloser.Read(p)
}

// Every read of the upload has to bring something. http.Server has a total only (ReadTimeout).
type uploadBody struct {
	io.ReadCloser
	conn net.Conn
}

func (b uploadBody) Read(p []byte) (int, error) {
	_ = b.conn.SetReadDeadline(time.Now().Add(clientBodyIdleTimeout))
	n, err := b.ReadCloser.Read(p)
	if err == io.EOF {
		_ = b.conn.SetReadDeadline(time.Time{})
	}
	return n, err
}

// Every write to the client has to get on. http.Server has a total only (WriteTimeout).
type deadlineWriter struct {
	http.ResponseWriter
	conn net.Conn
}

func (w deadlineWriter) Write(p []byte) (int, error) {
	_ = w.conn.SetWriteDeadline(time.Now().Add(clientWriteIdleTimeout))
	return w.ResponseWriter.Write(p)
}

func (w deadlineWriter) Flush() {
	_ = w.conn.SetWriteDeadline(time.Now().Add(clientWriteIdleTimeout))
	w.ResponseWriter.(http.Flusher).Flush()
}

func main() {
	var config struct {
		Listen string
		Ca     string
		Routes []struct{ Name, Url string }
	}
	if err := json.Unmarshal([]byte(os.Args[1]), &config); err != nil {
		log.Fatal(err)
	}
	pem, err := os.ReadFile(config.Ca)
	if err != nil {
		log.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	dialer := net.Dialer{Timeout: connectTimeout}
	transport := &http.Transport{
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			conn, err := dialer.DialContext(ctx, network, addr)
			if err != nil {
				return nil, err
			}
			return writeDeadlineConn{conn}, nil
		},
		TLSClientConfig:        &tls.Config{RootCAs: roots, ServerName: "localhost"},
		TLSHandshakeTimeout:    connectTimeout,
		ResponseHeaderTimeout:  responseHeadersTimeout,
		MaxResponseHeaderBytes: 64 << 10,
		MaxIdleConnsPerHost:    64,
		IdleConnTimeout:        30 * time.Second,
		DisableCompression:     true,
	}
	mux := http.NewServeMux()
	for _, route := range config.Routes {
		target, err := url.Parse(route.Url)
		if err != nil {
			log.Fatal(err)
		}
		proxy := httputil.NewSingleHostReverseProxy(target)
		proxy.Transport = transport
		proxy.FlushInterval = -1
		proxy.ErrorLog = log.New(io.Discard, "", 0)
		proxy.ModifyResponse = func(response *http.Response) error {
			cancel := response.Request.Context().Value(cancelKey{}).(context.CancelFunc)
			if response.StatusCode != http.StatusSwitchingProtocols {
				response.Body = idleBody{response.Body, cancel}
			}
			return nil
		}
		proxy.ErrorHandler = func(w http.ResponseWriter, r *http.Request, err error) {
			var timeout net.Error
			if errors.Is(err, context.DeadlineExceeded) || (errors.As(err, &timeout) && timeout.Timeout()) {
				w.WriteHeader(http.StatusGatewayTimeout)
				return
			}
			w.WriteHeader(http.StatusBadGateway)
		}
		mux.HandleFunc("/"+route.Name, func(w http.ResponseWriter, r *http.Request) {
			conn := r.Context().Value(connKey{}).(net.Conn)
			ctx, cancel := context.WithTimeout(r.Context(), requestTimeout)
			defer cancel()
			if r.Body != nil && r.Body != http.NoBody {
				r.Body = uploadBody{r.Body, conn}
			}
			// What the proxy's own path would add to the target's.
			r.URL.Path = "/"
			proxy.ServeHTTP(deadlineWriter{w, conn}, r.WithContext(context.WithValue(ctx, cancelKey{}, cancel)))
		})
	}
	server := &http.Server{
		Addr:              config.Listen,
		Handler:           mux,
		ReadHeaderTimeout: clientHeadersTimeout,
		IdleTimeout:       30 * time.Second,
		ErrorLog:          log.New(io.Discard, "", 0),
		ConnContext: func(ctx context.Context, conn net.Conn) context.Context {
			return context.WithValue(ctx, connKey{}, conn)
		},
	}
	log.Fatal(server.ListenAndServe())
}
