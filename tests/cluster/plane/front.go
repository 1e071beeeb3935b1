package plane

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"path/filepath"
	"strconv"
	"sync"
)

// Front is the API server under a certificate authority of its own, which can be replaced: what a client sees of an
// authority that is rotated, without anybody else noticing.
type Front struct {
	Server string // URL that the client connects to

	dir     string
	handler http.Handler
	address string

	mu     sync.Mutex
	turns  int
	server *http.Server
}

// NewFront will serve the target, which is known by the plane's own authority, on 127.0.0.1 at the port: from the first
// rotation on.
func NewFront(port int, target string, trust *Trust, dir string) *Front {
	address := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "https", Host: target})
	proxy.Transport = &http.Transport{TLSClientConfig: &tls.Config{RootCAs: trust.Pool}}
	proxy.FlushInterval = -1 // Events of a watch go on as they come.
	return &Front{Server: "https://" + address, dir: dir, handler: proxy, address: address}
}

// Rotate closes all connections and serves under a new authority; it returns the file that the authority is in.
func (f *Front) Rotate() (authorityFile string, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.turns++
	trust, err := NewTrust(filepath.Join(f.dir, strconv.Itoa(f.turns)))
	if err != nil {
		return "", err
	}
	if f.server != nil {
		_ = f.server.Close()
	}
	listener, err := net.Listen("tcp", f.address)
	if err != nil {
		return "", fmt.Errorf("the front: %w", err)
	}
	f.server = &http.Server{Handler: f.handler}
	configuration := &tls.Config{Certificates: []tls.Certificate{trust.Serving}}
	server := f.server
	go func() { _ = server.Serve(tls.NewListener(listener, configuration)) }()
	return trust.AuthorityFile, nil
}
