package up

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"tidegate.dev/tests/cluster/node"
	"tidegate.dev/tests/cluster/plane"
)

// compactTimeout bounds what etcd takes to forget: it has the history of minutes.
const compactTimeout = 10 * time.Second

// control is the HTTP endpoint with which a test disturbs its cluster. It listens on loopback and asks nobody who they
// are: whoever can reach it may break the cluster, which is what it is for.
type control struct {
	plane *plane.Plane
	fleet *node.Fleet

	mu      sync.Mutex
	proxies map[string]*plane.Relay
	fronts  map[string]*plane.Front
}

// refusal is an error that is the caller's.
type refusal struct {
	status  int
	message string
}

func (r refusal) Error() string { return r.message }

func notFound(format string, arguments ...any) error {
	return refusal{http.StatusNotFound, fmt.Sprintf(format, arguments...)}
}

func badRequest(format string, arguments ...any) error {
	return refusal{http.StatusBadRequest, fmt.Sprintf(format, arguments...)}
}

// startControl serves until the context ends, and returns the endpoint's URL.
func startControl(ctx context.Context, p *plane.Plane, fleet *node.Fleet) (string, error) {
	c := &control{plane: p, fleet: fleet, proxies: map[string]*plane.Relay{}, fronts: map[string]*plane.Front{}}
	port, err := p.Claims.Port()
	if err != nil {
		return "", err
	}
	listener, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return "", err
	}
	server := &http.Server{Handler: c.routes(), ReadHeaderTimeout: 10 * time.Second}
	go func() {
		<-ctx.Done()
		_ = server.Close()
	}()
	go func() {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			log.Printf("the control endpoint ended: %v", err)
		}
	}()
	return "http://" + listener.Addr().String(), nil
}

func (c *control) routes() http.Handler {
	routes := http.NewServeMux()
	handle := func(pattern string, answer func(*http.Request) (any, error)) {
		routes.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, io.LimitReader(r.Body, 1<<20))
			result, err := answer(r)
			status := http.StatusOK
			if err != nil {
				status = http.StatusInternalServerError
				var refused refusal
				if errors.As(err, &refused) {
					status = refused.status
				}
				result = map[string]string{"error": err.Error()}
			}
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(status)
			if err := json.NewEncoder(w).Encode(result); err != nil {
				log.Printf("answering %s: %v", r.URL.Path, err)
			}
		})
	}
	handle("GET /state", func(*http.Request) (any, error) { return c.state(), nil })
	handle("POST /components/{name}/{verb}", c.component)
	handle("POST /proxy", c.makeProxy)
	handle("POST /proxies/{name}/{verb}", c.proxy)
	handle("POST /front", c.front)
	handle("POST /nodes/{name}/{verb}", c.node)
	handle("/", func(r *http.Request) (any, error) {
		return nil, notFound("no such call: %s %s; see the README", r.Method, r.URL.Path)
	})
	return routes
}

type relayState struct {
	Server  string `json:"server,omitempty"`
	Mode    string `json:"mode"`
	DelayMS int64  `json:"delayMs"`
}

type componentState struct {
	plane.ComponentState
	Calls *relayState `json:"calls,omitempty"` // what it sends to the API server; for etcd, what it is sent
}

type state struct {
	Components map[string]componentState `json:"components"`
	Nodes      []node.State              `json:"nodes"`
	NodeCalls  *relayState               `json:"nodeCalls"`
	Proxies    map[string]relayState     `json:"proxies"`
}

func relayStateOf(r *plane.Relay, server string) relayState {
	mode, delay := r.State()
	return relayState{Server: server, Mode: mode, DelayMS: delay.Milliseconds()}
}

