package plane

import (
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

// Relay is a TCP proxy in front of one server for one client, through which the client can be slowed down, held or
// cut off without touching anybody else. It knows nothing of what passes through: a delay moves bytes, not requests.
type Relay struct {
	Address string // host:port that the client connects to

	target   string
	listener net.Listener

	mu      sync.Mutex
	mode    relayMode
	delay   time.Duration
	changed chan struct{} // closed at each change of mode or delay
	open    map[net.Conn]struct{}
}

type relayMode int

const (
	flowing relayMode = iota
	hung              // connections stay and are accepted, nothing moves
	cut               // connections are closed, and new ones at once
	closed            // for good
)

func (m relayMode) String() string {
	switch m {
	case flowing:
		return "flowing"
	case hung:
		return "hung"
	case cut:
		return "cut"
	case closed:
		return "closed"
	}
	return fmt.Sprintf("relayMode(%d)", int(m))
}

// NewRelay listens on 127.0.0.1 at the port and forwards to the target.
func NewRelay(port int, target string) (*Relay, error) {
	listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return nil, err
	}
	r := &Relay{
		Address:  listener.Addr().String(),
		target:   target,
		listener: listener,
		changed:  make(chan struct{}),
		open:     map[net.Conn]struct{}{},
	}
	go r.accept()
	return r, nil
}

// Delay makes everything arrive that much later, in each direction. 0 ends it, also for what is on its way.
func (r *Relay) Delay(delay time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.delay = delay
	r.announce()
}

// Hang keeps connections open and lets nothing through.
func (r *Relay) Hang() { r.set(hung) }

// Cut closes all connections, and new ones as soon as they come.
func (r *Relay) Cut() { r.set(cut) }

// Resume ends a hang (what was held arrives) or a cut. A delay stays.
func (r *Relay) Resume() { r.set(flowing) }

// Close ends the relay.
func (r *Relay) Close() {
	r.set(closed)
	_ = r.listener.Close()
}

// State says the mode and the delay.
func (r *Relay) State() (mode string, delay time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.mode.String(), r.delay
}

func (r *Relay) set(mode relayMode) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.mode == closed {
		return
	}
	r.mode = mode
	if mode == cut || mode == closed {
		for connection := range r.open {
			_ = connection.Close()
		}
	}
	r.announce()
}

func (r *Relay) announce() {
	close(r.changed)
	r.changed = make(chan struct{})
}

func (r *Relay) accept() {
	for {
		client, err := r.listener.Accept()
		if err != nil {
			return // The listener is closed.
		}
		go r.serve(client)
	}
}

// track notes an open connection; false when it must be closed instead.
func (r *Relay) track(connection net.Conn) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.mode == cut || r.mode == closed {
		return false
	}
	r.open[connection] = struct{}{}
	return true
}

func (r *Relay) forget(connection net.Conn) {
	_ = connection.Close()
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.open, connection)
}

func (r *Relay) serve(client net.Conn) {
	defer r.forget(client)
	if !r.track(client) {
		return
	}
	server, err := net.Dial("tcp", r.target)
	if err != nil {
		return // The client sees its connection closed, as it would without a relay.
	}
	defer r.forget(server)
	if !r.track(server) {
		return
	}
	var both sync.WaitGroup
	both.Go(func() { r.pump(server, client) })
	both.Go(func() { r.pump(client, server) })
	both.Wait()
}

type chunk struct {
	data    []byte
	arrived time.Time
}

// pump moves bytes one way. Reading goes on while a chunk waits, so that a delay is one of time and not of throughput.
func (r *Relay) pump(to, from net.Conn) {
	chunks := make(chan chunk, 64)
	go func() {
		defer close(chunks)
		for {
			buffer := make([]byte, 16<<10)
			n, err := from.Read(buffer)
			if n > 0 {
				chunks <- chunk{data: buffer[:n], arrived: time.Now()}
			}
			if err != nil {
				if err != io.EOF {
					_ = to.Close() // Broken, not finished: so for the other side too.
				}
				return
			}
		}
	}()
	for c := range chunks {
		if !r.hold(c.arrived) {
			break
		}
		if _, err := to.Write(c.data); err != nil {
			_ = from.Close()
			break
		}
	}
	for range chunks { // The reader may be waiting to hand over.
	}
	if tcp, ok := to.(*net.TCPConn); ok {
		_ = tcp.CloseWrite()
	}
}

// hold waits until what arrived then may pass; false when it never may.
func (r *Relay) hold(arrived time.Time) bool {
	for {
		r.mu.Lock()
		mode, delay, changed := r.mode, r.delay, r.changed
		r.mu.Unlock()
		var due <-chan time.Time
		switch mode {
		case cut, closed:
			return false
		case hung:
		case flowing:
			wait := time.Duration(0)
			if delay > 0 {
				wait = time.Until(arrived.Add(delay))
			}
			if wait <= 0 {
				return true
			}
			due = time.After(wait)
		}
		select {
		case <-changed:
		case <-due:
		}
	}
}
