package process

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strconv"
	"time"
)

// Kubelet is the part of a kubelet's server that `kubectl logs` needs, for all process nodes at one port. It listens
// on loopback only and asks nobody who they are. Exec, attach and port-forward are not there.
type Kubelet struct {
	machines []*Machine
}

// Serve answers the API server at the port until the context ends.
func (k *Kubelet) Serve(ctx context.Context, port int, certificate tls.Certificate, machines []*Machine) error {
	k.machines = machines
	listener, err := tls.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), &tls.Config{
		Certificates: []tls.Certificate{certificate},
		NextProtos:   []string{"http/1.1"},
	})
	if err != nil {
		return err
	}
	routes := http.NewServeMux()
	routes.HandleFunc("GET /containerLogs/{namespace}/{pod}/{container}", k.logs)
	server := &http.Server{
		Handler:           routes,
		ErrorLog:          log.New(io.Discard, "", 0),
		ReadHeaderTimeout: 10 * time.Second,
		BaseContext:       func(net.Listener) context.Context { return ctx },
	}
	go func() {
		<-ctx.Done()
		_ = server.Close()
	}()
	go func() {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			log.Printf("the nodes' log server ended: %v", err)
		}
	}()
	return nil
}

func (k *Kubelet) logs(w http.ResponseWriter, r *http.Request) {
	var found *pod
	for _, m := range k.machines {
		if p, lost := m.find(r.PathValue("namespace"), r.PathValue("pod")); p != nil && !lost {
			found = p
		}
	}
	if found == nil {
		http.Error(w, "no process node runs this pod", http.StatusNotFound)
		return
	}
	query := r.URL.Query()
	options, limit, err := outputOptions(query.Get)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	output, err := found.outputOf(r.PathValue("container"), query.Get("previous") == "true")
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "text/plain")
	control := http.NewResponseController(w)
	to := io.Writer(w)
	if limit >= 0 {
		to = &limitedWriter{w, limit}
	}
	err = output.Send(r.Context(), to, func() { _ = control.Flush() }, options)
	if err != nil && !errors.Is(err, errFull) && r.Context().Err() == nil {
		log.Printf("sending the log of %s/%s: %v", found.namespace, found.name, err)
	}
}

func outputOptions(get func(string) string) (options OutputOptions, limit int64, err error) {
	options = OutputOptions{Follow: get("follow") == "true", Timestamps: get("timestamps") == "true", Tail: -1}
	limit = -1
	if text := get("tailLines"); text != "" {
		if options.Tail, err = strconv.Atoi(text); err != nil {
			return options, limit, fmt.Errorf("tailLines: %w", err)
		}
	}
	if text := get("limitBytes"); text != "" {
		if limit, err = strconv.ParseInt(text, 10, 64); err != nil {
			return options, limit, fmt.Errorf("limitBytes: %w", err)
		}
	}
	if text := get("sinceSeconds"); text != "" {
		ago, err := strconv.Atoi(text)
		if err != nil {
			return options, limit, fmt.Errorf("sinceSeconds: %w", err)
		}
		options.Since = time.Now().Add(-time.Duration(ago) * time.Second)
	}
	if text := get("sinceTime"); text != "" {
		if options.Since, err = time.Parse(time.RFC3339, text); err != nil {
			return options, limit, fmt.Errorf("sinceTime: %w", err)
		}
	}
	return options, limit, nil
}

// outputOf finds the output of a container's run now (or of the last one), or of the run before it.
func (p *pod) outputOf(name string, previous bool) (*Output, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, list := range [][]*container{p.init, p.containers} {
		for _, c := range list {
			if c.spec.Name != name {
				continue
			}
			output := c.output
			if previous {
				// Between two runs, the run that has ended is the previous one.
				if c.status.State.Waiting == nil {
					output = c.previous
				}
				if output == nil {
					return nil, fmt.Errorf("previous terminated container %q in pod %q not found", name, p.name)
				}
			}
			if output == nil {
				return nil, fmt.Errorf("container %q in pod %q is waiting to start", name, p.name)
			}
			return output, nil
		}
	}
	return nil, fmt.Errorf("container %q not found in pod %q", name, p.name)
}

var errFull = errors.New("the limit of bytes is reached")

// limitedWriter ends an output after so many bytes.
type limitedWriter struct {
	to   io.Writer
	left int64
}

func (l *limitedWriter) Write(data []byte) (int, error) {
	n, err := l.to.Write(data[:min(int64(len(data)), l.left)])
	l.left -= int64(n)
	if err == nil && l.left == 0 {
		err = errFull
	}
	return n, err
}