func (c *control) state() state {
	s := state{Components: map[string]componentState{}, Nodes: c.fleet.States(), Proxies: map[string]relayState{}}
	for _, name := range c.plane.ComponentNames() {
		component, _ := c.plane.Component(name)
		one := componentState{ComponentState: component.State()}
		if relay, ok := c.plane.Relay(name); ok {
			calls := relayStateOf(relay, "")
			one.Calls = &calls
		}
		s.Components[name] = one
	}
	if relay, ok := c.plane.Relay(plane.Nodes); ok {
		calls := relayStateOf(relay, "")
		s.NodeCalls = &calls
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for name, relay := range c.proxies {
		s.Proxies[name] = relayStateOf(relay, "https://"+relay.Address)
	}
	return s
}

func (c *control) component(r *http.Request) (any, error) {
	name, verb := r.PathValue("name"), r.PathValue("verb")
	component, isProcess := c.plane.Component(name)
	relay, hasRelay := c.plane.Relay(name)
	if !isProcess && !hasRelay {
		return nil, notFound("there is no component %q: there are %v and %s", name, c.plane.ComponentNames(), plane.Nodes)
	}
	switch verb {
	case "pause":
		if !isProcess {
			relay.Hang() // The nodes are a part of this process: cut off from the API server, they stand still too.
		} else if err := component.Pause(); err != nil {
			return nil, err
		}
	case "resume":
		if !isProcess {
			relay.Resume()
		} else if err := component.Resume(); err != nil {
			return nil, err
		}
	case "restart":
		if !isProcess {
			return nil, badRequest("the nodes cannot be restarted: lose and return them one by one")
		}
		ctx, cancel := context.WithTimeout(r.Context(), plane.HealthTimeout)
		defer cancel()
		if err := component.Restart(ctx); err != nil {
			return nil, err
		}
	case "compact":
		if component == nil || component.Name != plane.Etcd {
			return nil, badRequest("only etcd can be told to compact, not %s", name)
		}
		ctx, cancel := context.WithTimeout(r.Context(), compactTimeout)
		defer cancel()
		if err := c.plane.Compact(ctx); err != nil {
			return nil, err
		}
	case "delay":
		if !hasRelay {
			return nil, badRequest("%s calls nobody: delay who calls it, or etcd", name)
		}
		return c.delay(r, relay)
	default:
		return nil, notFound("a component can pause, resume, delay, restart and (etcd) compact, not %q", verb)
	}
	return c.state(), nil
}

func (c *control) delay(r *http.Request, relay *plane.Relay) (any, error) {
	ms, err := strconv.Atoi(r.URL.Query().Get("ms"))
	if err != nil || ms < 0 {
		return nil, badRequest("say how long: delay?ms=200, or ms=0 for none")
	}
	relay.Delay(time.Duration(ms) * time.Millisecond)
	return c.state(), nil
}

func (c *control) makeProxy(r *http.Request) (any, error) {
	name := r.URL.Query().Get("name")
	if name == "" {
		return nil, badRequest("name the proxy: proxy?name=operator")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	relay, exists := c.proxies[name]
	if !exists {
		var err error
		if relay, err = c.plane.ClientRelay(); err != nil {
			return nil, err
		}
		c.proxies[name] = relay
	}
	return map[string]string{"server": "https://" + relay.Address}, nil
}

func (c *control) proxy(r *http.Request) (any, error) {
	name, verb := r.PathValue("name"), r.PathValue("verb")
	c.mu.Lock()
	relay, ok := c.proxies[name]
	c.mu.Unlock()
	if !ok {
		return nil, notFound("there is no proxy %q: make it with POST /proxy?name=%s", name, name)
	}
	switch verb {
	case "delay":
		return c.delay(r, relay)
	case "hang":
		relay.Hang()
	case "cut":
		relay.Cut()
	case "resume":
		relay.Resume()
	default:
		return nil, notFound("a proxy can delay, hang, cut and resume, not %q", verb)
	}
	return c.state(), nil
}

// front makes a front, or rotates the authority of one that is there.
func (c *control) front(r *http.Request) (any, error) {
	name := r.URL.Query().Get("name")
	if name == "" || strings.ContainsAny(name, "/.") {
		return nil, badRequest("name the front: front?name=operator")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	front, exists := c.fronts[name]
	if !exists {
		var err error
		if front, err = c.plane.ClientFront(name); err != nil {
			return nil, err
		}
		c.fronts[name] = front
	}
	authority, err := front.Rotate()
	if err != nil {
		return nil, err
	}
	return map[string]string{"server": front.Server, "ca": authority}, nil
}

func (c *control) node(r *http.Request) (any, error) {
	var err error
	switch verb := r.PathValue("verb"); verb {
	case "lose":
		err = c.fleet.Lose(r.PathValue("name"))
	case "return":
		err = c.fleet.Return(r.PathValue("name"))
	default:
		return nil, notFound("a node can be told to lose and return, not %q", verb)
	}
	if err != nil {
		return nil, notFound("%v", err)
	}
	return c.state(), nil
}
